from __future__ import annotations

import json

import numpy as np
import pytest
from made_sets import GridExtractor
from PIL import Image

from spdq.data import Dataset
from spdq.data.beir import load_beir
from spdq.errors import DataError, NotFoundError

DOCUMENTS = [
    {
        "_id": "d1",
        "title": "A cat",
        "text": "It sleeps\non a\tmat",
        "image": "p/1.png",
        "metadata": {"year": 2001},
    },
    {"_id": "d2", "text": "a dog", "image": "p/2.png", "metadata": {"year": 1999, "by": "Ann"}},
    {"_id": "d3", "title": "", "text": "a tree", "metadata": {}},
    {"_id": "d4", "image": "p/1.png"},
]
QUERIES = [
    {"_id": "q1", "text": "sleeping cat"},
    {"_id": "q2", "text": "animal"},
    {"_id": "q3", "text": " sleeping   cat "},
    {"_id": "q4", "text": "nothing"},
    {"_id": "q5", "image": "p/2.png"},
]
JUDGED = {"q1": {"d1": 2, "d2": 0}, "q3": {"d1": 1, "d4": 3}, "q2": {"d2": 1, "d1": 1}, "q4": {"d3": 0}}


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus -> its folder; documents and queries may be others."""

    def write(documents=DOCUMENTS, queries=QUERIES):
        folder = tmp_path / "corpus"
        (folder / "p").mkdir(parents=True, exist_ok=True)
        for number in (1, 2):
            Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / "p" / f"{number}.png")
        for name, records in (("corpus", documents), ("queries", queries)):
            lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
        return folder

    return write


def load(folder, judged=JUDGED, learned=None, **options):
    return load_beir(folder, judged, learned or {}, GridExtractor(), **options)


def graded(found):
    return {
        (found.queries[query], int(item)): int(value)
        for query, item, value in zip(found.query, found.item, found.value, strict=True)
    }


def test_documents_and_what_queries_should_find(corpus, tmp_path):
    folder = corpus()
    made, found = load(folder)
    assert made.ids.tolist() == ["d1", "d2", "d3", "d4"]
    assert made.texts == ("A cat\nIt sleeps on a mat", "a dog", "a tree", "")
    assert made.attributes == {"year": (2001, 1999, None, None), "by": (None, "Ann", None, None)}
    assert graded(made.grades) == {
        ("sleeping cat", 0): 2,
        ("sleeping cat", 3): 3,
        ("animal", 0): 1,
        ("animal", 1): 1,
    }
    np.testing.assert_array_equal(made.image_features.any(axis=1), [True, True, False, True])
    np.testing.assert_array_equal(
        made.image_features[:2], GridExtractor().extract([folder / "p/1.png", folder / "p/2.png"])
    )
    assert (made.image_paths, made.clicks, made.split.kind, len(made.split.database)) == (
        None,
        None,
        "clicks",
        4,
    )
    assert found.describe() == {
        "skipped": (),
        "without_picture": 1,
        "without_text": 1,
        "same_text": 1,
        "unjudged": 1,
        "not_learned": 0,
    }
    made.save(tmp_path / "x.h5")
    assert graded(Dataset.load(tmp_path / "x.h5").grades) == graded(made.grades)


def test_all_pictures_are_named(corpus):
    made, _ = load(corpus([DOCUMENTS[0], DOCUMENTS[1]]), {"q1": {"d1": 1}})
    assert made.image_paths == ("p/1.png", "p/2.png")


def test_what_is_learned_is_not_judged_by(corpus):
    made, found = load(corpus(), {"q1": {"d1": 1}}, {"q3": {"d2": 1}, "q2": {"d2": 2, "d1": 0}})
    assert (graded(made.clicks), found.not_learned) == ({("animal", 1): 2}, 1)


def test_a_corpus_of_texts_alone(corpus):
    made, found = load(corpus([{"_id": "a", "text": "x"}, {"_id": "b", "title": "y"}]), {"q1": {"b": 1}})
    assert (made.image_features, made.image_extractor, made.texts) == (None, None, ("x", "y"))
    assert found.without_picture == 2


def test_bad_pictures(corpus):
    folder = corpus()
    (folder / "p" / "2.png").write_text("no picture")
    with pytest.raises(DataError, match=r"2\.png: broken picture"):
        load(folder)
    made, found = load(folder, skip_bad=True)
    assert (len(made), found.without_picture, len(found.skipped)) == (4, 2, 1)
    assert not made.image_features[1].any()
    (folder / "p" / "1.png").unlink()
    with pytest.raises(NotFoundError, match=r"2 of 3 pictures not found"):
        load(folder)
    Image.new("RGB", (9, 9)).save(folder / "p" / "2.png")
    with pytest.raises(
        DataError, match=r"line 4: its picture cannot be read, and it has no text: leave it out"
    ):
        load(folder, skip_bad=True)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], r"corpus\.jsonl: empty"),
        (["[]"], "line 1: expected a JSON object, got list"),
        (["{"], "line 1: not JSON"),
        ([{"text": "x"}], "line 1: _id: expected text, got nothing"),
        ([{"_id": 3, "text": "x"}], "line 1: _id: expected text, got int"),
        ([{"_id": "", "text": "x"}], "line 1: _id is empty"),
        ([{"_id": "a", "text": "x"}, {"_id": "a", "text": "y"}], "line 2: 'a' is the _id of line 1, too"),
        ([{"_id": "a"}], "line 1: 'a' has neither title, text nor image"),
        ([{"_id": "a", "text": ["x"]}], "line 1: text: expected text, got list"),
        ([{"_id": "a", "image": "../x.png"}], "line 1: image: expected a path inside the folder"),
        ([{"_id": "a", "image": ["x.png"]}], "line 1: image: expected text, got list"),
        ([{"_id": "a", "text": "x", "metadata": [1]}], "line 1: metadata: expected a JSON object, got list"),
    ],
)
def test_bad_documents(corpus, documents, message):
    with pytest.raises(DataError, match=message):
        load(corpus(documents))


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ({}, "no query has a relevant document to be judged by"),
        ({"q4": {"d3": 0}}, "no query has a relevant document"),
        ({"q9": {"d1": 1}}, r"query 'q9' is not in queries\.jsonl"),
        ({"q1": {"d9": 1}}, r"document 'd9' is not in corpus\.jsonl"),
        ({"q1": {"d1": 4}}, "query 'q1': expected scores to 3, got 4"),
        ({"q5": {"d1": 1}}, "query 'q5' has no text; queries by picture alone"),
    ],
)
def test_bad_judgements(corpus, judged, message):
    with pytest.raises(DataError, match=message):
        load(corpus(), judged)


def test_what_is_no_corpus(tmp_path, corpus):
    with pytest.raises(NotFoundError, match="none: folder not found"):
        load(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError, match="is a file, expected a folder in BEIR's form"):
        load(tmp_path / "file")
    folder = corpus()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(NotFoundError, match=r"file not found: .*queries\.jsonl"):
        load(folder)
