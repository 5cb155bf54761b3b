"""A damaged file is found and named before it answers wrongly, and what it did not hold can be saved."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from faults_damage import KINDS, make_bases

BATCH = 20


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    make_bases(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_damage(nursery, tmp_path, base, kind, full, figures):
    found, found_late, repaired = Counter(), Counter(), Counter()
    for first in range(0, 1000 if full else 60, BATCH):
        job = {"folder": tmp_path, "kind": kind, "first": first, "count": BATCH, "base": base, "seed": 1}
        status, number, text = nursery.run("damage", **job).outcome()
        assert status == 0, f"{kind} {number}: ended with {status}: {text}"
        for number, result in enumerate(json.loads(text), first):
            assert not result["wrong"], f"{kind} {number}, {result['damage']} of {result['file']}: {result}"
            found[result["_found"]] += 1
            found_late[result["_found_late"]] += 1
            repaired[result["_repaired"]] += 1
    figures["found"] = dict(found)
    figures["found where opening verifies nothing"] = dict(found_late)
    figures["repair"] = dict(repaired)
    assert found["harmless"] == 0 or kind == "catalogue"
