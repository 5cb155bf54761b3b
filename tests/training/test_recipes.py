from __future__ import annotations

import pytest

from spdq.errors import UsageError
from spdq.training.recipes import RECIPES, training_recipe


@pytest.mark.parametrize("name", ["default", "paper"])
def test_a_recipe_is_found_by_its_name(name):
    assert training_recipe(name) is RECIPES[name]
    assert training_recipe(name).name == name


def test_an_unknown_recipe_is_refused():
    with pytest.raises(UsageError, match="unknown recipe 'papier': known are default, paper"):
        training_recipe("papier")
