"""The command line in a process that kills itself, as `kill -9` does, at a step that is hard to hit from outside.

    python mortal.py MODULE:CLASS.METHOD:before|after[:NTH] ARGUMENT...

The process dies before or after the nth call of the method, first is 1; everything else is as in `browsercrawl`.
"""

import functools
import importlib
import inspect
import itertools
import os
import signal
import sys
from typing import Any

from browsercrawl.cli.entry import main


def doom(step: str) -> None:
    """Make the process die at a step."""
    module, path, when, *rest = step.split(":")
    nth = int(rest[0]) if rest else 1
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    call, numbers = getattr(owner, name), itertools.count(1)

    @functools.wraps(call)
    def dying(*args: Any, **kwargs: Any) -> Any:
        is_last = next(numbers) == nth
        if is_last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **kwargs)
        if is_last and not inspect.isawaitable(result):
            os.kill(os.getpid(), signal.SIGKILL)
        return _die_after(result) if is_last else result

    setattr(owner, name, dying)


async def _die_after(result: Any) -> None:
    await result
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    doom(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
