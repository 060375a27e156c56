"""Names into addresses, in threads of its own: a lookup blocks, and one that hangs must not keep files waiting."""

import asyncio
import socket
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from browsercrawl.net.addresses import IP

LOOKUP_LIMIT_S = 15.0
"""Three servers, asked for 5 s each, which is the system's own patience."""
KEPT_S = 30.0
"""Half of what Chromium keeps an answer. Connections go to what their own lookup said, whatever is kept."""
_KEPT_MAX = 2_000
_THREADS_MAX = 16


class Resolver:
    """Looks names up by the system's means, each once at a time, and keeps the answers for a short while."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._looking: dict[str, asyncio.Future[list[IP]]] = {}
        self._kept: OrderedDict[str, tuple[float, list[IP]]] = OrderedDict()

    async def addresses(self, name: str) -> list[IP]:
        """Return all addresses of a name, in the order in which they are to be tried.

        Raises:
            OSError: it has none; a TimeoutError when nobody said so in time.
        """
        loop = asyncio.get_running_loop()
        until, found = self._kept.get(name, (0.0, []))
        if until > loop.time():
            return found
        looking = self._looking.get(name)
        if looking is None or looking.get_loop() is not loop:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="resolver")
            looking = self._looking[name] = loop.run_in_executor(self._threads, _look_up, name)
            looking.add_done_callback(lambda done: self._found(name, done))
        try:
            async with asyncio.timeout(LOOKUP_LIMIT_S):
                return await asyncio.shield(looking)
        except UnicodeError as error:  # a name that no resolver takes
            raise socket.gaierror(socket.EAI_NONAME, f"no name: {error}") from None

    def close(self) -> None:
        """Start no further lookup. Those that are going on end by themselves, within the system's own limits."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _found(self, name: str, done: asyncio.Future[list[IP]]) -> None:
        self._looking.pop(name, None)
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[name] = (done.get_loop().time() + KEPT_S, done.result())
        self._kept.move_to_end(name)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)


def _look_up(name: str) -> list[IP]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(each[4][0])) for each in found))
