"""The command line with sensors that stand still: it opens as many pages as it was asked for, however busy the machine.

    python steady.py ARGUMENT...

On a busy machine the event loop is late, and a crawl goes on with fewer pages. Where pages are held back that others
wait for, these would never be opened.
"""

import sys

from browsercrawl.cli.entry import main
from browsercrawl.crawler import crawler
from browsercrawl.testing.still_sensors import StillSensors

if __name__ == "__main__":
    vars(crawler)["Sensors"] = StillSensors
    sys.exit(main(sys.argv[1:]))
