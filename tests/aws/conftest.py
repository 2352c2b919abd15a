"""An AWS a module of tests."""

from collections.abc import Iterator

import pytest

from tests.aws.cloud import Cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account in which nothing is."""
    found = Cloud(tmp_path_factory.mktemp("cloud"))
    yield found
    found.end()
