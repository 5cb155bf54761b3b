from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_gated import made_drawings
from oracles_training import assert_same_model

from spdq import load_model
from spdq.errors import DamagedError
from spdq.models.gated import GatedModel
from spdq.networks.gated import GatedNetwork
from spdq.training.gated import RECIPES, GatedTask
from spdq.training.run import train_task


@pytest.fixture(scope="module")
def dataset():
    return made_drawings()


@pytest.fixture(scope="module")
def model(dataset):
    short = replace(RECIPES["default"], min_steps=60, max_steps=60, hidden=32, dim=16, batch=32)
    return train_task(GatedTask, dataset, 16, short)


@pytest.fixture(scope="module")
def texts(model, dataset):
    return model.text_features(dataset.texts)


def test_vectors_have_length_1(model, dataset, texts):
    images = dataset.image_features
    for vectors in (
        model.embed_image(images),
        model.embed_text(texts),
        model.embed_unit(images, texts),
    ):
        assert (vectors.shape, vectors.dtype) == ((80, 16), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(80), atol=1e-5)
    assert model.encode_unit(images, texts).shape == (80, 2)


def test_a_row_does_not_depend_on_its_company(model, dataset, texts):
    images = dataset.image_features
    whole = model.embed_unit(images, texts)
    np.testing.assert_allclose(model.embed_unit(images[3:4], texts[3]), whole[3:4], atol=1e-5)


def test_a_missing_part_leaves_the_other(model, dataset, texts):
    images = dataset.image_features.copy()
    images[0] = 0
    units = model.embed_unit(images[:2], texts[:2])
    np.testing.assert_allclose(units[:1], model.embed_text(texts[0]), atol=1e-6)
    without = texts[:2].copy()
    without.data[:] = 0
    np.testing.assert_allclose(
        model.embed_unit(dataset.image_features[:2], without),
        model.embed_image(dataset.image_features[:2]),
        atol=1e-6,
    )


def test_it_is_saved_and_loaded(model, dataset, texts, tmp_path):
    model.save_pretrained(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, GatedModel)
    assert_same_model(loaded, model)
    images = dataset.image_features
    np.testing.assert_array_equal(loaded.embed_unit(images, texts), model.embed_unit(images, texts))
    assert "# Gated joint embedding" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_a_query_counts_its_guess_less(model):
    vectors = np.ones((2, 16), np.float32)
    np.testing.assert_allclose(model.weigh_query(vectors, "text"), [[1] * 8 + [0.1] * 8] * 2, rtol=1e-6)
    np.testing.assert_allclose(model.weigh_query(vectors, "image"), [[0.1] * 8 + [1] * 8] * 2, rtol=1e-6)


def test_the_weight_of_the_guess_can_be_set(model):
    vectors = np.ones((2, 16), np.float32)
    np.testing.assert_array_equal(model.weigh_query(vectors, "text", 0.5), [[1] * 8 + [0.5] * 8] * 2)
    np.testing.assert_array_equal(model.weigh_query(vectors, "image", 0.0), [[0] * 8 + [1] * 8] * 2)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dim": 18}, "tensors do not fit config.json"),
        ({"dim": 17}, "dim is 17, expected an even number"),
        ({"guess": 1.5}, "guess is 1.5, expected a number from 0 to 1"),
        ({"guess": -1}, "guess is -1.0, expected a number from 0 to 1"),
        ({"direct": False}, "tensors do not fit config.json"),
        ({"bits": 32}, "codebooks of 16 dimensions and 16 bits, expected 16 and 32"),
        ({"image_input": "columns"}, "input map 'columns': expected tensors"),
        ({"hidden": 0}, "hidden is 0, expected 1 to 65536"),
        ({"gate": 1}, r"settings \['gate'\] are missing or unknown"),
    ],
)
def test_settings_that_do_not_fit(model, changes, match):
    parts = model.to_parts()
    parts.config.update(changes)
    with pytest.raises(DamagedError, match=match):
        GatedModel.from_parts(parts)


def test_missing_codebooks(model):
    parts = model.to_parts()
    del parts.tensors["codebooks.words"]
    with pytest.raises(DamagedError, match="model: 'words'"):
        GatedModel.from_parts(parts)


def test_an_ablation_has_a_network_of_its_own(dataset):
    class OneSpace(GatedNetwork):
        def query_weights(self, modality, guess=None):
            return torch.ones(self.gate.out_features)

    class Model(GatedModel):
        network_class = OneSpace

    class Task(GatedTask):
        model_class = Model

    model = train_task(Task, dataset, 16, replace(RECIPES["default"], max_steps=3, min_steps=3, dim=16))
    assert isinstance(model, Model)
    assert isinstance(model.network, OneSpace)
    np.testing.assert_array_equal(model.weigh_query(np.ones((1, 16), np.float32), "text"), np.ones((1, 16)))
