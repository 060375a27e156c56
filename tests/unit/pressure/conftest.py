"""Machines recorded as small dictionaries: the path of each file the sensors read, and what it says."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Record = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Give a function that writes such files below a folder that stands for `/`, and returns the folder.

    They replace those of the same name; the machine has 24 GB, of which 4 GB are used, unless the files say otherwise.
    """

    def write(files: Mapping[str, str]) -> Path:
        for path, text in files.items():
            file = tmp_path / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    write({"/proc/meminfo": "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n"})
    return write
