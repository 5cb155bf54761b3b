"""Every part that training may miss is named, with the way to it (spdq/training/needs.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from oracles_csm import made_log
from oracles_gated import made_drawings
from oracles_training import made_dataset

from spdq.errors import DataError
from spdq.training import train

SPLIT = "/split, which data set .* has not: make one with `spdq dataset split`$"
IMAGES = "/image/features, which data set .* has not: import the pictures with `spdq dataset import folder`"
TEXT = (
    "training needs text, .* neither /text/features nor /text/utf8; `spdq dataset import folder` takes texts"
)
LABELS = "/labels, which data set made has not: `spdq dataset import folder` takes .* gated, which need pairs"
CLICKS = "training CSM needs /clicks, .*: make one from a click log with `spdq dataset import clicks`"
CLASSES = "train spdq or gated on it, or give it classes: `spdq dataset classes` makes them of labels"


@pytest.mark.parametrize(
    ("system", "make", "missing", "match"),
    [
        ("spdq", made_dataset, {"split": None}, f"training SPDQ needs {SPLIT}"),
        ("spdq", made_dataset, {"image_features": None}, f"training SPDQ needs {IMAGES}"),
        ("spdq", made_dataset, {"text_features": None}, TEXT),
        ("csm", made_log, {"split": None}, f"training needs {SPLIT}"),
        ("csm", made_log, {"image_features": None}, f"training needs {IMAGES}"),
        ("csm", made_log, {"clicks": None}, CLICKS),
        ("mixer", made_drawings, {"split": None}, f"training needs {SPLIT}"),
        ("mixer", made_drawings, {"image_features": None}, f"training needs {IMAGES}"),
        ("mixer", made_drawings, {"texts": None}, TEXT),
        ("mixer", made_drawings, {"classes": None}, CLASSES),
        ("gated", made_drawings, {"split": None}, f"training needs {SPLIT}"),
        ("gated", made_drawings, {"image_features": None}, f"training needs {IMAGES}"),
        ("gated", made_drawings, {"texts": None}, TEXT),
    ],
)
def test_what_is_missing_and_the_way_to_it(system, make, missing, match):
    with pytest.raises(DataError, match=match):
        train(system, replace(make(), **missing))


def test_the_paper_s_recipe_needs_labels():
    with pytest.raises(DataError, match=f"training SPDQ needs {LABELS}"):
        train("spdq", replace(made_dataset(), labels=None, label_names=()), recipe="paper")


def test_several_parts_have_each_its_way():
    lacks_two = replace(made_dataset(), split=None, labels=None, label_names=())
    ways = "needs /split, /labels, .*: make one with `spdq dataset split`; `spdq dataset import folder` takes"
    with pytest.raises(DataError, match=ways):
        train("spdq", lacks_two, recipe="paper")
