"""Whole crawls with a fake browser, on a clock that no real second passes on."""

from collections.abc import Iterator

import pytest

from browsercrawl.crawler import crawler
from browsercrawl.testing.still_sensors import StillSensors


@pytest.fixture(scope="module", autouse=True)
def _machine_that_stands_still() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crawler, "Sensors", StillSensors)
        yield
