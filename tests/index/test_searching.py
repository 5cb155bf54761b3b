from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import (
    assert_found,
    assert_within,
    fill_in_parts,
    float_codebooks,
    integer_codebooks,
    kernel_distances,
    made_up_codes,
    nearest_of,
    new_index,
    random_codes,
    random_index,
    within,
)

from spdq.errors import DataError, UsageError
from spdq.index import Index, compaction
from spdq.quantizers.codebooks import Codebooks


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_range_search_against_brute_force(data):
    kind = data.draw(st.sampled_from(["product", "additive"]))
    metric = "ip" if kind == "additive" else data.draw(st.sampled_from(["l2", "ip"]))
    codebooks = integer_codebooks(kind=kind, seed=data.draw(st.integers(0, 5)))
    size, ids = data.draw(st.integers(0, 60)), data.draw(st.sampled_from(["int", "str"]))
    index, names, codes = random_index(codebooks, size, data.draw(st.integers(1, 4)), metric, ids)
    queries = np.random.default_rng(size).integers(-2, 3, (data.draw(st.integers(0, 4)), 6))
    distances = kernel_distances(codebooks, metric, codes, queries)
    near = np.unique(distances if metric == "l2" else -distances).tolist() or [0.0]
    at = data.draw(st.sampled_from(near))
    aside = [np.nextafter(np.float32(at), np.float32(sign)) for sign in (-np.inf, np.inf)]
    radius = data.draw(
        st.sampled_from([at, int(at), *aside, *map(float, aside), np.inf, -np.inf, 0, -0.0, 1e300])
    )
    expected = within(distances, names, float(radius), [None] * len(queries), metric)
    for threads in (1, 2, 4):
        found = index.range_search(queries, radius, threads=threads)
        assert_within(found, expected)
        assert found[2].dtype == index.ids.dtype


def test_range_search_of_real_values():
    for codebooks in (float_codebooks(), float_codebooks(3, 256, 2)):
        for metric in ("l2", "ip"):
            index, names, codes = random_index(codebooks, 900, 3, metric)
            index.remove(names[::7])
            names, codes = [names[row] for row in range(900) if row % 7], codes[np.arange(900) % 7 > 0]
            queries = np.random.default_rng(1).normal(size=(300, codebooks.dim)).astype(np.float32)
            distances = kernel_distances(codebooks, metric, codes, queries)
            radius = float(np.median(distances)) * (1 if metric == "l2" else -1)
            expected = within(distances, names, radius, [None] * 300, metric)
            for threads in (1, 2, 4):
                assert_within(index.range_search(queries, radius, threads=threads), expected)
            for row in (0, 255, 256, 299):
                alone = index.range_search(queries[row], radius)
                some = slice(expected[0][row], expected[0][row + 1])
                assert_within(alone, ([0, some.stop - some.start], expected[1][some], expected[2][some]))


def test_a_hit_on_the_radius_is_outside():
    index = Index(integer_codebooks())
    index.add_codes(made_up_codes(range(50)))
    distances, ids = index.search(np.ones(6), 50)
    radius = distances[0, 25]
    assert (distances[0] == radius).sum() > 1
    inside = distances[0] < radius
    for given_radius in (radius, float(radius), int(radius), np.float64(radius), np.float16(radius)):
        limits, near, found = index.range_search(np.ones(6), given_radius)
        assert limits.tolist() == [0, inside.sum()]
        assert found.tolist() == ids[0][inside].tolist()
        np.testing.assert_array_equal(near, distances[0][inside])
    # Between two float32 numbers lies many a radius.
    above = index.range_search(np.ones(6), float(radius) + 1e-12)[0][1]
    assert above == (distances[0] <= radius).sum()
    assert index.range_search(np.ones(6), float(radius) - 1e-12)[0][1] == inside.sum()


def test_a_range_is_the_beginning_of_a_search():
    for metric in ("l2", "ip"):
        index, names, _ = random_index(float_codebooks(), 400, 3, metric)
        queries = np.random.default_rng(5).normal(size=(5, 12))
        distances, ids = index.search(queries, 400)
        everything = -np.inf if metric == "ip" else np.inf
        limits, near, found = index.range_search(queries, everything)
        assert limits.tolist() == [0, 400, 800, 1200, 1600, 2000]
        np.testing.assert_array_equal(near.reshape(5, 400), distances)
        np.testing.assert_array_equal(found.reshape(5, 400), ids)
        assert index.range_search(queries, -everything)[0].tolist() == [0] * 6
        assert sorted(found[:400].tolist()) == names


def test_distances_that_are_infinite():
    """Too large for float32, they are found by a search, last and by id, but lie within no radius."""
    words = np.full((3, 2, 1), 1.3e19, np.float32)
    words[:, 1] = 0
    for n_parts in (1, 3):
        index = fill_in_parts(
            Index(Codebooks(words, "product")), np.eye(3, dtype=np.uint8), [5, 3, 9], n_parts
        )
        index.add_codes([[1, 1, 1], [0, 0, 0]], [4, 7])
        distances, ids = index.search(np.zeros((2, 3)), 9, [None, index.filter(allow=[3, 4, 7])])
        assert ids.tolist() == [[4, 3, 5, 9, 7], [4, 3, 7, -1, -1]]
        assert distances[0].tolist() == [0.0, *distances[0][1:4].tolist(), np.inf]
        assert distances[1][2:].tolist() == [np.inf] * 3
        assert index.range_search(np.zeros(3), np.inf)[2].tolist() == [4, 3, 5, 9]
        assert index.search(np.zeros(3), 2)[1].tolist() == [[4, 3]]


@pytest.mark.parametrize(
    ("radius", "message"),
    [
        (float("nan"), "radius must not be NaN"),
        (np.float32("nan"), "radius must not be NaN"),
        (None, "radius must be a number, got None"),
        ("5", "radius must be a number, got '5'"),
        (True, "radius must be a number, got True"),
        (1j, "radius must be a number, got 1j"),
        ([5.0], r"radius must be a number, got \[5\.0\]"),
        (np.array(5.0), "radius must be a number, got array"),
        (10**400, "radius must fit into a float"),
    ],
)
def test_bad_radii(radius, message):
    with pytest.raises(UsageError, match=message):
        Index(integer_codebooks()).range_search(np.zeros((1, 6)), radius)


def test_range_search_refuses_what_search_refuses():
    index = Index(integer_codebooks())
    index.add_codes(made_up_codes(range(5)))
    with pytest.raises(UsageError, match="threads must be at least 1, got 0"):
        index.range_search(np.zeros(6), 1, threads=0)
    with pytest.raises(UsageError, match=r"threads must be an integer, got 1\.0"):
        index.range_search(np.zeros(6), 1, threads=1.0)
    with pytest.raises(DataError, match=r"6 columns.* not 5"):
        index.range_search(np.zeros((1, 5)), 1)
    with pytest.raises(DataError, match=r"queries.* row 1"):
        index.range_search([[0.0] * 6, [np.nan] * 6], 1)
    huge = Index(Codebooks(np.full((1, 2, 2), 1e35, np.float32), "product"), "ip")
    huge.add_codes([[0]])
    with pytest.raises(DataError, match="too large to multiply"):
        huge.range_search([1e6, 1e6], 0)


def test_nothing_to_find():
    for ids, dtype in (("int", np.int64), ("str", object)):
        for metric in ("l2", "ip"):
            index = Index(integer_codebooks(), metric, ids=ids)
            limits, distances, found = index.range_search(np.zeros((3, 6)), 0)
            assert (limits.tolist(), distances.shape, found.shape, found.dtype) == (
                [0] * 4,
                (0,),
                (0,),
                dtype,
            )
            assert (limits.dtype, distances.dtype) == (np.int64, np.float32)
            assert index.range_search(np.zeros((0, 6)), 0)[0].tolist() == [0]
            assert index.search(np.zeros((3, 6)), mix=np.ones((4, 3)))[0].shape == (4, 0)
            assert index.range_search(np.zeros((3, 6)), 0, mix=np.ones((0, 3)))[0].tolist() == [0]
            assert list(index) == []


@pytest.mark.parametrize(("metric", "ids"), [("l2", "int"), ("ip", "str")])
def test_segments_threads_batches_and_the_disk_change_nothing(tmp_path, monkeypatch, metric, ids):
    """Byte for byte; the distances are real numbers, among them many equal ones (every code is there twice)."""
    monkeypatch.setattr(compaction, "MAX_SEGMENTS", 1000)
    codebooks = float_codebooks(4, 16)
    n_items = 1500 if ids == "int" else 300
    codes = np.tile(random_codes(codebooks, n_items // 2), (2, 1))
    numbers = np.random.default_rng(1).permutation(n_items)
    names = numbers if ids == "int" else np.array([f"é{number}" for number in numbers], object)
    queries = np.random.default_rng(2).normal(size=(64, 12)).astype(np.float32)
    mixes = np.random.default_rng(3).normal(size=(64, 64)).astype(np.float32)
    distances = kernel_distances(codebooks, metric, codes, queries)
    expected = nearest_of(distances, list(names), 20, [None] * 64, metric)
    radius = float(np.quantile(distances, 0.01)) * (1 if metric == "l2" else -1)
    expected_within = within(distances, list(names), radius, [None] * 64, metric)
    mixed = set()
    for n_segments in (1, 10, 100):
        for path in (None, tmp_path / f"{n_segments}"):
            index = fill_in_parts(
                new_index(path, codebooks, metric=metric, ids=ids), codes, names, n_segments
            )
            if path is not None:
                index.close()
                index = Index.open(path)
            assert index.stats()["segments"] == n_segments
            for threads in (1, 2, 4):
                assert_found(index.search(queries, 20, threads=threads), expected)
                assert_within(index.range_search(queries, radius, threads=threads), expected_within)
                for row in (0, 31, 63):
                    alone = index.search(queries[row], 20, threads=threads)
                    assert_found(alone, (expected[0][row : row + 1], expected[1][row : row + 1]))
                found = index.search(queries, 20, threads=threads, mix=mixes)
                mixed.add((found[0].tobytes(), str(found[1].tolist())))
            few = index.search(queries, 3)
            assert_found(few, (expected[0][:, :3], [row[:3] for row in expected[1]]))
    assert len(mixed) == 1
