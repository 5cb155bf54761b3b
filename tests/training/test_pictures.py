from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_models import worded

from spdq.data import Dataset, make_split
from spdq.errors import DamagedError, DataError, UsageError
from spdq.models import load_model
from spdq.models.directory import read_model
from spdq.models.pictures import PictureModel
from spdq.training import quantized_for
from spdq.training.pictures import fit_pictures


@pytest.fixture(scope="module")
def pictures():
    """80 pictures without a text: 300 features that lie near four directions, of any length."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(4, 300))
    features = directions[np.arange(80) % 4] * random.uniform(1, 3, (80, 1)) + random.normal(
        size=(80, 300), scale=0.2
    )
    return Dataset(
        "pictures",
        np.arange(80),
        image_features=features.astype(np.float32),
        split=make_split(80, [0, 1, 2, 3], "seen", 0),
    )


def test_a_picture_finds_its_like(pictures):
    model = fit_pictures(pictures, bits=32)
    vectors = model.embed_image(pictures.image_features)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    database = pictures.split.database
    codes = model.encode_image(pictures.image_features[database])
    assert codes.shape == (76, 4)
    near = np.argsort(-(vectors[:4] @ model.codebooks.decode(codes).T), axis=1)[:, :10]
    assert (database[near] % 4 == np.arange(4)[:, None]).all()


def test_it_is_stored_and_read(pictures, tmp_path):
    model = fit_pictures(pictures, bits=16, seed=2, directory=tmp_path / "m")
    read = load_model(tmp_path / "m")
    assert isinstance(read, PictureModel)
    assert read.fingerprint == model.fingerprint == fit_pictures(pictures, bits=16, seed=2).fingerprint
    np.testing.assert_array_equal(
        read.encode_image(pictures.image_features), model.encode_image(pictures.image_features)
    )
    assert {name: read.training[name] for name in ("dataset", "split", "rows", "steps")} == {
        "dataset": "pictures",
        "split": "seen",
        "rows": 76,
        "steps": 0,
    }
    parts, _ = read_model(tmp_path / "m")
    parts.tensors["codebooks.words"] = parts.tensors["codebooks.words"][:, :, :-1]
    with pytest.raises(DamagedError, match=r"codebooks of .* dimensions"):
        PictureModel.from_parts(parts)


def test_it_reads_no_texts(pictures):
    model = fit_pictures(pictures, bits=16)
    rows = np.zeros((1, 3), np.float32)
    for ask in (
        lambda: model.text_features(["a cat"]),
        lambda: model.embed_text(rows),
        lambda: model.embed_unit(pictures.image_features[:1], rows),
    ):
        with pytest.raises(DataError, match="made of pictures without texts, so it cannot read one"):
            ask()
    with pytest.raises(UsageError, match="it has no instance weight to set"):
        model.weigh_query(rows, "image", 0.5)


def test_few_features_and_other_codebooks(monkeypatch):
    monkeypatch.setattr("spdq.training.pictures.MAX_ROWS", 20)
    dataset = replace(worded(), texts=None)
    model = fit_pictures(dataset, bits=16)
    assert (model.dim, model.training["rows"]) == (12, 20)
    assert quantized_for(model, model.embed_image(dataset.image_features), 32).codebooks.bits == 32


def test_what_is_refused(pictures):
    with pytest.raises(UsageError, match="bits must be one of"):
        fit_pictures(pictures, bits=24)
    with pytest.raises(UsageError, match="seed must be 0 or more"):
        fit_pictures(pictures, seed=-1)
    with pytest.raises(DataError, match="training needs /split"):
        fit_pictures(pictures.with_split(None))
    with pytest.raises(DataError, match="training needs /image/features"):
        fit_pictures(replace(pictures, image_features=None))
