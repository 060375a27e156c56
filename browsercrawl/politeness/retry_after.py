"""The Retry-After header (RFC 9110, section 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"-?[0-9]+")


def retry_after_s(value: str, *, now_utc: datetime) -> float | None:
    """Read a Retry-After header: a number of seconds, or one of the three forms of HTTP-date.

    Args:
        value: as the server sent it.
        now_utc: the present, aware; what a date is measured against.

    Returns:
        Seconds from now, as many as the host pleases (cap them); 0 for what lies in the past; None for what is
        neither form.

    Example:
        >>> retry_after_s("120", now_utc=datetime(2026, 1, 1, tzinfo=UTC))
        120.0
        >>> retry_after_s("Thu, 01 Jan 2026 00:01:00 GMT", now_utc=datetime(2026, 1, 1, tzinfo=UTC))
        60.0
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return max(0.0, float(value))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # the asctime form names no zone; it means UTC
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now_utc).total_seconds())
