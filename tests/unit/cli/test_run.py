"""`browsercrawl run`: what is found out before anything is started, and where functions of the user's come from."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.cli.loading import UserCode, importable, load_code
from browsercrawl.config.job import JobFile
from browsercrawl.errors import ConfigError

SEEDS = "seeds: {urls: ['http://127.0.0.1:9/']}\n"

MODULE = """
class Sink:
    async def write(self, records): ...
    async def close(self): ...

class Half:
    async def write(self, records): ...

async def page(visit): ...
async def failed(result): ...
def plain(visit): ...
async def sink(): ...
def broken(): raise RuntimeError("no database")
number = 3
"""


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run a job that cannot be run; return what is said."""
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> str:
        (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
        before = set(tmp_path.iterdir())
        assert main(["run", "shop.yaml"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before
        return err

    return run


@pytest.fixture
def load(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], UserCode]:
    """Load what the lines of a job name; `code` in them is a module of this test alone."""
    name = f"code_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(MODULE)

    def load_lines(lines: str) -> UserCode:
        file = JobFile.read(SEEDS + lines.replace("code:", f"{name}:"), name="shop.yaml", base=tmp_path)
        with importable(tmp_path):
            return load_code(file.resolve({}), file)

    return load_lines


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "shop.yaml: is empty"),
        (f"{SEEDS}visit: {{timeout: 30}}", "shop.yaml, line 2, visit.timeout: '30': write a number"),
        ("seeds: {urls: [example.com]}", "shop.yaml, line 1, seeds.urls[1]: not a URL: 'example.com'; write it"),
        ("seeds: {urls: [example.com]}", "did you mean https://example.com ?"),
        ("seeds: {urls: [{url: x}]}", "shop.yaml, line 1, seeds.urls[1]: not a URL: 'x'"),
        ("seeds:\n  file: no.txt", "shop.yaml, line 2, seeds.file: no.txt: No such file or directory"),
        ("seeds:\n  file: .", "shop.yaml, line 2, seeds.file: .: is a directory"),
        (f"{SEEDS}browser: {{playwright_config: no.json}}", "no.json: cannot be read"),
        (f"{SEEDS}browser: {{user_agent: '${{NO_SUCH_VARIABLE}}'}}", "no variable NO_SUCH_VARIABLE"),
        (f"{SEEDS}handlers: {{default: 'no_module:page'}}", "shop.yaml, line 2, handlers.default: there is no module"),
    ],
)  # fmt: skip
def test_run_wrong_job_exits_2_before_anything_is_made(refused: Callable[[str], str], text: str, told: str) -> None:
    """Nothing on standard output, one clear message with its place, nothing started, no run directory."""
    err = refused(text)
    assert told in err
    assert "Traceback" not in err


def test_run_module_that_raises_shows_the_users_traceback(refused: Callable[[str], str], tmp_path: Path) -> None:
    """What the user's own code says is shown from its first line on, without ours."""
    (tmp_path / "raising_module.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    err = refused(f"{SEEDS}handlers: {{default: 'raising_module:page'}}")
    assert "shop.yaml, line 2, handlers.default: raising_module cannot be imported:" in err
    assert 'raising_module.py", line 2, in f' in err
    assert "ZeroDivisionError" in err
    assert "browsercrawl/cli" not in err


def test_run_missing_extra_is_told_before_the_start(
    refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that needs another package says what to type; it does not fail page by page."""
    monkeypatch.setattr("browsercrawl.cli.running.find_spec", lambda module: None)
    err = refused(f"{SEEDS}rules: [{{url: '*', save: markdown}}]")
    assert "shop.yaml, line 2, rules[1].save: markdown" in err
    assert "pip install 'browsercrawl[markdown]'" in err
    assert "pip install 'browsercrawl[sitemap]'" in refused("seeds: {sitemap: 'http://127.0.0.1:9/s.xml'}")


def test_load_handlers_by_label_and_the_default_for_both_its_names(load: Callable[[str], UserCode]) -> None:
    """`default` gets pages without a label, and those a rule sends to it by name."""
    code = load(
        "handlers: {default: 'code:page', product: 'code:page'}\non_failed: code:failed\nsinks: ['code:Sink']\n"
        "in_scope: code:plain"
    )
    assert set(code.handlers) == {None, "default", "product"}
    assert code.on_failed is not None
    assert code.on_failed.__name__ == "failed"
    assert len(code.sinks) == 1
    assert code.in_scope is not None
    assert code.in_scope.__name__ == "plain"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("handlers: {x: 'code:plain'}", r"line 2, handlers\.x: \w+:plain must be an `async def` function"),
        ("handlers: {x: 'code:pages'}", r"handlers\.x: module \w+ \(.*\.py\) has no pages \(did you mean page\?\)"),
        ("handlers: {x: 'no_such.module:x'}", r"handlers\.x: there is no module no_such in .*, nor among"),
        ("on_failed: code:number", r"on_failed: \w+:number must be an `async def` function"),
        ("in_scope: code:page", r"in_scope: \w+:page must be a plain `def` function"),
        ("sinks: ['code:number']", r"sinks\[1\]: \w+:number must be a function or class that, called without"),
        ("sinks: ['code:sink']", r"sinks\[1\]: \w+:sink must be a function or class that, called without"),
        ("sinks: ['code:Half']", r"sinks\[1\]: what \w+:Half\(\) gives has no `async def` write\(records\) and close"),
        ("sinks: ['code:broken']", r"(?s)sinks\[1\]: \w+:broken\(\) failed:.*RuntimeError: no database"),
    ],
)  # fmt: skip
def test_load_what_is_not_as_needed_names_its_place(load: Callable[[str], UserCode], lines: str, told: str) -> None:
    """A wrong name or a wrong kind of function is found before the first page, not at it."""
    with pytest.raises(ConfigError, match=told):
        load(lines)


PROFILE = "sessions: {profiles: {a: {account: x, login: "


def test_load_session_functions_by_the_sessions_that_name_them(load: Callable[[str], UserCode]) -> None:
    """What logs a session in, what tells that it is logged out, and what gives proxies."""
    code = load(
        f"{PROFILE}{{function: 'code:page', logged_out: {{function: 'code:failed'}}}}}}}}, proxy: 'code:plain'}}"
    )
    assert (set(code.logins), set(code.logged_out)) == ({"a"}, {"a"})
    assert code.proxy is not None
    assert code.proxy.__name__ == "plain"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            PROFILE + "{function: 'code:plain'}}}}",
            r"line 2, sessions\.profiles\.a\.login\.function: \w+:plain must be an",
        ),
        (
            PROFILE + "{function: 'code:page', logged_out: {function: 'code:number'}}}}}",
            r"sessions\.profiles\.a\.login\.logged_out\.function: \w+:number must be an `async def`",
        ),
        ("sessions: {proxy: 'code:page'}", r"sessions\.proxy: \w+:page must be a plain function"),
        ("sessions: {proxy: 'code:number'}", r"sessions\.proxy: \w+:number must be a plain function"),
    ],
)
def test_load_wrong_function_for_a_session_names_its_place(
    load: Callable[[str], UserCode], lines: str, told: str
) -> None:
    """It is found before the first login, not at it."""
    with pytest.raises(ConfigError, match=told):
        load(lines)


def test_importable_folder_is_taken_back(tmp_path: Path) -> None:
    """A run leaves the program's module path as it was."""
    before = list(sys.path)
    with importable(tmp_path):
        assert sys.path == [str(tmp_path), *before]
    assert sys.path == before
