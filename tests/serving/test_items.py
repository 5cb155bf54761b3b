"""Items: looked at by anybody, changed only where that is allowed and by who has the token."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest
from made_models import N_ITEMS

from spdq.errors import LockedError, UsageError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq.serving import Service, Settings, create_app

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def writing(serving, own_index):
    with serving(own_index, headers=BEARER, allow_writes=True, token=TOKEN) as client:
        yield client


def test_items_are_listed_by_their_ids(client, told_problem):
    ids = [100 + 7 * row for row in range(N_ITEMS)]
    first = told_problem(client("GET", "/v1/items?k=3"), 200)
    assert [item["id"] for item in first["items"]] == ids[:3]
    assert first["items"][0] == told_problem(client("GET", "/v1/items/100"), 200)
    assert [item["id"] for item in told_problem(client("GET", "/v1/items?k=1000"), 200)["items"]] == ids
    chosen = told_problem(client("GET", "/v1/items", params={"where": "colour = 'blue'", "k": 2}), 200)
    assert [item["id"] for item in chosen["items"]] == ids[2:6:3]
    none = told_problem(client("GET", "/v1/items", params={"where": "number > 99"}), 200)
    assert none["items"] == []


@pytest.mark.parametrize(("query", "detail"), [
    ("k=0", "/k: Input should be greater"), ("k=1001", "/k: Input should be less"), ("k=x", "/k: Input"),
    ("where=", "/where: String should have at least"), ("where=colour", None), ("where=nothing", "not a condition"),
    ("page=2", "/page: Extra inputs"),
])  # fmt: skip
def test_lists_that_cannot_be_had(client, told_problem, query, detail):
    said = told_problem(client("GET", f"/v1/items?{query}"), 422 if detail else 200)
    assert said["items"] == [] if detail is None else detail in said


def test_what_is_searched_is_told(client, told_problem):
    about = told_problem(client("GET", "/v1/index"), 200)
    assert (about["items"], about["bits"], about["n_codebooks"], about["metric"]) == (N_ITEMS, 16, 2, "ip")
    assert about["code_bytes"] == 2 * N_ITEMS
    assert about["vector_bytes"] == 4 * N_ITEMS * client.service.index.dim
    assert about["searches"] == ["text", "image", "vector"]
    assert about["pictures"]
    facets = about["attributes"]
    assert facets["colour"]["values"] == [["blue", 20], ["green", 20], ["red", 20]]
    assert facets["tags"] == {
        "kind": "set", "values": [["even", 30]], "n_values": 1, "minimum": None, "maximum": None
    }  # fmt: skip
    assert (facets["number"]["minimum"], facets["number"]["maximum"]) == (0, N_ITEMS - 1)


def test_an_item_is_shown(client, told_problem):
    want = {"colour": "red", "size": "small", "number": 0, "tags": ["even"]}
    item = told_problem(client("GET", "/v1/items/100"), 200)
    image = "/v1/items/100/image"
    assert item == {"id": 100, "attributes": want, "caption": "small red", "image": image}
    assert told_problem(client("GET", "/v1/items/107"), 200)["attributes"]["tags"] is None


@pytest.mark.parametrize(
    "key",
    [
        "101",
        "-1",
        "x",
        "",
        "1e2",
        "0x64",
        "100 ",
        "9" * 19,
        "9" * 5000,
        "--100",
        "\u0661",
        "%00",
        "%ff",
        "..",
        "a/b",
    ],
)
def test_items_that_are_not_there(client, told_problem, key):
    told_problem(client("GET", f"/v1/items/{key}"), 404)
    told_problem(client("GET", f"/v1/items/{key}/image"), 404)


@pytest.mark.parametrize("key", ["a", "b/c", "d e", "\u00e9", "%", "..x", "a?b#c", "image", "a/image"])
def test_string_ids_come_back_as_they_went_in(serving, told_problem, tmp_path, key):
    words = np.zeros((2, 4, 4), np.float32)
    with Index.create(tmp_path / "index", Codebooks(words, "product"), ids="str") as index:
        index.add_codes(np.zeros((1, 2), np.uint8), [key])
    with serving(tmp_path / "index", None, allow_writes=True, token=TOKEN, headers=BEARER) as client:
        path = "/v1/items/" + "".join(f"%{byte:02X}" for byte in key.encode())
        assert told_problem(client("GET", path), 200)["id"] == key
        told_problem(client("GET", path + "x"), 404)
        assert "without pictures" in told_problem(client("GET", path + "/image"), 404)
        told_problem(client("GET", "/v1/items/" + "x" * 1025), 404)
        told_problem(client("GET", "/v1/items/%00"), 404)
        told_problem(client("DELETE", path), 204)
        told_problem(client("DELETE", path), 404)


def test_items_are_added_searched_replaced_and_removed(writing, own_index, told_problem, png):
    generation = told_problem(writing("GET", "/readyz"), 200)["generation"]
    items = [
        {
            "id": 1,
            "text": "small blue",
            "attributes": {"colour": "blue", "number": 1000, "tags": ["new", "odd"]},
        },
        {"id": 2, "image": base64.b64encode(png(3)).decode(), "text": "red"},
        {"id": 3, "image": base64.b64encode(png(3)).decode()},
    ]
    made = told_problem(writing("POST", "/v1/items", json={"items": items}), 201)
    assert made == {"items": 3, "generation": generation + 1}
    hits = writing.search(text="small blue", where="number = 1000", attributes=True)["hits"]
    assert [(hit["id"], hit["attributes"]["tags"]) for hit in hits] == [(1, ["new", "odd"])]
    again = {"items": [{"id": 1, "text": "red"}, {"id": 4, "text": "green"}], "replace": True}
    assert told_problem(writing("POST", "/v1/items", json=again), 201)["items"] == 2
    assert writing.search(text="red", where="number = 1000")["hits"] == []
    assert told_problem(writing("GET", "/v1/items/1"), 200)["attributes"]["colour"] is None
    told_problem(writing("DELETE", "/v1/items/1"), 204)
    assert told_problem(writing("DELETE", "/v1/items/1"), 404) == "no item 1"
    with Index.open(own_index) as index:
        assert len(index) == N_ITEMS + 3
        index.verify()


def test_an_item_is_what_its_text_and_picture_say(writing, own_index, model, png):
    told = {"items": [{"id": 1, "text": "red", "upload": True}]}
    answer = writing("POST", "/v1/items", files={"image": png(5)}, data={"json": json.dumps(told)})
    assert answer.status_code == 201, answer.text
    vector = model.embed_unit(model.image_features([png(5)]), model.text_features(["red"]))
    told = {"items": [{"id": 2, "vector": vector[0].tolist()}]}
    assert writing("POST", "/v1/items", json=told).status_code == 201
    with Index.open(own_index) as index:
        codes = index.codes[np.searchsorted(index.ids, [1, 2])]
    assert (codes == model.codebooks.encode(vector)).all()


@pytest.mark.parametrize(("item", "status", "detail"), [
    ({"id": 100, "text": "red"}, 409, "item 100 is there already"),
    ({"id": 1}, 422, "/items/0: expected a vector, or a text"),
    ({"id": 1, "text": "red", "vector": [1.0]}, 422, "/items/0: expected a vector, or a text"),
    ({"id": 1, "image": "AAAA", "upload": True}, 422, "/items/0: expected a vector, or a text"),
    ({"id": 1, "upload": True}, 422, "brings no file"),
    ({"id": 1, "vector": [1.0]}, 422, "expected a vector of "),
    ({"id": "a", "text": "red"}, 422, "id"),
    ({"id": 2**63, "text": "red"}, 422, "id"),
    ({"id": True, "text": "red"}, 422, "/items/0/id/int"),
    ({"id": 1, "text": "unheard"}, 422, "word"),
    ({"id": 1, "image": "AAAA"}, 422, "not a JPEG"),
    ({"id": 1, "text": "red", "attributes": {"year": 1}}, 422, "unknown attribute 'year'"),
    ({"id": 1, "text": "red", "attributes": {"number": "x"}}, 422, "attribute number of item 0"),
    ({"id": 1, "text": "red", "attributes": {"tags": ["\0"]}}, 422, "attribute tags of item 0"),
    ({"text": "red"}, 422, "/items/0/id: Field required"),
])  # fmt: skip
def test_a_bad_item_changes_nothing(writing, own_index, told_problem, item, status, detail):
    items = [{"id": 5, "text": "red"}, item] if status == 409 else [item]
    assert detail in told_problem(writing("POST", "/v1/items", json={"items": items}), status)
    with Index.open(own_index) as index:
        assert (len(index), index.generation) == (N_ITEMS, 1)


def test_an_item_twice_and_too_many_items(writing, told_problem):
    items = [{"id": 1, "text": "red"}] * 2
    assert told_problem(writing("POST", "/v1/items", json={"items": items}), 422) == "duplicate id 1"
    for count in (0, 65):
        items = [{"id": number, "text": "red"} for number in range(count)]
        assert "/items: List should have" in told_problem(
            writing("POST", "/v1/items", json={"items": items}), 422
        )


def test_changes_need_the_token_on_every_address(serving, own_index, told_problem):
    with serving(own_index, allow_writes=True, token=TOKEN) as client:
        for headers in ({}, {"authorization": "Bearer 0123456789abcdeX"}):
            told = {"json": {"items": [{"id": 1, "text": "red"}]}, "headers": headers}
            assert "Authorization: Bearer TOKEN" in told_problem(client("POST", "/v1/items", **told), 401)
            told_problem(client("DELETE", "/v1/items/100", headers=headers), 401)
        assert len(client.search(text="red", k=100)["hits"]) == N_ITEMS


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_after_a_full_disk_it_writes_again(writing, own_index, told_problem, monkeypatch, method):
    added = {"json": {"items": [{"id": 1, "text": "red"}]}}
    asked = (method, "/v1/items", added) if method == "POST" else (method, "/v1/items/100", {})

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        detail = told_problem(writing(*asked[:2], **asked[2]), 507 if method == "POST" else 204)
        assert detail in ("the storage refused; nothing was changed", None)
    told_problem(writing("POST", "/v1/items", **added), 201)
    with Index.open(own_index) as index:
        assert len(index) == N_ITEMS + (1 if method == "POST" else 0)
        index.verify()


def test_while_the_server_writes_others_cannot(writing, own_index):
    with pytest.raises(LockedError, match="writing"):
        Index.open(own_index, writable=True)


def test_an_index_open_for_reading_takes_no_writes(made, model):
    with Index.open(made.index) as index, pytest.raises(UsageError, match="open it with writable=True"):
        create_app(Service(index, model), Settings(allow_writes=True, token=TOKEN))
