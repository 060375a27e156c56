"""Every call into Playwright has a time limit, read off the source of the adapter; and what its failures become."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import translate
from browsercrawl.errors import NetworkFailed, PageCrashed

BROWSER = Path(__file__).parents[3] / "browsercrawl" / "browser"

PLAYWRIGHT = {"dialog", "extra", "frame", "opener", "playwright", "popup", "raw", "request", "response", "session"}
"""What variables and attributes that hold an object of Playwright's are called, without a leading underscore."""

LIMITED = {"run", "settled"}
"""Methods of `Calls`, which take a call and a limit."""

HANDS_ON = ["call", "self"]
"""`self._call(call, what, limit_s)`, which hands on to `Calls`."""

EXCEPTIONS = {
    "await raw.opener()": "it answers from what Python knows already",
}


def _parts(node: ast.expr) -> Iterator[str]:
    """Yield the names along a chain: `self._raw.first` gives first, raw, self."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        if isinstance(node, ast.Attribute):
            yield node.attr.lstrip("_")
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id.lstrip("_")


def _imported(tree: ast.Module) -> set[str]:
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "playwright.async_api"
        for alias in node.names
    }


def _bare(node: ast.AST, names: set[str]) -> bool:
    """Tell whether a Playwright object's method is called in here, other than in the arguments of a limit."""
    if isinstance(node, ast.Call):
        method, *owners = _parts(node.func)
        if (method in LIMITED and "calls" in owners) or [method, *owners] == HANDS_ON:
            return False
        if isinstance(node.func, ast.Attribute) and names.intersection(owners):
            return True
    return any(_bare(child, names) for child in ast.iter_child_nodes(node))


def _offences(source: str) -> list[str]:
    tree = ast.parse(source)
    names = PLAYWRIGHT | _imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Await) and _bare(node.value, names):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.AsyncFor | ast.AsyncWith):
            heads = [node.iter] if isinstance(node, ast.AsyncFor) else [item.context_expr for item in node.items]
            found += [ast.unparse(head) for head in heads if _bare(head, names)]
    return found


@pytest.mark.parametrize("path", sorted(BROWSER.glob("*.py")), ids=lambda path: path.stem)
def test_adapter_awaits_no_call_without_a_limit(path: Path) -> None:
    """Nothing of Playwright's is awaited but through `Calls`."""
    assert [offence for offence in _offences(path.read_text()) if offence not in EXCEPTIONS] == []


def test_exceptions_are_still_needed() -> None:
    """Each exception stands in the source."""
    offences = {offence for path in BROWSER.glob("*.py") for offence in _offences(path.read_text())}
    assert EXCEPTIONS.keys() <= offences


@pytest.mark.parametrize(
    ("line", "is_bare"),
    [
        ("await self._raw.close()", True),
        ("await page.session.send('Page.enable')", True),
        ("await raw.locator('a').first.wait_for()", True),
        ("await asyncio.wait_for(self._raw.close(), 5)", True),
        ("await asyncio.gather(calls.run(raw.a(), limit_s=1), raw.b())", True),
        ("await BrowserContext.new_page(self._context)", True),
        ("await self._link.calls.run(self._raw.close(), limit_s=1)", False),
        ("await asyncio.gather(*(calls.settled(raw.close(), limit_s=1) for raw in them))", False),
        ("await page.close(limit_s=1)", False),
        ("await self.calls.run(task, limit_s=1)", False),
    ],
)
def test_rule_finds_a_bare_call(line: str, is_bare: bool) -> None:
    """The rule finds what it was written for, and nothing else."""
    source = f"from playwright.async_api import BrowserContext\nasync def f():\n    {line}\n"
    assert bool(_offences(source)) is is_bare


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Page.goto: net::ERR_FAILED at http://site/crashed", NetworkFailed),
        ("Page.goto: Page crashed", PageCrashed),
        ("Page.goto: Navigation failed because page crashed!", PageCrashed),
        ("CDPSession.send: Target crashed", PageCrashed),
    ],
)
def test_translate_tells_a_crash_by_more_than_a_word(text: str, error: type[Exception]) -> None:
    """An address that speaks of a crash is none."""
    assert type(translate(PlaywrightError(text), "loading", gone=lambda: None)) is error
