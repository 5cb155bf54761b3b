"""Baselines on a data set whose text features are a named extractor's."""

from __future__ import annotations

import sys
from dataclasses import replace

import made_plugins
import numpy as np
import pytest
from made_models import worded

from spdq.data.lines import line_starts
from spdq.features import text_extractor
from spdq_benchmarks.content import dataset_digest
from spdq_benchmarks.retrieval.contestant_baseline import Inputs

ROWS = np.array([2, 7])


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(made_plugins.install_lengths(tmp_path / "site"))
    yield worded().with_text_features(text_extractor("letters:36"))
    sys.modules.pop("my_lengths", None)


def test_queries_are_first_lines(dataset):
    inputs = Inputs.fit(dataset, 0)
    first = dataset.line_features[line_starts(dataset.texts)[ROWS]]
    as_fed = inputs.data.inputs["text"]
    np.testing.assert_allclose(inputs.texts(ROWS, True), as_fed(first), atol=1e-5)
    np.testing.assert_allclose(inputs.texts(ROWS, False), as_fed(dataset.text_features[ROWS]), atol=1e-5)


def test_the_extractor_and_its_lines_are_content(dataset):
    others = replace(dataset, text_extractor="letters:35"), replace(dataset, line_features=None)
    assert len({dataset_digest(each) for each in (dataset, *others)}) == 3
