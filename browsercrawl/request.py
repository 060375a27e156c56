"""A request: a URL and how to visit it."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from browsercrawl.errors import InputError, InvalidURL
from browsercrawl.mistakes import CheckedModel, explained, is_about
from browsercrawl.urls import URL_LENGTH_MAX, Address, address, fingerprint

WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]
"""When a navigation counts as done, in Playwright's words."""

Capture = Literal["html", "text", "links"]
"""What a visit takes out of a page besides its title."""

Isolation = Literal["session", "request"]
"""`session`: the request shares its session's context. `request`: a context of its own, thrown away afterwards."""

PRIORITY_MAX = 1_000_000_000

SESSION_LENGTH_MAX = 200

ANONYMOUS = ""
"""The key of the session that all requests share which name none."""


class Request(CheckedModel):
    """A URL and how to visit it; immutable.

    Two requests with the same `key` are the same request within a run: the second is counted as a duplicate.
    Fields left at None take the run's configuration.

    Raises:
        InvalidURL: no http or https URL.
        InputError: another field is wrong.

    Example:
        >>> Request(url="https://example.com/#a").id == Request(url="https://EXAMPLE.com/").id
        True
    """

    url: str = Field(description="Absolute http or https URL; visited exactly as given.", max_length=URL_LENGTH_MAX)
    session: str | None = Field(
        default=None, max_length=SESSION_LENGTH_MAX, description="Name of the session; None: the shared anonymous one."
    )
    label: str | None = Field(default=None, description="Names the handler that gets the page; None: the default one.")
    priority: int = Field(
        default=0,
        ge=-PRIORITY_MAX,
        le=PRIORITY_MAX,
        description="Higher goes first, within a lane and between ready lanes.",
    )
    key: str | None = Field(default=None, description="Identity within the run; None: canonical URL and session.")
    keep_fragment: bool = Field(
        default=False, description="What follows # is part of the identity: the page routes on it."
    )
    sort_query: bool = Field(default=False, description="The order of the query's parameters is not part of it.")
    drop_session_id: bool = Field(default=False, description="Session ids written into the URL are not part of it.")
    depth: int = Field(default=0, ge=0, description="Number of links followed to get here.")
    series: int = Field(
        default=0, ge=0, description="Of those links the last so many led to an address like it but for its numbers."
    )
    parent_url: str | None = Field(default=None, description="The page this request was found on.")
    anchors: tuple[Annotated[str, Field(max_length=URL_LENGTH_MAX)], ...] = Field(
        default=(), max_length=4, description="Where the scope of its links is seen from: its seed. Empty: its own URL."
    )
    data: dict[str, JsonValue] = Field(default_factory=dict, description="The user's own values, handed to handlers.")
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(default=None, description="Deadline, seconds.")
    wait_until: WaitUntil | None = Field(default=None, description="When the navigation counts as done.")
    wait_for: str | None = Field(default=None, description="Selector that must be present in the DOM.")
    isolation: Isolation | None = Field(default=None, description="`request` gives it a context of its own.")

    @model_validator(mode="after")
    def _check_url(self) -> "Request":
        _ = self.address  # raises InvalidURL, a ValueError, which pydantic reports at this model
        return self

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a request from a JSON object.

        Raises:
            InvalidURL: its URL is no http or https URL.
            InputError: not JSON, or another field is wrong.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise cls._mistaken(error) from None

    @classmethod
    def _mistaken(cls, error: ValidationError) -> InvalidURL | InputError:
        is_url_wrong = is_about(error, "url") or isinstance(_raised(error), InvalidURL)
        return (InvalidURL if is_url_wrong else InputError)(explained(error, cls))

    @cached_property
    def address(self) -> Address:
        """The URL's canonical spelling and host."""
        return address(
            self.url,
            keep_fragment=self.keep_fragment,
            sort_query=self.sort_query,
            drop_session_id=self.drop_session_id,
        )

    @cached_property
    def id(self) -> str:
        """The fingerprint of the key, 32 hexadecimal digits: the same in every run that has this request."""
        key = self.key if self.key is not None else f"{self.address.canonical} {self.session_key}"
        return fingerprint(key)

    @property
    def session_key(self) -> str:
        """The session's name, or `ANONYMOUS`."""
        return self.session or ANONYMOUS


def _raised(error: ValidationError) -> object:
    """Return the exception that a validator of ours raised, if that is what is wrong."""
    return error.errors(include_url=False)[0].get("ctx", {}).get("error")
