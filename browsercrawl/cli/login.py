"""`browsercrawl login`: log one session of a job in, by its recipe or by hand, and save what keeps it so."""

import asyncio
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, nearest
from browsercrawl.cli.loading import importable, load_session_code
from browsercrawl.cli.resume import stored_job
from browsercrawl.cli.running import configuration, read_job
from browsercrawl.cli.status import STORE
from browsercrawl.cli.terminal import printable, shown_duration
from browsercrawl.cli.view import notice_of
from browsercrawl.config import CrawlerConfig, FormLogin, HttpLogin, SessionProfile, duration_s
from browsercrawl.config.job import JobFile
from browsercrawl.crawler.inputs.waiting import read_block
from browsercrawl.crawler.logging_in import Person, log_in, success_of
from browsercrawl.errors import LaunchFailed
from browsercrawl.events import ConnectionRefused, Event
from browsercrawl.frontier.sqlite import read_store
from browsercrawl.sessions import SessionCode
from browsercrawl.urls import address

_LIMIT_S = 600.0
_LIMIT_MAX_S = 3600.0
_STANDARD_INPUT = 0


def limit(text: str) -> float:
    """Read how long a person may take."""
    seconds = duration_s(text)
    if not 0 < seconds <= _LIMIT_MAX_S:
        raise ValueError(f"{text!r} is not between 1s and 1h")
    return seconds


def url(text: str) -> str:
    """Read an http or https URL."""
    address(text)
    return text


GRAMMAR = Grammar(
    command="login",
    summary="Log a session of a job in, and save what keeps it logged in.",
    details=(
        (
            "The session's recipe is carried out in a browser of its own. With --headed a window opens, and you log in "
            "by hand: for captchas, second factors, and sites whose login no recipe describes. Runs of the job find "
            "the login; one that ended because the session was paused goes on with browsercrawl resume. The job's "
            "network guard holds for the login as for a run."
        ),
        "Exit codes: 0 logged in, 1 the login failed, 2 bad usage, 3 no usable browser or no display, 130 interrupted.",
    ),
    operands="JOB.yaml|RUN_DIR SESSION",
    operands_help="The job, or the directory of a run of it; and the session's name under sessions.profiles.",
    options=(
        Option(flag="--headed", group="By hand", help="Open a window and wait for you; needs full Chromium."),
        Option(
            flag="--url",
            metavar="URL",
            group="By hand",
            read=url,
            default="the login's, else the first of its domains",
            help="What the window shows first.",
        ),
        Option(
            flag="--timeout",
            metavar="TIME",
            group="By hand",
            read=limit,
            default="10m",
            help="How long you may take.",
        ),
    ),
    examples=(
        ("does the recipe work?", "browsercrawl login shop.yaml alice"),
        ("by hand; it ends when the sign of success shows, or at Enter", "browsercrawl login shop.yaml alice --headed"),
        ("a run waits for this session", "browsercrawl login runs/mine alice\nbrowsercrawl resume runs/mine"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Log the session in and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    if len(given["operands"]) != 2:
        raise BadUsage("give a job and one of its sessions: browsercrawl login JOB.yaml SESSION")
    if not {"url", "timeout"}.isdisjoint(given) and "headed" not in given:
        raise BadUsage("--url and --timeout are for logging in by hand: give --headed as well")
    operand, name = given["operands"]
    file = job_at(Path(operand))
    if "headed" in given:
        file = file.with_value("browser.headed", value=True)
    if name not in (names := file.session_names()):
        there = f"{nearest(name, names)}; there are {', '.join(names)}" if names else "; it has none"
        raise BadUsage(f"{operand} has no session {name!r}{there}")
    job = file.with_session(name).resolve(os.environ)
    if job.sessions.profiles[name].login is None:
        raise BadUsage(f"session {name!r} has no login; say under sessions.profiles.{name}.login how it logs in")
    config = configuration(job, directory=Path("run"), resume=False)
    person = _person(given, profile_of(config, name)) if "headed" in given else None
    with importable(file.base):
        code = load_session_code(job, file)
        functions = SessionCode(logins=dict(code["logins"]), logged_out=dict(code["logged_out"]))
        done = asyncio.run(log_in(config, name, code=functions, proxy=code["proxy"], person=person, emit=_tell))
    from browsercrawl.cli.drawing_sessions import print_login  # noqa: PLC0415 - rich, when there is something to draw

    print_login(done, account=job.shown(done.account) if done.account else None)
    return 0


def job_at(path: Path) -> JobFile:
    """Return the job in a file, or that of a run.

    Raises:
        BadUsage: there is none. ConfigError: it cannot be read. RunDamaged: the run's store cannot.
    """
    if not path.is_dir():
        return read_job(path)
    if not (path / STORE).is_file():
        raise BadUsage(f"{path} is neither a job file nor a run directory: it holds no {STORE}")
    return stored_job(path, read_store(path / STORE).notes)


def profile_of(config: CrawlerConfig, name: str) -> SessionProfile:
    """Return the profile of a session that is known to have one."""
    return next(profile for profile in config.sessions.profiles if profile.name == name)


def _person(given: dict[str, Any], profile: SessionProfile) -> Person:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise LaunchFailed(
            "there is no display to show a window on (DISPLAY and WAYLAND_DISPLAY are not set): log in on a machine "
            "that has one and copy the folder of states, or give the session a recipe"
        )
    login = profile.login
    assert login is not None, "checked before"
    first = f"https://{profile.own_domains[0]}/" if profile.own_domains else None
    shown = given.get("url") or (login.recipe.url if isinstance(login.recipe, FormLogin | HttpLogin) else first)
    if shown is None:
        raise BadUsage(f"say what the window shows first: --url URL; session {profile.name!r} names no address")
    limit_s = given.get("timeout", _LIMIT_S)
    until = "it ends by itself when that worked" if success_of(login) else "say when you are done"
    print(
        f"browsercrawl: log in as {printable(profile.name)} in the window; {until}, or at Enter here; "
        f"within {shown_duration(limit_s)}",
        file=sys.stderr,
        flush=True,
    )
    return Person(url=shown, limit_s=limit_s, done=_enter)


async def _enter() -> None:
    """Return when somebody presses Enter; never, if nobody can."""
    while True:
        block = await read_block(_STANDARD_INPUT) if sys.stdin is not None else b""
        if not block:  # its end: whoever started us gives nothing
            await asyncio.get_running_loop().create_future()
        if b"\n" in block:
            return


def _tell(event: Event) -> None:
    notice = notice_of(event)
    if isinstance(event, ConnectionRefused):  # the person waits for this one page: a crawl counts them
        remedy = "if the login needs it, name it under network.allow in the job"
        notice = f"the network guard let no page reach {event.host}:{event.port} ({event.reason}); {remedy}"
    if notice:
        print(f"browsercrawl: {printable(notice)}", file=sys.stderr, flush=True)
