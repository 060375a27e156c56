"""The functions of the user's that a job names: found, loaded and looked at before anything else is started."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from browsercrawl.cli.arguments import nearest
from browsercrawl.config.job import DEFAULT_LABEL, Job, JobFile
from browsercrawl.dispatcher import ScopeFunction
from browsercrawl.errors import ConfigError
from browsercrawl.output import Sink
from browsercrawl.result import Result
from browsercrawl.sessions import LoggedOutFunction, LoginFunction, ProxyFunction
from browsercrawl.visit import Handler

OnFailed = Callable[[Result], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCode:
    """What a job adds to a crawler.

    Attributes:
        handlers: by label; None: for requests without one.
        on_failed: sees the results of requests that failed.
        in_scope: decides where links may lead.
        sinks: further destinations of results.
        logins: by session; what logs it in.
        logged_out: by session; what tells that it is logged out.
        proxy: gives sessions their proxies.
    """

    handlers: Mapping[str | None, Handler] = field(default_factory=dict)
    on_failed: OnFailed | None = None
    in_scope: ScopeFunction | None = None
    sinks: Sequence[Sink] = ()
    logins: Mapping[str, LoginFunction] = field(default_factory=dict)
    logged_out: Mapping[str, LoggedOutFunction] = field(default_factory=dict)
    proxy: ProxyFunction | None = None


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules in a folder be imported, before any other of the same name."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def load_code(job: Job, file: JobFile) -> UserCode:
    """Load what a job names; its folder must be importable.

    Raises:
        ConfigError: a module or function is not there, is of another kind, or raises; the message names the place.
    """
    handlers: dict[str | None, Handler] = {}
    for label, path in job.handlers.items():
        handler = cast("Handler", _coroutine_function(path, file, ("handlers", label)))
        handlers[label] = handler
        if label == DEFAULT_LABEL:
            handlers[None] = handler
    return UserCode(
        handlers=handlers,
        on_failed=_coroutine_function(job.on_failed, file, ("on_failed",)) if job.on_failed else None,
        in_scope=_plain_function(job.in_scope, file, ("in_scope",)) if job.in_scope else None,
        sinks=[_sink(path, file, ("sinks", index)) for index, path in enumerate(job.sinks)],
        **load_session_code(job, file),
    )


def load_session_code(job: Job, file: JobFile) -> dict[str, Any]:
    """Load what a job names for its sessions: those fields of `UserCode`. Its folder must be importable.

    Raises:
        ConfigError: as for `load_code`.
    """
    logins, logged_out, proxy = dict[str, LoginFunction](), dict[str, LoggedOutFunction](), None
    for name, profile in job.sessions.profiles.items():
        login = profile.login
        place = ("sessions", "profiles", name, "login")
        if login is not None and login.function is not None:
            logins[name] = _coroutine_function(login.function, file, (*place, "function"))
        if login is not None and login.logged_out.function is not None:
            logged_out[name] = _coroutine_function(login.logged_out.function, file, (*place, "logged_out", "function"))
    if (path := job.sessions.proxy) is not None:
        proxy = _load(path, file, ("sessions", "proxy"))
        if not callable(proxy) or inspect.iscoroutinefunction(proxy):
            where = file.place("sessions", "proxy")
            raise ConfigError(f"{where}: {path} must be a plain function of a session's name and a number")
    return {"logins": logins, "logged_out": logged_out, "proxy": proxy}


def _coroutine_function(path: str, file: JobFile, place: tuple[str | int, ...]) -> Callable[..., Any]:
    function: Callable[..., Any] = _load(path, file, place)
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"{file.place(*place)}: {path} must be an `async def` function")
    return function


def _plain_function(path: str, file: JobFile, place: tuple[str | int, ...]) -> Callable[..., Any]:
    function = _load(path, file, place)
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ConfigError(f"{file.place(*place)}: {path} must be a plain `def` function")
    return cast("Callable[..., Any]", function)


def _sink(path: str, file: JobFile, place: tuple[str | int, ...]) -> Sink:
    make = _load(path, file, place)
    where = file.place(*place)
    if not callable(make) or inspect.iscoroutinefunction(make):
        raise ConfigError(f"{where}: {path} must be a function or class that, called without arguments, gives a sink")
    try:
        sink = make()
    except Exception as error:
        raise ConfigError(f"{where}: {path}() failed:\n{_trace(error)}") from error
    if not all(inspect.iscoroutinefunction(getattr(sink, name, None)) for name in ("write", "close")):
        raise ConfigError(f"{where}: what {path}() gives has no `async def` write(records) and close()")
    return cast("Sink", sink)


def _load(path: str, file: JobFile, place: tuple[str | int, ...]) -> Any:
    """Return what stands at `module:name`."""
    where = file.place(*place)
    name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{where}: there is no module {error.name} in {file.base}, nor among the installed packages"
            ) from error
        raise ConfigError(f"{where}: {name} cannot be imported:\n{_trace(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where}: {name} cannot be imported:\n{_trace(error)}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        shown = getattr(module, "__file__", None) or "built in"
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ConfigError(f"{where}: module {name} ({shown}) has no {attribute}{nearest(attribute, public)}") from None


def _trace(error: BaseException) -> str:
    """Return the traceback from the user's own code on."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace, chain=False)).rstrip()


def _is_machinery(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return file in {__file__, importlib.__file__} or file.startswith("<frozen importlib")
