"""What clears up when our own process is killed: a shell that waits for it, one for each driver.

A killed process cannot clear up, and its browser ends by itself only while the driver does its part: not when the
driver is stopped, or a renderer. The guardian learns of our death, whatever its kind, because the pipe that only we
hold ends; it sleeps in `read` until then. A shell and not Python, because it costs 1 MB and two milliseconds.
"""

import asyncio
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

_SHELL = "/bin/sh"
_SCRIPT = r"""
trap '' HUP INT QUIT TERM
folder=$1 driver= group=
while read -r what number; do
  case $what:$number in
    done:*) exit 0 ;;
    *: | *:*[!0-9]* | *:0* | *:1) ;;
    driver:*) driver=$number ;;
    group:*) group=$number ;;
  esac
done
named() { grep -lszxF "TMPDIR=$folder" /proc/[0-9]*/environ; }
# Its number was given to another process meanwhile. Unknown without /proc; a dead one has no environment.
strange() { grep -qs . "/proc/$1/environ" && ! grep -qszxF "TMPDIR=$folder" "/proc/$1/environ"; }
[ -n "$driver" ] && strange "$driver" && driver=
[ -n "$group" ] && strange "$group" && group=
[ -n "$driver" ] && children=$(pgrep -P "$driver")
tries=30
while [ "$tries" -gt 0 ]; do
  named=$(for path in $(named); do path=${path#/proc/}; echo "${path%/environ}"; done)
  # The driver first: it starts nothing more. Who leads a group is killed with it.
  for pid in $driver $children $named; do
    kill -s KILL -- "-$pid"
    kill -s KILL "$pid"
  done
  [ -n "$group" ] && kill -s KILL -- "-$group"
  driver= children= group= tries=$((tries - 1))
  rm -rf -- "$folder"
  [ -z "$named" ] && ! [ -e "$folder" ] && exit 0
  sleep 0.1 || sleep 1
done
"""
_EXIT_LIMIT_S = 1.0
_EXIT_POLL_S = 0.002


class Guardian:
    """Kills driver and browser and removes their folder when we die before it is dismissed.

    The best that can be had: where there is no shell, it does nothing.

    Args:
        folder: the TMPDIR of driver and browser, and of nobody else.
    """

    def __init__(self, folder: Path) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                [_SHELL, "-c", 'eval "$SCRIPT"', "browsercrawl-guardian", str(folder)],  # one short line in `ps`
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "SCRIPT": _SCRIPT,
                    "TMPDIR": str(folder.parent),
                },
                start_new_session=True,  # no Ctrl-C of the terminal reaches it
            )

    @property
    def pid(self) -> int | None:
        """Its process; None when there is none."""
        return None if self._process is None else self._process.pid

    def tell(self, what: Literal["driver", "group"], number: int) -> None:
        """Tell it what to kill: the driver's process, or the browser's process group. The last one told counts."""
        self._say(f"{what} {number}\n")

    def _say(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it is dead, or dismissed
                self._process.stdin.write(line.encode())

    async def dismiss(self) -> None:
        """End it; what it was to kill is gone. May be called again."""
        process = self._process
        if process is None or process.stdin is None:
            return
        self._say("done\n")
        process.stdin.close()
        until = time.monotonic() + 2 * _EXIT_LIMIT_S
        while process.poll() is None and (now := time.monotonic()) < until:
            if now > until - _EXIT_LIMIT_S:  # somebody has stopped it
                process.kill()
            await asyncio.sleep(_EXIT_POLL_S)
