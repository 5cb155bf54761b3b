"""``spdq index build`` of vectors that no model of ours made."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import numpy.testing as npt
import pytest

from spdq.data import Dataset, make_split
from spdq.data.codes import Codes
from spdq.index import Index
from spdq.quantizers import AdditiveQuantizer, ProductQuantizer

N, DIM = 300, 16


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Images and texts of one space in arrays and in a folder of clip-retrieval; and what cannot be built from."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(N, 4))
    images, texts = (
        np.concatenate([shared, width * rng.normal(size=(N, DIM - 4))], 1).astype(np.float32)
        for width in (2, 0.1)
    )
    arrays = {"v": images, "q": texts, "q2": images[:50], "wide": np.ones((3, DIM + 1), np.float32)}
    arrays |= {"zeros": np.zeros((3, DIM)), "none": np.zeros((0, DIM)), "nan": np.full((3, DIM), np.nan)}
    arrays |= {"codes": np.zeros((3, 2), np.uint8), "flat": np.zeros(3)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for part, array in (("img_emb", images), ("text_emb", texts)):
        (folder / "clip" / part).mkdir(parents=True)
        np.save(folder / "clip" / part / f"{part}_0.npy", array)
    ids = np.arange(N)
    dataset = {"ids": ids, "attributes": {"year": tuple((ids + 1900).tolist())}}
    sets = {
        "both": {"image_features": images, "text_features": texts, "split": make_split(N, [7], "unseen", 0)},
        "texts": {"text_features": texts},
        "widths": {"image_features": images, "text_features": texts[:, :5]},
        "lite0": {"image_features": images, "image_extractor": "lite0:128"},
        "labels": {"labels": np.ones((N, 1), np.uint8), "label_names": ("a",)},
    }
    for name, parts in sets.items():
        Dataset(name=name, **dataset, **parts).save(folder / f"{name}.h5")
    Codes(ids, np.zeros((N, 2), np.uint8), 16, "0" * 64, "0" * 64, "image").save(folder / "coded.h5")
    return SimpleNamespace(folder=folder, images=images, texts=texts)


def codebooks(index):
    with Index.open(index) as opened:
        return opened.codebooks


def test_queries_of_several_files_are_learned_for(spdq, made, tmp_path):
    queries = ("--queries", made.folder / "q.npy", "--queries", made.folder / "q2.npy")
    done = spdq("index", "build", tmp_path / "i", made.folder / "v.npy", "--bits", 16, *queries, "--json")
    assert done.code == 0, done.err
    assert (json.loads(done.out)["metric"], json.loads(done.out)["items"]) == ("ip", N)
    both = np.concatenate([made.texts, made.images[:50]])
    expected = ProductQuantizer(2, random_state=0).fit(made.images, queries=both).codebooks_
    assert codebooks(tmp_path / "i").fingerprint == expected.fingerprint
    done = spdq("index", "export", tmp_path / "i", tmp_path / "x.faiss")
    assert (done.code, "codebooks learned for queries have no place in a Faiss file" in done.err) == (2, True)


def test_without_queries_the_vectors_alone_are_learned(spdq, made, tmp_path):
    done = spdq("index", "build", tmp_path / "i", made.folder / "v.npy", "--bits", 16, "--opq", "--json")
    assert json.loads(done.out)["metric"] == "l2"
    expected = ProductQuantizer(2, rotation="opq", random_state=0).fit(made.images).codebooks_
    assert codebooks(tmp_path / "i").fingerprint == expected.fingerprint


@pytest.mark.parametrize("asked", [(), ("q",)])
def test_additive_codes(spdq, made, tmp_path, asked):
    queries = [part for name in asked for part in ("--queries", made.folder / f"{name}.npy")]
    built = ("index", "build", tmp_path / "i", made.folder / "v.npy", "--bits", 16, "--aq", *queries)
    done = spdq(*built, "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["metric"], facts["kind"]) == ("ip", "additive")
    expected = AdditiveQuantizer(2, random_state=0).fit(made.images, queries=made.texts if asked else None)
    assert codebooks(tmp_path / "i").fingerprint == expected.codebooks_.fingerprint


def test_a_folder_of_embeddings_is_learned_for_both_modalities(spdq, made, tmp_path):
    assert spdq("dataset", "import", "embeddings", made.folder / "clip", tmp_path / "clip.h5").code == 0
    done = spdq("index", "build", tmp_path / "i", tmp_path / "clip.h5", "--bits", 16, "--json")
    assert done.code == 0, done.err
    both = np.concatenate([made.images, made.texts])
    expected = ProductQuantizer(2, random_state=0).fit(made.images, queries=both)
    with Index.open(tmp_path / "i") as index:
        assert index.metric == "ip"
        assert index.codebooks.fingerprint == expected.codebooks_.fingerprint
        npt.assert_array_equal(index.codes, expected.encode(made.images))
    own = ("--queries", made.folder / "q.npy")
    assert spdq("index", "build", tmp_path / "j", tmp_path / "clip.h5", "--bits", 16, *own).code == 0
    expected = ProductQuantizer(2, random_state=0).fit(made.images, queries=made.texts)
    assert codebooks(tmp_path / "j").fingerprint == expected.codebooks_.fingerprint


def test_rows_attributes_and_modality_of_a_data_set_of_embeddings(spdq, made, tmp_path):
    args = ("--bits", 16, "--rows", "train", "--modality", "text")
    assert spdq("index", "build", tmp_path / "i", made.folder / "both.h5", *args).code == 0
    train = Dataset.load(made.folder / "both.h5").split.train
    with Index.open(tmp_path / "i") as index:
        assert list(index.ids) == sorted(train)
        assert index.select("year < 1950").tolist() == [row for row in sorted(train) if row < 50]
        npt.assert_array_equal(index.codes, index.codebooks.encode(made.texts[np.sort(train)]))
    done = spdq(
        "index", "add", tmp_path / "i", made.folder / "texts.h5", "--modality", "text", "--update", "--json"
    )
    assert (done.code, json.loads(done.out)["items"]) == (0, N), done.err


def test_a_data_set_of_one_modality_or_by_distance_is_learned_alone(spdq, made, tmp_path):
    for name, source, args in (("a", "texts", ("--modality", "text")), ("b", "both", ("--metric", "l2"))):
        done = spdq("index", "build", tmp_path / name, made.folder / f"{source}.h5", "--bits", 16, *args)
        assert done.code == 0, done.err
        assert codebooks(tmp_path / name).dual is None


def test_another_sample_of_queries_is_another_build(spdq, made, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    args = ("index", "build", tmp_path / "i", made.folder / "v.npy", "--bits", 16, "--queries")
    monkeypatch.setattr("spdq.index.building._items_in", lambda _: 1)
    with monkeypatch.context() as patched:
        patched.setattr("spdq.index.building._fill", stopped)
        assert spdq(*args, made.folder / "q.npy").code != 0
    done = spdq(*args, made.folder / "q2.npy", "--resume")
    assert (done.code, "is of another input or other settings" in done.err) == (2, True)
    assert spdq(*args, made.folder / "q.npy", "--resume").code == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("v.npy --queries {f}/zeros.npy", 4, "expected at least one query that is not zero, got 3 queries"),
        ("v.npy --queries {f}/none.npy", 4, "expected at least one query that is not zero, got 0 queries"),
        ("v.npy --queries {f}/nan.npy", 4, "queries must be finite"),
        ("v.npy --queries {f}/wide.npy", 4, "queries must have 16 columns as the vectors have, not 17"),
        ("v.npy --queries {f}/q.npy --queries {f}/wide.npy", 4, "--queries must be of one width"),
        ("v.npy --queries {f}/flat.npy", 4, "expected queries (m, D) of floats, got float64 (3,)"),
        ("v.npy --queries {f}/codes.npy", 4, "expected queries (m, D) of floats, got uint8 (3, 2)"),
        ("v.npy --queries {f}/nothing.npy", 3, "file not found"),
        ("v.npy --queries {f}/q.npy --metric l2", 2, 'metric must be "ip", not "l2"'),
        ("v.npy --aq --metric l2", 2, '"l2" of additive codes needs norms'),
        ("v.npy --aq --opq", 2, "choose one of them"),
        ("v.npy --aq --codebooks x", 2, "are for codebooks that are learned"),
        ("codes.npy --aq", 2, "codes need --codebooks"),
        ("both.h5 --model m --aq", 2, "are for vectors without a model"),
        ("both.h5 --ids x", 2, "--ids and --codebooks are for .npy files"),
        ("both.h5 --modality unit", 2, "both.h5 needs --model MODEL_DIR"),
        ("lite0.h5", 2, "lite0.h5 needs --model MODEL_DIR"),
        ("widths.h5", 2, "widths.h5 needs --model MODEL_DIR"),
        ("coded.h5", 2, "coded.h5 needs --model MODEL_DIR"),
        ("texts.h5", 4, "texts.h5 has no /image/features"),
        ("labels.h5", 4, "labels.h5 has no /image/features"),
        ("texts.h5 --modality text --rows train", 4, "has no split"),
        ("nothing.h5", 3, "data set not found"),
    ],
)
def test_bad_arguments(spdq, made, tmp_path, args, code, message):
    done = spdq(*f"index build {tmp_path}/out {made.folder}/{args}".format(f=made.folder).split())
    assert done.code == code, done.err
    assert message in done.err
    assert list(tmp_path.iterdir()) == []
