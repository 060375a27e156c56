"""The command line before pages that mean ill: what they say reaches no terminal and no log as it is."""

import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from browsercrawl.testing.server import Exchange, Server

_LIMIT_S = 90.0
_STEERING = "\x1b]0;pwned\x07\x1b[2J\x9b1m\u202egpj\u2066\u200b\U000e0041"
_TITLE = f"=cmd|'/c calc'!A0{_STEERING}[bold]x[/bold]"
_OURS = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""Sequences that rich writes by itself: colours, and moves of the cursor."""


def _answer(exchange: Exchange) -> None:
    if exchange.path == "/":
        name = json.dumps(f"/{_STEERING}?token=geheim")
        exchange.respond(
            f"<title>{_TITLE}</title><a href='/file'>x</a><a href='/gone'>x</a><a href='javascript:0'>x</a>"
            f"<a id=a>x</a><script>document.getElementById('a').setAttribute('href', {name})</script>"
        )
    elif exchange.path == "/file":
        headers = {"Content-Disposition": "attachment; filename*=UTF-8''..%2F..%2F%1B%5B2J%E2%80%AEgpj.exe"}
        exchange.respond(b"MZ", content_type="application/octet-stream", headers=headers)
    elif exchange.path == "/gone":
        exchange.respond("gone", status=410)
    else:
        exchange.respond(f"<title>@SUM(1){_STEERING}</title>", content_type="text/html; charset=utf-8")


@pytest.fixture
def url() -> Iterator[str]:
    """Open a site of such pages."""
    server = Server(_answer)
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


def _on_terminal(folder: Path, *argv: str) -> tuple[int, str]:
    """Run the command with a terminal of its own for everything; return its code and what it wrote."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "browsercrawl", *argv])
    written = b""
    try:
        while data := os.read(terminal, 65_536):
            written += data
    except OSError:  # how the end of a terminal looks on Linux
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode()


def test_commands_before_hostile_pages_write_nothing_that_steers(url: str, tmp_path: Path) -> None:
    """On a terminal only our own sequences arrive, in a pipe and in files none; formulas and secrets do not survive."""
    code, shown = _on_terminal(tmp_path, "crawl", url, "--depth", "1", "--output", "run", "--retries", "0")
    assert code == 1, shown
    looks = [shown]
    for argv in (
        ["export", "run"],
        ["export", "run", "--format", "csv"],
        ["status", "run"],
        ["status", "run", "--json"],
    ):
        code, shown = _on_terminal(tmp_path, *argv)
        assert code == 0, shown
        looks.append(shown)
    for shown in looks:
        rest = _OURS.sub("", shown.replace("\r", ""))
        assert not set(rest) & set("\x1b\x07\x9b\u202e\u2066\u200b\U000e0041"), ascii(rest)
        assert "\x1b[2J" not in shown
    assert "geheim" not in looks[0]
    done = subprocess.run(
        [sys.executable, "-m", "browsercrawl", "export", "run", "--to", "out.csv"],
        cwd=tmp_path, capture_output=True, text=True, timeout=_LIMIT_S, check=True,
    )  # fmt: skip
    assert "4 results in out.csv" in done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    titles = {row["title"] for row in rows if row["title"]}
    assert {title[:6] for title in titles} == {"'=cmd|", "'@SUM("}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    events = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert "geheim" not in events
    assert not set(events) & set("\x1b\x07\x9b\u202e\u2066\u200b\U000e0041")
    outside = {path.name for path in tmp_path.iterdir()} | {path.name for path in tmp_path.parent.iterdir()}
    assert not any("gpj" in name for name in outside)
