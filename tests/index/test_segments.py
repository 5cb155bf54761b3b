from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import assert_made_up, forge, make_index
from safetensors.numpy import load, load_file, save

from spdq.errors import DamagedError, NotFoundError
from spdq.index import Index
from spdq.index.id_lists import list_of
from spdq.index.ids import accept_ids
from spdq.index.segments import Segment, SegmentRow, checksum, container
from spdq_kernels import pack_codes

META = {"n_codebooks": 2, "n_words": 5, "ids": "int"}


def serialise(blocks, ids):
    """A segment's bytes."""
    return b"".join(container(blocks, list_of(ids), {}))


def files_of(path):
    return sorted((path / "segments").iterdir(), key=lambda file: file.stat().st_size)


def parse(tensors, n_items, meta=META, name="segment x"):
    data = tensors if isinstance(tensors, bytes) else save(tensors)
    row = SegmentRow(1, "0" * 32, n_items, len(data), checksum(data))
    return Segment(np.frombuffer(data, np.uint8), row, meta, name)


def overwrite(file, data):
    file.chmod(0o644)
    file.write_bytes(data)


@given(st.integers(1, 600), st.sampled_from(["texts", "numbers", "consecutive"]))
@settings(max_examples=30, deadline=None)
def test_what_was_written_comes_back(n_items, kind):
    codes = np.random.default_rng(n_items).integers(0, 5, (n_items, 2), np.uint8)
    texts = [f"é{number:04}" for number in range(n_items)]
    numbers = np.arange(n_items) - 5
    if kind == "numbers":
        numbers[-1] += 1
    ids = accept_ids(texts, n_items, "str") if kind == "texts" else numbers
    strings = kind == "texts"
    segment = parse(serialise(pack_codes(codes), ids), n_items, META | {"ids": "str" if strings else "int"})
    segment.verify()
    assert len(segment) == n_items
    np.testing.assert_array_equal(segment.blocks, pack_codes(codes))
    assert segment.ids.tolist() == ids.tolist()
    assert segment.take_ids(np.array([[n_items - 1, 0]])).tolist() == [[ids[-1], ids[0]]]
    assert segment.find(ids).tolist() == list(range(n_items))
    others = accept_ids(["a", "é", "é9999"], 3, "str") if strings else np.array([-(2**63), -6, 2**63 - 1])
    assert segment.find(others).tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(segment.codes, codes)
    np.testing.assert_array_equal(segment.take_codes(np.array([n_items - 1, 0])), codes[[-1, 0]])
    data = serialise(pack_codes(codes), ids)
    header = 8 + int.from_bytes(data[:8], "little")
    assert header % 64 == 0
    assert data[header : header + 512 * segment.blocks.shape[0]] == pack_codes(codes).tobytes()


def test_the_file_is_plain_safetensors_and_read_only(tmp_path):
    small, large = files_of(make_index(tmp_path / "i"))
    tensors = load_file(large)
    assert {name: array.shape for name, array in tensors.items()} == {"codes": (2, 3, 256), "first_id": (1,)}
    assert tensors["first_id"] == 3
    assert [file.stat().st_mode & 0o777 for file in (small, large)] == [0o444, 0o444]


def good():
    return {"codes": np.zeros((1, 2, 256), np.uint8), "ids": np.arange(3)}


@pytest.mark.parametrize(
    "tensors",
    [
        {"codes": np.zeros((2, 2, 256), np.uint8)},
        {"codes": np.zeros((1, 3, 256), np.uint8)},
        {"codes": np.zeros((1, 2, 256), np.int8)},
        {"codes": np.zeros((1, 2, 32), np.int64)},
        {"ids": np.arange(4)},
        {"ids": np.arange(3, dtype=np.int32)},
        {"ids": np.arange(24, dtype=np.uint8)},
        {"more": np.zeros(1, np.uint8)},
    ],
)
def test_arrays_that_do_not_fit_the_index(tensors):
    parse(good(), 3)
    with pytest.raises(DamagedError, match=r"segment x: .*(codes and ids of this index|container)"):
        parse(good() | tensors, 3)
    with pytest.raises(DamagedError, match="codes and ids of this index"):
        parse(good(), 3, META | {"ids": "str"})


@pytest.mark.parametrize("borders", [[0, 1, 1, 3], [0, 2, 1, 3], [1, 2, 3, 3], [0, 1, 2, 2], [0, 1, 2, 9]])
def test_borders_of_strings_out_of_order(borders):
    tensors = {"codes": good()["codes"], "id_utf8": np.frombuffer(b"abc", np.uint8)}
    meta = META | {"ids": "str"}
    assert parse(tensors | {"id_offsets": np.arange(4)}, 3, meta).ids.tolist() == ["a", "b", "c"]
    with pytest.raises(DamagedError, match="borders of its ids are out of order"):
        parse(tensors | {"id_offsets": np.array(borders)}, 3, meta)
    broken = parse(
        tensors | {"id_utf8": np.array([97, 200, 99], np.uint8), "id_offsets": np.arange(4)}, 3, meta
    )
    with pytest.raises(DamagedError, match="an id is not UTF-8"):
        broken.take_ids(np.arange(3))


@pytest.mark.parametrize(
    "data", [b"", b"\x05", b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"{]", bytes(8), b"\xff" * 8]
)
def test_what_is_no_container(data):
    with pytest.raises(DamagedError, match=r"not a segment container|codes and ids of this index"):
        parse(data, 3)


def test_verify_looks_at_every_id_and_code():
    with pytest.raises(DamagedError, match="its ids do not ascend"):
        parse(good() | {"ids": np.array([0, 2, 1])}, 3).verify()
    with pytest.raises(DamagedError, match="its ids do not ascend"):
        parse(good() | {"ids": np.array([0, 1, 1])}, 3).verify()
    with pytest.raises(DamagedError, match="code byte 5, codebooks have 5 words"):
        parse(good() | {"codes": np.full((1, 2, 256), 5, np.uint8)}, 3).verify()
    data = bytearray(save(good()))
    segment = Segment(
        np.frombuffer(data, np.uint8), SegmentRow(1, "", 3, len(data), checksum(data)), META, "x"
    )
    data[-1] ^= 1
    with pytest.raises(DamagedError, match="x: checksum mismatch"):
        segment.verify()


@pytest.fixture(scope="module")
def index_path(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("segments") / "i")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_found(index_path, data):
    file = files_of(index_path)[data.draw(st.integers(0, 1))]
    content = file.read_bytes()
    size = len(content)
    header = 8 + int.from_bytes(content[:8], "little")
    at = data.draw(st.integers(0, 7) | st.integers(8, header - 1) | st.integers(header, size - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    damage = data.draw(st.sampled_from([bytes(changed), content[:at], content + content[:at], b"\0" * size]))
    if damage == content:
        return
    overwrite(file, damage)
    try:
        for writable in (False, True):
            with pytest.raises(
                DamagedError, match=f"{file.name}: .*Run .spdq index repair. or restore the file"
            ):
                Index.open(index_path, writable)
    finally:
        overwrite(file, content)
    Index.open(index_path).close()


def test_swapped_missing_and_special_files(tmp_path):
    path = make_index(tmp_path / "i", adds=(300, 300))
    first, second = files_of(path)
    contents = first.read_bytes(), second.read_bytes()
    overwrite(first, contents[1])
    overwrite(second, contents[0])
    with pytest.raises(DamagedError, match="checksum mismatch"):
        Index.open(path)
    overwrite(second, contents[1])
    first.unlink()
    with pytest.raises(DamagedError, match=f"{first.name}: missing"):
        Index.open(path)
    os.mkfifo(first)
    with pytest.raises(DamagedError, match=f"{first.name}: not a regular file"):
        Index.open(path)
    first.unlink()
    first.write_bytes(contents[0])
    with Index.open(path) as index:
        assert_made_up(index, 600)


def test_a_container_of_the_right_size_and_hash_that_is_none(tmp_path):
    path = make_index(tmp_path / "i", adds=(3,))
    (file,) = files_of(path)
    data = bytes(file.stat().st_size)
    overwrite(file, data)
    forge(path, "UPDATE segments SET checksum = ?", checksum(data))
    with pytest.raises(DamagedError, match=r"not a safetensors file|container"):
        Index.open(path)


def test_verify_finds_damage_that_came_after_opening(tmp_path):
    path = make_index(tmp_path / "i")
    index = Index.open(path)
    index.verify()
    content = bytearray(files_of(path)[0].read_bytes())
    content[-1] ^= 4
    overwrite(files_of(path)[0], bytes(content))
    with pytest.raises(DamagedError, match="checksum mismatch"):
        index.verify()


def test_consecutive_ids_that_leave_int64():
    with pytest.raises(DamagedError, match="its ids do not fit into int64"):
        parse({"codes": good()["codes"], "first_id": np.array([2**63 - 2])}, 3)


def test_load_gives_what_serialise_got():
    ids = accept_ids(["a", "é"], 2, "str")
    tensors = load(serialise(np.zeros((1, 2, 256), np.uint8), ids))
    assert tensors["id_utf8"].tobytes() == "aé".encode()
    assert tensors["id_offsets"].tolist() == [0, 1, 3]


def test_an_unreadable_segment(tmp_path, unprivileged):
    path = make_index(unprivileged.folder / "i")
    file = files_of(path)[0]
    file.chmod(0)
    with unprivileged(), pytest.raises(NotFoundError, match=f"permission denied: .*{file.name}"):
        Index.open(path)
