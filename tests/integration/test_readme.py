"""The README's Python examples run as they are written, against the demo shop."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from browsercrawl.testing import DemoSite

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def site() -> Iterator[DemoSite]:
    """The demo shop, for the whole module."""
    with DemoSite() as site:
        yield site


def run_example(
    code: str, site: DemoSite, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run an example in a process of its own, with the shop in place of example.com; return what it printed."""
    code = code.replace("https://example.com", site.url)
    command = [sys.executable, "-W", "error", "-c", code]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "an example must not complain"
    return done.stdout


def test_readme_stream_example_prints_the_rendered_title(site: DemoSite) -> None:
    """The first five lines of Python give the title that only JavaScript makes."""
    home = site.truth().pages[0]
    assert run_example(EXAMPLES[0], site) == f"{site.url}/ succeeded {home.title}\n"


def test_readme_handler_example_visits_every_product_of_the_category(site: DemoSite) -> None:
    """Labels, handlers, links and the summary work together as written."""
    category = next(page for page in site.truth().pages if page.path == "/category/lamps")
    stock = {product.path: product.stock for product in site.truth().products}
    sold_out = sum(1 for path in category.products if stock[path] == 0)
    succeeded = 1 + len(category.products) - sold_out
    assert run_example(EXAMPLES[1], site) == f"{succeeded} 0 {sold_out}\n"


def test_readme_login_example_sees_each_account(site: DemoSite, tmp_path: Path) -> None:
    """Each session is logged in as its own account; started again, nobody has to log in."""
    code = EXAMPLES[2].replace("/login", "/members/login").replace("/orders", "/members/")
    code = code.replace('"alice"', '"member-0"').replace('"bob"', '"member-1"')
    names = ("member-0", "member-1")
    environment = {f"PASSWORD_OF_{name.upper()}": site.password(name) for name in names}
    for _ in range(2):
        lines = sorted(run_example(code, site, cwd=tmp_path, environment=environment).splitlines())
        assert lines == [f"{name} succeeded Page 0 of {name}" for name in names]
    assert site.members.logins == {"member-0": 1, "member-1": 1}


def test_readme_dispatcher_example_prints_status_and_result(site: DemoSite) -> None:
    """A plain script without async gets its result, and the status prints as a table."""
    output = run_example(EXAMPLES[3], site)
    assert "finished" in output
    assert f"{site.url} succeeded {site.truth().pages[0].title}" in output


def test_readme_resume_example_started_again_does_nothing_twice(site: DemoSite, tmp_path: Path) -> None:
    """The same program, started again, finds its run finished: one page, visited once."""
    assert run_example(EXAMPLES[4], site, cwd=tmp_path) == "finished 1\n"
    visited = (tmp_path / "my-run" / "results.jsonl").read_bytes()
    assert run_example(EXAMPLES[4], site, cwd=tmp_path) == "finished 1\n"
    assert (tmp_path / "my-run" / "results.jsonl").read_bytes() == visited


def test_readme_has_no_example_without_a_test() -> None:
    """Whoever adds an example adds its test."""
    assert len(EXAMPLES) == 5
