"""What tests and the demo crawl instead of the internet: `DemoSite`, a shop made by JavaScript and a site of faults.

`python -m browsercrawl.testing` serves it for trying things by hand.
"""

from browsercrawl.testing.proxy import ForwardProxy
from browsercrawl.testing.shop import PageTruth, Product, Truth
from browsercrawl.testing.site import DemoSite

__all__ = ["DemoSite", "ForwardProxy", "PageTruth", "Product", "Truth"]
