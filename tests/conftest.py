"""What all tests share."""

import numpy as np
import pytest
from hypothesis import settings

# The first call of a kernel compiles it; how long an example takes says nothing.
settings.register_profile("cgstore", deadline=None)
settings.load_profile("cgstore")


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["np"] = np
