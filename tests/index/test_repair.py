"""What a repair saves, and that it says exactly what is lost."""

from __future__ import annotations

import re

import pytest
from damaged import (
    LAST,
    NOTES,
    REMOVED,
    UPDATED,
    aside,
    assert_says,
    copied,
    cut,
    damage_any,
    empty,
    expected,
    file_of,
    flip,
    kept_index,
    make_folder,
    put,
    remove,
    segment_files,
    tree,
    usable,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import integer_codebooks, make_index

from spdq.errors import DamagedError, NotFoundError
from spdq.index import Index

RANGES = (range(10), range(10, 310), range(310, LAST + 1), (UPDATED,))
"""The numbers in each segment; 30 is in the second, too, marked as removed."""
N_LEFT = (9, 298, 39, 1)
WAYS = {
    "flip": flip,
    "header": lambda file: flip(file, 12),
    "cut": cut,
    "empty": empty,
    "folder": make_folder,
}
REASONS = {
    "flip": "checksum mismatch",
    "header": "checksum mismatch",
    "cut": r"\d+ bytes long, expected \d+",
    "empty": r"0 bytes long, expected \d+",
    "gone": "missing",
    "folder": "not a regular file",
}


@pytest.fixture
def path(tmp_path):
    return kept_index(tmp_path / "i")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return kept_index(tmp_path_factory.mktemp("repair") / "i")


@pytest.mark.parametrize("ids", ["int", "str"])
def test_nothing_to_repair(tmp_path, ids):
    for path in (
        kept_index(tmp_path / "a", ids, str if ids == "str" else int),
        tmp_path / "b",
        tmp_path / "c",
    ):
        if path.name != "a":
            make_index(path, adds=() if path.name == "b" else (3, 300))
        stray = path / "segments" / f"{'0' * 32}.safetensors"
        stray.write_text("of a killed writer, for the next writer to delete")
        before = tree(path)
        assert Index.repair(path) == Index.repair(str(path)) == []
        assert tree(path) == before


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("way", [*WAYS, "gone"])
def test_a_damaged_segment(path, place, way):
    file = file_of(path, place)
    (WAYS | {"gone": remove})[way](file)
    assert_says(
        Index.repair(path),
        rf"{N_LEFT[place]} items of a segment are lost \({file}: {REASONS[way]}\)",
        f"the index now has {347 - N_LEFT[place]} items in 3 segments",
    )
    assert aside(path) == {"catalog.db", f"{file.stem}.db", file.name} - (
        {file.name} if way == "gone" else set()
    )
    lost = [UPDATED] if place == 3 else set(RANGES[place]) - {UPDATED}
    with Index.open(path) as index:
        assert index.generation == 6
        assert index.stats()["removed"] == sum((1, 2, 1, 0)[one] for one in range(4) if one != place)
    assert usable(path) == expected(lost)
    with Index.open(path) as index:
        assert (
            index._snapshot.state.meta["largest_id"] == LAST + 1
        )  # Also where the segment is lost that had it.


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("way", [*WAYS, "gone"])
def test_damaged_attributes(path, place, way):
    file = file_of(path, place, "db")
    (WAYS | {"gone": remove})[way](file)
    assert_says(
        Index.repair(path),
        rf"the attributes of {N_LEFT[place]} items are lost \({file}: {REASONS[way]}\)",
        "the index now has 347 items in 4 segments",
    )
    assert aside(path) == {"catalog.db", file.name} - ({file.name} if way == "gone" else set())
    lost = [UPDATED] if place == 3 else set(RANGES[place]) - {UPDATED}
    assert usable(path) == expected(unlabelled=lost)


def test_several_damages(path):
    first, second, third = (file_of(path, place) for place in (0, 1, 2))
    flip(first)
    flip(first.with_suffix(".db"))
    cut(second.with_suffix(".db"))
    remove(third)
    assert_says(
        Index.repair(path),
        rf"9 items of a segment are lost \({first}: checksum mismatch\)",
        rf"the attributes of 298 items are lost \({second.with_suffix('.db')}: .* bytes long, expected .*\)",
        rf"39 items of a segment are lost \({third}: missing\)",
        "the index now has 299 items in 2 segments",
    )
    lost = {*range(10), *range(310, 350)}
    assert usable(path) == expected(lost, set(range(10, 310)) - {UPDATED})


def test_the_folder_of_an_empty_index(tmp_path):
    path = make_index(tmp_path / "i", adds=())
    (path / "segments").rmdir()
    with pytest.raises(DamagedError, match=f'{path}/segments: missing. Run "spdq index repair"'):
        Index.open(path, writable=True)
    assert Index.repair(path) == [f"{path}/segments was missing", "the index now has 0 items in 0 segments"]
    with Index.open(path, writable=True) as index:
        index.add_codes([[0, 0, 0]])


def test_no_segment_is_left_but_the_catalogue(path):
    for file in (path / "segments").iterdir():
        remove(file)
    (path / "segments").rmdir()
    done = Index.repair(path)
    assert_says(
        done,
        f"{path / 'segments'} was missing",
        *(rf"{n} items of a segment are lost \({path}/segments/\w+.safetensors: missing\)" for n in N_LEFT),
        "the index now has 0 items in 0 segments",
    )
    assert usable(path) == {}
    with Index.open(path) as index:
        assert index._snapshot.state.meta["largest_id"] == LAST + 1
        assert {name: index.stats()[name] for name in NOTES} == NOTES


@settings(max_examples=25, deadline=None)
@given(st.data(), st.booleans(), st.integers(0, 3), st.sampled_from(["safetensors", "db"]))
def test_a_segment_with_any_damage(kept, tmp_path_factory, data, catalogue_too, place, kind):
    """Also without the catalogue nothing that was damaged is taken for intact."""
    path = copied(kept, tmp_path_factory.mktemp("any") / "i")
    file = file_of(path, place, kind)
    before = file.read_bytes()
    damage_any(file, data)
    if catalogue_too:
        remove(path / "catalog.db")
    done = Index.repair(path)
    removed = () if catalogue_too else REMOVED
    numbers = set(RANGES[place]) - ({UPDATED} if place != 3 else set())
    if file.exists() and file.read_bytes() == before:
        wanted = expected(removed=removed)
    elif kind == "db":
        wanted = expected((), numbers, removed=removed)
        assert any(re.match(r"the attributes of \d+ items are lost", line) for line in done)
    elif not file.exists():
        wanted = expected(numbers, removed=removed)
        if catalogue_too and place == 3:  # Then the older one is the newest there is.
            wanted[UPDATED] = expected_older()
        assert any("of a segment are lost" in line or "its items are lost" in line for line in done)
    else:
        raise AssertionError(done)
    assert usable(path) == wanted


def expected_older():
    return (*((UPDATED * step) % 5 for step in (1, 2, 3)),), f"n{UPDATED}"


@pytest.mark.parametrize("way", ["flip", "cut", "empty", "folder", "gone", "other"])
def test_damaged_codebooks_are_beyond_repair(path, way):
    file = path / "codebooks.safetensors"
    if way == "other":
        Index.create(path.parent / "other", integer_codebooks(seed=1)).close()
        put(file, (path.parent / "other" / "codebooks.safetensors").read_bytes())
    else:
        (WAYS | {"gone": remove})[way](file)
    before = tree(path)
    with pytest.raises(DamagedError, match=r"codebooks\.safetensors: .*Restore the file, from another copy"):
        Index.repair(path)
    assert tree(path) == before


def test_everything_is_gone(path, tmp_path):
    for nothing in (tmp_path / "nowhere", path / "catalog.db", tmp_path):
        with pytest.raises(
            NotFoundError, match=f"{nothing} is not an index: it has no file catalog.db, and no"
        ):
            Index.repair(nothing)
    remove(path / "catalog.db")
    for file in segment_files(path):
        remove(file)
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"no segment is left to say what the index was\. Rebuild it"):
            Index.repair(path)
