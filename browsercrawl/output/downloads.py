"""Keeping what a site sends as a file: under a name that is safe whatever the site calls it, and with its hash."""

import hashlib
import os
import re
import unicodedata
from pathlib import Path
from typing import BinaryIO

from browsercrawl.output.line_file import FILE_MODE

NAME_LENGTH_MAX = 80
"""With the request's id before it far below the 255 bytes that file systems take."""

_BLOCK_BYTES = 1_048_576
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


def safe_name(text: str) -> str:
    """Make of any text the end of a file name, after a prefix of ours: ASCII letters, digits and inner `.`, `_`, `-`.

    Example:
        >>> safe_name("../../etc/passwd"), safe_name("Prices (2).PDF"), safe_name("")
        ('passwd', 'Prices_2.PDF', 'file')
    """
    last = re.split(r"[/\\]", text)[-1]
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    plain = _FOREIGN.sub("_", plain).replace("_.", ".").strip("._-")
    plain = re.sub(r"\.{2,}", ".", plain)
    if len(plain) > NAME_LENGTH_MAX:
        extension = _EXTENSION.search(plain)
        tail = extension.group() if extension else ""
        plain = plain[: NAME_LENGTH_MAX - len(tail)].rstrip("._-") + tail
    return plain or "file"


def keep(source: BinaryIO, path: Path) -> tuple[int, int, str]:
    """Copy an open file to a path, whole or not at all; may be tried again. Blocks.

    Up to its first dot the name is ours. What has the same beginning, left by a visit that was cut off and got the file
    under another name, is replaced.

    Returns:
        Its size, by how much the directory has grown, and its SHA-256.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    own = path.name.partition(".")[0]
    earlier = list(path.parent.glob(f"{own}.*"))
    before = sum(each.lstat().st_size for each in earlier)
    fresh = path.with_name(f".{own}.new")
    digest, size = hashlib.sha256(), 0
    source.seek(0)
    try:
        # A link in its place would be followed by nothing but an `open` without this.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(fresh, flags, FILE_MODE), "wb") as target:
            while block := source.read(_BLOCK_BYTES):
                target.write(block)
                digest.update(block)
                size += len(block)
        fresh.replace(path)
        for each in earlier:
            if each != path:
                each.unlink()
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return size, size - before, digest.hexdigest()
