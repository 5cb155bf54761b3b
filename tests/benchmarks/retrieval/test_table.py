from __future__ import annotations

import json

import pytest

from spdq_benchmarks.retrieval.table import means, table


def record(method, seed, bits, values, split="unseen", coding="codes"):
    return {
        "dataset": "emoji",
        "dataset_digest": "d",
        "training": "half",
        "seed": seed,
        "method": method,
        "bits": bits,
        "coding": coding,
        "figures": [
            {
                "split": split,
                "labels": "group:" if split == "unseen" else "",
                "direction": direction,
                "protocol": protocol,
                "value": value,
                "lowest": value,
                "highest": value,
                "queries": 2,
                "skipped": 0,
                "empty": 0,
            }
            for (protocol, direction), value in values.items()
        ],
    }


RECORDS = [
    record("ridge-opq", 0, 16, {("map@all", "i2t"): 0.5, ("map@all", "t2u"): 0.9, ("pr-curve", "i2t"): 0.5}),
    record("spdq", 0, 16, {("map@all", "i2t"): 0.2, ("map@5", "i2t"): None}),
    record("spdq", 1, 16, {("map@all", "i2t"): 0.4, ("map@5", "i2t"): None}),
    record("spdq", 0, 0, {("map@all", "i2t"): 0.25}, coding="vectors"),
    record("spdq", 0, 16, {("instance-recall@1", "t2u"): 1.0}, split="heldout"),
]


def test_means_and_deviations_in_a_table():
    assert table(RECORDS).splitlines() == [
        "### emoji, unseen, group:",
        "",
        "| method | coding | map@all i2t | map@5 i2t |",
        "| --- | --- | ---: | ---: |",
        "| spdq | float vectors | 0.250 |  |",
        "| spdq | 16 bits | 0.300 (0.141) | nan (nan) |",
        "| ridge-opq | 16 bits | 0.500 |  |",
        "",
        "### emoji, heldout",
        "",
        "| method | coding | instance-recall@1 t2u |",
        "| --- | --- | ---: |",
        "| spdq | 16 bits | 1.000 |",
    ]


def test_means_for_programs():
    found = json.loads(json.dumps(means(RECORDS), allow_nan=False))
    (cell,) = (
        cell for cell in found if (cell["method"], cell["protocol"], cell["bits"]) == ("spdq", "map@all", 16)
    )
    assert cell == {
        "dataset": "emoji",
        "split": "unseen",
        "labels": "group:",
        "protocol": "map@all",
        "method": "spdq",
        "coding": "codes",
        "bits": 16,
        "direction": "i2t",
        "seeds": [0, 1],
        "values": [0.2, 0.4],
        "mean": pytest.approx(0.3),
        "deviation": pytest.approx(0.02**0.5),
    }
    assert {(c["protocol"], c["direction"]) for c in found if c["method"] == "ridge-opq"} == {
        ("map@all", "i2t"),
        ("map@all", "t2u"),
        ("pr-curve", "i2t"),
    }
    (undefined,) = (cell for cell in found if cell["protocol"] == "map@5")
    assert (undefined["values"], undefined["mean"]) == ([None, None], None)
