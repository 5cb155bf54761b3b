from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_models import trained, worded

from spdq.errors import DataError
from spdq.training.gated import GatedTask
from spdq.training.run import train_task
from spdq_benchmarks.embedding_figures import MUST_MS, embedding_figures


def test_texts_and_images_are_timed():
    threads = torch.get_num_threads()
    text, image = embedding_figures(trained(), worded(), 1)
    assert (text.name, image.name) == ("one text to its vector", "one row of image features to its vector")
    assert {text.unit, image.unit} == {"ms"}
    assert text.must == image.must == MUST_MS
    assert min(text.value, image.value) > 0
    assert torch.get_num_threads() == threads


def test_rows_where_the_model_reads_no_texts():
    dataset = replace(worded(), texts=None, text_features=np.eye(60, 20, dtype=np.float32) + 1)
    recipe = replace(GatedTask.recipes["default"], min_steps=2, max_steps=2, hidden=8, dim=8)
    model = train_task(GatedTask, dataset, 16, recipe)
    text, _ = embedding_figures(model, dataset, 1)
    assert text.name == "one row of text features to its vector"
    with pytest.raises(DataError, match="has no text that the model reads"):
        embedding_figures(model, replace(dataset, text_features=None), 1)


def test_a_data_set_without_images():
    with pytest.raises(DataError, match="has no /image/features"):
        embedding_figures(trained(), replace(worded(), image_features=None), 1)
