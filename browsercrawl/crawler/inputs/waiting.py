"""Waiting for threads and descriptors without holding the event loop, and without leaving anything behind."""

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

READ_BYTES = 65_536

T = TypeVar("T")


async def threaded(work: Callable[[], T]) -> T:
    """Do something in a thread. A cancellation passes when it has ended: nobody closes a file under it."""
    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait({job})
        job.exception()  # looked at, or asyncio would report it as never retrieved
        raise


async def read_block(descriptor: int) -> bytes:
    """Return the next bytes of a pipe as soon as there are any; nothing at the end.

    A pipe is waited for on the event loop: a thread stuck in `read` would keep the process from ending.

    Raises:
        OSError: it cannot be read.
    """
    loop = asyncio.get_running_loop()
    if await wait_ready(descriptor, add=loop.add_reader, remove=loop.remove_reader):
        return os.read(descriptor, READ_BYTES)
    return await threaded(lambda: os.read(descriptor, READ_BYTES))


async def wait_ready(
    descriptor: int, *, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], object]
) -> bool:
    """Wait until a descriptor can be read or written.

    Args:
        descriptor: to wait for.
        add: the event loop's `add_reader` or `add_writer`.
        remove: its counterpart.

    Returns:
        False when it cannot be waited for: a regular file always counts as ready.
    """
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except PermissionError:
        return False
    try:
        await ready.wait()
    finally:
        remove(descriptor)
    return True
