"""Serve the demo site in the foreground: `python -m browsercrawl.testing [--port N] [--products N]`."""

import argparse
import signal
import sys

from browsercrawl.testing.site import DemoSite


def main() -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m browsercrawl.testing",
        description="Serve the demo shop (/) and the fault site (/faults/) on loopback.",
        epilog="Example: python -m browsercrawl.testing --port 8000 --products 500",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--products", type=int, default=48, help="size of the shop (default: %(default)s, 60 pages)")
    options = parser.parse_args()
    # Blocked before the first thread starts, which inherits it: the signals reach sigwait and nothing else.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        site = DemoSite(products=options.products, port=options.port)
    except (OSError, ValueError, OverflowError) as error:
        parser.error(str(error))
    with site:
        sys.stdout.write(f"{site.url}/ (faults: {site.url}/faults/)\n")
        sys.stdout.flush()
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
