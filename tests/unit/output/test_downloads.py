"""Files from a site get safe names, and arrive whole."""

import hashlib
import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from browsercrawl.output import ArtifactStore, Space
from browsercrawl.output.downloads import NAME_LENGTH_MAX, keep, safe_name
from browsercrawl.result import DownloadedFile
from browsercrawl.testing.virtual_clock import VirtualClock

ID = "ab" * 16


@given(st.text(max_size=400))
@example("../../etc/passwd")
@example("..\\..\\boot.ini")
@example("CON")
@example("a" * 300 + ".csv")
@example("invoice\u202efdp.exe")
@example("a\0b.txt")
@example(".bashrc")
@example("....")
@example("報告.pdf")
@example("")
def test_safe_name_is_safe_whatever_it_is_given(text: str) -> None:
    """Never empty, never long, never hidden, no separator, no control character, nothing but ASCII; and stable."""
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", name)
    assert ".." not in name
    assert len(name) <= NAME_LENGTH_MAX
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("report.pdf", "report.pdf"),
        ("Preise für 2026 (neu).xlsx", "Preise_fur_2026_neu.xlsx"),
        ("a" * 300 + ".csv", "a" * 76 + ".csv"),
        ("報告.pdf", "pdf"),
        ("", "file"),
    ],
)
def test_safe_name_keeps_what_it_can(text: str, name: str) -> None:
    """A harmless name stays, and a long one keeps its extension."""
    assert safe_name(text) == name


def test_keep_follows_no_link(tmp_path: Path) -> None:
    """A link in the place of the file, or of the one it is made of, is replaced or refused, and never written to."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    target = tmp_path / "run" / "file"
    target.parent.mkdir()
    target.symlink_to(outside)
    keep(io.BytesIO(b"new"), target)
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"
    target.with_name(".file.new").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        keep(io.BytesIO(b"newer"), target)
    assert outside.read_bytes() == b"precious"


async def test_store_keeps_a_download_with_its_hash_and_counts_it(tmp_path: Path) -> None:
    """It is stored as it is, again in the same place when it is stored again, and counts once."""
    root = tmp_path / "artifacts"
    root.mkdir()
    store = ArtifactStore(root, space=Space(clock=VirtualClock(), emit=lambda _: None))
    body = b"<html>" * 1_000
    file = io.BytesIO(body)
    download = DownloadedFile(
        number=2, name="../x.html", url="http://a.test/x?token=1", content_type="text/html", file=file
    )
    first, artifact = [await store.keep(ID, download) for _ in range(2)]
    assert first == artifact
    assert artifact.path == f"artifacts/ab/{ID}-download-2.x.html"
    assert (tmp_path / artifact.path).read_bytes() == body
    assert (artifact.name, artifact.bytes, artifact.content_type) == ("download-2", len(body), "text/html")
    assert artifact.sha256 == hashlib.sha256(body).hexdigest()
    assert artifact.source == "http://a.test/x?…"
    assert store.bytes_written == len(body)
    assert [path.name for path in (root / "ab").iterdir()] == [Path(artifact.path).name]
    with pytest.raises(ValueError, match="no request's id"):
        await store.keep("../x", download)


async def test_store_replaces_what_an_earlier_visit_has_left_under_another_name(tmp_path: Path) -> None:
    """A killed process left the file, or a piece of it; the site now gives another name: one file is there, once."""
    folder = tmp_path / "artifacts" / ID[:2]
    folder.mkdir(parents=True)
    for name in (f"{ID}-download-1.report-9.csv", f".{ID}-download-1.new"):
        (folder / name).write_bytes(b"earlier")
    for name in (f"{ID}-download-11.report.csv", f"{ID}-html.html", f"{'ac' * 16}-download-1.report.csv"):
        (folder / name).write_bytes(b"another")
    store = ArtifactStore(folder.parent, space=Space(clock=VirtualClock(), emit=lambda _: None))
    file = io.BytesIO(b"whole file")
    download = DownloadedFile(number=1, name="report-10.csv", url="http://a.test/x", content_type=None, file=file)
    artifact = await store.keep(ID, download)
    assert sorted(path.name for path in folder.iterdir() if path.read_bytes() != b"another") == [
        Path(artifact.path).name
    ]
    assert len(list(folder.iterdir())) == 4
    assert store.bytes_written == len(b"whole file") - len(b"earlier")
