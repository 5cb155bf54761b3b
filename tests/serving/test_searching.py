from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import COLOURS, N_ITEMS

from spdq.engine import Engine
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks


@pytest.fixture(scope="module")
def engine(made):
    engine = Engine(made.model, made.index)
    yield engine
    engine.index.close()


def as_json(hits):
    return [hit._asdict() for hit in hits]


def test_a_whole_number_may_have_a_point(client):
    """JSON has one kind of numbers."""
    assert client.search(text="red", k=3.0) == client.search(text="red", k=3)
    assert "/k: Input should be a valid integer" in client.search(422, text="red", k=3.5)


@pytest.mark.parametrize(
    "asked", [{"text": "red"}, {"text": "small blue", "k": 3}, {"text": "number n7", "k": 1000}]
)
def test_a_text_finds_what_the_engine_finds(client, engine, asked):
    answer = client.search(**asked)
    assert answer["hits"] == as_json(engine.search(**asked))
    assert answer["unknown_words"] == []
    assert answer["generation"] == engine.index.generation


def test_a_picture_finds_what_the_engine_finds(client, engine, png):
    hits = as_json(engine.search(image=png(4), k=5))
    assert client.search(image=base64.b64encode(png(4)).decode(), k=5)["hits"] == hits
    uploaded = client("POST", "/v1/search", files={"image": png(4)}, data={"json": '{"k": 5}'})
    assert uploaded.json()["hits"] == hits
    alone = client("POST", "/v1/search", files={"image": png(4)})
    assert alone.json()["hits"][:5] == hits


def test_a_mixture_finds_what_the_engine_finds(client, engine, png):
    mix = [(1.0, "text", "red"), (0.5, "image", png(1)), (-0.5, "text", "small")]
    hits = as_json(engine.search(mix=mix, k=7))
    asked = {
        "k": 7,
        "mix": [{"text": "red"}, {"weight": 0.5, "upload": True}, {"weight": -0.5, "text": "small"}],
    }
    answer = client("POST", "/v1/search", files={"image": png(1)}, data={"json": json.dumps(asked)})
    assert answer.json()["hits"] == hits


def test_unknown_words_find_nothing_and_say_so(client):
    answer = client.search(text="unheard of", k=3)
    assert (answer["hits"], answer["unknown_words"]) == ([], ["unheard", "of"])
    assert answer["note"].startswith("no known word in 'unheard of'")
    queries = [{"text": "red"}, {"mix": [{"text": "red"}, {"text": "unheard"}]}, {"text": "blue", "k": 2}]
    answers = client("POST", "/v1/search/batch", json={"queries": queries}).json()["answers"]
    assert [len(one["hits"]) for one in answers] == [10, 0, 2]
    assert "note" not in answers[0]
    assert answers[1]["unknown_words"] == ["unheard"]
    assert answers[2]["hits"] == client.search(text="blue", k=2)["hits"]


def test_an_item_finds_what_is_like_it(client, engine, model):
    vectors = engine.index.reconstruct([107])
    hits = client.search(item=107, k=5)["hits"]
    distances, ids = engine.index.search(model.weigh_query(vectors, "image"), 5)
    assert [(hit["id"], hit["distance"]) for hit in hits] == list(
        zip(ids[0].tolist(), distances[0].tolist(), strict=True)
    )
    weighed = client.search(item=107, k=5, instance_weight=0.5)["hits"]
    distances, ids = engine.index.search(model.weigh_query(vectors, "text", 0.5), 5)
    assert [hit["id"] for hit in weighed] == ids[0].tolist()
    mixed = client.search(mix=[{"item": 107}, {"item": 107, "weight": -1}], k=2)["hits"]
    assert [hit["distance"] for hit in mixed] == [0, 0]
    assert "no item has the id 101" in client.search(422, item=101)
    assert "expected integers, got str" in client.search(422, item="a")


def test_an_item_finds_what_is_like_it_without_a_model(serving, engine):
    with serving(model=None) as client:
        hits = client.search(item=107, k=4)["hits"]
        found = engine.index.search(engine.index.reconstruct([107]), 4)[1]
        assert [hit["id"] for hit in hits] == found[0].tolist()
        assert "no model" in client.search(422, item=107, instance_weight=0.5)
        assert client("GET", "/v1/index").json()["searches"] == ["vector"]


def test_a_hit_says_what_it_is_near_and_shows(serving, made, model, tmp_path):
    dataset = made.dataset
    vectors = model.embed_unit(dataset.image_features, model.text_features(dataset.texts))
    labels = [[f"colour:{COLOURS[row % 3]}", "unheard-of"] for row in range(N_ITEMS)]
    with Index.create(
        tmp_path / "i", model.codebooks, "ip", "int", model.fingerprint, made.model, {"labels": "set"}
    ) as index:
        index.add(vectors, dataset.ids, {"labels": labels})
    with serving(tmp_path / "i", pictures=True) as client:
        hits = client.search(text="green", k=3, explain=True, attributes=True)["hits"]
    assert [hit["words"][0] for hit in hits] == ["green"] * 3
    assert [sorted(hit["words"]) for hit in hits] == [sorted(COLOURS)] * 3
    assert [hit["caption"].split()[1] for hit in hits] == ["green"] * 3
    assert [hit["image"] for hit in hits] == [f"/v1/items/{hit['id']}/image" for hit in hits]


def test_a_vector_is_compared_as_it_is_or_weighed_as_its_modality(client, engine, model):
    vector = model.embed_text(model.text_features(["red"]))
    hits = client.search(vector=vector[0].tolist(), modality="text", k=5)["hits"]
    assert hits == as_json(engine.search(text="red", k=5))
    weighed = model.weigh_query(vector, "text")
    assert client.search(vector=weighed[0].tolist(), k=5)["hits"] == hits
    mix = [
        {"vector": weighed[0].tolist()},
        {"vector": vector[0].tolist(), "modality": "text", "weight": -0.5},
    ]
    distances, ids = engine.index.search(np.concatenate([weighed, weighed]), 5, mix=[1, -0.5])
    found = client.search(mix=mix, k=5)["hits"]
    assert [(hit["id"], hit["distance"]) for hit in found] == list(
        zip(ids[0].tolist(), distances[0].tolist(), strict=True)
    )


def test_the_instance_weight_goes_to_the_model(client, engine):
    hits = as_json(engine.search(text="small blue", k=5, instance_weight=2.0))
    assert client.search(text="small blue", k=5, instance_weight=2.0)["hits"] == hits


@pytest.mark.parametrize("text", ["cafe\u0301 red", "caf\u00e9 red"])
def test_texts_are_composed(client, text):
    assert client.search(text=text)["unknown_words"] == ["caf\u00e9"]


def test_a_condition_chooses_items(client, engine):
    where = "colour = 'red' AND has(tags, 'even') AND number < 20"
    answer = client.search(text="blue", k=50, where=where, attributes=True)
    assert answer["hits"]
    for hit in answer["hits"]:
        assert hit["attributes"]["colour"] == "red"
        assert hit["attributes"]["tags"] == ["even"]
    plain = [{name: hit[name] for name in ("rank", "id", "distance")} for hit in answer["hits"]]
    assert plain == as_json(engine.search(text="blue", k=50, filter=where))
    assert client.search(text="blue", where="number < 0")["hits"] == []


@pytest.mark.parametrize("mix", [None, [{"text": "red"}, {"text": "small", "weight": -0.5}]])
def test_shares_add_up_to_the_distance(client, mix):
    asked = {"text": "red"} if mix is None else {"mix": mix}
    for hit in client.search(**asked, explain=True)["hits"]:
        assert sum(hit["shares"]) == pytest.approx(hit["distance"], abs=1e-4)


def test_a_batch_answers_as_each_alone(client, png):
    queries = [
        {"text": "red", "k": 3},
        {"text": "small", "k": 20, "where": "number < 4", "explain": True},
        {"mix": [{"text": "red"}, {"text": "small", "weight": -1.0}], "k": 4, "attributes": True},
        {"image": base64.b64encode(png(2)).decode(), "k": 60},
        {"text": "blue unheard"},
    ]
    answer = client("POST", "/v1/search/batch", json={"queries": queries}).json()
    alone = [client.search(**query) for query in queries]
    assert [one | {"generation": answer["generation"]} for one in answer["answers"]] == alone
    assert answer["answers"][4]["unknown_words"] == ["unheard"]


def test_a_batch_takes_no_files(client, told_problem, png):
    given = {"files": {"image": png(0)}, "data": {"json": '{"queries": [{"text": "red"}]}'}}
    detail = told_problem(client("POST", "/v1/search/batch", **given), 415)
    assert "a batch takes no files" in detail


@pytest.mark.parametrize(("asked", "detail"), [
    ({}, "exactly one of text, image, upload, vector, item and mix"),
    ({"text": "a", "vector": [1.0]}, "exactly one of text"),
    ({"text": "red", "modality": "text"}, "modality goes with a vector"),
    ({"text": ""}, "/text: String should have at least 1 character"),
    ({"text": " "}, "empty query text"),

    ({"text": "x" * 2001}, "/text: String should have at most 2000"),
    ({"text": "a\0b"}, "/text: forbidden character U+0000 at position 1"),
    ({"text": "\ud800"}, "unable to parse raw data as a unicode string"),
    ({"text": 3}, "/text: Input should be a valid string"),
    ({"text": "red", "k": 0}, "/k: Input should be greater than or equal to 1"),
    ({"text": "red", "k": 1001}, "/k: Input should be less than or equal to 1000"),
    ({"text": "red", "k": 10**9}, "/k: Input should be less than or equal to 1000"),
    ({"text": "red", "k": True}, "/k: Input should be a valid integer"),
    ({"text": "red", "k": "3"}, "/k: Input should be a valid integer"),
    ({"text": "red", "colour": 1}, "/colour: Extra inputs are not permitted"),
    ({"text": "red", "where": "nonsense ="}, "not a condition"),
    ({"text": "red", "where": "1 = (SELECT 1)"}, "not a condition"),
    ({"text": "red", "where": "x" * 2001}, "/where: String should have at most 2000"),
    ({"text": "red", "where": "\0"}, "/where: forbidden character U+0000"),
    ({"text": "red", "instance_weight": -1}, "/instance_weight: Input should be greater"),
    ({"vector": [1.0], "instance_weight": 1}, "give its modality"),
    ({"vector": []}, "/vector: List should have at least 1 item"),
    ({"vector": [0.0] * 8193}, "/vector: List should have at most 8192"),
    ({"vector": [1.0, 2.0]}, "expected a vector of "),
    ({"vector": ["a"]}, "/vector/0: Input should be a valid number"),
    ({"vector": [1.0], "modality": "sound"}, "/modality: Input should be 'text' or 'image'"),
    ({"image": "!"}, "/image: not base64"),
    ({"image": "AAAA"}, "not a JPEG, PNG or WebP picture"),
    ({"upload": True}, "brings no file"),
    ({"upload": False}, "/upload: Input should be True"),
    ({"mix": []}, "/mix: List should have at least 1 item"),
    ({"mix": [{"text": "red"}] * 9}, "/mix: List should have at most 8"),
    ({"mix": [{"weight": 1.0}]}, "/mix/0: expected exactly one of text, image, upload, vector and item"),
    ({"mix": [{"text": "red", "modality": "text"}]}, "/mix/0: modality goes with a vector"),
    ({"mix": [{"text": "red", "weight": 1001}]}, "/mix/0/weight: Input should be less than"),
    ({"mix": [{"text": "red", "weight": 1e999}]}, "not JSON: Infinity"),
])  # fmt: skip
def test_what_cannot_be_searched_for(client, told_problem, asked, detail):
    answer = client(
        "POST", "/v1/search", content=json.dumps(asked), headers={"content-type": "application/json"}
    )
    status = 400 if detail.startswith("not JSON") else 422
    assert detail in told_problem(answer, status)


def test_vectors_too_large_for_the_index(client, model):
    dim = model.codebooks.dim
    assert "too large for float32" in client.search(422, vector=[1e39] * dim)
    assert "finite and at most 1e+06" in client.search(422, vector=[1e7] * dim)


def test_what_is_quoted_stays_in_one_line(client):
    assert client.search(422, **{"text": "red", "a\nb\r\nc": 1}) == "/a b c: Extra inputs are not permitted"


def test_every_fault_is_named(client):
    answer = client("POST", "/v1/search", json={"text": 3, "k": "x", "mix": [{"text": 1}]})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/text", "/mix/0/text", "/k"}


def test_a_file_that_is_not_used(client, told_problem, png):
    answer = client("POST", "/v1/search", files={"image": png(0)}, data={"json": '{"text": "red"}'})
    assert "the file image is not used" in told_problem(answer, 422)


def test_batches_have_bounds(client, told_problem):
    for count, detail in ((0, "at least 1 item"), (65, "at most 64 items")):
        answer = client("POST", "/v1/search/batch", json={"queries": [{"text": "red"}] * count})
        assert detail in told_problem(answer, 422)


def test_an_index_without_a_model_is_searched_by_vectors(serving, tmp_path):
    words = np.random.default_rng(0).normal(size=(2, 16, 4)).astype(np.float32)
    vectors = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    with Index.create(tmp_path / "plain", Codebooks(words, "product"), "l2", "str") as index:
        index.add(vectors, ["a", "b/c", "d"])
        distances, ids = index.search(vectors[:1], 2)
    with serving(tmp_path / "plain", None) as client:
        hits = client.search(vector=vectors[0].tolist(), k=2)["hits"]
        assert [(hit["id"], hit["distance"]) for hit in hits] == list(
            zip(ids[0].tolist(), distances[0].tolist(), strict=True)
        )
        assert "this server has no model" in client.search(422, text="red")
        assert "this server has no model" in client.search(422, vector=[0.0] * 8, modality="text")


def test_an_empty_index_finds_nothing(serving, model, tmp_path):
    Index.create(tmp_path / "empty", model.codebooks, "ip", model_fingerprint=model.fingerprint).close()
    with serving(tmp_path / "empty") as client:
        assert client.search(text="red", explain=True, attributes=True)["hits"] == []
        assert client.search(mix=[{"text": "red"}])["hits"] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["text", "image", "upload", "vector", "modality", "mix", "k", "where", "explain", "weight"]
)
QUERIES = st.dictionaries(
    NAMES, VALUES | st.just("red") | st.lists(st.dictionaries(NAMES, VALUES), max_size=2), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=QUERIES)
def test_no_json_is_a_bug(client, told_problem, asked):
    answer = client(
        "POST", "/v1/search", content=json.dumps(asked), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400, 422), answer.text
    told_problem(answer, answer.status_code)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_no_bytes_are_a_bug(client, told_problem, raw):
    answer = client("POST", "/v1/search", content=raw, headers={"content-type": "application/json"})
    told_problem(answer, 422 if answer.status_code == 422 else 400)


def test_more_hits_than_items(client):
    assert len(client.search(text="red", k=1000)["hits"]) == N_ITEMS
