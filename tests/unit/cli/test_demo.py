"""The demo's comparison with the truth."""

from datetime import UTC, datetime
from typing import Any

import pytest

from browsercrawl.cli.demo import Comparison
from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.result import ErrorInfo, Outcome, Result
from browsercrawl.testing.shop import Shop

ROOT = "http://127.0.0.1:8000"


def _right_results() -> dict[str, dict[str, Any]]:
    """Return the fields of what a faultless crawl of a small shop gives, by path."""
    truth = Shop(products=2).truth()
    shown = {product.path: f"{product.name} costs {product.price}" for product in truth.products}
    return {
        page.path: {
            "url": ROOT + page.path,
            "outcome": Outcome.SUCCEEDED,
            "title": page.title,
            "links": tuple(ROOT + link for link in page.links),
            "text": shown.get(page.path, ""),
        }
        for page in truth.pages
    }


async def _compared(results: list[dict[str, Any]]) -> Comparison:
    comparison = Comparison(Shop(products=2).truth(), ROOT)
    for number, fields in enumerate(results):
        await comparison.take(Result(request_id=str(number), finished_at=datetime.now(UTC), **fields))
    comparison.finish()
    return comparison


async def test_comparison_everything_as_it_is_finds_nothing_wrong() -> None:
    """Pages and products are counted, and nothing differs."""
    results = _right_results()
    comparison = await _compared(list(results.values()))
    assert (comparison.pages, comparison.products, comparison.wrong) == (len(results), 2, [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": "Loading"}, ": the title is 'Loading', not "),
        ({"links": ()}, " links differ"),
        ({"text": "costs"}, ": does not show "),
        ({"url": f"{ROOT}/nowhere"}, "/nowhere: is no page of the shop"),
        ({"url": f"{ROOT}/"}, "/: visited twice"),
        (
            {
                "outcome": Outcome.FAILED,
                "error": ErrorInfo(kind=ErrorKind.NETWORK, message="reset", disposition=Disposition.RETRY_FRESH),
            },
            ": reset",
        ),
    ],
)
async def test_comparison_any_difference_is_told(change: dict[str, Any], said: str) -> None:
    """A wrong title, link, price, page, or a failure: each makes the demo fail, and says on which page."""
    results = _right_results()
    path = next(path for path, fields in results.items() if fields["text"])
    results[path] |= change
    wrong = (await _compared(list(results.values()))).wrong
    assert any(said in line for line in wrong), wrong


async def test_comparison_page_never_seen_is_told() -> None:
    """Ending early is a difference too."""
    results = _right_results()
    missing = results.popitem()[0]
    assert (await _compared(list(results.values()))).wrong == [f"{missing}: was not found"]
