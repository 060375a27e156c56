"""The demo shop, the members' area, the fault site and traps on one loopback port."""

import asyncio
from http import HTTPStatus
from types import TracebackType
from typing import Self

from browsercrawl.testing import faults, members_pages, traps
from browsercrawl.testing.faults import FaultSite
from browsercrawl.testing.members import Members
from browsercrawl.testing.members_pages import MembersArea
from browsercrawl.testing.server import TEXT, Exchange, Server
from browsercrawl.testing.shop import Shop, Truth


class DemoSite:
    """A web site to crawl: a shop, a members' area and faults.

    The demo shop is at `/`, the truth about it at `/truth.json`; the members' area (logins, and sessions that end) is
    below `/members/`, faults are below `/faults/`, pages without end below `/traps/`.

    It serves from its creation until `stop`. A context manager, in plain and in async code.

    Args:
        products: size of the shop; the default makes 60 pages.
        accounts: of the members' area.
        port: 0 lets the system choose.

    Raises:
        OSError: the port is taken.
        ValueError: `products` or `accounts` out of range.

    Attributes:
        url: such as `http://127.0.0.1:8123`, without a slash at its end.
        members: the members' area: its records, and how its sessions end.

    Example:
        >>> with DemoSite() as site:
        ...     len(site.truth().pages)
        60
    """

    def __init__(self, *, products: int = 48, accounts: int = 8, port: int = 0) -> None:
        self._shop = Shop(products=products)
        self._faults = FaultSite()
        self.members = Members(accounts=accounts)
        self._area = MembersArea(self.members)
        self._server = Server(self._answer, port=port)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def truth(self) -> Truth:
        """Return what a complete crawl of the shop finds."""
        return self._shop.truth()

    def password(self, account: str) -> str:
        """Return the password of an account such as `member-0`; KeyError when there is none."""
        return self.members.password(account)

    def totp_secret(self, account: str) -> str:
        """Return the secret of an account's one-time passwords, in base32; KeyError when there is none."""
        return self.members.totp_secret(account)

    def hits(self, path: str) -> int:
        """Return how often a path was asked for, with any query; or with exactly this one, if `path` has a query.

        Of the last 200,000 requests.
        """
        targets = (arrival.target for arrival in self._server.arrivals())
        if "?" in path:
            return sum(target == path for target in targets)
        return sum(target.partition("?")[0] == path for target in targets)

    def arrivals(self, path_prefix: str = "/") -> tuple[float, ...]:
        """Return when (`time.monotonic()`) each request whose path and query begin so arrived, oldest first."""
        return tuple(arrival.at for arrival in self._server.arrivals() if arrival.target.startswith(path_prefix))

    def stop(self) -> None:
        """Close every connection and end every thread, within 2 s; may be called again."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _answer(self, exchange: Exchange) -> None:
        if exchange.method not in ("GET", "HEAD", "POST"):
            exchange.respond("Method not allowed.\n", status=HTTPStatus.METHOD_NOT_ALLOWED, content_type=TEXT)
            return
        if exchange.path.startswith(faults.PREFIX):
            found = self._faults.answer(exchange)
        elif exchange.path.startswith(members_pages.PREFIX):
            found = self._area.answer(exchange)
        elif exchange.path.startswith(traps.PREFIX):
            found = traps.answer(exchange)
        else:
            found = self._shop.answer(exchange)
        if not found:
            exchange.respond("Not found.\n", status=HTTPStatus.NOT_FOUND, content_type=TEXT)
