from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from oracles_csm import COLOURS, made_log
from oracles_training import assert_same_model
from scipy import sparse

from spdq.errors import DamagedError, DataError
from spdq.models.csm import BATCH, CSMModel, is_square, unit_length
from spdq.models.directory import read_model
from spdq.training.csm import RECIPES, CSMTask
from spdq.training.run import train_task

SHORT = {"min_steps": 60, "max_steps": 60, "hidden": 32, "dim": 16, "batch": 32, "negatives": 16}


@pytest.fixture(scope="module")
def dataset():
    return made_log()


@pytest.fixture(scope="module", params=["default", "paper", "pixels"])
def world(request, dataset):
    """A data set and a model of it."""
    if request.param == "pixels":
        pictures = made_log(pixels=16)
        return pictures, train_task(CSMTask, pictures, 16, replace(RECIPES["default"], **SHORT))
    return dataset, train_task(
        CSMTask, dataset, 16, replace(RECIPES[request.param], **SHORT, query_layer=True)
    )


@pytest.fixture(scope="module")
def queries(world):
    data, model = world
    return model.text_features([*data.clicks.queries, "zebra"])


def test_vectors(world, queries):
    data, model = world
    images, texts = model.embed_image(data.image_features), model.embed_text(queries)
    assert (images.shape, images.dtype) == ((48, 16), np.float32)
    assert (texts.shape, texts.dtype) == ((len(data.clicks.queries) + 1, 16), np.float32)
    if model.config.normalised:
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), np.ones(48), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(texts[:-1], axis=1), np.ones(len(texts) - 1), atol=1e-5)
    assert not texts[-1].any()
    assert model.encode_image(data.image_features).shape == (48, 2)


def test_a_unit_is_the_mean(world, queries):
    data, model = world
    features, rows = data.image_features[:5], queries[:5]
    mean = (model.embed_image(features) + model.embed_text(rows)) / 2
    if model.config.normalised:
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed_unit(features, rows), mean, atol=1e-6)


def test_a_missing_part_leaves_the_other(world, queries):
    data, model = world
    features = data.image_features[:2].copy()
    features[0] = 0
    rows = sparse.vstack([queries[0], queries[-1]]).tocsr()
    units = model.embed_unit(features, rows)
    np.testing.assert_allclose(units[:1], model.embed_text(queries[0]), atol=1e-6)
    np.testing.assert_allclose(units[1:], model.embed_image(features[1:]), atol=1e-6)
    with pytest.raises(DataError, match="unit 0 has neither an image nor a known word"):
        model.embed_unit(features[:1], queries[-1])


def test_a_row_does_not_depend_on_its_company(world, queries):
    data, model = world
    many = np.tile(data.image_features, (4, 1))
    assert len(many) > BATCH
    images = model.embed_image(many)
    np.testing.assert_allclose(model.embed_image(many[130]), images[130:131], atol=1e-5)
    texts = model.embed_text(sparse.vstack([queries] * 6).tocsr())
    assert len(texts) > BATCH
    np.testing.assert_allclose(model.embed_text(queries[3]), texts[3:4], atol=1e-6)
    np.testing.assert_array_equal(model.embed_text(queries.toarray()), texts[: queries.shape[0]])
    assert model.embed_text(queries[:0]).shape == model.embed_image(many[:0]).shape == (0, 16)


def test_a_query_of_no_known_word(world):
    _, model = world
    with pytest.raises(DataError, match="no known word in 'zebra'"):
        model.check_query("zebra")


def test_it_is_saved_and_loaded(world, queries, tmp_path):
    data, model = world
    model.save_pretrained(tmp_path / "m")
    loaded = CSMModel.from_parts(read_model(tmp_path / "m")[0])
    assert_same_model(loaded, model)
    features = data.image_features[: queries.shape[0]]
    rows = queries[: len(features)]
    np.testing.assert_array_equal(loaded.embed_unit(features, rows), model.embed_unit(features, rows))
    assert "# Cross space mapping (CSM)" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert loaded.training["clicked_pairs"] == len(data.clicks)


def test_pictures_are_read(world):
    data, model = world
    if data.image_extractor is None:
        with pytest.raises(DataError, match="trained on ready-made image features"):
            model.image_features([])
    else:
        assert model.image_features([]).shape == (0, 768)


def test_vocabularies_with_buckets_are_stored(dataset, tmp_path):
    recipe = replace(RECIPES["default"], **SHORT, max_words=5, max_grams=7, buckets=64)
    model = train_task(CSMTask, dataset, 16, recipe, directory=tmp_path)
    assert len(model.text_extractor.vocabulary) == 5
    stored = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert len(stored["grams"]) == 7
    assert stored["buckets"]["used"]
    loaded = CSMModel.from_parts(read_model(tmp_path)[0])
    rows = model.text_features(COLOURS)
    np.testing.assert_array_equal(loaded.embed_text(loaded.text_features(COLOURS)), model.embed_text(rows))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dim": 17}, "tensors do not fit config.json"),
        ({"pixels": True}, "pixels is true, but 16 are no square picture"),
        ({"query_layer": True}, "tensors do not fit config.json"),
        ({"bits": 32}, "codebooks of 16 dimensions and 16 bits, expected 16 and 32"),
        ({"image_input": "columns"}, "input map 'columns': expected tensors"),
        ({"normalised": 1}, "config.json: normalised is 1"),
        ({"gate": 1}, r"settings \['gate'\] are missing or unknown"),
    ],
)
def test_settings_that_do_not_fit(dataset, changes, match):
    parts = train_task(CSMTask, dataset, 16, replace(RECIPES["default"], **SHORT)).to_parts()
    parts.config.update(changes)
    with pytest.raises(DamagedError, match=match):
        CSMModel.from_parts(parts)


def test_a_missing_vocabulary(dataset):
    parts = train_task(CSMTask, dataset, 16, replace(RECIPES["default"], **SHORT)).to_parts()
    with pytest.raises(DamagedError, match="the vocabulary is missing"):
        CSMModel.from_parts(replace(parts, vocabulary=None))


def test_squares():
    assert [width for width in range(60) if is_square(width)] == [3, 12, 27, 48]


def test_zero_has_no_direction():
    vectors = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(unit_length(vectors), [[0, 0], [0.6, 0.8]], rtol=1e-6)
