from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.data import make_split
from spdq.data.query_items import QueryItems
from spdq.errors import DataError
from spdq.training.provenance import data_digest, training_digest

DATA = made_dataset(20)


def test_the_digest_is_of_the_training_ids():
    ids = "\n".join(str(3 * row) for row in range(20) if row % 5)
    assert training_digest(DATA) == hashlib.sha256(ids.encode()).hexdigest()
    texts = replace(DATA, ids=DATA.ids.astype(str))
    assert training_digest(texts) == training_digest(DATA)


def test_other_training_rows_have_another_digest():
    assert training_digest(DATA.with_split(make_split(20, [0], "seen", 0))) != training_digest(DATA)
    swapped = np.concatenate([DATA.ids[:1], DATA.ids[1:][::-1]])
    assert training_digest(replace(DATA, ids=swapped)) != training_digest(DATA)


def test_other_classes_or_clicks_have_another_digest():
    classes = np.arange(20)
    marked = replace(DATA, classes=classes)
    assert training_digest(marked) != training_digest(DATA)
    assert training_digest(replace(DATA, classes=np.where(classes == 1, 0, classes))) != training_digest(
        marked
    )
    # Row 0 is a query: its class is not learned from.
    assert training_digest(replace(DATA, classes=np.where(classes == 0, 9, classes))) == training_digest(
        marked
    )
    logs = [QueryItems(("a",), np.zeros(1, np.int64), np.array([3]), np.array([n])) for n in (1, 2)]
    one, two = (training_digest(replace(DATA, clicks=log)) for log in logs)
    assert len({one, two, training_digest(DATA)}) == 3


def test_without_a_split_there_is_none():
    with pytest.raises(DataError, match="data set made has no split: make one"):
        training_digest(DATA.with_split(None))


@pytest.mark.parametrize("text", ["features", "wide", "raw"])
def test_the_digest_of_data_tells_what_was_read(text):
    dataset = made_dataset(20, text)
    assert data_digest(dataset) == data_digest(made_dataset(20, text))
    others = [
        replace(dataset, image_features=dataset.image_features + 1),
        replace(dataset, labels=1 - dataset.labels),
        replace(dataset, classes=np.zeros(20, np.int64)),
    ]
    if text == "raw":
        others.append(replace(dataset, texts=(*dataset.texts[:-1], "other")))
    else:
        others.append(replace(dataset, text_features=dataset.text_features * 2))
    assert len({data_digest(one) for one in (dataset, *others)}) == 5
