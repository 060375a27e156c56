"""Collect every product's price from a shop that exists only in JavaScript, with handlers by label.

python examples/shop_prices.py http://127.0.0.1:8166/      (start the shop with `browsercrawl demo --serve`)
"""

import asyncio
import csv
import sys

from browsercrawl import Crawler, CrawlerConfig, Retry, Visit


async def main(home: str) -> None:
    """Crawl the shop and write a table to standard output."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    async with Crawler(CrawlerConfig.load({"concurrency": 4})) as crawler:

        @crawler.handler()
        async def start(visit: Visit) -> None:
            await visit.enqueue_links("a[href*='/category/']", label="category")

        @crawler.handler("category")
        async def category(visit: Visit) -> None:
            await visit.enqueue_links("a[href*='/product/']", label="product")
            await visit.enqueue_links("a[href*='page=']", label="category")

        @crawler.handler("product")
        async def product(visit: Visit) -> None:
            price = await visit.page.locator(".product .price").inner_text()
            if not price:
                raise Retry("no price yet")
            visit.push({"name": await visit.page.locator("h1").inner_text(), "price": price})

        async for result in crawler.stream([home]):
            for row in result.data:
                assert isinstance(row, dict), "the product handler pushes dictionaries"
                table.writerow([row["name"], row["price"]])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
