from __future__ import annotations

import dataclasses
import os
import random
import resource
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import float_codebooks, integer_codebooks

from spdq.errors import DamagedError, DataError, IncompatibleError, NotFoundError, StorageError, UsageError
from spdq.index import Index
from spdq.index.faiss_file import read_faiss, write_faiss

# Where fields stand in a file of IxM2 around IxPq, and of IxM2 around IxPT.
OUTER, INNER, TRAINED, METRIC = 4, 41, 28, 29
PQ, WORDS = 74, 98
CHAIN, MATRIX = 74, 91


def made_up(n_items=40, n_codebooks=4, n_words=16, rotated=False, seed=0):
    """Codebooks, ids in no order, and codes that are all different (while there are enough)."""
    codebooks = float_codebooks(n_codebooks, n_words, 2, seed)
    rng = np.random.default_rng(seed)
    if rotated:
        rotation = np.linalg.qr(rng.normal(size=(codebooks.dim, codebooks.dim)))[0]
        codebooks = replace(codebooks, rotation=rotation.astype(np.float32))
    ids = rng.permutation(np.r_[-5, 2**62, 3 * np.arange(n_items)])[:n_items]
    codes = rng.integers(0, n_words, (3 * n_items, n_codebooks), np.uint8)
    _, first = np.unique(codes, axis=0, return_index=True)
    return codebooks, ids, codes[np.resize(np.sort(first), n_items) if n_items else []]


def written(path, metric="l2", **sizes):
    codebooks, ids, codes = made_up(**sizes)
    write_faiss(path, codebooks, metric, ids, codes)
    return path.read_bytes()


def packed(codes, bits):
    """One whole number a code, the first word lowest."""
    size = -(-codes.shape[1] * bits // 8)
    numbers = [sum(int(word) << bits * m for m, word in enumerate(code)) for code in codes]
    return b"".join(number.to_bytes(size, "little") for number in numbers)


def patched(data, *changes):
    data = bytearray(data)
    for at, layout, value in zip(changes[::3], changes[1::3], changes[2::3], strict=True):
        struct.pack_into("<" + layout, data, at % len(data), value)
    return bytes(data)


def assert_read(content, codebooks, metric, ids, codes):
    n_words = codebooks.n_words
    np.testing.assert_array_equal(content.codebooks.words[:, :n_words], codebooks.words)
    assert (content.codebooks.words[:, n_words:] == codebooks.words[:, -1:]).all()
    assert content.codebooks.n_words == max(2, 1 << (n_words - 1).bit_length())
    np.testing.assert_array_equal(content.codebooks.rotation, codebooks.rotation)
    assert (content.metric, content.ids.dtype, content.codes.dtype) == (metric, np.int64, np.uint8)
    np.testing.assert_array_equal(content.ids, ids)
    np.testing.assert_array_equal(content.codes, codes)


@given(
    st.integers(0, 30), st.integers(1, 9), st.integers(1, 256), st.booleans(), st.sampled_from(["l2", "ip"])
)
@settings(max_examples=60, deadline=None)
def test_what_was_written_comes_back(tmp_path_factory, n_items, n_codebooks, n_words, rotated, metric):
    path = tmp_path_factory.getbasetemp() / "round.faiss"
    codebooks, ids, codes = made_up(n_items, n_codebooks, n_words, rotated)
    write_faiss(path, codebooks, metric, ids, codes)
    assert_read(read_faiss(path), codebooks, metric, ids, codes)
    expected = packed(codes, max(1, (n_words - 1).bit_length()))
    tail = struct.pack("<i?iQ", 0, False, 0, n_items) + ids.tobytes()
    assert path.read_bytes().endswith(struct.pack("<Q", len(expected)) + expected + tail)


def test_the_layout(tmp_path):
    codebooks = integer_codebooks(n_codebooks=3, n_words=3, part=1)
    codes = np.array([[0, 1, 2], [2, 2, 1]], np.uint8)
    write_faiss(tmp_path / "x", codebooks, "ip", np.array([7, -1]), codes)
    header = struct.pack("<iqqq?i", 3, 2, 1 << 20, 1 << 20, True, 0)
    words = np.concatenate([codebooks.words, codebooks.words[:, 2:]], axis=1)
    assert (tmp_path / "x").read_bytes() == b"".join([
        b"IxM2", header,
        b"IxPq", header, struct.pack("<QQQ", 3, 3, 2),
        struct.pack("<Q", 12), words.tobytes(),
        struct.pack("<Q", 2), bytes([0b100100, 0b011010]), struct.pack("<i?i", 0, False, 0),
        struct.pack("<Qqq", 2, 7, -1),
    ])  # fmt: skip


@pytest.mark.parametrize(("n_codebooks", "n_words"), [(1, 2), (3, 7), (2, 256)])
def test_many_items_take_many_chunks_and_little_memory(tmp_path, n_codebooks, n_words):
    n_items = 1_500_000
    codebooks = float_codebooks(n_codebooks, n_words, 1)
    codes = (np.arange(n_items * n_codebooks) % 251 % n_words).astype(np.uint8).reshape(n_items, n_codebooks)
    ids = np.arange(n_items)[::-1] * 3
    tracemalloc.start()
    write_faiss(tmp_path / "x", codebooks, "l2", ids, codes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ids.nbytes + (16 << 20)
    assert_read(read_faiss(tmp_path / "x"), codebooks, "l2", ids, codes)


# Faiss runs in a process of its own: its OpenMP and torch's do not go together.
# "np" leaves out the slow training for polysemous search.
READABLE = ["PQ4x8np", "PQ4x4np", "PQ4x3np", "OPQ4,PQ4x4np", "RR16,PQ4x4np", "IDMap,PQ4x4np", "IDMap2,PQ4x3np",
            "IDMap2,OPQ4,PQ4x4np", "IDMap,OPQ4,PQ4x4np", "OPQ4,IDMap2,PQ4x4np", "OPQ4,IDMap,PQ4x4np"]  # fmt: skip
OTHERS = ["Flat", "IVF2,PQ4x4np", "IDMap,Flat", "PQ4x9np", "OPQ4_32,PQ4x4np", "PCA16,PQ4x4np", "L2norm,PQ4x4np",
          "RR16,OPQ4,PQ4x4np"]  # fmt: skip
FAISS = f"""
import glob, faiss, numpy as np
faiss.omp_set_num_threads(1)
x, queries = np.load("x.npy"), np.load("queries.npy")
def save(index, name):
    np.savez(name + ".npz", *index.search(queries, 10))
    faiss.write_index(index, name + ".made")
def fill(index, ids=None):
    index.train(x)
    index.add(x[:50]) if ids is None else index.add_with_ids(x[:50], ids)
    return index
for name in glob.glob("*.faiss"):
    save(faiss.read_index(name), name)
ids = np.arange(50)[::-1] * 1000
for metric in (0, 1):
    for kind in {READABLE}:
        save(fill(faiss.index_factory(16, kind, metric), ids if "IDMap" in kind else None), f"{{kind}}.{{metric}}")
for kind in {OTHERS}:
    save(fill(faiss.index_factory(16, kind), ids if "IDMap" in kind else None), kind)
index = fill(faiss.IndexPQ(16, 4, 4))
index.reset()
save(index, "empty")
for name, scale, shift in (("shifted", 1, 1), ("unshifted", 1, 0), ("stretched", 2, 0)):
    transform = faiss.LinearTransform(16, 16, True)
    faiss.copy_array_to_vector(scale * np.eye(16, dtype="f4").ravel(), transform.A)
    faiss.copy_array_to_vector(np.full(16, shift, "f4"), transform.b)
    transform.is_trained = True
    save(fill(faiss.IndexPreTransform(transform, faiss.IndexPQ(16, 4, 4))), name)
"""
OURS = list(product((256, 16, 5), ("l2", "ip"), (False, True)))


def ours(n_words, metric, rotated, n_items=60):
    codebooks, ids, codes = made_up(n_items, 8, n_words, rotated, seed=n_words)
    return codebooks, metric, ids, codes


@pytest.fixture(scope="module")
def faiss_folder(tmp_path_factory):
    if find_spec("faiss") is None:
        pytest.skip('faiss of the faiss extra is absent: pip install "spdq[faiss]"')
    folder = tmp_path_factory.mktemp("faiss")
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(600, 16)).astype(np.float32))
    np.save(folder / "queries.npy", rng.normal(size=(5, 16)).astype(np.float32))
    for case in OURS:
        write_faiss(folder / f"{case}.faiss", *ours(*case))
    for n_items in (0, 1):
        write_faiss(folder / f"{n_items}.faiss", *ours(16, "l2", True, n_items))
    subprocess.run([sys.executable, "-c", FAISS], cwd=folder, check=True, capture_output=True)
    return folder


def assert_same_search(folder, name, codebooks, metric, ids, codes):
    """Distances agree; ids too wherever no neighbour is within the tolerance (in the last column one may be)."""
    index = Index(codebooks, metric)
    index.add_codes(codes, ids)
    distances, found = index.search(np.load(folder / "queries.npy"), 10)
    expected_distances, expected = np.load(folder / f"{name}.npz").values()
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-5)
    close = np.abs(np.diff(distances, axis=1, prepend=np.nan, append=0)) < 3e-5 * np.abs(distances).max()
    alone = ~close[:, :-1] & ~close[:, 1:]
    alone[:, -1] = False
    assert alone.mean() > 0.5
    np.testing.assert_array_equal(found[alone], expected[alone])


@pytest.mark.parametrize("case", OURS)
def test_faiss_reads_ours(faiss_folder, case):
    assert_same_search(faiss_folder, f"{case}.faiss", *ours(*case))
    # What Faiss read is all there is: it writes the very same file.
    written_again = (faiss_folder / f"{case}.faiss.made").read_bytes()
    assert written_again == (faiss_folder / f"{case}.faiss").read_bytes()


@pytest.mark.parametrize("n_items", [0, 1])
def test_faiss_reads_none_and_one(faiss_folder, n_items):
    _, _, ids, _ = ours(16, "l2", True, n_items)
    found = np.load(faiss_folder / f"{n_items}.faiss.npz")["arr_1"]
    assert found.tolist() == [ids.tolist() + [-1] * (10 - n_items)] * 5


@pytest.mark.parametrize("name", [f"{kind}.{metric}" for kind in READABLE for metric in (0, 1)])
def test_ours_reads_what_faiss_wrote(faiss_folder, name):
    content = read_faiss(faiss_folder / f"{name}.made")
    assert content.metric == ("l2" if name.endswith("1") else "ip")
    assert (content.codebooks.rotation is not None) == ("OPQ" in name or "RR" in name)
    assert content.ids.tolist() == list(range(49000, -1, -1000) if "IDMap" in name else range(50))
    assert_same_search(faiss_folder, name, *content)
    write_faiss(faiss_folder / "copy", *content)
    assert_read(read_faiss(faiss_folder / "copy"), *content)


def test_an_empty_index_of_faiss(faiss_folder):
    content = read_faiss(faiss_folder / "empty.made")
    assert (content.ids.shape, content.codes.shape) == ((0,), (0, 4))
    assert read_faiss(faiss_folder / "unshifted.made").codebooks.rotation.tolist() == np.eye(16).tolist()


@pytest.mark.parametrize(("name", "error", "message"), [
    ("Flat", IncompatibleError, "Faiss index of type 'IxF2', only PQ with or without OPQ and an id map"),
    ("IVF2,PQ4x4np", IncompatibleError, "Faiss index of type 'IwPQ', only PQ"),
    ("IDMap,Flat", IncompatibleError, "Faiss index of type 'IxMp around IxF2', only PQ"),
    ("PQ4x9np", IncompatibleError, "PQ of 16 dimensions with 4 codebooks of 9 bits: at most 8192, 256 and 8"),
    ("OPQ4_32,PQ4x4np", IncompatibleError, "transform of 16 dimensions by 512 numbers, not a rotation"),
    ("PCA16,PQ4x4np", IncompatibleError, "Faiss transform of type 'Pcam', only rotations"),
    ("L2norm,PQ4x4np", IncompatibleError, "Faiss transform of type 'VNrm', only rotations"),
    ("RR16,OPQ4,PQ4x4np", IncompatibleError, "a chain of 2 transforms, only one can be read"),
    ("shifted", IncompatibleError, "transform with a bias, only rotations"),
    ("stretched", IncompatibleError, r"transform that is not a rotation \(OPQ\): its entries"),
])  # fmt: skip
def test_what_faiss_wrote_and_we_have_no_place_for(faiss_folder, name, error, message):
    with pytest.raises(error, match=f"{name}.made: {message}"):
        read_faiss(faiss_folder / f"{name}.made")


@pytest.mark.parametrize(("rotated", "changes", "error", "message"), [
    (0, (0, "4s", b"\x89HDF"), DataError, r"not a Faiss index: found b'\\x89HDF'"),
    (0, (0, "4s", b"IHNf"), IncompatibleError, "Faiss index of type 'IHNf', only PQ"),
    (0, (37, "4s", b"IxMp"), IncompatibleError, "Faiss index of type 'IxM2 around IxMp', only PQ"),
    (0, (OUTER + METRIC, "i", -1), IncompatibleError, "Faiss metric -1, only"),
    (0, (OUTER + METRIC, "i", 0), DamagedError, r"'IxM2' .*'ip'\), but they are \(9, 9, 8, 'l2'\)"),
    (0, (OUTER, "i", -8), DamagedError, r"'IxM2' says that .* are \(9, 9, -8, 'l2'\)"),
    (0, (OUTER + 4, "q", 2**62), DamagedError, r"'IxM2' says that codes, ids, d and metric are \(46116"),
    (0, (INNER + 4, "q", -9), DamagedError, r"words and codes have \(128, 18\) elements, where"),
    (0, (INNER + TRAINED, "?", False), DataError, "the index is not trained"),
    (0, (PQ, "Q", 2**63), IncompatibleError, "PQ of 9223372036854775808 dimensions"),
    (0, (PQ, "Q", 8193, PQ + 8, "Q", 257), IncompatibleError, "PQ of 8193 dimensions with 257 codebooks of 4"),
    (0, (PQ + 8, "Q", 0), DamagedError, "PQ of 8 dimensions, 0 codebooks, 4 bits is impossible"),
    (0, (PQ + 8, "Q", 3), DamagedError, "PQ of 8 dimensions, 3 codebooks, 4 bits is impossible"),
    (0, (PQ + 16, "Q", 5), DamagedError, r"words and codes have \(128, 18\) elements, where \(256, 27\)"),
    (0, (WORDS, "Q", 2**63), DamagedError, "truncated: expected 36893488147419103232 bytes of words, 6"),
    (0, (WORDS + 8, "f", np.nan), DataError, "words of codebooks must be finite"),
    (0, (-8 * 9 - 8, "Q", 10), DamagedError, "truncated: expected 80 bytes of ids, 72 are left"),
    (0, (-8 * 9 - 8, "Q", 8), DamagedError, r"'IxM2' .*'l2'\), but they are \(9, 8, 8, 'l2'\)"),
    (0, (-89, "i", 4), DataError, r"search_type 4 \(4 and 5: polysemous\) and encode_signs False: only"),
    (0, (-85, "?", True), DataError, r"search_type 0 .* and encode_signs True: only asymmetric distances"),
    (0, (-8, "q", -5, -16, "q", -5), DataError, "duplicate id -5"),
    (1, (CHAIN, "i", 0), IncompatibleError, "a chain of 0 transforms"),
    (1, (CHAIN + 4, "4s", b"HRot"), IncompatibleError, "Faiss transform of type 'HRot'"),
    (1, (INNER, "i", 4), IncompatibleError, "transform of 4 dimensions by 64 numbers, not a rotation"),
    (1, (INNER, "i", -8), IncompatibleError, "transform of -8 dimensions by 64 numbers"),
    (1, (MATRIX - 8, "Q", 2**40), DamagedError, "truncated: expected 4398046511104 bytes of matrix"),
    (1, (MATRIX, "f", 0.9), IncompatibleError, ".* not a rotation .OPQ.: rotation must be orthogonal"),
    (1, (MATRIX, "f", 1e38), IncompatibleError, ".* not a rotation .OPQ.: its entries are not all"),
    (1, (MATRIX, "f", np.nan), IncompatibleError, "transform that is not a rotation .OPQ.: its entries"),
    (1, (MATRIX + 256 + 8, "i", 9), DamagedError, "its transform is not a trained one of 8 dimensions"),
    (1, (MATRIX + 256 + 16, "?", False), DamagedError, "its transform is not a trained one"),
    (1, (MATRIX + 256 + 17, "4s", b"IxPT"), IncompatibleError, "Faiss .* 'IxM2 around IxPT around IxPT', only PQ"),
])  # fmt: skip
def test_a_field_that_is_wrong(tmp_path, rotated, changes, error, message):
    data = written(tmp_path / "x.faiss", n_items=9, rotated=rotated)
    (tmp_path / "x.faiss").write_bytes(patched(data, *changes))
    with pytest.raises(error, match=f"x.faiss: {message}"):
        read_faiss(tmp_path / "x.faiss")


def test_every_truncation_and_what_follows_after_the_end(tmp_path):
    path = tmp_path / "x.faiss"
    data = written(path, n_items=3, n_codebooks=2, n_words=4, rotated=True)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(DamagedError, match=r"x.faiss: truncated"):
            read_faiss(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(DamagedError, match=r"x.faiss: bytes after its end: 1"):
        read_faiss(path)


def mutated(data, rng):
    at, size = rng.randrange(len(data)), rng.randrange(1, 40)
    return rng.choice([
        lambda: patched(data, at, "B", data[at] ^ 1 << rng.randrange(8)),
        lambda: data[:at],
        lambda: data + rng.randbytes(size),
        lambda: data[:at] + bytes(len(data[at : at + size])) + data[at + size :],
        lambda: data[:at] + rng.choice([2**31 - 1, 2**40, 2**63]).to_bytes(8, "little") + data[at + 8 :],
        lambda: data[:at] + data[at + size :],
    ])()  # fmt: skip


@pytest.mark.parametrize("sizes", [{}, {"n_words": 256, "n_items": 9}, {"n_words": 5, "rotated": True}])
def test_mutations_raise_our_errors_or_give_valid_content(tmp_path, sizes):
    rng = random.Random(0)
    path = tmp_path / "x.faiss"
    data = written(path, **sizes)
    messages = []
    tracemalloc.start()
    for _ in range(300):
        path.write_bytes(mutated(data, rng))
        try:
            content = read_faiss(path)
        except (DataError, DamagedError, IncompatibleError) as error:
            messages.append(str(error))
        else:
            assert (content.codes < content.codebooks.n_words).all()
            assert content.codes.shape == (len(np.unique(content.ids)), content.codebooks.n_codebooks)
            write_faiss(path, *content)
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()
    assert 100 < len(messages) < 300
    assert all(message.startswith(f"{path}: ") for message in messages)


def test_what_is_no_file(tmp_path, unprivileged):
    with pytest.raises(NotFoundError, match=r"no such file or directory: .*nothing"):
        read_faiss(tmp_path / "nothing")
    with pytest.raises(DataError, match="not a file"):
        read_faiss(tmp_path)
    closed = unprivileged.folder / "x"
    closed.touch(0)
    with unprivileged(), pytest.raises(NotFoundError, match=r"permission denied: .*x"):
        read_faiss(closed)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that fails: /proc/self/mem")
def test_a_storage_that_fails_while_reading():
    with pytest.raises(StorageError, match="input/output error; /proc/self/mem was not read"):
        read_faiss("/proc/self/mem")


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"metric": "cosine"}, UsageError, 'metric must be "l2" or "ip", got \'cosine\''),
    ({"codebooks": integer_codebooks(kind="additive")}, UsageError,
     "additive codes have no place in a Faiss file: numpy.save Index.codes to .npy, and Index.ids beside it"),
    ({"codebooks": dataclasses.replace(integer_codebooks(), rotation=np.eye(6) * 2, dual=np.eye(6) / 2)}, UsageError,
     "codebooks learned for queries have no place in a Faiss file"),
    ({"ids": np.array(["a", "b"], object)}, UsageError, "str ids have no place in a Faiss file: numpy.save"),
    ({"ids": np.arange(2, dtype=np.uint64)}, DataError, r"expected ids int64 \(2,\) .*, got ids uint64 \(2,\)"),
    ({"ids": np.arange(3)}, DataError, r"expected .* codes uint8 \(3, 3\), got .* codes uint8 \(2, 3\)"),
    ({"ids": np.array([[4, 5]])}, DataError, r"expected ids int64 \(2,\) .*, got ids int64 \(1, 2\)"),
    ({"codes": np.zeros((2, 2), np.uint8)}, DataError, r"expected .* codes uint8 \(2, 3\), got .* \(2, 2\)"),
    ({"codes": np.zeros((2, 3), np.int64)}, DataError, "expected .* got .* codes int64"),
    ({"codes": np.full((2, 3), 5, np.uint8)}, DataError, "codes name word 5, but each codebook has 5 words"),
    ({"ids": np.array([4, 4])}, DataError, "duplicate id 4"),
])  # fmt: skip
def test_what_has_no_place_in_a_file(tmp_path, changes, error, message):
    good = {"codebooks": integer_codebooks(), "metric": "ip", "ids": np.arange(2)}
    good |= {"codes": np.zeros((2, 3), np.uint8)}
    write_faiss(tmp_path / "good", **good)
    with pytest.raises(error, match=message):
        write_faiss(tmp_path / "bad", **good | changes)
    assert os.listdir(tmp_path) == ["good"]


def test_what_cannot_be_written_to(tmp_path, unprivileged):
    codebooks, ids, codes = made_up()
    with pytest.raises(NotFoundError, match=r"directory not found: .*nowhere"):
        write_faiss(tmp_path / "nowhere" / "x", codebooks, "l2", ids, codes)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"is a directory; .*folder was not written"):
        write_faiss(tmp_path / "folder", codebooks, "l2", ids, codes)
    assert os.listdir(tmp_path) == ["folder"]
    path = unprivileged.folder / "unlisted" / "x"
    path.parent.mkdir()
    path.parent.chmod(0o333)
    with (
        unprivileged(),
        pytest.raises(StorageError, match=r"permission denied; .* written, but may not survive"),
    ):
        write_faiss(path, codebooks, "l2", ids, codes)
    assert_read(read_faiss(path), codebooks, "l2", ids, codes)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    old = written(tmp_path / "x", n_items=2)
    codebooks, ids, codes = made_up(n_items=40)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old), limit[1]))
    try:
        with pytest.raises(StorageError, match=r"file too large; .*x was not written"):
            write_faiss(tmp_path / "x", codebooks, "l2", ids, codes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == old
    write_faiss(tmp_path / "x", codebooks, "ip", ids, codes)
    assert_read(read_faiss(tmp_path / "x"), codebooks, "ip", ids, codes)
    assert (tmp_path / "x").stat().st_mode & 0o200
