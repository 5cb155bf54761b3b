from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import integer_codebooks, made_up_codes

from spdq.errors import UsageError
from spdq.index import Index, facets
from spdq.index.facets import Facet

KINDS = {"label": "str", "tags": "set", "year": "int", "score": "float"}
ITEMS = st.lists(
    st.fixed_dictionaries({
        "label": st.none() | st.sampled_from(["", "a", "b", "ü'\""]),
        "tags": st.none() | st.sets(st.sampled_from(["x", "y", "z"])),
        "year": st.none() | st.integers(-(2**63), 2**63 - 1),
        "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    }),
    max_size=12,
)  # fmt: skip


def expected(items, most):
    """The same by counting one item after the other."""
    labels = Counter(item["label"] for item in items if item["label"] is not None)
    tags = Counter(tag for item in items for tag in item["tags"] or ())
    found = {}
    for name, counted in (("label", labels), ("tags", tags)):
        ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
        found[name] = Facet(KINDS[name], tuple(ranked[:most]), len(counted))
    for name in ("year", "score"):
        numbers = [item[name] for item in items if item[name] is not None]
        found[name] = Facet(
            KINDS[name], minimum=min(numbers, default=None), maximum=max(numbers, default=None)
        )
    return found


@settings(max_examples=50, deadline=None)
@given(ITEMS, st.data(), st.integers(1, 4))
def test_they_count_what_is_there(items, data, most):
    index = Index(integer_codebooks(), attributes=KINDS)
    ids = np.arange(len(items))
    cut = data.draw(st.integers(0, len(items)))
    for some in (ids[:cut], ids[cut:]):
        index.add_codes(
            made_up_codes(some), some, {name: [items[row][name] for row in some] for name in KINDS}
        )
    removed = data.draw(st.sets(st.sampled_from(ids.tolist()))) if items else set()
    index.remove(sorted(removed))
    assert index.facets(most) == expected([items[row] for row in ids if row not in removed], most)


def test_too_many_texts_are_not_counted(monkeypatch):
    monkeypatch.setattr(facets, "MAX_VALUES", 3)
    index = Index(integer_codebooks(), attributes={"label": "str"})
    index.add_codes(made_up_codes(np.arange(3)), range(3), {"label": ["a", "b", "c"]})
    assert index.facets()["label"].n_values == 3
    index.add_codes(made_up_codes(np.arange(4)), range(10, 14), {"label": ["d", "e", "f", "g"]})
    assert index.facets() == {"label": Facet("str")}


def test_without_attributes_there_are_none():
    assert Index(integer_codebooks()).facets() == {}


def test_at_least_one_value_is_asked_for():
    with pytest.raises(UsageError, match="most must be at least 1, got 0"):
        Index(integer_codebooks()).facets(0)
