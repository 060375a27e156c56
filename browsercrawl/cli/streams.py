"""Writing to descriptors without holding the event loop, whatever is behind them.

A thread would do for the waiting, but one stuck in `write` keeps the process from ending at Ctrl-C.
"""

import asyncio
import os

from browsercrawl.crawler.inputs.waiting import wait_ready

_WRITE_BYTES = 4096
"""A pipe that is ready for writing takes so much without blocking (PIPE_BUF of Linux)."""


async def write_all(descriptor: int, data: bytes) -> None:
    """Write everything; a slow reader makes the caller wait, and nobody else.

    Raises:
        BrokenPipeError: the reader has left.
    """
    loop = asyncio.get_running_loop()
    while data:
        if not await wait_ready(descriptor, add=loop.add_writer, remove=loop.remove_writer):
            await asyncio.sleep(0)  # a regular file: others get their turn between two pieces
        data = data[os.write(descriptor, data[:_WRITE_BYTES]) :]
