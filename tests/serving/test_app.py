"""State, figures, the description of the API, newer generations, and what a busy server does."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from made_models import N_ITEMS
from prometheus_client.parser import text_string_to_metric_families

from spdq.errors import IncompatibleError
from spdq.index import Index
from spdq.serving import Service
from spdq.serving.problems import Problem
from spdq.serving.schemas import BatchAnswer, Changed, Item, SearchAnswer


def figures(client):
    answer = client("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_health_and_readiness(client, told_problem):
    assert told_problem(client("GET", "/healthz"), 200) == {"status": "ok"}
    assert told_problem(client("GET", "/readyz"), 200) == {
        "status": "ready",
        "items": N_ITEMS,
        "generation": 1,
    }


def test_what_is_counted(serving):
    with serving(threads=3) as client:
        for _ in range(3):
            client.search(text="red")
        client.search(422, text="")
        client("GET", "/v1/items/7")
        client("BREW", "/x")
        found = figures(client)
    assert found["spdq_http_requests_total", "POST", "/v1/search", "200"] == 3
    assert found["spdq_http_requests_total", "POST", "/v1/search", "422"] == 1
    assert found["spdq_http_requests_total", "GET", "/v1/items/{item_id}", "404"] == 1
    assert found["spdq_http_requests_total", "other", "other", "404"] == 1
    assert found["spdq_http_request_seconds_count", "/v1/search"] == 4
    assert found["spdq_http_requests_under_way",] == 1
    assert found["spdq_pool_taken", "searches"] == 0
    assert found["spdq_pool_places", "searches"] == 15
    assert found["spdq_index_items",] == N_ITEMS
    assert found["spdq_index_generation",] == 1
    assert found["spdq_index_fault",] == 0
    assert found["process_resident_memory_bytes",] > 0


def test_answers_are_as_described(serving, own_index):
    headers = {"authorization": "Bearer " + "x" * 16}
    with serving(own_index, allow_writes=True, token="x" * 16, headers=headers, pictures=True) as client:
        query = {"text": "red unheard", "explain": True, "attributes": True}
        SearchAnswer.model_validate(client.search(**query), strict=True, extra="forbid")
        for method, path, told, model in (
            ("POST", "/v1/search/batch", {"queries": [query, {"text": "red"}]}, BatchAnswer),
            ("POST", "/v1/items", {"items": [{"id": 1, "text": "red"}]}, Changed),
            ("GET", "/v1/items/100", None, Item),
        ):
            model.model_validate(client(method, path, json=told).json(), strict=True, extra="forbid")


def references(value):
    if isinstance(value, dict):
        yield from (value[key] for key in value if key == "$ref")
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_forms_that_need_no_json_are_described_so(serving, own_index):
    with serving(own_index, allow_writes=True, token="x" * 16) as client:
        paths = client("GET", "/openapi.json").json()["paths"]
    forms = {
        path: paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["required"]
        for path in ("/v1/search", "/v1/items")
    }
    assert forms == {"/v1/search": ["image"], "/v1/items": ["image", "json"]}


@pytest.mark.parametrize("writes", [False, True])
def test_the_description_is_whole(serving, own_index, writes):
    given = {"allow_writes": True, "token": "x" * 16} if writes else {}
    with serving(own_index, **given) as client:
        api = client("GET", "/openapi.json").json()
        paths = {"/healthz", "/readyz", "/metrics", "/v1/search", "/v1/search/batch", "/v1/items/{item_id}"}
        paths |= {"/v1/items/{item_id}/image", "/v1/items", "/v1/index"}
        assert set(api["paths"]) == paths
        assert set(api["paths"]["/v1/items"]) == ({"get", "post"} if writes else {"get"})
        assert ("delete" in api["paths"]["/v1/items/{item_id}"]) == writes
        wanted = {reference.rpartition("/")[2] for reference in references(api)}
        assert {"Search", "Problem", "SearchAnswer"} <= wanted <= set(api["components"]["schemas"])
        assert "HTTPValidationError" not in wanted
        examples = api["components"]["schemas"]["Search"]["examples"]
        assert len(examples) == 3
        for example in examples:
            answer = client("POST", "/v1/search", json=example)
            assert answer.status_code in (200, 422)
            assert "errors" not in answer.json()
        if writes:
            assert api["paths"]["/v1/items"]["post"]["security"] == [{"token": []}]


def test_a_newer_generation_is_picked_up(serving, own_index, told_problem):
    with serving(own_index, refresh_seconds=0.05) as client:
        assert client.search(text="red")["generation"] == 1
        with Index.open(own_index, writable=True) as writer:
            writer.remove(writer.ids[:50])  # And, most of it being removed, writes the segment anew.
        client.wait_until(lambda: client.search(text="red")["generation"] == 3)
        assert len(client.search(text="red", k=100)["hits"]) == N_ITEMS - 50
        assert told_problem(client("GET", "/readyz"), 200)["items"] == N_ITEMS - 50


def test_an_index_that_cannot_be_refreshed_serves_on(serving, own_index, told_problem, caplog):
    with serving(own_index, refresh_seconds=0.05) as client:
        shutil.move(own_index, own_index.with_name("away"))
        client.wait_until(lambda: client("GET", "/readyz").status_code == 503)
        assert "cannot be brought up to date" in told_problem(client("GET", "/readyz"), 503)
        assert len(client.search(text="red")["hits"]) == 10
        assert caplog.text.count("the index cannot be refreshed") == 1
        assert figures(client)["spdq_index_fault",] == 1
        shutil.move(own_index.with_name("away"), own_index)
        client.wait_until(lambda: client("GET", "/readyz").status_code == 200)


def test_a_bug_in_refreshing_does_not_end_it(serving, caplog):
    calls = []

    def broken(service):
        def refresh():
            calls.append(1)
            raise KeyError("lost")

        service.index.refresh = refresh

    with serving(refresh_seconds=0.02, change=broken) as client:
        client.wait_until(lambda: len(calls) > 2)
        assert client("GET", "/readyz").status_code == 503
    assert caplog.text.count("the index cannot be refreshed: KeyError('lost')") == 1


def test_an_answer_is_from_one_generation(model, own_index):
    """The index changes between a search and its explanation: that is seen, and asked again."""
    with Index.open(own_index, writable=True) as index:
        service = Service(index, model)
        asked = []

        def read():
            asked.append(index.generation)
            if len(asked) < 3:
                index.remove(index.ids[:1])
            return "answer"

        assert service._at_once(read) == ("answer", 3)
        assert asked == [1, 2, 3]

        def hunted():
            index.remove(index.ids[:1])
            index.attributes_of([0])

        with pytest.raises(Problem, match="the index is changing too fast") as problem:
            service._at_once(hunted)
        assert problem.value.status == 503


def test_another_model_is_refused(made, model):
    other = model.with_codebooks(type(model.codebooks)(model.codebooks.words * 2, model.codebooks.kind))
    with (
        Index.open(made.index) as index,
        pytest.raises(IncompatibleError, match="index was built with model"),
    ):
        Service(index, other)


def held(service):
    service.hold, real = threading.Event(), service.search

    def search(asked, upload):
        service.hold.wait(20)
        return real(asked, upload)

    service.search = search


def test_a_full_server_refuses_at_once_and_recovers(serving, told_problem):
    with serving(threads=1, queue=2, change=held) as client:
        red = ("POST", "/v1/search", {"json": {"text": "red"}})
        answers = client.at_once(*[red] * 10, after=7, then=client.service.hold.set)
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [200] * 3 + [503] * 7
        refused = answers[statuses.index(503)]
        assert told_problem(refused, 503) == "3 requests are under way or waiting, which is the most"
        assert len(client.search(text="red")["hits"]) == 10
        # Health is told, and a batch and an item are refused alike, while all places are taken.
        client.service.hold.clear()
        item, batch = ("GET", "/v1/items/100", {}), ("POST", "/v1/search/batch", {"json": {}})
        answers = client.at_once(
            *[red] * 3, item, batch, ("GET", "/healthz", {}), after=3, then=client.service.hold.set
        )
        assert [answer.status_code for answer in answers] == [200] * 3 + [503, 503, 200]


def test_an_answer_has_a_deadline(serving, told_problem):
    with serving(threads=1, deadline=0.05, change=held) as client:
        assert client.search(408, text="red") == "no answer within 0.05 s"
        client.service.hold.set()


def test_answers_at_once_are_those_one_by_one(serving):
    queries = [
        {"text": text, "k": k, "where": where}
        for text in ("red", "small blue", "number n7")
        for k, where in ((3, "number < 20"), (40, "colour = 'red'"))
    ]
    with serving(threads=2, queue=100) as client:
        want = [client.search(**query) for query in queries] * 5
        requests = [("POST", "/v1/search", {"json": query}) for query in queries * 5]
        assert [answer.json() for answer in client.at_once(*requests)] == want


def test_the_kernels_and_extractors_are_warm(made, model):
    with Index.open(made.index) as index:
        Service(index, model).warm_up()
        Service(index, None).warm_up()
        assert np.isfinite(model.embed_text(model.text_features(["red"]))).all()
