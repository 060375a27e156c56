"""Visit the same pages as several accounts, each logged in, in a browser context of its own.

    LOGINS="member-0:PASSWORD member-1:PASSWORD" python examples/logins.py http://127.0.0.1:8166/members/

Passwords come from the environment: a command line is seen by everybody on the machine.
"""

import asyncio
import os
import sys

from browsercrawl import Crawler, CrawlerConfig, Request


async def main(area: str, logins: list[str]) -> None:
    """Print the title that each account sees of three pages."""
    profiles = [
        {
            "name": account,
            "login": {
                "recipe": {
                    "kind": "form",
                    "url": f"{area}login",
                    "steps": [{"fields": {"#user": "{username}", "#password": "{password}"}}],
                    "success": {"selector": "#account"},
                },
                "credentials": {"username": account, "password": password},
                "logged_out": {"url": f"{area}login*", "missing": "#account"},
            },
        }
        for account, password in (login.split(":", 1) for login in logins)
    ]
    seeds = [Request(url=f"{area}page/{page}", session=str(each["name"])) for page in (1, 2, 3) for each in profiles]
    # Fewer contexts than accounts will do: who is not needed hibernates, and stays logged in.
    config = CrawlerConfig.load({"concurrency": 2, "pool": {"contexts_max": 2}, "sessions": {"profiles": profiles}})
    async with Crawler(config).stream(seeds) as stream:
        async for result in stream:
            print(f"{result.session}: {result.title if result.outcome == 'succeeded' else result.error}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], os.environ["LOGINS"].split()))
