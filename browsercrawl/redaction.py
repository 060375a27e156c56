"""Keep secrets, and what could harm a terminal, out of everything that is written down for people.

What is taken out:

- the user name and password of every URL, also without scheme (`user:password@host`) and inside another URL;
- the value of every query, fragment and path parameter, header, JSON key or `name=value` whose name is secret (below);
- the rest of the line after `Authorization:`, `Proxy-Authorization:`, `Cookie:` and `Set-Cookie:`;
- what follows `Bearer`, and every JSON Web Token, wherever it stands;
- a field of an event or option that holds a private key in PEM form.

A name is compared in lower case and without anything but letters and digits, so `X-Api-Key`, `api_key` and `apiKey`
are one. It is secret when it contains one of `SECRET_PARTS` or one of its words is in `SECRET_WORDS`; inside a URL also
when it is in `SECRET_IN_URLS` (elsewhere `code` and `key` are ordinary words, and `session` is one of ours).

When in doubt the text is lost, not the secret: a log line may be shorter than it had to be. What no rule can see is a
secret without a telling name, such as the last path segment of a password-reset link.
"""

import math
import re
from collections.abc import Collection, Mapping
from itertools import islice
from urllib.parse import quote, unquote

REDACTED = "[redacted]"

SECRET_PARTS = (
    "token", "secret", "passw", "passphrase", "passcode", "pwd", "apikey", "accesskey", "privatekey", "authkey",
    "signingkey", "credential", "signature", "sessionid", "sessid", "cookie", "authorization", "oauth", "jwt", "csrf",
    "xsrf", "storagestate", "httpheaders", "clientcertificate", "accesscode", "subscriptionkey", "encryptionkey",
    "saml", "verifier",
)  # fmt: skip
"""A name that contains one of these is secret."""

SECRET_WORDS = frozenset({"auth", "pass", "pw", "pswd", "sid", "sig", "hmac", "otp", "totp", "pin"})
"""A name with one of these as a word (`X-Shop-Auth`, `userPin`) is secret; `author` and `spinner` are not."""

SECRET_IN_URLS = frozenset({"key", "code", "session", "sess", "ticket"})
"""Parameters of a URL with just this name are secret too."""

LENGTH_MAX = 2_000
"""Characters of one text field; longer ones are cut, with a mark that says how much is missing."""

ITEMS_MAX = 200
"""Items of one list or mapping in an event; the rest is counted."""

NESTING_MAX = 8
"""Levels of lists and mappings in an event; what lies deeper is left out."""

UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""A character that steers a terminal, breaks a line or hides something."""

_READ_MAX = 16_384
_DEPTH_MAX = 4

_PARTS = re.compile("|".join(SECRET_PARTS))
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_ORDER = re.compile(r"[^a-z0-9]+")
_SUSPECT = re.compile(r"[@=:%]|eyJ|[Bb][Ee][Aa][Rr][Ee][Rr]")
_ORIGIN = re.compile(r"[\s\x00-\x1f]*+(?:[A-Za-z][A-Za-z0-9+.-]*+:[/\\]*+|[/\\]{2,}+)")
_AUTHORITY_END = re.compile(r"[/\\?#]|$")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?\Z")
_HEADER = re.compile(r"(?i)((?:authorization|cookie)[\"']?\s*+[:=][ \t]*+)[^\r\n]+")
_NAME = re.compile(r"(?<![\w.%-])([\w.%-]++)[\"']?[ \t]*+([:=])[ \t]*+")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'|\S++")
_VALUE_IN_URL = re.compile(r"[^\s&]*+")
_BEARER = re.compile(r"(?i)(\bbearer[\s:=]++)\S++")
_JWT = re.compile(r"(?<![\w-])[\w-]{8,}+(?:\.[\w-]*+){1,4}+")
_WORD = re.compile(r"\S++")


def is_secret_name(name: str, *, in_url: bool = False) -> bool:
    """Tell whether what goes by this name is a secret.

    Args:
        name: of a parameter, header, key or field; percent-encoding is undone.
        in_url: it names a parameter of a URL.

    Example:
        >>> [is_secret_name(name) for name in ("X-Api-Key", "author", "userPin", "code")]
        [True, False, True, False]
    """
    for _ in range(_DEPTH_MAX):
        if "%" not in name:
            break
        name = unquote(name)
    squeezed = _ORDER.sub("", name.lower())
    if _PARTS.search(squeezed) or (in_url and squeezed in SECRET_IN_URLS):
        return True
    return any(word.lower() in SECRET_WORDS for word in _WORDS.findall(name))


def redact_url(url: str) -> str:
    """Return a URL without user name, password and the values of secret parameters.

    Args:
        url: absolute or relative, well-formed or not.

    Example:
        >>> redact_url("https://me:pw@example.com/a;jsessionid=1?page=2&token=x#access_token=y")
        'https://example.com/a;jsessionid=[redacted]?page=2&token=[redacted]#access_token=[redacted]'
    """
    return _bare(_reference(url[:_READ_MAX], 0)) if _SUSPECT.search(url) else url


def redact_text(text: str) -> str:
    """Return free text without the secrets it holds: URLs, headers, `name=value`, JSON, bearer tokens.

    A secret value ends at white space (or at its closing quote); 16,384 characters are looked at,
    the rest is dropped.

    Example:
        >>> redact_text("GET https://a:b@example.com/?sig=1 failed; Cookie: x=1; y=2")
        'GET https://example.com/?sig=[redacted] failed; Cookie: [redacted]'
    """
    if not _SUSPECT.search(text):
        return text
    text = _HEADER.sub(rf"\1{REDACTED}", text[:_READ_MAX])
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    return _bare(_WORD.sub(_redact_word, _redact_pairs(text)))


def redact_value(value: object, *, name: str = "") -> object:
    """Return a JSON-like value fit for a log: secrets, control characters and excess length taken out, recursively.

    Args:
        value: what `json` can write, or nearly; anything else is turned into text.
        name: what the value is called; the name alone may make it a secret.
    """
    return _redact_value(value, name, depth=0)


def neutralise(text: str) -> str:
    r"""Return text that cannot steer a terminal nor break a line nor hide anything in it.

    Control and direction characters are escaped, and those that cannot be seen; not the joiners that scripts and
    emoji are written with.

    Example:
        >>> print(neutralise("\x1b[2Jgone\n"))
        \x1b[2Jgone\n
    """
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def shorten(text: str, *, length_max: int = LENGTH_MAX) -> str:
    """Cut text to `length_max` characters; a cut is marked with the number of characters left out."""
    if len(text) <= length_max:
        return text
    mark = f"…[{len(text) - length_max} more]"
    return text[: max(0, length_max - len(mark))] + mark


def safe_text(text: str) -> str:
    """Return free text as it may be written down: redacted, neutralised, cut."""
    if len(text) <= LENGTH_MAX and text.isprintable() and not _SUSPECT.search(text):
        return text
    return shorten(neutralise(redact_text(text)))


def safe_url(url: str) -> str:
    """Return a URL as it may be written down: redacted, neutralised, cut."""
    return shorten(neutralise(redact_url(url)))


def _redact_value(value: object, name: str, *, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if name and name != "url" and is_secret_name(name):
        return REDACTED
    if isinstance(value, str):
        if "PRIVATE KEY-----" in value:
            return REDACTED
        return safe_url(value) if name == "url" or name.endswith("_url") else safe_text(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redact_items(value, name, depth=depth + 1) if depth < NESTING_MAX else "…"
    return value if isinstance(value, int) else safe_text(str(value))


def _redact_items(value: Mapping[object, object] | Collection[object], name: str, *, depth: int) -> object:
    more = len(value) - ITEMS_MAX
    if isinstance(value, Mapping):
        shown = islice(value.items(), ITEMS_MAX)
        safe = {safe_text(str(key)): _redact_value(item, str(key), depth=depth) for key, item in shown}
        return safe if more <= 0 else {**safe, "…": f"{more} more"}
    items = [_redact_value(item, name, depth=depth) for item in islice(value, ITEMS_MAX)]
    return items if more <= 0 else [*items, f"… {more} more"]


def _bare(text: str) -> str:
    return _JWT.sub(_redact_jwt, text) if "eyJ" in text else text


def _redact_jwt(match: re.Match[str]) -> str:
    before, start, _ = match[0].partition("eyJ")
    return before + REDACTED if start else before


def _reference(reference: str, depth: int) -> str:
    """Redact a URL, or a part of one that may be a URL itself."""
    origin = _ORIGIN.match(reference)
    head = ""
    if origin:
        end = _AUTHORITY_END.search(reference, origin.end())
        cut = end.start() if end else len(reference)
        authority = reference[origin.end() : cut]
        if "@" not in authority and not _PORT.match(authority) and "@" in reference[cut:]:
            # `https://user:pa/ss@host`: no browser takes it for a password, but whoever wrote it did.
            cut = reference.rindex("@")
            authority, cut = reference[origin.end() : cut + 1], cut + 1
        head = origin[0] + authority.rpartition("@")[2]
        reference = reference[cut:]
    before, hash_, fragment = reference.partition("#")
    path, mark, query = before.partition("?")
    path = _path(path, depth)
    query = "&".join(_pair(pair, depth) for pair in query.split("&"))
    if hash_:
        route, question, tail = fragment.partition("?")
        route = "&".join(_pair(pair, depth) for pair in route.split("&"))
        fragment = route + question + "&".join(_pair(pair, depth) for pair in tail.split("&"))
    return head + path + mark + query + hash_ + fragment


def _path(path: str, depth: int) -> str:
    if not _SUSPECT.search(path):
        return path
    inner = path.find("//", 1)
    if inner > 0 and depth < _DEPTH_MAX:  # an archive's `/web/2020/https://user:password@host/`
        scheme = path.rfind("/", 0, inner) + 1
        return _path(path[:scheme], depth) + _reference(path[scheme:], depth + 1)
    parts = re.split(r"([/;])" if depth == 0 else r"(&)", path)
    return "".join(part if part in ("/", ";", "&") else _pair(part, depth) for part in parts)


def _pair(pair: str, depth: int) -> str:
    name, equals, value = pair.partition("=")
    if equals and is_secret_name(name.rpartition("/")[2].rpartition(";")[2], in_url=True):
        return f"{name}={REDACTED}"
    user, at, host = pair.rpartition("@")
    if at and ":" in user and "//" not in user:
        return f"{REDACTED}@{host}"
    return f"{_nested(name, depth)}{equals}{_nested(value, depth)}"


def _nested(part: str, depth: int) -> str:
    """Redact a parameter's name or value: it may hold a URL or parameters, encoded any number of times."""
    plain = unquote(part)
    if plain == part and "=" not in part and "//" not in part:
        return part
    if depth >= _DEPTH_MAX:
        return REDACTED
    redacted = _bare(_reference(plain, depth + 1))
    if redacted == plain:
        return part
    return quote(redacted, safe="[]") if plain != part else redacted


def _redact_pairs(text: str) -> str:
    """Redact `name=value`, `name: value` and `"name": "value"`."""
    done: list[str] = []
    at = 0
    while match := _NAME.search(text, at):
        done.append(text[at : match.end()])
        at = match.end()
        in_url = match[2] == "=" and text[match.start() - 1 : match.start()] in tuple("?&#;/")
        if is_secret_name(match[1], in_url=in_url):
            value = (_VALUE_IN_URL if in_url else _VALUE).match(text, at)
            if value:
                at = value.end()
                done.append(REDACTED)
    return "".join([*done, text[at:]])


def _redact_word(match: re.Match[str]) -> str:
    word = match[0]
    slashes = word.find("//")
    if slashes >= 0:
        return word[:slashes] + _reference(word[slashes:], 0)
    if "%" in word:
        return _reference(word, 0)
    user, at, host = word.rpartition("@")
    if at and ":" in user:
        return f"{REDACTED}@{host}"
    return word
