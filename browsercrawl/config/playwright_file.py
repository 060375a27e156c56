"""`playwright.config.json`: Playwright's own options, in Playwright's own (JavaScript) names.

    {"browserName": "chromium", "launchOptions": {"args": ["--lang=de"]}, "contextOptions": {"locale": "de-DE"}}

Keys that the engine has a field for (`executablePath`, `proxy`, `userAgent`, `chromiumSandbox`, `headless`) set that
field; keys that belong to the engine alone are refused by name; all others are handed to Playwright.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from browsercrawl.errors import ConfigError
from browsercrawl.mistakes import sentence

FILE_NAME = "playwright.config.json"

_ENGINE_OWNED: Mapping[str, str] = {
    "handleSIGINT": "signals are the command line's business",
    "handleSIGTERM": "signals are the command line's business",
    "handleSIGHUP": "signals are the command line's business",
    "channel": "name the binary with executablePath",
    "env": "the engine prepares the browser's environment",
    "timeout": "use launch_limit_s",
    "artifactsDir": "the engine has its own temporary folder for each browser",
    "downloadsPath": "the engine has its own temporary folder for each browser",
    "tracesDir": "the engine has its own temporary folder for each browser",
    "acceptDownloads": "downloads are not supported yet",
    "recordHar": "recordings would outlast a visit",
    "recordVideo": "recordings would outlast a visit",
    "storageState": "what a session stores is not set for all sessions at once",
}


class _Options(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=AliasGenerator(validation_alias=to_camel),
    )


class _Proxy(_Options):
    server: str


class _Size(_Options):
    width: Annotated[int, Field(ge=1, le=20_000)]
    height: Annotated[int, Field(ge=1, le=20_000)]


class _Geolocation(_Options):
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    accuracy: Annotated[float, Field(ge=0)] = 0


class _HttpCredentials(_Options):
    username: str
    password: str = Field(repr=False)
    origin: str
    """Required: without it the credentials would go to every site."""
    send: Literal["always", "unauthorized"] | None = None


class _LaunchOptions(_Options):
    """Of Playwright's launch options those that mean something here."""

    args: list[str] | None = None
    ignore_default_args: list[str] | None = None
    slow_mo: Annotated[float, Field(ge=0)] | None = None
    executable_path: Path | None = None
    headless: bool | None = None
    chromium_sandbox: bool | None = None
    proxy: _Proxy | None = None


class _ContextOptions(_Options):
    """Of Playwright's context options those that mean something here."""

    base_url: str | None = Field(default=None, validation_alias="baseURL")
    bypass_csp: bool | None = Field(default=None, validation_alias="bypassCSP")
    client_certificates: list[dict[str, Any]] | None = None
    color_scheme: Literal["dark", "light", "no-preference", "null"] | None = None
    contrast: Literal["more", "no-preference", "null"] | None = None
    device_scale_factor: Annotated[float, Field(gt=0)] | None = None
    extra_http_headers: dict[str, str] | None = Field(default=None, validation_alias="extraHTTPHeaders")
    forced_colors: Literal["active", "none", "null"] | None = None
    geolocation: _Geolocation | None = None
    has_touch: bool | None = None
    http_credentials: _HttpCredentials | None = None
    ignore_https_errors: bool | None = Field(default=None, validation_alias="ignoreHTTPSErrors")
    is_mobile: bool | None = None
    java_script_enabled: bool | None = None
    locale: str | None = None
    offline: bool | None = None
    permissions: list[str] | None = None
    reduced_motion: Literal["reduce", "no-preference", "null"] | None = None
    screen: _Size | None = None
    service_workers: Literal["allow", "block"] | None = None
    strict_selectors: bool | None = None
    timezone_id: str | None = None
    user_agent: str | None = None
    viewport: _Size | None = None


class PlaywrightFile(_Options):
    """The content of a `playwright.config.json`."""

    schema_: str | None = Field(default=None, validation_alias="$schema")
    browser_name: str = "chromium"
    launch_options: _LaunchOptions = _LaunchOptions()
    context_options: _ContextOptions = _ContextOptions()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.browser_name != "chromium":
            raise ValueError(
                f"browserName {self.browser_name!r}: only 'chromium'; blocking, sandbox, process ids and the "
                "interruption of hung scripts need its protocol"
            )
        return self

    def browser_fields(self) -> dict[str, Any]:
        """Return the fields of `BrowserConfig` that this file sets."""
        launch = self.launch_options.model_dump(exclude_none=True)
        context = self.context_options.model_dump(exclude_none=True)
        fields: dict[str, Any] = {}
        if "executable_path" in launch:
            fields["executable"] = launch.pop("executable_path")
        if "headless" in launch and not launch.pop("headless"):
            fields |= {"headed": True, "binary": "full"}
        if "chromium_sandbox" in launch:
            fields["sandbox"] = "require" if launch.pop("chromium_sandbox") else "off"
        if "proxy" in launch:
            fields["proxy"] = launch.pop("proxy")["server"]
        if "user_agent" in context:
            fields["user_agent"] = context.pop("user_agent")
        return fields | {"launch_options": launch, "context_options": context}


def find_playwright_file(start: Path) -> Path | None:
    """Return the nearest `playwright.config.json` in a folder or above it; None if there is none."""
    folder = start.resolve()
    return next((path for each in (folder, *folder.parents) if (path := each / FILE_NAME).is_file()), None)


def load_playwright_file(path: Path) -> PlaywrightFile:
    """Read and check a `playwright.config.json`.

    Raises:
        ConfigError: it cannot be read, or a key or value is wrong; the message names file, key and, for an unknown
            key, the nearest valid one.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    try:
        return PlaywrightFile.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(_explain(each) for each in error.errors(include_url=False))
        raise ConfigError(f"{path}: {wrong}") from error


def _explain(mistake: ErrorDetails) -> str:
    place = tuple(map(str, mistake["loc"]))
    key = ".".join(place)
    if mistake["type"] != "extra_forbidden":
        return f"{key}: {sentence(mistake)}" if key else sentence(mistake)
    name = place[-1]
    if name in _ENGINE_OWNED:
        return f"{key} is set by the engine: {_ENGINE_OWNED[name]}"
    near = difflib.get_close_matches(name, _valid_names(place[:-1]), n=1, cutoff=0.5)
    return f"{key} is not a key known here" + (f"; did you mean {near[0]}?" if near else "")


def _valid_names(place: tuple[str, ...]) -> Iterable[str]:
    model: type[BaseModel] = PlaywrightFile
    for name in place:
        field = next(field for field in model.model_fields.values() if field.validation_alias == name)
        kinds = [kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(kind)]
        if not kinds:
            return ()
        model = kinds[0]
    return [str(field.validation_alias) for field in model.model_fields.values()]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
