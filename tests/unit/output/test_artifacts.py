"""Artifacts: safe names, whole files, compressed where it pays."""

import errno
import gzip
import random
from pathlib import Path

import pytest

from browsercrawl.errors import OutputFailed
from browsercrawl.events import Event
from browsercrawl.output import ArtifactStore, Space, size_of
from browsercrawl.testing.virtual_clock import VirtualClock

REQUEST_ID = "ab" + "0" * 30
NOISE = random.Random(1).randbytes(2000)


@pytest.fixture
def told() -> list[Event]:
    """Events of the test's space."""
    return []


@pytest.fixture
async def space(told: list[Event]) -> Space:
    """What waits while the disk is full."""
    return Space(clock=VirtualClock(autojump=True), emit=told.append)


@pytest.fixture
async def store(tmp_path: Path, space: Space) -> ArtifactStore:
    """Give a store in a directory of its own."""
    (tmp_path / "artifacts").mkdir()
    return ArtifactStore(tmp_path / "artifacts", space=space)


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


@pytest.mark.parametrize(
    ("data", "extension"),
    [(b"\x89PNG" * 1000, "png"), (b"%PDF" * 1000, "pdf"), ("short", "txt"), (NOISE, "txt")],
)
async def test_artifact_store_stays_plain_where_it_does_not_pay(
    store: ArtifactStore, tmp_path: Path, data: bytes | str, extension: str
) -> None:
    """Images, short texts and what does not shrink are stored as they are."""
    artifact = await store.write(REQUEST_ID, "x", data=data, extension=extension)
    content = (tmp_path / artifact.path).read_bytes()
    assert artifact.path.endswith(f".{extension}")
    assert content == (data.encode() if isinstance(data, str) else data)
    assert artifact.bytes == len(content)


@pytest.mark.parametrize("extension", ["md", "mhtml"])
async def test_artifact_store_text_formats_are_compressed(store: ArtifactStore, tmp_path: Path, extension: str) -> None:
    """Markdown and archived pages shrink as page sources do."""
    artifact = await store.write(REQUEST_ID, "page", data="# Größe\n" * 500, extension=extension)
    assert artifact.path.endswith(f"-page.{extension}.gz")
    assert gzip.decompress((tmp_path / artifact.path).read_bytes()).decode() == "# Größe\n" * 500


async def test_artifact_store_counts_what_the_directory_grew_by(store: ArtifactStore, tmp_path: Path) -> None:
    """The count is the size of what stands there: compressed, and without what was replaced."""
    await store.write(REQUEST_ID, "a", data=b"12345", extension="png")
    await store.write(REQUEST_ID, "a", data=b"123", extension="png")
    await store.write(REQUEST_ID, "b", data="x" * 5000, extension="txt")
    assert store.bytes_written == await size_of(tmp_path / "artifacts")
    assert 3 < store.bytes_written < 500


async def test_artifact_store_full_disk_waits(
    store: ArtifactStore, space: Space, told: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is full the write waits, and leaves no temporary file; then the artifact is whole."""
    (tmp_path / "artifacts" / "ab").mkdir()
    replace, left = Path.replace, 3

    def refuse_at_first(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_at_first)
    seen: list[list[str]] = []
    space._on_change = lambda: seen.append([path.name for path in (tmp_path / "artifacts" / "ab").iterdir()])
    artifact = await store.write(REQUEST_ID, "shot", data=b"one", extension="png")
    assert (tmp_path / artifact.path).read_bytes() == b"one"
    assert seen == [[], [f"{REQUEST_ID}-shot.png"]]
    assert [event.name for event in told] == ["run.paused", "run.continued"]
    assert store.bytes_written == 3


async def test_artifact_store_takes_over_what_a_killed_process_left(store: ArtifactStore, tmp_path: Path) -> None:
    """The half-written file of a killed process is gone when the request has its artifact."""
    folder = tmp_path / "artifacts" / "ab"
    folder.mkdir()
    (folder / f".{REQUEST_ID}-shot.png.new").write_bytes(b"a longer half")
    await store.write(REQUEST_ID, "shot", data=b"one", extension="png")
    assert [path.read_bytes() for path in folder.iterdir()] == [b"one"]


async def test_size_of_directory_counts_all_files(tmp_path: Path) -> None:
    """All files below count, links are not followed, and what is not there has no size."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"1" * 10)
    (tmp_path / "a" / "b" / "two").write_bytes(b"2" * 20)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    assert await size_of(tmp_path) == 30 + len(str(tmp_path))
    assert await size_of(tmp_path / "gone") == 0


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


async def test_artifact_store_unwritable_raises_and_leaves_nothing(tmp_path: Path, space: Space) -> None:
    """A file that cannot be written raises one typed error; no temporary file stays."""
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / f"{REQUEST_ID}-x.png").mkdir()
    with pytest.raises(OutputFailed, match="cannot be written"):
        await ArtifactStore(tmp_path, space=space).write(REQUEST_ID, "x", data=b"1", extension="png")
    assert [path.name for path in (tmp_path / "ab").iterdir()] == [f"{REQUEST_ID}-x.png"]
