"""The thread that owns the connection, and its transactions.

What arrives while a transaction is under way is carried out in the next one, all together: so a commit is shared, and
nobody waits for more than two. If one of a group fails, the group is rolled back and each is carried out alone, so
that only the culprit fails; an operation may therefore run more than once, and leaves nothing outside the ledger.

While the disk is full the thread keeps what it has in hand and tries again each second.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from browsercrawl.errors import BrowsercrawlError, InternalError, OutputFailed
from browsercrawl.frontier.interface import FrontierCounts
from browsercrawl.frontier.sqlite import owners, schema
from browsercrawl.frontier.sqlite.ledger import Ledger, Terms

RETRY_S = 1.0
"""Between two tries to write on a full disk."""
GROUP_MAX = 200
"""Operations in one transaction."""

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""What SQLite says when there is no room: for its journal, and for the index to that."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

T = TypeVar("T")

Operation = Callable[[Ledger], T]
"""One method's work, in a transaction; repeatable."""

OnFull = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Operation[Any]
    future: "asyncio.Future[Any] | None"


_Outcome = tuple[_Job, Any, BaseException | None]


class StoreThread:
    """Carries out operations on one file, in the order in which they were submitted. Belongs to one event loop.

    Args:
        path: of the store.
        terms: what it was opened with.
        given_up: once it is set nothing waits for room on the disk.
        on_full: told, in this thread, why the disk cannot be written, and None when it can again.

    Attributes:
        counts: as the last operation that has returned left them.
    """

    def __init__(self, path: Path, terms: Terms, *, on_full: OnFull | None, given_up: threading.Event) -> None:
        self.counts = FrontierCounts(
            stored=0, queued=0, waiting=0, parked=0, retrying=0, claimed=0, finished=0, duplicates=0
        )
        self.terms = terms
        self._path = path
        self._on_full = on_full
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._given_up = given_up
        self._is_full = False
        self.is_closed = False
        self._thread = threading.Thread(target=self._work, name="frontier-store", daemon=True)

    async def open(self) -> int:
        """Start, check and open the file; returns how many claims an exclusive opening has given back.

        Raises:
            RunDamaged: it cannot be used. OutputFailed: it cannot be read.
        """
        opened: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put(_Job(lambda _: None, opened))
        self._thread.start()
        try:
            return await asyncio.shield(opened)
        except BaseException:
            self.give_up()
            await self.close()
            raise

    def submit(self, operation: Operation[T]) -> "asyncio.Future[T]":
        """Carry out an operation; its future tells the outcome when it is on disk."""
        if self.is_closed:
            raise InternalError("the frontier's store was used after it was closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(operation, future))
        return future

    def give_up(self) -> None:
        """See `SqliteFrontier.give_up`."""
        self._given_up.set()

    async def close(self) -> None:
        """Carry out what was submitted, let go of the file and end. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            self._jobs.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        opening = self._jobs.get()
        assert opening is not None, "the first job is the opening"
        try:
            database = self._connect()
        except BaseException as error:  # noqa: BLE001 - the boundary of the thread: whoever waits is told
            self._resolve([(opening, None, error)])
            return
        try:
            returned, failure = self._arrive(database)
            self._resolve([(opening, returned, failure)])
            if failure is None:
                while self._serve(database):
                    pass
                self._given_up.set()  # the next exclusive opening does it if this cannot be written now
                self._run(database, [_Job(owners.depart, None)])
        finally:
            database.close()

    def _connect(self) -> sqlite3.Connection:
        schema.check(self._path, pages=self.terms.exclusive)
        try:
            return schema.connect(self._path)
        except sqlite3.Error as error:
            raise self._error_of(error) from error

    def _arrive(self, database: sqlite3.Connection) -> tuple[int | None, BaseException | None]:
        try:
            now, wall, claimed = database.execute("SELECT now, wall, claimed FROM run").fetchone()
        except sqlite3.Error as error:
            return None, self._error_of(error)
        self.terms.timeline.begin(now=now, wall=wall)
        ((_, store, failure),) = self._run(database, [_Job(owners.arrive, None)])
        if failure is None:
            self.terms = replace(self.terms, store=store)
        return claimed if self.terms.exclusive else 0, failure

    def _serve(self, database: sqlite3.Connection) -> bool:
        """Carry out what has been submitted; returns whether to go on."""
        shared = not self.terms.exclusive
        try:
            group = [self._jobs.get(timeout=self.terms.owner_timeout_s / owners.BEATS_PER_TIMEOUT if shared else None)]
        except queue.Empty:
            group = [_Job(lambda _: None, None)]  # each transaction of a shared file beats
        while len(group) < GROUP_MAX and group[-1] is not None and not self._jobs.empty():
            group.append(self._jobs.get_nowait())
        jobs = [job for job in group if job is not None]
        if jobs:
            try:
                outcomes = self._run(database, jobs)
            except BaseException as error:  # noqa: BLE001 - `on_full` raised: whoever waits is told
                outcomes = [(job, None, error) for job in jobs]
            self._resolve(outcomes)
        return group[-1] is not None

    def _run(self, database: sqlite3.Connection, jobs: list[_Job]) -> list[_Outcome]:
        """Carry out jobs in one transaction; if that fails, each in one of its own."""
        while True:
            try:
                outcomes = self._transact(database, jobs)
            except BaseException as error:  # noqa: BLE001 - the boundary of the thread: whoever waits is told
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and self._wait(error):
                    continue
                if len(jobs) == 1:
                    return [(jobs[0], None, self._error_of(error))]
                return [outcome for job in jobs for outcome in self._run(database, [job])]
            if self._is_full:
                self._is_full = False
                self._tell(None)
            return outcomes

    def _transact(self, database: sqlite3.Connection, jobs: list[_Job]) -> list[_Outcome]:
        database.execute("BEGIN IMMEDIATE")
        ledger = Ledger(database, self.terms)
        if not self.terms.exclusive:
            owners.beat(ledger)
        ledger.catch_up()
        outcomes: list[_Outcome] = [(job, job.operation(ledger), None) for job in jobs]
        ledger.finish()
        database.execute("COMMIT")
        self.counts = ledger.run.counts()
        return outcomes

    def _wait(self, error: sqlite3.Error) -> bool:
        """Wait a moment, if that may help; returns whether to try again."""
        code = getattr(error, "sqlite_errorcode", None)
        if (code not in _FULL and code not in _BUSY) or self._given_up.is_set():
            return False
        if code in _FULL and not self._is_full:
            self._is_full = True
            self._tell(str(error))
        self._given_up.wait(RETRY_S)
        return True

    def _tell(self, message: str | None) -> None:
        if self._on_full is not None:
            self._on_full(message)

    def _error_of(self, error: BaseException) -> BaseException:
        """Return what whoever waits is told."""
        if not isinstance(error, sqlite3.Error):
            return error
        if getattr(error, "sqlite_errorcode", None) in _FULL:
            message = f"the run's store {self._path} cannot be written: {error}; free some space, then resume the run"
            told: BrowsercrawlError = OutputFailed(message)
        elif isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.IntegrityError):
            told = InternalError(f"the run's store {self._path}: {error}")
        else:
            told = schema.unusable(self._path, error)
        told.__cause__ = error
        return told

    def _resolve(self, outcomes: list[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, outcomes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _settle(outcomes: list[_Outcome]) -> None:
    for job, value, error in outcomes:
        if job.future is None or job.future.done():
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)
