from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.testing as npt
import pytest
from made_models import trained, worded
from scipy import sparse

from spdq.data.items import Items
from spdq.errors import DataError
from spdq.models.encoding import CHUNK, Missing, chunks, dataset_items, encode_chunk, encode_items

N = 2 * CHUNK + 5


@pytest.fixture(scope="module")
def many():
    """Units of features, in more than two chunks; some lack a part."""
    model, random = trained(), np.random.default_rng(0)
    images = random.normal(size=(N, model.image_width)).astype(np.float32)
    texts = random.random((N, model.text_width), np.float32) * (random.random((N, model.text_width)) < 0.2)
    texts[-1] = 0
    images[:3], texts[:3] = 0, 1
    return Items(np.arange(N), sparse.csr_matrix(texts), images)


def test_chunks_are_encoded_each_on_its_own(many):
    model, seen = trained(), []
    codes, missing = encode_items(model, many, lambda done, total: seen.append((done, total)))
    parts = [encode_chunk(model, many[part]) for part in chunks(N)]
    npt.assert_array_equal(codes, np.concatenate([part for part, _ in parts]))
    assert missing == sum((lacked for _, lacked in parts), Missing())
    assert (missing.without_image, missing.without_words) == (3, 0)
    assert missing.without_text == int((many.texts.getnnz(axis=1) == 0).sum()) > 0
    assert seen == [(CHUNK, N), (2 * CHUNK, N), (N, N)]


@pytest.mark.parametrize("modality", ["image", "text", "unit"])
def test_a_data_set_is_encoded_as_its_features_are(modality):
    model, dataset = trained(), worded()
    texts = model.text_features(dataset.texts)
    expected = {
        "image": lambda: model.encode_image(dataset.image_features),
        "text": lambda: model.encode_text(texts),
        "unit": lambda: model.encode_unit(dataset.image_features, texts),
    }
    found, missing = encode_items(model, dataset_items(model, dataset, modality))
    npt.assert_array_equal(found, expected[modality]())
    assert missing == Missing()
    stored = replace(dataset, texts=None, text_features=texts)
    npt.assert_array_equal(encode_items(model, dataset_items(model, stored, modality))[0], found)


def test_texts_without_a_known_word_are_counted():
    texts = ["red", "xyzzy", ""]
    assert encode_items(trained(), Items(np.arange(3), texts, None))[1] == Missing(without_words=2)


def test_no_items_have_no_codes():
    codes, missing = encode_items(trained(), Items(np.arange(0), [], None))
    assert (codes.shape, missing) == ((0, trained().codebooks.n_codebooks), Missing())


@pytest.mark.parametrize(("lacking", "modality"), [("image", "unit"), ("text", "text")])
def test_a_data_set_that_lacks_the_modality(lacking, modality):
    without = {"image": {"image_features": None}, "text": {"texts": None}}[lacking]
    with pytest.raises(DataError, match=rf"data set made has no /?{lacking}"):
        dataset_items(trained(), replace(worded(), **without), modality)
