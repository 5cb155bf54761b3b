from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset
from scipy import sparse

from spdq.data import make_split
from spdq.training import recipes
from spdq_benchmarks.content import (
    NOT_DECISIVE,
    bare_code,
    dataset_digest,
    imported_modules,
    package_versions,
)
from spdq_benchmarks.retrieval.keys import ONLY_NAMES_FOR_BASELINES, job_key, source_digest

BASELINES = "spdq_benchmarks.baselines"


def test_every_part_of_a_data_set_counts():
    plain = made_dataset(40, text="wide")
    raw = made_dataset(40, text="raw")
    other = plain.image_features.copy()
    other[3, 4] += 1
    other_labels = plain.labels.copy()
    other_labels[0, 0] ^= 1
    words = plain.text_features.copy()
    words.data[0] += 1
    changed = [
        plain,
        raw,
        replace(plain, ids=plain.ids + 1),
        replace(plain, image_features=other),
        replace(plain, image_features=plain.image_features.astype(np.float16)),
        replace(plain, labels=other_labels),
        replace(plain, labels=None, label_names=()),
        replace(plain, label_names=tuple(f"x{name}" for name in plain.label_names)),
        replace(plain, text_features=words),
        replace(plain, text_features=sparse.csr_matrix(plain.text_features[:, ::-1])),
        replace(plain, text_features=plain.text_features.toarray()),
        replace(plain, image_extractor="lite0:64"),
        replace(raw, texts=(*raw.texts[:-1], "other")),
        plain.with_split(make_split(40, [1, 2], "seen", 0)),
        plain.with_split(None),
    ]
    assert len({dataset_digest(dataset) for dataset in changed}) == len(changed)


def test_what_is_not_used_does_not_count():
    plain = made_dataset(40)
    query = plain.split.query
    same = [
        made_dataset(40),
        replace(plain, name="other"),
        plain.with_split(make_split(40, query, "unseen", 7)),
    ]
    assert {dataset_digest(dataset) for dataset in same} == {dataset_digest(plain)}


def test_all_that_decides_is_in_the_key(monkeypatch):
    usual = {
        "digest": "d",
        "training": "rest",
        "seed": 0,
        "method": "spdq",
        "protocols": ("map@50",),
        "bits": 16,
        "coding": "codes",
    }
    others = {
        "digest": "e",
        "training": "half",
        "seed": 1,
        "method": "spdq-paper",
        "protocols": ("map@all",),
        "bits": 32,
        "coding": "vectors",
    }
    keys = [job_key(**usual)] + [job_key(**usual | {name: value}) for name, value in others.items()]
    assert len(set(keys)) == len(keys)
    assert job_key(**usual) == keys[0]
    changed = replace(recipes.RECIPES["default"], dropout=0.123)
    monkeypatch.setitem(recipes.RECIPES, "default", changed)
    assert job_key(**usual) != keys[0]
    baseline = job_key(**usual | {"method": "ridge-opq"})
    monkeypatch.setitem(recipes.RECIPES, "default", replace(changed, dropout=0.2))
    assert job_key(**usual | {"method": "ridge-opq"}) == baseline
    monkeypatch.setitem(recipes.RECIPES, "default", replace(changed, text_width=100))
    assert job_key(**usual | {"method": "ridge-opq"}) != baseline


def test_package_versions_are_in_the_key(monkeypatch):
    before = job_key("d", "rest", 0, "spdq", (), 16, "codes")
    monkeypatch.setattr("spdq_benchmarks.retrieval.keys.package_versions", lambda: {"numpy": "0"})
    assert job_key("d", "rest", 0, "spdq", (), 16, "codes") != before
    assert package_versions()["numpy"] == np.__version__


def test_which_code_decides():
    ours = imported_modules(["spdq_benchmarks.retrieval.contestant_spdq"], NOT_DECISIVE)
    assert {"spdq.training.objective", "spdq.networks.spdq", "spdq.quantizers.additive"} <= ours
    assert not ours & NOT_DECISIVE
    ridge = imported_modules(
        ["spdq_benchmarks.retrieval.contestant_baseline", f"{BASELINES}.ridge_opq"],
        NOT_DECISIVE | ONLY_NAMES_FOR_BASELINES,
    )
    assert {"spdq.quantizers.product", "spdq_kernels.cpu.scan", "spdq.models.inputs"} <= ridge
    assert f"{BASELINES}.quantizing" in ridge
    assert not ridge & {"spdq.training.objective", "spdq.models.spaces", f"{BASELINES}.cvh"}


def test_each_method_has_its_own_code():
    digests = [source_digest(method) for method in ("spdq", "ridge-opq", "cvh")]
    assert len(set(digests)) == 3
    assert source_digest("spdq-paper:product") == digests[0]


@pytest.mark.parametrize(
    "text",
    [
        '"""Other words."""\nX = 1\n\n\ndef f(a):\n    """Told."""\n    return a + X',
        'X = (\n    1\n)\n"""What it is."""\n\ndef f(a):  # why\n    return a + X',
    ],
)
def test_words_about_code_are_no_code(text):
    plain = bare_code(ast.parse("X = 1\ndef f(a):\n    return a + X"))
    assert bare_code(ast.parse(text)) == plain
    assert bare_code(ast.parse(text.replace("a + X", "a - X"))) != plain
