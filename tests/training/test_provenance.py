from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.data import make_split
from spdq.errors import DataError
from spdq.training.provenance import training_digest

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


def test_without_a_split_there_is_none():
    with pytest.raises(DataError, match="data set made has no split: make one"):
        training_digest(DATA.with_split(None))
