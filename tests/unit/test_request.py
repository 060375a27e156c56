"""Requests: their identity, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from browsercrawl.errors import InputError, InvalidURL
from browsercrawl.request import Request

URL = "http://site.test/"

URLS = st.builds(
    "http{}://{}/{}".format,
    st.sampled_from(["", "s"]),
    st.sampled_from(["a", "A", "a:80", "a:443", "b", "u@a"]),
    st.sampled_from(["", "p", "x/../p", "%70", "?b=1&a=2", "?a=2&b=1", "#f", "#", "p#f", "?", "?a=2&b=1#f"]),
)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"url": "HTTP://site.test:80/#x"}, True),
        ({"priority": 5, "label": "x", "data": {"a": 1}, "timeout_s": 3, "depth": 2}, True),
        ({"url": f"{URL}?a"}, False),
        ({"url": f"{URL}#x", "keep_fragment": True}, False),
        ({"url": f"{URL}#", "keep_fragment": True}, True),
        ({"keep_fragment": True, "sort_query": True}, True),
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


def test_request_wishes_about_its_address_change_what_is_the_same() -> None:
    """`keep_fragment` tells pages apart by what follows #; `sort_query` takes any order of parameters for the same."""
    assert len({Request(url=f"{URL}#{page}", keep_fragment=True).id for page in "abc"}) == 3
    urls = (f"{URL}?b=2&a=1#x", f"{URL}?a=1&b=2")
    assert len({Request(url=url, sort_query=True).id for url in urls}) == 1
    assert len({Request(url=url).id for url in urls}) == 2
    both = Request(url=urls[0], keep_fragment=True, sort_query=True)
    assert both.address.canonical == f"{URL}?a=1&b=2#x"
    assert both.url == urls[0], "the URL visited is the URL given"


@given(st.lists(URLS, min_size=2, max_size=2), st.booleans(), st.booleans())
def test_request_ids_are_equal_exactly_when_addresses_are(
    urls: list[str], keep_fragment: bool, sort_query: bool
) -> None:
    """Within a session the address is the identity, no more and no less."""
    one, other = (Request(url=url, keep_fragment=keep_fragment, sort_query=sort_query) for url in urls)
    assert (one.id == other.id) is (one.address == other.address)


def test_request_id_is_the_same_in_every_process_and_version() -> None:
    """Runs are resumed by later processes: an id that changed would make all their requests new."""
    ids = {
        "88b5ce0525376695dd1740234fec8666": Request(url="HTTPS://Example.com:443/a/../b?q=1#top"),
        "292cd6b46c306b9517bf2bd6ed0e8457": Request(url="https://example.com/b?q=1", session="shop"),
        "c2b50b08585c48e3275a1962542ef86c": Request(
            url="https://example.com/?b=2&a=1#/cart", keep_fragment=True, sort_query=True
        ),
        "cfaee61eb08d319b6b3c383c0ec59af5": Request(url="https://example.com/", key="my own"),
        "735ed34407d2925a2268d41bd1ff8121": Request(url="http://b\u00fccher.example/\u00e4"),
    }
    assert {request.id: request for request in ids.values()} == ids


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
