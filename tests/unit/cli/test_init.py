"""`browsercrawl init` and the document about job files: what they show is right."""

import re
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.cli.init import EXAMPLE
from browsercrawl.config.job import Job, JobFile
from browsercrawl.config.job_sessions import LoginPart, ProfilePart

DOCUMENT = Path(__file__).parents[3] / "docs" / "jobs.md"

ENVIRONMENT = {"PROXY": "http://p:1", "ALICE_PASSWORD": "x", "PROXY_PASSWORD": "x", "STATE_KEY": "x"}

_COMMENTED_FIELD = re.compile(r"^( *)# ( *(?:- )?[a-z_{]+:.*)$", re.MULTILINE)


def test_init_writes_an_example_that_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is valid as it is, and the next command is told."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert "next: browsercrawl run crawl.yaml" in capsys.readouterr().err
    text = (tmp_path / "crawl.yaml").read_text(encoding="utf-8")
    config = JobFile.read(text, name="crawl.yaml", base=tmp_path).resolve({}).config(Path("x"))
    assert config.links.depth == 2
    assert config.rules[0].wait_for == "h1"


def test_init_example_is_valid_with_every_comment_taken_in() -> None:
    """What stands there as a suggestion works when its # is removed; every field of a job is shown."""
    text = _COMMENTED_FIELD.sub(r"\1\2", EXAMPLE)
    job = JobFile.read(text, name="crawl.yaml", base=Path("/")).resolve(ENVIRONMENT)
    for name, part in job:
        if name not in {"base", "rules", "hosts", "handlers", "on_failed", "in_scope", "sinks", "sessions"}:
            assert part.model_fields_set == set(type(part).model_fields), name
    assert job.model_fields_set == set(Job.model_fields)
    assert set(job.handlers) == {"default", "product"}
    (profile,) = job.config(Path("x")).sessions.profiles
    assert profile.account_name == "alice"


def test_init_existing_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody loses a job to a command typed twice."""
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    assert main(["init", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_text() == "mine"


def test_init_other_name_stands_in_its_text(tmp_path: Path) -> None:
    """The command in the first line is the one for this file."""
    assert main(["init", str(tmp_path / "shop.yaml")]) == 0
    assert "browsercrawl run shop.yaml" in (tmp_path / "shop.yaml").read_text(encoding="utf-8")


def test_init_dash_prints_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One may look without leaving a file."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "-"]) == 0
    assert capsys.readouterr() == (EXAMPLE, "")
    assert list(tmp_path.iterdir()) == []


def test_init_folder_that_is_not_there_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be written is told without a traceback."""
    assert main(["init", str(tmp_path / "no" / "shop.yaml")]) == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_document_examples_are_valid_jobs() -> None:
    """Every YAML text in `docs/jobs.md` is a job, or part of one, that is accepted."""
    texts = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(texts) >= 5
    for text in texts:
        whole = text if re.search(r"^seeds:", text, re.MULTILINE) else f"seeds: {{file: urls.txt}}\n{text}"
        if "handler: " in text and "handlers:" not in text:
            whole += "\nhandlers: {product: 'shop:product'}\n"
        JobFile.read(whole, name="jobs.md", base=Path("/")).resolve(ENVIRONMENT).config(Path("x"))


def test_document_names_every_field_and_no_other() -> None:
    """The table of fields is complete."""
    text = DOCUMENT.read_text(encoding="utf-8")
    job = JobFile.read("seeds: {file: x}", name="x", base=Path("/")).resolve({})
    sections = ("seeds", "visit", "links", "limits", "pace", "browser", "network", "sessions", "output")
    fields = {f"{part}.{leaf}" for part in sections for leaf in type(getattr(job, part)).model_fields}
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)`", text, re.MULTILINE)) == fields
    own = {*ProfilePart.model_fields, *(f"login.{name}" for name in LoginPart.model_fields)}
    assert set(re.findall(r"^\| `\.([a-z_.]+)`", text, re.MULTILINE)) == own
    assert [name for name in Job.model_fields if f"`{name}`" not in text and f"`{name}." not in text] == []
