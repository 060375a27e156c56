"""Job files as people use them: a process, real Chromium, the demo site, functions of the user's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.cli.init import EXAMPLE
from browsercrawl.testing import DemoSite

_LIMIT_S = 60.0
_COMMAND = [sys.executable, "-m", "browsercrawl"]

SHOP = """
async def page(visit):
    await visit.enqueue_links()

def in_scope(request, url):
    with open("asked.txt", "a") as file:
        file.write(f"{request.anchors} {url}\\n")
    return "/faults/" not in url

async def product(visit):
    visit.push(await visit.page.inner_text("h1"))

async def failed(result):
    with open("failed.txt", "a") as file:
        file.write(f"{result.error.kind}\\n")

class Sink:
    async def write(self, records):
        with open("sink.txt", "a") as file:
            file.writelines(f"{record.request_id}\\n" for record in records)

    async def close(self):
        with open("sink.txt", "a") as file:
            file.write("closed\\n")
"""


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """Open the demo site."""
    with DemoSite(products=8) as opened:
        yield opened


def _run(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *argv], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
        timeout=_LIMIT_S, check=False,
    )  # fmt: skip


def _results(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def test_run_example_with_functions_crawls_the_demo_shop(site: DemoSite, tmp_path: Path) -> None:
    """What `init` writes finds every page of the shop; rules, handlers, `on_failed` and sinks do what they say."""
    text = EXAMPLE.replace("http://127.0.0.1:8000/", f"{site.url}/").replace("# handler: product", "handler: product")
    text = text.replace("depth: 2", "depth: 9").replace("25%", "50%")
    text = text.replace("# - {url: ", f'- "{site.url}/faults/status?is=404"\n    # - {{url: ')
    text += "handlers: {default: 'shop:page', product: 'shop:product'}\non_failed: shop:failed\nsinks: ['shop:Sink']\n"
    text += "in_scope: shop:in_scope\n"
    (tmp_path / "crawl.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    done = _run(tmp_path, "run", "crawl.yaml", "--output", "out", "--json")
    assert done.returncode == 1, done.stderr
    assert "to try what failed again: browsercrawl retry-failed out" in done.stderr
    results = _results(tmp_path / "out")
    assert sorted(json.loads(line)["request_id"] for line in done.stdout.splitlines()) == sorted(
        result["request_id"] for result in results
    )
    truth = site.truth()
    found = {result["url"].removeprefix(site.url): result for result in results if result["outcome"] == "succeeded"}
    assert found.keys() == {page.path for page in truth.pages}
    assert {path: tuple(found[path]["data"]) for path in (product.path for product in truth.products)} == {
        product.path: (product.name,) for product in truth.products
    }
    kinds = {path: {artifact["name"] for artifact in result["artifacts"]} for path, result in found.items()}
    assert kinds["/"] == {"html"}
    assert kinds[truth.products[0].path] == {"html", "screenshot"}
    assert (tmp_path / "failed.txt").read_text() == "http_rejected\n"
    assert f"('{site.url}/',) {site.url}{truth.products[0].path}\n" in (tmp_path / "asked.txt").read_text()
    told = (tmp_path / "sink.txt").read_text().split()
    assert told[-1] == "closed"
    assert sorted(told[:-1]) == sorted(result["request_id"] for result in results)


def test_run_interrupted_is_resumed_from_elsewhere_with_its_secret(site: DemoSite, tmp_path: Path) -> None:
    """The run knows its job, from any folder; the secret comes from the environment each time and is in no file."""
    job, below = tmp_path / "jobs", tmp_path / "below"
    job.mkdir()
    below.mkdir()
    (job / "urls.txt").write_text("\n".join(f"{site.url}/faults/slow?ms=1500&n={n}" for n in range(6)))
    (job / "job.yaml").write_text(
        "seeds: {file: urls.txt}\nbrowser: {user_agent: 'bot ${SECRET}'}\npace: {concurrency: 2}\n"
    )
    process = subprocess.Popen(
        [*_COMMAND, "run", str(job / "job.yaml"), "--output", "out"],
        cwd=tmp_path, env=os.environ | {"SECRET": "hunter2"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + _LIMIT_S
    while site.hits("/faults/slow") < 2:
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130
    assert "go on with: browsercrawl resume out" in told
    without = _run(below, "resume", "../out", "--quiet")
    assert without.returncode == 2
    assert "browser.user_agent: the environment has no variable SECRET" in without.stderr
    done = _run(below, "resume", "../out", "--quiet", SECRET="hunter2")
    assert (done.returncode, done.stderr) == (0, "")
    assert len({result["request_id"] for result in _results(tmp_path / "out")}) == 6
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"hunter2" in path.read_bytes()] == []
    assert "hunter2" not in told + without.stderr
