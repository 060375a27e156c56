"""Mistakes of the caller, and what cannot be written."""

from browsercrawl.errors.base import BrowsercrawlError, Disposition, ErrorKind


class UsageError(BrowsercrawlError):
    """The caller made a mistake; doing the same again gives the same."""


class ConfigError(UsageError):
    """A configuration key or value is wrong; the message names where it stands."""

    kind = ErrorKind.CONFIG_INVALID
    disposition = Disposition.STOP


class InvalidURL(UsageError, ValueError):
    """A string is no URL, or of a scheme other than http and https."""

    kind = ErrorKind.URL_INVALID


class UnknownLabel(UsageError):
    """A request names a label for which no handler is registered."""

    kind = ErrorKind.UNKNOWN_LABEL


class InputError(UsageError):
    """A piece of input is no request; the message names the field, or file and line.

    Attributes:
        text: what stands there, as far as it is known; becomes the `url` of the failed result.
        place: where it stands, in the same words whenever it is read, such as file and line; empty: unknown.
    """

    kind = ErrorKind.INPUT_INVALID

    def __init__(self, message: str, *, text: str = "", place: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.place = place


class InputChanged(UsageError):
    """A URL file is not what it was when the run read its beginning; going on would miss or repeat lines."""

    kind = ErrorKind.INPUT_CHANGED
    disposition = Disposition.STOP


class RunDirectoryError(UsageError):
    """The run directory exists already, is no run directory, or cannot be made."""

    kind = ErrorKind.RUN_DIRECTORY


class RunBusy(UsageError):
    """Another process holds the run; the message names it."""

    kind = ErrorKind.RUN_BUSY


class RunDamaged(UsageError):
    """A file of the run is damaged, or made by another version of this program; it was left as it is."""

    kind = ErrorKind.RUN_DAMAGED
    disposition = Disposition.STOP


class CrawlerClosed(UsageError):
    """The crawler or dispatcher was used after it was closed."""

    kind = ErrorKind.CRAWLER_CLOSED


class CrawlerBusy(UsageError):
    """A second run was started while one is going on; a crawler does one at a time."""

    kind = ErrorKind.CRAWLER_BUSY


class OutputFailed(BrowsercrawlError):
    """A result or a file of the run could not be written: the disk is full, or gone. The run ends."""

    kind = ErrorKind.OUTPUT_FAILED
    disposition = Disposition.STOP
