"""The command line: parses and prints, nothing else. One file per command."""

from browsercrawl.cli.entry import main

__all__ = ["main"]
