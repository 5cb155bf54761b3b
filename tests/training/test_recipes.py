from __future__ import annotations

import pytest

from spdq.errors import UsageError
from spdq.training import gated
from spdq.training.recipes import RECIPES, chosen_recipe, training_recipe


@pytest.mark.parametrize("name", ["default", "paper"])
def test_a_recipe_is_found_by_its_name(name):
    assert training_recipe(name) is RECIPES[name]
    assert training_recipe(name).name == name


def test_an_unknown_recipe_is_refused():
    with pytest.raises(UsageError, match="unknown recipe 'papier': known are default, paper"):
        training_recipe("papier")


def test_a_recipe_is_chosen_by_name_or_given():
    own = gated.GatedRecipe(name="default", hidden=3)
    assert chosen_recipe(gated.RECIPES, own) is own
    assert chosen_recipe(gated.RECIPES, "paper") is gated.RECIPES["paper"]
    with pytest.raises(UsageError, match="recipe must be default or paper or a GatedRecipe, got None"):
        chosen_recipe(gated.RECIPES, None)
