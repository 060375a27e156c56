"""`python -m browsercrawl`: the command line."""

import sys

from browsercrawl.cli import main

sys.exit(main())
