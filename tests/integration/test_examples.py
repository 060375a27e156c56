"""The example programs do what they say, against the demo shop."""

import os
import subprocess
import sys
from pathlib import Path

from browsercrawl.testing import DemoSite

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, *arguments: str, **environment: str) -> list[str]:
    """Run an example to its end and return the lines it printed."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    known = {**os.environ, **environment}
    done = subprocess.run(command, env=known, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_example_shop_prices_finds_every_product() -> None:
    """Following labelled links by handlers reaches every product, each once, with its price."""
    with DemoSite() as site:
        lines = run_example("shop_prices.py", site.url + "/")
        assert sorted(lines) == sorted(f"{product.name},{product.price}" for product in site.truth().products)


def test_example_plain_script_prints_each_title() -> None:
    """The dispatcher without async gives one result per task."""
    with DemoSite() as site:
        pages = site.truth().pages[:5]
        lines = run_example("plain_script.py", *(site.url + page.path for page in pages))
        assert sorted(lines) == sorted(f"{site.url}{page.path} {page.title}" for page in pages)


def test_example_logins_shows_each_account_its_own_pages() -> None:
    """Three accounts log in by the form, once each, and get the pages of their own."""
    with DemoSite(accounts=3) as site:
        logins = " ".join(f"{account}:{site.password(account)}" for account in site.members.accounts)
        lines = run_example("logins.py", f"{site.url}/members/", LOGINS=logins)
        pages = [f"{account}: Page {page} of {account}" for account in site.members.accounts for page in range(1, 4)]
        assert sorted(lines) == pages
        assert site.members.logins == dict.fromkeys(site.members.accounts, 1)
