from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_training import QUICK, made_dataset
from scipy import sparse

from spdq.data import make_split
from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.evaluation import evaluate_instances, evaluate_ranking
from spdq.index import Index
from spdq.models.rows import embed_rows, text_features
from spdq.training import codebooks
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.evaluation import CROSS_MODAL, DIRECTIONS, chance_level, judge, split_name

PROTOCOLS = ("map@5", "map@all", "precision@3")


@pytest.fixture(scope="module", autouse=True)
def few_mixes():
    """Small made data need few mixes, and thousands cost a second a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebooks, "MIXES", 100)
        yield


@pytest.fixture(scope="module")
def raw():
    """A data set of raw texts and a model of it; what is searched was not trained on, so its codes lose much."""
    dataset = made_dataset(60, text="raw", kind="unseen", every=4)
    return dataset, train_task(SPDQTask, dataset, 16, QUICK["default"], 0)


@pytest.fixture(scope="module")
def ready():
    """The same of ready-made text features, with an item that has no label at all."""
    dataset = made_dataset(60, every=4)
    labels = dataset.labels.copy()
    labels[[0, 1]] = 0
    dataset = replace(dataset, labels=labels)
    return dataset, train_task(SPDQTask, dataset, 16, QUICK["paper"], 0)


@pytest.fixture(scope="module", params=["raw", "ready"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["not trained on", "trained on"])
def paired(request):
    """A model of a split whose queries' own items are in the database."""
    dataset = made_dataset(60, text="raw", kind="paired", every=4, train_on_queries=request.param)
    return dataset, train_task(SPDQTask, dataset, 16, QUICK["default"], 0)


def first_lines(dataset, rows):
    return [dataset.texts[row].split("\n")[0] for row in rows]


def features(model, dataset, rows, first_line=False):
    """Text features of rows, without the functions under test."""
    if dataset.text_features is not None:
        return dataset.text_features[rows]
    return model.text_features(
        first_lines(dataset, rows) if first_line else [dataset.texts[row] for row in rows]
    )


def query_vectors(model, dataset, direction):
    rows = dataset.split.query
    if direction[0] == "i":
        return model.weigh_query(model.embed_image(dataset.image_features[rows]), "image")
    return model.weigh_query(model.embed_text(features(model, dataset, rows, first_line=True)), "text")


def database_codes(model, dataset, direction):
    rows = dataset.split.database
    images, texts = dataset.image_features[rows], features(model, dataset, rows)
    return {
        "i": lambda: model.encode_image(images),
        "t": lambda: model.encode_text(texts),
        "u": lambda: model.encode_unit(images, texts),
    }[direction[2]]()


def searched(model, dataset, direction):
    """Distances (queries, database rows) as a search of an index of those codes returns them."""
    rows = dataset.split.database
    index = Index(model.codebooks, metric="ip")
    index.add_codes(database_codes(model, dataset, direction), ids=np.arange(len(rows)))
    products, ids = index.search(query_vectors(model, dataset, direction), k=len(rows))
    distances = np.empty_like(products)
    np.put_along_axis(distances, ids, -products, axis=1)
    return distances


def relevance(dataset):
    split = dataset.split
    shared = dataset.labels[split.query].astype(int) @ dataset.labels[split.database].T.astype(int)
    return shared > 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_figures_are_those_of_an_index_search(either, direction):
    dataset, model = either
    found = judge(model, dataset, directions=(direction,), protocols=PROTOCOLS)
    distances = searched(model, dataset, direction)
    expected = evaluate_ranking(distances, relevance(dataset), list(PROTOCOLS))
    assert [judgement.figure for judgement in found] == expected
    assert {(j.direction, j.split, j.labels, j.coding, j.bits) for j in found} == {
        (direction, dataset.split.kind, "", "codes", 16)
    }


def test_by_default_both_cross_modal_directions_by_map(ready):
    dataset, model = ready
    found = judge(model, dataset)
    assert [(j.direction, j.figure.protocol) for j in found] == [
        (direction, protocol) for direction in CROSS_MODAL for protocol in ("map@50", "map@all")
    ]


def test_vectors_are_judged_beside_codes(raw):
    dataset, model = raw
    found = judge(model, dataset, directions=("t2u",), protocols=["map@all"], codings=("codes", "vectors"))
    assert [j.coding for j in found] == ["codes", "vectors"]
    rows = dataset.split.database
    items = model.embed_unit(dataset.image_features[rows], features(model, dataset, rows))
    queries = query_vectors(model, dataset, "t2u").astype(np.float64)
    (expected,) = evaluate_ranking(-queries @ items.T.astype(np.float64), relevance(dataset), "map@all")
    assert found[1].figure.value == pytest.approx(expected.value, abs=1e-6)
    assert found[0].figure.value != found[1].figure.value


def test_text_queries_are_names_unless_whole_texts_are_asked_for(raw):
    dataset, model = raw
    names, whole = (
        judge(model, dataset, directions=("t2i",), protocols=PROTOCOLS, whole_text_queries=flag)
        for flag in (False, True)
    )
    only_names = replace(dataset, texts=tuple(first_lines(dataset, range(60))))
    assert judge(model, only_names, directions=("t2i",), protocols=PROTOCOLS) == names
    assert (
        judge(model, only_names, directions=("t2i",), protocols=PROTOCOLS, whole_text_queries=True) == names
    )
    ready_made = replace(dataset, texts=None, text_features=model.text_features(dataset.texts))
    assert judge(model, ready_made, directions=("t2i",), protocols=PROTOCOLS) == whole
    assert names != whole


def test_label_free_search_is_the_same_without_the_database_labels(raw):
    """Labels say what is relevant and nothing else: whoever hides some changes relevance alone."""
    dataset, model = raw
    changed = dataset.labels.copy()
    changed[dataset.split.database] = 1
    found = judge(model, replace(dataset, labels=changed), protocols=["map@all"])
    assert all(judgement.figure.value == pytest.approx(1.0) for judgement in found)


def test_a_prefix_chooses_the_labels_that_count(raw):
    dataset, model = raw
    by_group = judge(model, dataset, protocols=PROTOCOLS, labels="group:")
    assert {j.labels for j in by_group} == {"group:"}
    plain = judge(model, dataset.select_labels("group:"), protocols=PROTOCOLS)
    assert [j.figure for j in by_group] == [j.figure for j in plain]
    assert [j.figure for j in by_group] != [j.figure for j in judge(model, dataset, protocols=PROTOCOLS)]


def test_the_instance_weight_is_passed_on(raw):
    dataset, model = raw
    own, same, none = (
        judge(model, dataset, protocols=PROTOCOLS, instance_weight=weight)
        for weight in (None, model.config.instance_weight, 0.0)
    )
    assert own == same
    assert own != none


def test_a_paired_split_is_judged_by_instance(paired):
    dataset, model = paired
    found = judge(model, dataset)
    assert [(j.direction, j.figure.protocol) for j in found] == [
        (direction, protocol)
        for direction in CROSS_MODAL
        for protocol in ("instance-recall@1", "instance-recall@10")
    ]
    own = dataset.split.query
    for direction in CROSS_MODAL:
        expected = evaluate_instances(
            searched(model, dataset, direction), own, ["instance-recall@1", "instance-recall@10"]
        )
        assert [j.figure for j in found if j.direction == direction] == expected
    says = {True: "paired, queries trained on", False: "paired, queries not trained on"}
    assert {j.split for j in found} == {says[dataset.split.queries_trained]} == {split_name(dataset.split)}


def test_the_own_row_is_its_place_in_the_database():
    """A database that does not start at row 0."""
    dataset = made_dataset(60, text="raw", kind="paired", every=4)
    split = dataset.split
    part = replace(split, query=split.query[2:], train=split.train[20:], database=split.database[7:])
    dataset = dataset.with_split(part)
    model = train_task(SPDQTask, dataset, 16, QUICK["default"], 0)
    found = judge(model, dataset, directions=("t2u",), protocols=["instance-recall@5"])
    own = part.query - 7
    expected = evaluate_instances(searched(model, dataset, "t2u"), own, ["instance-recall@5"])
    assert [j.figure for j in found] == expected


def test_a_paired_split_can_be_judged_by_both(paired):
    dataset, model = paired
    both = ["map@all", "instance-recall@1"]
    found = judge(model, dataset, directions=("i2t",), protocols=both)
    assert [j.figure.protocol for j in found] == both
    unlabelled = replace(dataset, labels=None, label_names=())
    assert judge(model, unlabelled, directions=("i2t",), protocols=both[1:]) == found[1:]


def test_progress_is_reported(ready):
    dataset, model = ready
    seen = []
    judge(model, dataset, protocols=["map@5"], progress=lambda *step: seen.append(step))
    n = len(dataset.split.query)
    assert seen[-1] == (n, n)


def test_a_judgement_as_json(ready):
    dataset, model = ready
    judgement = judge(model, dataset, protocols=["map@5"], labels="topic:")[0]
    said = judgement.to_json()
    assert said == {
        "direction": "i2t",
        "split": "seen",
        "labels": "topic:",
        "coding": "codes",
        "bits": 16,
        **judgement.figure.to_json(),
    }


def test_chance_is_what_random_orders_reach(ready):
    dataset, _ = ready
    (found,) = chance_level(dataset, ["map@all"], "group:")
    selected = dataset.select_labels("group:")
    random = np.random.default_rng(0)
    relevant = relevance(selected)
    reached = [
        evaluate_ranking(random.random(relevant.shape), relevant, "map@all")[0].value for _ in range(60)
    ]
    assert found.value == pytest.approx(np.mean(reached), abs=0.01)
    (other,) = chance_level(dataset, ["map@all"])
    assert other.value > found.value


@pytest.mark.parametrize("modality", ["i", "t", "u"])
def test_rows_are_embedded_as_they_are_asked_for(either, modality):
    dataset, model = either
    rows = np.array([7, 3, 30])
    images, texts = dataset.image_features[rows], features(model, dataset, rows)
    expected = {
        "i": lambda: model.embed_image(images),
        "t": lambda: model.embed_text(texts),
        "u": lambda: model.embed_unit(images, texts),
    }[modality]()
    np.testing.assert_array_equal(embed_rows(model, dataset, modality, rows), expected)


def test_sparse_text_features_stay_sparse(raw):
    dataset, model = raw
    stored = replace(dataset, texts=None, text_features=model.text_features(dataset.texts))
    found = text_features(model, stored, np.array([4, 1]))
    assert sparse.issparse(found)
    np.testing.assert_array_equal(found.toarray(), stored.text_features[[4, 1]].toarray())


def test_a_model_of_raw_texts_reads_them_beside_other_features(raw):
    dataset, model = raw
    both = replace(dataset, text_features=np.ones((60, 3), np.float32))
    rows = np.array([4, 1])
    np.testing.assert_array_equal(
        text_features(model, both, rows).toarray(), text_features(model, dataset, rows).toarray()
    )
    with pytest.raises(DataError, match=r"expected text features of \(n, .*got \(2, 3\)"):
        embed_rows(model, replace(both, texts=None), "t", rows)


def test_other_training_rows_are_refused(ready):
    dataset, model = ready
    other = replace(dataset, name="other").with_split(make_split(60, [5], "unseen", 0))
    with pytest.raises(
        IncompatibleError,
        match=r"trained on other rows \(made, split seen\) than this data set's split says \(other, unseen\)",
    ):
        judge(model, other)


def test_a_data_set_without_split_is_refused(ready):
    dataset, model = ready
    with pytest.raises(DataError, match="data set made has no split: make one with `spdq dataset split`"):
        judge(model, dataset.with_split(None))
    with pytest.raises(DataError, match="has no split: make one with `spdq dataset split`"):
        chance_level(dataset.with_split(None), ["map@all"])


def test_a_data_set_without_labels_is_refused(ready):
    dataset, model = ready
    unlabelled = replace(dataset, labels=None, label_names=())
    message = "data set made has no /labels: MAP needs them, instance-recall does not"
    with pytest.raises(DataError, match=message):
        judge(model, unlabelled)
    with pytest.raises(DataError, match=message):
        chance_level(unlabelled, ["map@all"])
    with pytest.raises(DataError, match="made has no labels to select 'group:' from"):
        judge(model, unlabelled, labels="group:")


def test_an_unknown_prefix_is_refused(ready):
    dataset, model = ready
    with pytest.raises(DataError, match="no label starts with 'colour:'; there are group:, topic:"):
        judge(model, dataset, labels="colour:")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_missing_modality_is_named(ready, direction):
    dataset, model = ready
    if "i" in direction or "u" in direction:
        with pytest.raises(DataError, match="data set made has no /image/features"):
            judge(model, replace(dataset, image_features=None), directions=(direction,))
    if "t" in direction[0] + direction[2] or "u" in direction:
        with pytest.raises(
            DataError, match="data set made has no text: neither /text/features nor /text/utf8"
        ):
            judge(model, replace(dataset, text_features=None), directions=(direction,))


def test_raw_texts_for_a_model_that_reads_none_are_refused(ready):
    dataset, model = ready
    texts = replace(dataset, text_features=None, texts=("a word",) * 60)
    with pytest.raises(DataError, match="trained on ready-made text features, so it cannot read a text"):
        judge(model, texts, directions=("t2i",))


@pytest.mark.parametrize("protocols", [["instance-recall@1"], ["map@all", "instance-recall@10"]])
def test_instance_recall_needs_a_paired_split(ready, protocols):
    dataset, model = ready
    with pytest.raises(
        DataError, match=r'instance-recall@\d+ needs the queries\' own items .*"paired" split, this is seen'
    ):
        judge(model, dataset, protocols=protocols)


@pytest.mark.parametrize("protocol", ["mapp@50", "instance-recall@x"])
def test_an_unknown_protocol_is_refused(paired, protocol):
    dataset, model = paired
    with pytest.raises(UsageError, match=protocol):
        judge(model, dataset, protocols=[protocol])


def test_label_codes_are_those_of_the_items_labels(ready):
    """Only the paper's space has a point for a label row; the figures are an upper bound, not a search."""
    dataset, model = ready
    found = judge(model, dataset, directions=("i2t",), protocols=PROTOCOLS, codings=("label codes",))
    assert {j.coding for j in found} == {"label codes"}
    codes = model.encode_labels(dataset.labels[dataset.split.database])
    distances = -query_vectors(model, dataset, "i2t") @ model.codebooks.decode(codes).T
    # Equal label rows have equal codes: only the index's sums tie them exactly.
    _, place = np.unique(codes, axis=0, return_index=True)
    same = [place[np.flatnonzero((codes[place] == code).all(axis=1))[0]] for code in codes]
    expected = evaluate_ranking(distances[:, same], relevance(dataset), list(PROTOCOLS))
    for judgement, figure in zip(found, expected, strict=True):
        assert judgement.figure.value == pytest.approx(figure.value, abs=1e-6)
    (plain,) = judge(model, dataset, directions=("i2t",), protocols=["map@all"])
    assert found[1].figure.value > plain.figure.value


def test_label_codes_need_labels(paired):
    dataset, model = paired
    unlabelled = replace(dataset, labels=None, label_names=())
    with pytest.raises(DataError, match="label codes need an SPDQ model and a data set with /labels"):
        judge(model, unlabelled, codings=("label codes",))


def test_label_codes_need_the_space_of_the_paper(raw):
    dataset, model = raw
    with pytest.raises(UsageError, match="paper"):
        judge(model, dataset, codings=("label codes",))
