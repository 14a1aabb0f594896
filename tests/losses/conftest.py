"""Every test of a loss runs in float64, unless it asks for another type itself."""

import jax
import pytest


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield
