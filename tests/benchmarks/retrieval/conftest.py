"""Settings under which our recipes train in a second."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracles_training import QUICK

from spdq.training import codebooks, recipes


@pytest.fixture(scope="module")
def quick():
    """Both recipes cut to 20 steps and few mixes, for small made data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebooks, "MIXES", 100)
        for name, recipe in QUICK.items():
            patch.setitem(recipes.RECIPES, name, replace(recipe, min_steps=20, max_steps=20))
        yield
