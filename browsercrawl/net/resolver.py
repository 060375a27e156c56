"""Names into addresses, in threads of its own: a lookup blocks, and one that hangs must not keep files waiting.

The threads are daemons: the system may take a minute over a lookup, and the end of the process does not wait for it.
"""

import asyncio
import socket
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from threading import Thread

from browsercrawl.net.addresses import IP

LOOKUP_LIMIT_S = 15.0
"""Three servers, asked for 5 s each, which is the system's own patience."""
KEPT_S = 30.0
"""Half of what Chromium keeps an answer. Connections go to what their own lookup said, whatever is kept."""
_KEPT_MAX = 2_000
_ADDRESSES_MAX = 64
"""Of one name, which may have thousands, to fill memory: what follows is neither judged nor connected to."""
_THREADS_MAX = 64
"""Twice the connections that Chromium opens to one proxy: a page whose names all hang leaves some for the others."""


@dataclass(slots=True, eq=False)
class _LookUp:
    """A name that is being looked up, or waits for a thread."""

    name: str
    found: asyncio.Future[list[IP]]
    waiting: int = 0
    thread: Thread | None = None


class Resolver:
    """Looks names up by the system's means, each once at a time, and keeps the answers for a short while."""

    def __init__(self) -> None:
        self._looking: dict[str, _LookUp] = {}
        self._running: set[_LookUp] = set()
        self._kept: OrderedDict[str, tuple[float, list[IP]]] = OrderedDict()

    async def addresses(self, name: str) -> list[IP]:
        """Return the addresses of a name, 64 at most, in the order in which they are to be tried.

        Raises:
            OSError: it has none; a TimeoutError when nobody said so in time.
        """
        loop = asyncio.get_running_loop()
        until, found = self._kept.get(name, (0.0, []))
        if until > loop.time():
            return found
        look_up = self._looking.get(name)
        if look_up is None or look_up.found.get_loop() is not loop:
            look_up = self._looking[name] = _LookUp(name, loop.create_future())
        look_up.waiting += 1
        try:
            self._start()
            await asyncio.wait({look_up.found}, timeout=LOOKUP_LIMIT_S)
        finally:
            look_up.waiting -= 1
            if not look_up.waiting and look_up.thread is None:  # nobody wants it any more
                self._forget(look_up)
        if not look_up.found.done():
            raise TimeoutError(f"nobody knew its address within {LOOKUP_LIMIT_S:g} s")
        return look_up.found.result()

    def close(self) -> None:
        """Start none of the lookups that wait. Those that are going on end by themselves, and keep nobody waiting."""
        for look_up in tuple(self._looking.values()):
            self._forget(look_up)
            if look_up.thread is None and not look_up.found.get_loop().is_closed():
                self._settle(look_up, OSError("no name is looked up any more"))

    def _start(self) -> None:
        """Begin with what waits, as long as there are threads."""
        # Those of closed event loops cannot tell that they have ended: nobody would begin with what waits for them.
        self._running = {each for each in self._running if not each.found.get_loop().is_closed()}
        for look_up in self._looking.values():
            if len(self._running) >= _THREADS_MAX:
                return
            if look_up.thread is None:
                look_up.thread = Thread(target=self._look_up, args=(look_up,), name="resolver", daemon=True)
                try:
                    look_up.thread.start()
                except RuntimeError:  # the system has no more: it waits for one of those that are going on
                    look_up.thread = None
                    return
                self._running.add(look_up)

    def _look_up(self, look_up: _LookUp) -> None:
        found: list[IP] | OSError
        try:
            answers = socket.getaddrinfo(look_up.name, None, type=socket.SOCK_STREAM)
            texts = dict.fromkeys(str(each[4][0]) for each in answers)
            found = [ip_address(text) for text in islice(texts, _ADDRESSES_MAX)]
        except OSError as error:
            found = error
        except ValueError as error:  # a UnicodeError: a name that no resolver takes
            found = socket.gaierror(socket.EAI_NONAME, f"no name: {error}")
        try:
            look_up.found.get_loop().call_soon_threadsafe(self._found, look_up, found)
        except RuntimeError:  # the event loop is closed: nobody waits
            return

    def _found(self, look_up: _LookUp, found: list[IP] | OSError) -> None:
        self._running.discard(look_up)
        self._forget(look_up)
        self._settle(look_up, found)
        if not isinstance(found, OSError):
            self._kept[look_up.name] = (look_up.found.get_loop().time() + KEPT_S, found)
            self._kept.move_to_end(look_up.name)
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        self._start()

    def _settle(self, look_up: _LookUp, found: list[IP] | OSError) -> None:
        if isinstance(found, OSError):
            look_up.found.set_exception(found)
            look_up.found.exception()  # seen, as asyncio wants it: whoever waited may have gone
        else:
            look_up.found.set_result(found)

    def _forget(self, look_up: _LookUp) -> None:
        if self._looking.get(look_up.name) is look_up:
            del self._looking[look_up.name]
