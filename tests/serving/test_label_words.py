from __future__ import annotations

import numpy as np
import pytest
from made_models import COLOURS, NAMES

from spdq.serving.embedder import ModelEmbedder
from spdq.serving.label_words import NEAREST, LabelWords, spoken


@pytest.mark.parametrize(("label", "words"), [
    ("group:animals-body", "animals body"), ("cat", "cat"), ("a:b:c_d", "c d"), ("x: ", ""), ("", ""),
])  # fmt: skip
def test_labels_are_spoken(label, words):
    assert spoken(label) == words


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_the_words_are_those_nearest_by_the_metric(model, metric):
    words = LabelWords(ModelEmbedder(model), [*NAMES, *COLOURS, "q:unheard-of"], metric)
    known = [spoken(name) for name in NAMES if spoken(name) != "lucky"]
    vectors = model.weigh_query(model.embed_text(model.text_features(known)), "text")
    items = model.embed_text(model.text_features(["small red", "large blue"]))
    for item, found in zip(items, words.nearest(items), strict=True):
        near = [-(item @ one) if metric == "ip" else np.sum((item - one) ** 2) for one in vectors]
        expected = [known[place] for place in np.argsort(near, kind="stable")]
        assert found == expected[:NEAREST]


def test_without_words_there_are_none(model):
    words = LabelWords(ModelEmbedder(model), ["", "q:unheard-of"], "ip")
    assert words.nearest(np.zeros((2, 3), np.float32)) == [[], []]
