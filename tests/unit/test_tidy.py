"""The house rules that ruff and mypy cannot see: sizes, banned words, and the form of the files around the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
POSITIONAL_MAX = 2
FILE_BYTES_MAX = 500_000
GENERATED = {
    ".git",
    ".venv",
    "runs",
    "dist",
    "__pycache__",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
}

BANNED_IN_PACKAGE = {
    r"max\(0, \w[\w.]* - 1\)": "a count that would go below zero is a bug: raise",
    r"\btime\.time\(": "the injected Clock",
    r"\bdatetime\.(now\(\)|utcnow\()": "Clock.utc()",
    r"\bhasattr\(self\b": "an attribute set in __init__, and a state with a name",
    r"^\s*global ": "an object that owns the state",
    r"\bclass \w*(Manager|Helper|Utils?)\b": "the noun of the field",
    r"playwright\._impl|\._impl_obj": "Playwright's public interface",
}
BANNED_IN_CODE = {
    r"\b(TODO|FIXME|XXX)\b": "an issue",
    r"# type: ignore(?!\[[\w, -]+\]\s+# \S)": "# type: ignore[code]  # the reason",
    r"# noqa(?!: [A-Z0-9, ]+ - \S)": "# noqa: CODE - the reason",
}
BANNED_ANYWHERE = {
    r"/(work|root|home|Users)/\w": "a path that exists on every machine",
    r"^(<{7}|>{7}) ": "a merged file",
}


def _files(*suffixes: str) -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        below = path.relative_to(ROOT)
        if path.is_file() and GENERATED.isdisjoint(below.parts) and (not suffixes or path.suffix in suffixes):
            yield path


def _name(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def _is_package(path: Path) -> bool:
    return path.is_relative_to(ROOT / "browsercrawl")


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
    """Return how many parameters there are, and how many of them may be given by position; `self` is none."""
    positional = [each.arg for each in function.args.posonlyargs + function.args.args]
    if positional[:1] in (["self"], ["cls"]):
        del positional[0]
    return len(positional) + len(function.args.kwonlyargs), len(positional)


def _matches(banned: dict[str, str], paths: Iterator[Path]) -> list[str]:
    return [
        f"{_name(path, number)}: {line.strip()!r}; instead: {instead}"
        for path in paths
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for pattern, instead in banned.items()
        if re.search(pattern, line)
    ]


def test_files_are_short() -> None:
    """No source file has more than 500 lines."""
    lengths = {_name(path): len(path.read_text().splitlines()) for path in _files(".py", ".sh")}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    """No function has more than 70 lines."""
    lengths = {
        f"{_name(path, each.lineno)} {each.name}": (each.end_lineno or 0) - each.lineno + 1
        for path in _files(".py")
        for each in _functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


def test_signatures_are_narrow() -> None:
    """No function of the package takes more than 6 parameters, and no public one more than 2 by position.

    Special methods have the signature that Python gives them.
    """
    wide = [
        f"{_name(path, each.lineno)} {each.name}: {total} parameters, {positional} by position"
        for path in _files(".py")
        if _is_package(path)
        for each in _functions(path)
        for total, positional in [_parameters(each)]
        if not each.name.startswith("__") or each.name == "__init__"
        if total > PARAMETERS_MAX or (positional > POSITIONAL_MAX and not re.match(r"_[a-z]", each.name))
    ]
    assert wide == []


def test_code_has_no_banned_words() -> None:
    """Nothing stands in the code for which the house has something better."""
    package = (path for path in _files(".py") if _is_package(path))
    assert _matches(BANNED_IN_PACKAGE, package) + _matches(BANNED_IN_CODE, _files(".py")) == []


def test_files_name_no_machine() -> None:
    """No file holds a path of somebody's machine, nor a merge's leftovers."""
    texts = (path for path in _files() if path.suffix not in {".png", ".gif", ".ico", ".woff2"})
    assert _matches(BANNED_ANYWHERE, texts) == []


def test_files_are_no_blobs() -> None:
    """No file is larger than 500 kB: sources only, nothing that a program could make."""
    assert {_name(path): path.stat().st_size for path in _files() if path.stat().st_size > FILE_BYTES_MAX} == {}


def test_file_names_say_what_is_inside() -> None:
    """No file is named after nothing in particular."""
    assert [_name(path) for path in _files(".py") if re.search(r"util|helper|manager|misc|common", path.stem)] == []


def test_changelog_has_the_agreed_form() -> None:
    """`CHANGELOG.md` is in Keep-a-Changelog form: Unreleased first, then dated versions, newest first."""
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert lines[0] == "# Changelog"
    releases = [line for line in lines if line.startswith("## ")]
    assert releases[0] == "## [Unreleased]"
    numbers = []
    for release in releases[1:]:
        match = re.fullmatch(r"## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", release)
        assert match, release
        numbers.append(tuple(map(int, match.groups())))
    assert numbers == sorted(numbers, reverse=True)
    kinds = {line for line in lines if line.startswith("### ")}
    assert kinds <= {f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}


@pytest.mark.parametrize("pattern", BANNED_IN_PACKAGE | BANNED_IN_CODE | BANNED_ANYWHERE)
def test_banned_word_is_a_pattern(pattern: str) -> None:
    """Each pattern finds the offence it was written for."""
    offences = (
        "n = max(0, self.count - 1)", "time.time()", "datetime.now()", "if hasattr(self, 'x'):", "    global x",
        "# TODO: x", "class PageManager:", "x()  # type: ignore", "x  # noqa: E501", "from playwright._impl import x",
        "open('/home/me')", "<<<<<<< ours",
    )  # fmt: skip
    assert sum(bool(re.search(pattern, offence)) for offence in offences) == 1


def test_documents_link_to_what_exists() -> None:
    """A relative link in a Markdown file leads to a file of the project."""
    broken = [
        f"{_name(path)} -> {target}"
        for path in _files(".md")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []
