"""Reading and writing descriptors without holding the event loop, whatever is behind them.

A thread would do for the waiting, but one stuck in `read` or `write` keeps the process from ending at Ctrl-C.
"""

import asyncio
import os
from collections.abc import Callable

_READ_BYTES = 65_536
_WRITE_BYTES = 4096
"""A pipe that is ready for writing takes so much without blocking (PIPE_BUF of Linux)."""


async def read_block(descriptor: int) -> bytes:
    """Return the next bytes as soon as there are any; nothing at the end."""
    loop = asyncio.get_running_loop()
    await _wait_ready(descriptor, loop.add_reader, loop.remove_reader)
    return os.read(descriptor, _READ_BYTES)


async def write_all(descriptor: int, data: bytes) -> None:
    """Write everything; a slow reader makes the caller wait, and nobody else.

    Raises:
        BrokenPipeError: the reader has left.
    """
    loop = asyncio.get_running_loop()
    while data:
        await _wait_ready(descriptor, loop.add_writer, loop.remove_writer)
        data = data[os.write(descriptor, data[:_WRITE_BYTES]) :]


async def _wait_ready(
    descriptor: int, add: Callable[[int, Callable[[], None]], object], remove: Callable[[int], object]
) -> None:
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except PermissionError:
        await asyncio.sleep(0)  # a regular file is always ready, which is why it cannot be waited for
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)
