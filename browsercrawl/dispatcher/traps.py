"""Links that look like a trap: addresses that a site makes up without end, one from the other.

Each rule is one sentence and looks at nothing but the address. The limits are far beyond what people write by hand;
a site that needs more says `follow_traps`. What leads on from address to address (a calendar) is a series
(`series.py`); what is endless in another way is bounded by the depth, by `max_per_path` and by `max_per_host`.
"""

from browsercrawl.result import SkipReason

URL_LENGTH_MAX = 2_048
"""Characters; longer ones are refused by many servers too."""

PARAMETERS_MAX = 50
"""In the query of one address."""

SEGMENTS_MAX = 25
"""In the path of one address."""

RUNS_MAX = 3
"""So often in a row the same segments stand in no path that was meant: /a/b/a/b/a/b."""

REPEATED_MIN = 4
"""So many segments the row must have: /1/1/1 may be a chapter."""


def trap(canonical: str) -> SkipReason | None:
    """Tell by which rule an address looks like a trap; None: by none.

    Args:
        canonical: its canonical spelling.

    Example:
        >>> trap("http://a.test/x/y/x/y/x/y/z"), trap("http://a.test/2024/12/31/new-year")
        (<SkipReason.REPEATED_PATH: 'repeated_path'>, None)
    """
    if len(canonical) > URL_LENGTH_MAX:
        return SkipReason.URL_TOO_LONG
    path, _, query = canonical.partition("?")
    if query.count("&") >= PARAMETERS_MAX:
        return SkipReason.TOO_MANY_PARAMETERS
    if path.count("/") < REPEATED_MIN + 2:  # two stand before the host
        return None
    segments = [segment for segment in path.split("/")[3:] if segment]
    if len(segments) > SEGMENTS_MAX:
        return SkipReason.PATH_TOO_DEEP
    return SkipReason.REPEATED_PATH if _is_repeated(segments) else None


def _is_repeated(segments: list[str]) -> bool:
    if len(segments) - len(set(segments)) < RUNS_MAX - 1:
        return False
    for length in range(1, len(segments) // RUNS_MAX + 1):
        equal = 0  # segments in a row that are the same as the one `length` before them
        for before, segment in zip(segments, segments[length:], strict=False):
            equal = equal + 1 if before == segment else 0
            if equal + length >= max(RUNS_MAX * length, REPEATED_MIN):
                return True
    return False
