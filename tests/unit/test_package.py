"""The package as it ships: what is in the wheel, what it depends on, and what the lock files pin."""

import ast
import importlib
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling import build

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"bs4": "beautifulsoup4", "yaml": "pyyaml"}
"""Packages whose distribution has another name."""

LOCKS = ("requirements.lock", "requirements-dev.lock")


def _normalised(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def _pins(lock: str) -> dict[str, str]:
    """Return what a lock file pins: name and version of each distribution."""
    lines = re.findall(r"^(\S+)==(\S+)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return {_normalised(name): version for name, version in lines}


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel has every file of the package, `py.typed` and data included, the licence, and no tests."""
    monkeypatch.chdir(ROOT)
    with ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        shipped = {name for name in wheel.namelist() if name.startswith("browsercrawl/")}
        others = {name.partition("/")[0] for name in wheel.namelist()} - {"browsercrawl"}
        licences = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    files = (path.relative_to(ROOT) for path in (ROOT / "browsercrawl").rglob("*") if path.is_file())
    assert shipped == {path.as_posix() for path in files if not re.search(r"__pycache__|/\.", path.as_posix())}
    assert "browsercrawl/py.typed" in shipped
    assert len(licences) == 1
    assert [name.partition("-")[0] for name in others] == ["browsercrawl"]  # its .dist-info


def test_dependencies_are_those_imported() -> None:
    """The package depends on what it imports, and on nothing that it does not; its extras included."""
    imported = set()
    for path in (ROOT / "browsercrawl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    # pydantic pins pydantic-core, and sends its users there for some of its errors
    foreign = imported - sys.stdlib_module_names - {"browsercrawl", "pydantic_core"}
    extras = chain.from_iterable(PROJECT["optional-dependencies"].values())
    asked_for = {_normalised(each) for each in [*PROJECT["dependencies"], *extras]}
    assert {_normalised(DISTRIBUTIONS.get(name, name)) for name in foreign} == asked_for


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_dependency_with_hashes(lock: str) -> None:
    """A lock file pins all that is asked for and the build backend, each with hashes, and names no host."""
    text = (ROOT / lock).read_text()
    pins = _pins(lock)
    assert {_normalised(each) for each in [*PROJECT["dependencies"], "hatchling"]} <= pins.keys()
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert {_normalised(block) for block in blocks} == pins.keys()
    assert all(
        re.fullmatch(r"\S+==\S+( ; [^\n]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", block) for block in blocks
    )


def test_locks_agree() -> None:
    """Tests run with exactly the versions that users get."""
    runtime, dev = (_pins(lock) for lock in LOCKS)
    assert runtime.items() <= dev.items()


def test_python_with_the_task_leak_is_refused() -> None:
    """No Python is accepted on which every call into the browser leaks a task."""
    assert all(f"!=3.14.{patch}" in PROJECT["requires-python"].split(",") for patch in range(7))


def test_entry_point_exists() -> None:
    """The command that the package installs can be imported and called."""
    module, _, name = PROJECT["scripts"]["browsercrawl"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_public_name_is_there() -> None:
    """Each name in `__all__` of the package and its folders exists."""
    folders = [path.parent for path in (ROOT / "browsercrawl").rglob("__init__.py")]
    for folder in folders:
        module = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
        assert module.__all__, module.__name__
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
    contract = {"Crawler", "CrawlDispatcher", "Request", "Result", "Retry", "Skip", "Blocked", "Stop"}
    assert contract <= set(importlib.import_module("browsercrawl").__all__)
