"""Artifacts: safe names, whole files, compressed where it pays."""

import gzip
import random
from pathlib import Path

import pytest

from browsercrawl.errors import OutputFailed
from browsercrawl.output import ArtifactStore

REQUEST_ID = "ab" + "0" * 30
NOISE = random.Random(1).randbytes(2000)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """Give a store in a directory of its own."""
    (tmp_path / "artifacts").mkdir()
    return ArtifactStore(tmp_path / "artifacts")


async def test_artifact_store_page_source_is_compressed(store: ArtifactStore, tmp_path: Path) -> None:
    """A page's source is stored compressed, in the folder of its request, private, and reads back as it was."""
    page = "<p>größe</p>" * 1000
    artifact = await store.write(REQUEST_ID, "html", data=page, extension="html")
    path = tmp_path / artifact.path
    assert artifact.path == f"artifacts/ab/{REQUEST_ID}-html.html.gz"
    assert gzip.decompress(path.read_bytes()).decode() == page
    assert artifact.bytes == path.stat().st_size < len(page) / 10
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("data", "extension"), [(b"\x89PNG" * 1000, "png"), ("short", "txt"), (NOISE, "txt")])
async def test_artifact_store_stays_plain_where_it_does_not_pay(
    store: ArtifactStore, tmp_path: Path, data: bytes | str, extension: str
) -> None:
    """Images, short texts and what does not shrink are stored as they are."""
    artifact = await store.write(REQUEST_ID, "x", data=data, extension=extension)
    content = (tmp_path / artifact.path).read_bytes()
    assert artifact.path.endswith(f".{extension}")
    assert content == (data.encode() if isinstance(data, str) else data)
    assert artifact.bytes == len(content)


async def test_artifact_store_half_surrogate_pair_is_replaced(store: ArtifactStore, tmp_path: Path) -> None:
    """Text that is no valid Unicode is stored all the same."""
    artifact = await store.write(REQUEST_ID, "text", data="a\ud800b", extension="txt")
    assert (tmp_path / artifact.path).read_text() == "a?b"


async def test_artifact_store_same_name_replaces(store: ArtifactStore, tmp_path: Path) -> None:
    """A second attempt's artifact takes the place of the first."""
    first = await store.write(REQUEST_ID, "shot", data=b"one", extension="png")
    second = await store.write(REQUEST_ID, "shot", data=b"two", extension="png")
    assert [path.read_bytes() for path in (tmp_path / "artifacts" / "ab").iterdir()] == [b"two"]
    assert first == second


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", ".hidden", "a\x00", "a\n", "-x", "x" * 65, "ü"])
async def test_artifact_store_unsafe_name_is_refused(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    """A name that could lead elsewhere or that a file system may refuse raises, and nothing is written."""
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        await store.write(REQUEST_ID, name, data=b"", extension="png")
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        await store.write(name, "x", data=b"", extension="png")
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        await store.write(REQUEST_ID, "x", data=b"", extension=name)
    assert list((tmp_path / "artifacts").iterdir()) == []


async def test_artifact_store_unwritable_raises_and_leaves_nothing(tmp_path: Path) -> None:
    """A file that cannot be written raises one typed error; no temporary file stays."""
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / f"{REQUEST_ID}-x.png").mkdir()
    with pytest.raises(OutputFailed, match="cannot be written"):
        await ArtifactStore(tmp_path).write(REQUEST_ID, "x", data=b"1", extension="png")
    assert [path.name for path in (tmp_path / "ab").iterdir()] == [f"{REQUEST_ID}-x.png"]
