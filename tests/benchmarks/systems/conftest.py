"""Recipes of a few steps, so that real trainings take seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spdq.training.csm import CSMTask
from spdq.training.gated import GatedTask
from spdq.training.mixer import MixerTask


@pytest.fixture
def quick(monkeypatch):
    """All systems' recipes with 80 steps."""
    for task in (CSMTask, GatedTask, MixerTask):
        recipes = {
            name: replace(recipe, min_steps=80, max_steps=80, hidden=32, dim=16)
            for name, recipe in task.recipes.items()
        }
        monkeypatch.setattr(task, "recipes", recipes)
