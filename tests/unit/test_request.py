"""Requests: their identity, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from browsercrawl.errors import InputError, InvalidURL
from browsercrawl.request import Request

URL = "http://site.test/"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"url": "HTTP://site.test:80/#x"}, True),
        ({"priority": 5, "label": "x", "data": {"a": 1}, "timeout_s": 3, "depth": 2}, True),
        ({"url": f"{URL}?a"}, False),
        ({"session": "me"}, False),
        ({"key": "k"}, False),
    ],
)
def test_request_id_is_canonical_url_and_session(other: dict[str, Any], same: bool) -> None:
    """Wishes make no other request; URL, session and key do."""
    assert (Request(**{"url": URL, **other}).id == Request(url=URL).id) is same


def test_request_key_alone_is_its_identity() -> None:
    """With a key, neither URL nor session count."""
    assert Request(url=URL, key="k").id == Request(url=f"{URL}x", key="k", session="me").id
    assert len(Request(url=URL, key="").id) == 32


def test_request_survives_json() -> None:
    """A request read back from its JSON is equal, id included."""
    request = Request(url=URL, session="s", label="l", priority=-1, data={"a": [1, None]}, wait_for=".x")
    again = Request.model_validate_json(request.model_dump_json())
    assert again == request
    assert again.id == request.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "x"},
        {"url": "file:///x"},
        {"url": None},
        {"url": "http://x/" + "a" * 70_000},
        {"timeout_s": 0},
        {"timeout_s": 99_999},
        {"depth": -1},
        {"wait_until": "never"},
        {"data": {"a": object()}},
        {"lable": "x"},
    ],
)
def test_request_wrong_field_is_refused(wrong: dict[str, Any]) -> None:
    """Unknown names, bad values and bad URLs raise a typed error that names the key, without showing the input."""
    with pytest.raises(InvalidURL if "url" in wrong else InputError) as raised:
        Request(**{"url": URL, "key": "hunter2", **wrong})
    assert "hunter2" not in str(raised.value)
    assert "validation error" not in str(raised.value)
    assert "url" in wrong or next(iter(wrong)) in str(raised.value)


def test_request_is_immutable() -> None:
    """A request does not change once made."""
    with pytest.raises(ValidationError):
        Request(url=URL).url = "http://else.test/"  # type: ignore[misc]  # what this is about
