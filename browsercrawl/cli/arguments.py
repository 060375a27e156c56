"""The command line's grammar: options as data, one parser and one page of help for every command.

A command is a list of options, each of which knows where its value belongs. Parsing is argparse's; what it says when
something is wrong, and how the help looks, is ours: the nearest valid name, and columns that fit the terminal.
"""

import argparse
import difflib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TextIO

from browsercrawl.errors import UsageError

_WIDTH_MAX = 120
_INDENT = "  "

Read = Callable[[str], object]
"""Makes a value of what was typed; raises ValueError or UsageError with a message that says what to write."""


class BadUsage(UsageError):
    """The command line cannot be understood; the message says where and what to type instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One long option.

    Attributes:
        flag: as typed, with its dashes.
        help: what it does, for the help page.
        group: the heading it stands under.
        metavar: the name of its value; empty: a switch without a value.
        read: makes the value.
        default: what holds when it is not given, for the help page.
        field: the configuration field it sets, dotted; empty: the command itself uses it.
    """

    flag: str
    help: str
    group: str
    metavar: str = ""
    read: Read = str
    default: str = ""
    field: str = ""

    @property
    def name(self) -> str:
        """The attribute of the parsed arguments that holds its value."""
        return self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What a command understands.

    Attributes:
        command: its name.
        summary: one line.
        options: in the order of the help page; those of a group stand together.
        operands: name of the positional arguments; empty: none.
        operands_help: what they are.
        details: paragraphs below the summary.
        commands: of the program as a whole, each with its one line.
        examples: pairs of what it does and what to type; every help page ends in them.
    """

    command: str
    summary: str
    options: tuple[Option, ...] = ()
    operands: str = ""
    operands_help: str = ""
    details: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    examples: tuple[tuple[str, str], ...] = ()


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the known word that is most alike, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


def one_of(choices: Sequence[str]) -> Read:
    """Make a reader that takes one of the given words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}{nearest(text, choices)}")
        return text

    return read


def some_of(choices: Sequence[str]) -> Read:
    """Make a reader that takes some of the given words, with commas between them."""
    word = one_of(choices)

    def read(text: str) -> list[object]:
        return [word(part.strip()) for part in text.split(",")]

    return read


def whole_number(least: int, most: int | None = None) -> Read:
    """Make a reader that takes a whole number not below `least`, nor above `most`."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number < least or (most is not None and number > most):
            raise ValueError(f"{text!r} is not a whole number {bounds}")
        return number

    return read


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadUsage(message.removeprefix("argument "))


def _argparse_reader(read: Read) -> Read:
    def convert(text: str) -> object:
        try:
            return read(text)
        except (ValueError, UsageError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def parse(grammar: Grammar, argv: Sequence[str]) -> argparse.Namespace:
    """Read a command's arguments.

    Returns:
        One attribute per option given (switches: True) and `operands`; options not given are absent.

    Raises:
        BadUsage: an unknown option, a missing or a wrong value, or operands where none are taken.
    """
    parser = _Parser(
        prog=f"browsercrawl {grammar.command}", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for option in grammar.options:
        if option.metavar:
            # argparse fills its own messages with %, so the reader's text reaches them only through its exception
            parser.add_argument(option.flag, type=_argparse_reader(option.read), metavar=option.metavar)
        else:
            parser.add_argument(option.flag, action="store_true")
    parser.add_argument("operands", nargs="*", default=[])
    known, unknown = parser.parse_known_intermixed_args(list(argv))
    flags = [option.flag for option in grammar.options]
    wrong = next((word for word in unknown if word.startswith("-")), None)
    if wrong is not None:
        hint = nearest(wrong.partition("=")[0], flags)
        raise BadUsage(f"unknown option {wrong.partition('=')[0]}{hint}; see browsercrawl {grammar.command} --help")
    known.operands += unknown
    if known.operands and not grammar.operands:
        raise BadUsage(f"browsercrawl {grammar.command} takes options only, not {known.operands[0]!r}")
    return known


@dataclass(frozen=True, slots=True)
class _Style:
    """Escape sequences, or nothing where colour is not wanted."""

    on: bool

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def heading(self, text: str) -> str:
        return self.paint(text, "1")

    def flag(self, text: str) -> str:
        return self.paint(text, "36")

    def quiet(self, text: str) -> str:
        return self.paint(text, "2")


def is_colour_wanted(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that shows colour (`NO_COLOR` and `TERM=dumb` say it is not)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def help_page(grammar: Grammar, *, width: int | None = None, colour: bool | None = None) -> str:
    """Return a command's help.

    Args:
        grammar: the command.
        width: columns; None: the terminal's, at most 120.
        colour: with escape sequences; None: when standard output is a terminal.
    """
    width = min(width or shutil.get_terminal_size().columns, _WIDTH_MAX)
    style = _Style(is_colour_wanted(sys.stdout) if colour is None else colour)
    usage = f"browsercrawl {grammar.command}" + (f" {grammar.operands}" if grammar.operands else "")
    lines = [style.heading(usage) + (" [options]" if grammar.options else ""), ""]
    for paragraph in (grammar.summary, *grammar.details):
        lines += [*textwrap.wrap(paragraph, width), ""]
    rows: dict[str, list[tuple[str, str, str, str]]] = {}
    if grammar.commands:
        rows["Commands"] = [(name, "", text, "") for name, text in grammar.commands]
    if grammar.operands:
        rows[grammar.options[0].group if grammar.options else "Arguments"] = [
            (grammar.operands, "", grammar.operands_help, "")
        ]
    for option in grammar.options:
        row = (option.flag, option.metavar, option.help, option.default)
        rows.setdefault(option.group, []).append(row)
    rows.setdefault("Other", []).append(("--help", "", "This page.", ""))
    column = 4 + max(len(f"{flag} {metavar}") for group in rows.values() for flag, metavar, _, _ in group)
    for group, members in rows.items():
        lines.append(style.heading(group))
        for row in members:
            lines += _option_lines(row, column=column, width=width, style=style)
        lines.append("")
    lines += _example_lines(grammar.examples, style)
    return "\n".join(lines).rstrip() + "\n"


def _option_lines(row: tuple[str, str, str, str], *, column: int, width: int, style: _Style) -> list[str]:
    flag, metavar, text, default = row
    note = f"[{default}]" if default else ""
    wrapped = textwrap.wrap(f"{text} {note.replace(' ', chr(0))}".strip(), max(20, width - column)) or [""]
    wrapped = [line.replace("\0", " ") for line in wrapped]
    if note:
        wrapped[-1] = wrapped[-1].removesuffix(note) + style.quiet(note)
    left = f"{flag} {metavar}".rstrip()
    painted = style.flag(flag) + (f" {metavar}" if metavar else "")
    first = _INDENT + painted + " " * (column - len(_INDENT) - len(left)) + wrapped[0]
    return [first, *(" " * column + line for line in wrapped[1:])]


def _example_lines(examples: Sequence[tuple[str, str]], style: _Style) -> list[str]:
    lines = [style.heading("Examples")]
    for what, command in examples:
        lines += [_INDENT + style.quiet(f"# {what}"), *(_INDENT + line for line in command.splitlines())]
    return lines
