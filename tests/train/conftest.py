"""What the tests of training share."""

import pytest


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
