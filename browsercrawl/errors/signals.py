"""What a handler says by raising it."""


class HandlerSignal(Exception):
    """Base of what a handler raises to end its visit on purpose."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(HandlerSignal):
    """Raise in a handler: this visit was no good, try again (an attempt is spent)."""


class Skip(HandlerSignal):
    """Raise in a handler: the request ends as skipped, with this reason."""


class Blocked(HandlerSignal):
    """Raise in a handler: the site refuses this session; the request fails as `blocked`."""


class Stop(HandlerSignal):
    """Raise in a handler: this request ends as skipped and the whole run drains and ends."""
