"""`browsercrawl`: finds the command, runs it, and turns whatever comes of it into an exit code."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from browsercrawl.cli.arguments import BadUsage, Grammar, help_page, nearest, parse
from browsercrawl.cli.terminal import printable
from browsercrawl.errors import BrowsercrawlError, BrowserNotFound, LaunchFailed, UsageError
from browsercrawl.version import VERSION

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_BROWSER = 3
EXIT_INTERRUPTED = 130

COMMANDS = {
    "crawl": "Crawl pages, following links if asked to.",
    "run": "Run a job that is written in a YAML file.",
    "login": "Log a session of a job in, and save what keeps it logged in.",
    "resume": "Go on with a run that was interrupted, ended early or killed.",
    "retry-failed": "Visit again what failed in a run, all of it or some kinds of failure.",
    "status": "Tell how a run stands: one that goes on, one that was interrupted, one that is over.",
    "export": "Write a run's results as JSON lines, CSV or Parquet.",
    "init": "Write an example of a job file, with its fields explained.",
    "schema": "Print the JSON Schema of job files, for editors.",
    "demo": "Crawl the embedded demo shop and compare with what it really sells.",
    "doctor": "Check that crawling works on this machine, and say what to do if not.",
}
"""Each command with its one line; its module (`_` for `-`) holds its grammar and its `execute`."""


class _Command(Protocol):
    """What a command's module gives."""

    GRAMMAR: Grammar

    @staticmethod
    def execute(arguments: object) -> int:
        """Run it and return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 well, 1 some failed, 2 bad usage, 3 no usable browser, 4 ended early by a limit,
        130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except BrowsercrawlError as error:
        print(f"browsercrawl: {printable(error.message)}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        print("browsercrawl: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has left; nothing may be written any more, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED


def exit_code_of(error: BrowsercrawlError) -> int:
    """Return the exit code that an error ending a command stands for."""
    if isinstance(error, BrowserNotFound | LaunchFailed):
        return EXIT_NO_BROWSER
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED


def _run(words: list[str]) -> int:
    if not words:
        print(help_page(top_grammar()), end="", file=sys.stderr)
        return EXIT_USAGE
    name, *rest = words
    if name in {"--help", "-h", "help"}:
        print(help_page(top_grammar()), end="")
        return EXIT_OK
    if name == "--version":
        print(f"browsercrawl {VERSION}")
        return EXIT_OK
    if name not in COMMANDS:
        raise BadUsage(_unknown_command(name))
    command = _command(name)
    options_end = rest.index("--") if "--" in rest else len(rest)
    if {"--help", "-h"} & set(rest[:options_end]):
        print(help_page(command.GRAMMAR), end="")
        return EXIT_OK
    return command.execute(parse(command.GRAMMAR, rest))


def _unknown_command(name: str) -> str:
    if "://" in name:
        return f"{name!r} is a URL, not a command; type: browsercrawl crawl {name}"
    return f"unknown command {name!r}{nearest(name, COMMANDS)}; there are {', '.join(COMMANDS)}"


def top_grammar() -> Grammar:
    """Return what stands above all commands."""
    return Grammar(
        command="COMMAND",
        summary="Crawl JavaScript-heavy pages in headless Chromium, many at once, and finish.",
        commands=tuple(COMMANDS.items()),
        examples=(
            ("watch it work, on this machine alone", "browsercrawl demo"),
            ("one page, as JSON", "browsercrawl crawl https://example.com/ --json"),
            ("a site, two links deep, pages kept", "browsercrawl crawl https://example.com/ --depth 2 --save html"),
            ("a job in a file; go on with it after a kill", "browsercrawl run shop.yaml\nbrowsercrawl resume runs/..."),
            ("all about a command", "browsercrawl crawl --help"),
        ),
    )


def reference() -> str:
    """Return the help pages of all commands as one Markdown page."""
    grammars = [top_grammar(), *(_command(name).GRAMMAR for name in COMMANDS)]
    parts = ["# The command line", "", "What `browsercrawl --help` and `browsercrawl COMMAND --help` print.", ""]
    for grammar in grammars:
        title = "browsercrawl" if grammar.commands else f"browsercrawl {grammar.command}"
        parts += [f"## {title}", "", "```text", help_page(grammar, width=96, colour=False).rstrip(), "```", ""]
    return "\n".join(parts)


def _command(name: str) -> _Command:
    return cast("_Command", importlib.import_module(f"browsercrawl.cli.{name.replace('-', '_')}"))
