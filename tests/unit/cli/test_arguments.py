"""The command line's grammar."""

import re

import pytest

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, help_page, one_of, parse, some_of, whole_number
from browsercrawl.config import duration_s

GRAMMAR = Grammar(
    command="fetch",
    summary="Fetch things.",
    operands="THING...",
    operands_help="What to fetch.",
    options=(
        Option(flag="--timeout", metavar="TIME", group="Pace", read=duration_s, default="60s", help="Until when."),
        Option(flag="--depth", metavar="N", group="Pace", read=whole_number(0), help="How deep."),
        Option(flag="--profile", metavar="NAME", group="Browser", read=one_of(("lean", "balanced")), help="Which."),
        Option(flag="--block", metavar="TYPES", group="Browser", read=some_of(("image", "font")), help="Not these."),
        Option(flag="--quiet", group="Browser", help="Say nothing."),
    ),
    examples=(("one thing", "browsercrawl fetch it"),),
)


def test_parse_options_between_operands_all_are_read() -> None:
    """Options may stand before, between and after operands, with a space or an equals sign."""
    given = parse(GRAMMAR, ["a", "--timeout", "30s", "b", "--block=image,font", "--quiet", "c", "--", "--d"])
    assert vars(given) == {
        "operands": ["a", "b", "c", "--d"], "timeout": 30.0, "block": ["image", "font"], "quiet": True,
    }  # fmt: skip


def test_parse_nothing_given_sets_nothing() -> None:
    """An option that is not given leaves no trace: the configuration's own default holds."""
    assert vars(parse(GRAMMAR, [])) == {"operands": []}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--timeot", "30s"], "unknown option --timeot (did you mean --timeout?)"),
        (["--zzz=1"], "unknown option --zzz; see browsercrawl fetch --help"),
        (["--tim", "30s"], "unknown option --tim"),
        (["--timeout", "30"], "--timeout: '30': write a number and one of ms, s, m, h, such as 30s"),
        (["--timeout"], "--timeout: expected one argument"),
        (["--profile", "leen"], "--profile: 'leen' is not one of lean, balanced (did you mean lean?)"),
        (["--block", "image,fnt"], "--block: 'fnt' is not one of image, font (did you mean font?)"),
        (["--depth", "-1"], "--depth"),
        (["--depth", "1.5"], "--depth: '1.5' is not a whole number of at least 0"),
        (["--quiet=yes"], "--quiet"),
        (["--timeout", "%s%d"], "'%s%d'"),
    ],
)
def test_parse_bad_usage_says_what_where_and_what_to_do(argv: list[str], message: str) -> None:
    """Every mistake names its option, the wrong value and the nearest right one."""
    with pytest.raises(BadUsage) as caught:
        parse(GRAMMAR, argv)
    assert message in caught.value.message


def test_parse_operand_where_none_is_taken_is_refused() -> None:
    """A command without operands names the word it cannot use."""
    with pytest.raises(BadUsage, match="takes options only, not 'it'"):
        parse(Grammar(command="doctor", summary="x"), ["it"])


@pytest.mark.parametrize("width", [40, 80, 120])
def test_help_page_any_width_fits_and_ends_in_examples(width: int) -> None:
    """No line of the option list is wider than the terminal, and the last lines are examples."""
    page = help_page(GRAMMAR, width=width, colour=False)
    assert max(map(len, page.splitlines())) <= width
    assert page.endswith("Examples\n  # one thing\n  browsercrawl fetch it\n")
    assert "\x1b" not in page


def test_help_page_in_colour_has_the_same_text() -> None:
    """Colour changes nothing but colour."""
    coloured = help_page(GRAMMAR, width=80, colour=True)
    assert coloured != help_page(GRAMMAR, width=80, colour=False)
    assert re.sub(r"\x1b\[\d*m", "", coloured) == help_page(GRAMMAR, width=80, colour=False)
