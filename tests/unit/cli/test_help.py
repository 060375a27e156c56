"""Help pages, and the documentation that is made of them."""

import importlib
from pathlib import Path

import pytest

from browsercrawl.cli.arguments import Grammar, help_page
from browsercrawl.cli.entry import COMMANDS, reference, top_grammar

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def _grammars() -> list[Grammar]:
    return [top_grammar(), *(_grammar(name) for name in COMMANDS)]


def _grammar(command: str) -> Grammar:
    grammar: Grammar = importlib.import_module(f"browsercrawl.cli.{command.replace('-', '_')}").GRAMMAR
    return grammar


def test_document_is_what_the_help_pages_say() -> None:
    """`docs/cli.md` never tells another story than the program; `entry.reference()` is its text."""
    assert DOCUMENT.read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("width", [80, 120])
def test_help_pages_fit_the_terminal_and_end_in_examples(width: int) -> None:
    """No help page has a line that a terminal of that width would break."""
    for grammar in _grammars():
        page = help_page(grammar, width=width, colour=False)
        assert [line for line in page.splitlines() if len(line) > width] == [], grammar.command
        what, command = grammar.examples[0]
        assert f"Examples\n  # {what}\n  {command.splitlines()[0]}\n" in page


def test_commands_summary_is_the_same_everywhere() -> None:
    """The line in the list of commands is the first line of the command's own page."""
    for name, summary in COMMANDS.items():
        grammar = _grammar(name)
        assert (grammar.command, grammar.summary) == (name, summary)
