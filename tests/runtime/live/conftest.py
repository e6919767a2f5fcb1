"""What the tests of live runs share."""

import pytest
from timing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that goes only when a test says so."""
    return FakeClock()
