"""Fetch the titles of some pages from a plain script: no async, tasks added while results come.

python examples/plain_script.py URL...
"""

import sys

from browsercrawl import CrawlDispatcher

with CrawlDispatcher() as dispatcher:
    for url in sys.argv[1:]:
        dispatcher.add_task(url)
    for result in dispatcher.results():
        print(result.url, result.title if result.outcome == "succeeded" else result.error or result.skip_reason)
    print(dispatcher.get_status(), file=sys.stderr)
