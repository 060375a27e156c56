"""What ends a program also when it comes out of user code."""

import subprocess
import sys

import pytest

_INTERRUPTED = """
import asyncio, sys
from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript
launcher = FakeLauncher(lambda url: FakePageScript(load_s=0 if url.endswith("3") else 0.05))
crawler = Crawler(CrawlerConfig(concurrency=2), launch=launcher)
@crawler.handler()
async def handler(visit):
    if visit.request.url.endswith("3"):
        raise {error}
async def main():
    async with crawler:
        await crawler.run(f"http://site.test/{{number}}" for number in range(9))
try:
    asyncio.run(main(), debug=False)  # debug complains of slow callbacks on a loaded machine
except BaseException as error:
    print(type(error).__name__, launcher.pages_open, launcher.contexts_open, launcher.browsers_open)
"""


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_run_interrupt_out_of_a_handler_ends_the_program_cleanly(error: str) -> None:
    """KeyboardInterrupt and SystemExit out of a handler end the program; nothing is open then and nothing complains."""
    script = [sys.executable, "-X", "dev", "-W", "error", "-c", _INTERRUPTED.format(error=error)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"{error} 0 0 0\n", "")
