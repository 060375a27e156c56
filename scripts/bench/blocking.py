"""What it costs not to fetch something: ways of blocking by type and by host, on a page with many images.

    python scripts/bench/blocking.py [--rounds 5] [--short 20] [--long 80] [SUBJECT ...]

The page has 40 images of 30 KB, a font, a stylesheet and one script from each of 10 other hosts (names below
`localhost`); their addresses differ from page to page, so that the HTTP cache serves none. Each subject loads the same
pages, one after the other, in a process of its own; the difference of two run lengths by the difference of their pages
is the cost of a page with start-up taken off. Bytes are those that the server sent. Quoted are medians.

A subject is `none`, or a way and what it blocks: `fetch-types` (what `--block image,font,stylesheet` does),
`route-types`, `fetch-10`, `switch-10` (what `--block-hosts` does), `route-10`, `urls-10` (Network.setBlockedURLs); the
number is how many hosts the list has, of which 10 are on the page.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
from typing import Any
from urllib.request import urlopen

from tree_cpu import measured_run

HOSTS = tuple(f"ads{number}.localhost" for number in range(10))
SUBJECTS = (
    "none", "fetch-types", "route-types",
    "switch-10", "fetch-10", "route-10", "urls-10", "switch-1000", "fetch-1000", "fetch-10000",
)  # fmt: skip
IMAGE = b"\x89PNG\r\n\x1a\n" + b"\x00" * 30_000
TYPES = {"image": "Image", "font": "Font", "stylesheet": "Stylesheet"}


def serve() -> None:
    """Serve the pages until standard input ends; prints the port."""
    from browsercrawl.testing.server import SCRIPT, Exchange, Server

    sent = 0

    def answer(exchange: Exchange) -> None:
        nonlocal sent
        kind, _, number = exchange.path.strip("/").partition("/")
        body, content_type = {
            "page": (page(number, server.port).encode(), "text/html"),
            "image": (IMAGE, "image/png"),
            "font": (b"\x00" * 30_000, "font/woff2"),
            "style": (b"p{font-family:f}" + b"/* */" * 4_000, "text/css"),
            "script": (b"window.seen=(window.seen||0)+1;" + b"/* */" * 4_000, SCRIPT),
            "sent": (str(sent).encode(), "text/plain"),
        }.get(kind, (b"", "text/plain"))
        sent += len(body) if kind != "sent" else 0
        exchange.respond(body, content_type=content_type)

    server = Server(answer)
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()


def page(number: str, port: int) -> str:
    """Return the page of a number."""
    images = "".join(f"<img src='/image/{number}-{each}' width=50 height=50>" for each in range(40))
    scripts = "".join(f"<script async src='http://{host}:{port}/script/{number}'></script>" for host in HOSTS)
    font = f"@font-face{{font-family:f;src:url(/font/{number})}}"
    return f"<link rel=stylesheet href=/style/{number}><style>{font}</style><p>{number}{images}{scripts}"


def block_list(length: int) -> list[str]:
    """Return hosts to block: those of the page come last, where a linear search finds them late."""
    return [f"tracker{number}.metrics-example.com" for number in range(length - len(HOSTS))] + list(HOSTS)


async def load(subject: str, base: str, count: int) -> None:
    """Load the pages as one of the subjects."""
    from playwright.async_api import async_playwright

    from browsercrawl.browser import find_browser
    from browsercrawl.browser.switches import command_line
    from browsercrawl.config import BrowserConfig

    way, _, what = subject.partition("-")
    hosts = block_list(int(what)) if what.isdigit() else []
    config = BrowserConfig()
    line = command_line(config)
    args = list(line.args)
    if way == "switch":
        rules = ",".join(f"MAP {host} ~NOTFOUND,MAP *.{host} ~NOTFOUND" for host in hosts)
        args.append(f"--host-resolver-rules={rules}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_browser(config).path, args=args, ignore_default_args=list(line.ignored)
        )
        context = await browser.new_context()
        tab = await context.new_page()
        if way == "fetch":
            await block_by_fetch(await browser.new_browser_cdp_session(), hosts)
        elif way == "route":
            blocked = frozenset(hosts)

            async def decide(route: Any) -> None:
                request = route.request
                host = request.url.split("/")[2].partition(":")[0]
                refused = host in blocked or (not blocked and request.resource_type in TYPES)
                await (route.abort() if refused else route.continue_())

            await context.route("**/*", decide)
        elif way == "urls":
            session = await context.new_cdp_session(tab)
            await session.send("Network.enable")
            await session.send("Network.setBlockedURLs", {"urls": [f"*://{host}:*/*" for host in hosts]})
        for number in range(count):
            await tab.goto(f"{base}page/{number}", wait_until="load")
            assert await tab.evaluate("window.seen || 0") == (0 if hosts else len(HOSTS)), f"{subject} does not block"
        await browser.close()


async def block_by_fetch(session: Any, hosts: list[str]) -> None:
    """Refuse what matches: the types, or the hosts."""
    answers = set()

    def refuse(event: dict[str, Any]) -> None:
        params = {"requestId": event["requestId"], "errorReason": "BlockedByClient"}
        answer = asyncio.ensure_future(session.send("Fetch.failRequest", params))
        answers.add(answer)
        answer.add_done_callback(answers.discard)

    session.on("Fetch.requestPaused", refuse)
    ends = ("/*", ":*/*")
    patterns = [{"urlPattern": f"*://{name}{end}"} for host in hosts for name in (host, f"*.{host}") for end in ends]
    patterns = patterns or [{"urlPattern": "*", "resourceType": each} for each in TYPES.values()]
    await session.send("Fetch.enable", {"patterns": patterns})


def sent(base: str) -> int:
    """Ask the server how many bytes of content it has sent."""
    with urlopen(f"{base}sent") as response:
        return int(response.read())


def compare(subjects: list[str], rounds: int, short: int, long: int) -> None:
    """Run the subjects in turn and print the table."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    costs: dict[str, list[float]] = {subject: [] for subject in subjects}
    sizes: dict[str, list[float]] = {subject: [] for subject in subjects}
    try:
        assert server.stdout is not None
        base = f"http://localhost:{int(server.stdout.readline())}/"
        for number in range(rounds):
            for subject in subjects:
                command = [sys.executable, __file__, "--base", base, subject, "--one"]
                cpu = []
                for count in (short, long):
                    before = sent(base)
                    cpu.append(measured_run([*command, str(count)])[0])
                    sizes[subject].append((sent(base) - before) / count)
                costs[subject].append((cpu[1] - cpu[0]) / (long - short))
            line = "  ".join(f"{subject} {costs[subject][-1] * 1000:.0f}" for subject in subjects)
            print(f"round {number + 1}, ms: {line}", flush=True)
    finally:
        server.communicate()
    print(f"\n{'':14}{'CPU per page':>14}{'lowest':>9}{'highest':>9}{'bytes per page':>16}")
    for subject in subjects:
        figures = [1000 * each for each in costs[subject]]
        print(
            f"{subject:14}{statistics.median(figures):11.1f} ms{min(figures):9.1f}{max(figures):9.1f}"
            f"{statistics.median(sizes[subject]):16,.0f}"
        )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=list(SUBJECTS), metavar="SUBJECT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=20, help="pages of the short run")
    parser.add_argument("--long", type=int, default=80, help="pages of the long run")
    parser.add_argument("--base", help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    elif arguments.one:
        asyncio.run(load(arguments.subjects[0], arguments.base, arguments.one))
    else:
        compare(arguments.subjects, arguments.rounds, arguments.short, arguments.long)


if __name__ == "__main__":
    main()
