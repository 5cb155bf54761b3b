from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_mixer as oracle
import pytest
from oracles_gated import made_drawings
from oracles_training import assert_same_model
from scipy import sparse

from spdq.errors import DamagedError, UsageError
from spdq.models.directory import read_model
from spdq.models.mixer import MixerModel, document_vectors, memory_parts
from spdq.training.mixer import RECIPES, MixerTask
from spdq.training.run import train_task


@pytest.fixture(scope="module")
def dataset():
    return replace(made_drawings(), image_regions=4)


@pytest.fixture(scope="module")
def model(dataset):
    short = replace(
        RECIPES["default"], min_steps=60, max_steps=60, hidden=32, dim=16, slots=8, batch=32, concepts=2
    )
    return train_task(MixerTask, dataset, 16, short)


@pytest.fixture(scope="module")
def texts(model, dataset):
    return model.text_features(dataset.texts)


def test_embeddings_equal_the_twin(model, dataset, texts):
    state = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
    images = model.inputs["image"](dataset.image_features.reshape(-1, 3)).reshape(80, -1)
    words, parts = model.inputs["text"](texts), memory_parts(texts, model.config.parts)
    given = dataset.image_features
    whole = list(zip(images, words, parts, strict=True))
    for found, expected in (
        (model.embed_image(given), [oracle.query(state, x) for x in images]),
        (model.embed_text(texts), [oracle.document(state, None, t, p) for _, t, p in whole]),
        (model.embed_unit(given, texts), [oracle.document(state, x, t, p) for x, t, p in whole]),
    ):
        assert (found.shape, found.dtype) == ((80, 16), np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert model.encode_unit(given, texts).shape == (80, 2)
    assert len(set(parts.tolist())) == model.config.parts


def test_a_row_does_not_depend_on_its_company(model, dataset, texts):
    images = dataset.image_features
    whole = model.embed_unit(images, texts)
    for row in (0, 3, 79):
        alone = model.embed_unit(images[row : row + 1], texts[row])
        np.testing.assert_allclose(alone, whole[row : row + 1], atol=1e-5)


def test_a_document_without_text_is_no_query(model, dataset, texts):
    images, nothing = dataset.image_features[:3], sparse.csr_matrix((3, texts.shape[1]), dtype=np.float32)
    found = model.embed_unit(images, nothing)
    regions = model.inputs["image"](images.reshape(-1, 3)).reshape(3, -1)
    np.testing.assert_allclose(found, document_vectors(model.network, regions, None, None), atol=1e-6)
    assert not np.allclose(found, model.embed_image(images), atol=1e-3)


def test_a_document_without_image_is_its_text(model, dataset, texts):
    found = model.embed_unit(np.zeros((3, 12), np.float32), texts[:3])
    np.testing.assert_allclose(found, model.embed_text(texts[:3]), atol=1e-6)


def test_a_query_has_no_part_to_weigh(model):
    with pytest.raises(UsageError, match="ranks by one similarity: it has no instance weight"):
        model.weigh_query(np.ones((2, model.dim), np.float32), "image", 0.5)


def test_documents_of_nothing(model):
    with pytest.raises(ValueError, match="documents need images or texts"):
        document_vectors(model.network, None, None, None)


def test_no_document(model, dataset, texts):
    assert model.embed_text(texts[:0]).shape == (0, 16)
    assert model.embed_unit(dataset.image_features[:0], texts[:0]).shape == (0, 16)


def test_a_texts_part_is_a_matter_of_its_features_alone():
    random = np.random.default_rng(0)
    dense = np.where(random.random((600, 30)) < 0.2, random.random((600, 30)), 0).astype(np.float32)
    rows = sparse.csr_matrix(dense)
    found = memory_parts(rows, 3)
    assert (np.bincount(found, minlength=3) > 150).all()
    np.testing.assert_array_equal(memory_parts(dense, 3), found)
    np.testing.assert_array_equal(memory_parts(rows[7:8], 3), found[7:8])
    shuffled = rows.copy()
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        shuffled.indices[start:stop] = rows.indices[start:stop][::-1]
        shuffled.data[start:stop] = rows.data[start:stop][::-1]
    shuffled.has_sorted_indices = False
    shuffled.data = np.append(shuffled.data, 0.0).astype(np.float32)
    shuffled.indices = np.append(shuffled.indices, 5).astype(shuffled.indices.dtype)
    shuffled.indptr[-1] += 1
    np.testing.assert_array_equal(memory_parts(shuffled, 3), found)
    assert not memory_parts(rows, 1).any()


def test_it_is_saved_and_loaded(model, dataset, texts, tmp_path):
    model.save_pretrained(tmp_path / "m")
    loaded = MixerModel.from_parts(read_model(tmp_path / "m")[0])
    assert_same_model(loaded, model)
    images = dataset.image_features
    np.testing.assert_array_equal(loaded.embed_unit(images, texts), model.embed_unit(images, texts))
    read = loaded.text_features(dataset.texts)
    np.testing.assert_array_equal(memory_parts(read, 6), memory_parts(texts, 6))
    assert "# Mixer" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dim": 17}, "tensors do not fit config.json"),
        ({"regions": 2}, "tensors do not fit config.json"),
        ({"parts": 5}, "tensors do not fit config.json"),
        ({"bits": 32}, "codebooks of 16 dimensions and 16 bits, expected 16 and 32"),
        ({"image_input": "columns"}, "input map 'columns': expected tensors"),
        ({"concepts": 0}, "concepts is 0, expected 1 to 65536"),
        ({"gate": 1}, r"settings \['gate'\] are missing or unknown"),
    ],
)
def test_settings_that_do_not_fit(model, changes, match):
    parts = model.to_parts()
    parts.config.update(changes)
    with pytest.raises(DamagedError, match=match):
        MixerModel.from_parts(parts)
