"""`browsercrawl init`: an example of a job file, with everything in it explained."""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar
from browsercrawl.cli.terminal import printable
from browsercrawl.errors import OutputFailed

DEFAULT_NAME = "crawl.yaml"

EXAMPLE = """\
# A job for browsercrawl. Check and run it with:  browsercrawl run crawl.yaml
# All fields are named like the options of `browsercrawl crawl`; what is left out has its default.
# A text may hold ${NAME}, the value of an environment variable: it is never stored or shown.
# Relative paths start from this file's folder.

seeds:                          # at least one of urls, file and sitemap
  urls:
    # To try it out: type `browsercrawl demo --serve` in another terminal and put the address that it prints here.
    - http://127.0.0.1:8000/
    # - {url: "https://shop.example/sale", label: product, priority: 10}
  # file: urls.txt              # one URL or one JSON request per line; "-" is standard input
  # sitemap: https://shop.example/sitemap.xml     # or robots: those that the robots.txt of the urls' hosts name
  # session: alice              # those that name no session belong to this one

visit:                          # each page
  timeout: 60s                  # 250ms, 30s, 5m, 2h
  retries: 2
  wait_until: load              # commit, domcontentloaded, load or networkidle
  # wait_for: "main"            # then wait until this element is in the page
  # block: [image, font]        # also media, stylesheet
  # block_hosts: [ads.example]  # with the names below; "@hosts.txt": a file of them
  save: [html]                  # also text, markdown, screenshot, pdf, mhtml
  # accept_status: [404]        # success besides 2xx
  # salvage: true               # of a page that hangs until its timeout, take what it shows

links:                          # which links are followed
  depth: 2                      # 0: none
  scope: host                   # or domain, prefix, any; list: only to hosts
  # hosts: [shop.example]       # links may lead there, too
  # include: ["*/docs/*"]       # only links like these
  # exclude: ["*/logout*"]      # and none like these
  # follow_traps: true          # also links that look endless
  # keep_fragments: true        # #/a and #/b are different pages
  # sort_query: true            # ?a=1&b=2 and ?b=2&a=1 are the same page

limits:
  max_requests: 1000            # the size of the job: reaching it is success
  # max_per_host: 100
  # max_per_path: 100           # links that differ in their query only
  max_time: 8h                  # these end the run early; `browsercrawl resume` goes on
  max_failures: 25%             # or a number
  # max_download: 100MB         # of each file, with `save: [download]`
  max_disk: 10GB
  # max_bytes: 50GB             # sent and received

pace:
  concurrency: auto             # pages at the same time; auto begins with 2 per core and finds what brings most
  # memory: 2GB                 # that it may use; what the container or the machine has, if left out
  # delay: 1s                   # between two visits to a host; 1s, and 0 on loopback, if left out
  # delay_by: domain            # all hosts of a registrable domain share one pace
  # per_host: 2                 # pages at the same time on one host
  # rate: 20                    # visits begun per second, over all hosts
  # ignore_robots: true         # visit also what robots.txt forbids

# hosts:                        # another pace towards some hosts; the first that matches counts
#   - host: "*.example.com"
#     delay: 5s
#     per_host: 1
#     jitter: 0.5               # up to half of the delay is added at random

# browser:
#   profile: balanced           # or faithful, or lean
#   headed: true                # show the browser's window
#   user_agent: my-crawler/1.0 (+https://me.example/crawler)
#   product_token: my-crawler   # the name whose rules in robots.txt are kept
#   contact: https://me.example/crawler
#   proxy: ${PROXY}             # http://host:port
#   playwright_config: playwright.config.json

# network:                      # what pages may reach, whatever they redirect to, embed or resolve to
#   guard: auto                 # on: no private address; auto: from the first public URL on; off
#   allow_private: false
#   allow: [intranet.example, 10.0.0.0/8]    # hosts that may be private
#   deny: ["*.ads.example"]     # hosts that nothing reaches

# sessions:                     # who the crawl is, and how that logs in
#   profiles:
#     alice:
#       login:
#         form:
#           url: https://shop.example/login
#           steps: [{fields: {"#user": "{username}", "#password": "{password}"}, submit: button}]
#           success: {selector: "#account"}
#         username: alice
#         password: ${ALICE_PASSWORD}    # or password_file: alice.secret, of mode 0600; never the password itself
#         logged_out: {url: "*/login*", status: [401]}    # how a page shows that it must log in again
#       locale: de-DE
#   rules: [{url: "*/account/*", session: alice}]    # whose a request is that names no session
#   state: sessions             # logins are kept here, for all runs: browsercrawl login crawl.yaml alice

rules:                          # the first that matches a page counts; what it leaves out is as under visit
  - url: "*/product/*"          # * is anything, ? is one character
    wait_for: h1
    save: [html, screenshot]
    # handler: product

# Functions of yours, in modules beside this file: `async def product(visit)` in shop.py, and so on.
# handlers:
#   default: shop:page          # pages that have no label and no rule with a handler
#   product: shop:product
# on_failed: shop:failed        # async def failed(result)
# in_scope: shop:in_scope       # def in_scope(request, url) tells whether a link may be followed
# sinks: ["shop:database"]      # def database() gives an object with async write(records) and close()

# output:
#   directory: runs/shop        # must not exist yet; runs/<time>-<host> if left out
"""

GRAMMAR = Grammar(
    command="init",
    summary="Write an example of a job file, with its fields explained.",
    details=("It never overwrites a file.",),
    operands="[FILE]",
    operands_help=f"What to write: {DEFAULT_NAME} if left out; - is standard output.",
    examples=(
        ("a job to fill in", "browsercrawl init"),
        ("under another name", "browsercrawl init jobs/shop.yaml"),
        ("just look", "browsercrawl init -"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Write the example and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    names: list[str] = given["operands"] or [DEFAULT_NAME]
    if len(names) > 1:
        raise BadUsage(f"browsercrawl init writes one file, not {len(names)}")
    if names == ["-"]:
        print(EXAMPLE, end="")
        return 0
    path = Path(names[0])
    text = EXAMPLE.replace(DEFAULT_NAME, path.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadUsage(f"{path} exists already; name another file, or - to look at the example") from None
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror or os.strerror(error.errno or 0)}") from error
    print(f"browsercrawl: wrote {printable(str(path))}; next: browsercrawl run {printable(str(path))}", file=sys.stderr)
    return 0
