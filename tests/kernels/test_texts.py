from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import find_texts, reference


def pack(texts):
    borders = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), borders


def bisected(texts, wanted):
    rows = [bisect_left(texts, text) for text in wanted]
    return [row if texts[row : row + 1] == [text] else -1 for row, text in zip(rows, wanted, strict=True)]


def find(texts, wanted, threads=None):
    rows = find_texts(*pack(texts), *pack(wanted), threads)
    assert rows.dtype == np.int64
    return rows.tolist()


# Few letters make prefixes of each other and empty texts; the others are bytes that are negative where signed.
short = st.lists(st.sampled_from([0, 1, 97, 127, 128, 255]), max_size=5).map(bytes)
any_text = short | st.text(max_size=12).map(str.encode) | st.binary(max_size=300)


@settings(max_examples=150, deadline=None)
@given(
    texts=st.sets(any_text, max_size=80).map(sorted),
    others=st.lists(any_text, max_size=50),
    threads=st.sampled_from([None, 1, 2, 7]),
    data=st.data(),
)
def test_equals_bisection(texts, others, threads, data):
    wanted = data.draw(st.permutations(texts + others))
    found = find(texts, wanted, threads)
    assert found == bisected(texts, wanted)
    assert found == reference.find_texts(*pack(texts), *pack(wanted)).tolist()


@pytest.mark.parametrize(
    ("texts", "wanted", "rows"),
    [
        ([], [], []),
        ([], [b"", b"a"], [-1, -1]),
        ([b"a"], [], []),
        ([b""], [b"", b"\0"], [0, -1]),
        ([b"b"], [b"b", b"a", b"c", b"", b"bb"], [0, -1, -1, -1, -1]),
        ([b"", b"a"], [b"a", b"", b"", b"a"], [1, 0, 0, 1]),
        ([b"a", b"b"], [b""], [-1]),
        ([b"a", b"aa", b"aaa"], [b"aaa", b"a", b"aaaa", b"aa", b""], [2, 0, -1, 1, -1]),
        ([b"a", b"a\0", b"a\0\0"], [b"a\0\0", b"a\0", b"a", b"\0"], [2, 1, 0, -1]),
        ([b"z", "ä".encode(), "猫".encode(), "😀".encode()], ["😀".encode(), "ö".encode(), b"z"], [3, -1, 0]),
        ([b"\x7f", b"\x80", b"\xff"], [b"\xff", b"\x80", b"\x7f", b"\xff\xff", b"\0"], [2, 1, 0, -1, -1]),
    ],
)
def test_few_texts(texts, wanted, rows):
    assert texts == sorted(texts)
    assert find(texts, wanted) == rows


@pytest.mark.parametrize("n_texts", [1, 2, 3, 31, 32, 33, 255, 256, 257, 1000])
def test_all_places_and_all_gaps(n_texts):
    texts = [b"item-%05d" % (2 * i + 1) for i in range(n_texts)]
    wanted = [b"item-%05d" % i for i in range(2 * n_texts + 2)]
    rows = [i // 2 if i % 2 else -1 for i in range(2 * n_texts + 1)] + [-1]
    assert find(texts, wanted) == rows


@pytest.mark.parametrize("n_wanted", [0, 1, 31, 32, 33, 5000])
def test_any_number_of_threads(n_wanted):
    random = np.random.default_rng(n_wanted)
    texts = sorted({b"%d" % i for i in random.integers(0, 10_000, 3000)})
    wanted = [b"%d" % i for i in random.integers(0, 10_000, n_wanted)]
    for threads in (None, 1, 2, 3, 64, 10_000):
        assert find(texts, wanted, threads) == bisected(texts, wanted)


def test_read_only_memory_maps(tmp_path):
    texts, wanted = [b"%04d" % i for i in range(500)], [b"0499", b"500", b"0000"]
    mapped = []
    for i, array in enumerate([*pack(texts), *pack(wanted)]):
        array.tofile(tmp_path / str(i))
        mapped.append(np.memmap(tmp_path / str(i), array.dtype, mode="r"))
        with pytest.raises(ValueError, match="read-only"):
            mapped[-1][0] = 1
    assert find_texts(*mapped).tolist() == [499, -1, 0]
    assert find_texts(*mapped, 2).tolist() == [499, -1, 0]
    assert find_texts(*(np.asarray(array) for array in mapped)).tolist() == [499, -1, 0]


def test_arrays_that_can_be_written_stay_as_they_are():
    arrays = [array.copy() for array in (*pack([b"a", b"b"]), *pack([b"b", b"c"]))]
    before = [array.copy() for array in arrays]
    assert find_texts(*arrays).tolist() == [1, -1]
    assert all(map(np.array_equal, arrays, before))


def test_a_part_of_larger_arrays():
    utf8, borders = pack([b"a", b"b", b"c", b"d"])
    assert find_texts(utf8[:2], borders[:3], utf8[1:], borders[:-1]).tolist() == [1, -1, -1]


def test_texts_out_of_order_are_never_mistaken_for_others():
    texts, wanted = [b"c", b"a", b"d", b"b"], [b"a", b"b", b"c", b"d", b"e"]
    rows = find(texts, wanted)
    assert all(row == -1 or texts[row] == text for row, text in zip(rows, wanted, strict=True))


def int64(*values):
    return np.array(values, np.int64)


UNALIGNED = np.zeros(33, np.uint8)[1:].view(np.int64)


@pytest.mark.parametrize("prefix", ["", "wanted_"])
@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"utf8": b"abc"}, TypeError, "utf8 must be a numpy array, not bytes"),
        ({"utf8": np.zeros(3, np.int8)}, TypeError, "utf8 must have dtype uint8, not int8"),
        ({"utf8": np.zeros((3, 1), np.uint8)}, ValueError, "utf8 must have 1 dimensions"),
        ({"utf8": np.zeros(6, np.uint8)[::2]}, ValueError, "utf8 must be C-contiguous"),
        ({"borders": [0, 3]}, TypeError, "borders must be a numpy array, not list"),
        ({"borders": np.array([0, 3], np.int32)}, TypeError, "borders must have dtype int64, not int32"),
        ({"borders": np.array([0, 3], ">i8")}, TypeError, "borders must have dtype int64, not >i8"),
        ({"borders": int64([0, 3])}, ValueError, "borders must have 1 dimensions"),
        ({"borders": int64(0, 1, 3, 3)[::2]}, ValueError, "borders must be C-contiguous"),
        ({"borders": UNALIGNED}, ValueError, "borders must be aligned in memory"),
        (
            {"borders": int64()},
            ValueError,
            r"borders must have an entry more than .*, at least \[0\], not none",
        ),
        ({"borders": int64(0)}, ValueError, "from 0 to 3, the size of {}utf8, not from 0 to 0"),
        ({"borders": int64(1, 3)}, ValueError, "from 0 to 3, the size of {}utf8, not from 1 to 3"),
        ({"borders": int64(0, 4)}, ValueError, "from 0 to 3, the size of {}utf8, not from 0 to 4"),
    ],
)
def test_bad_arguments(prefix, change, error, match):
    utf8, borders = pack([b"a", b"bc"])
    good = {"utf8": utf8, "borders": borders, "wanted_utf8": utf8, "wanted_borders": borders}
    changed = {f"{prefix}{name}": value for name, value in change.items()}
    with pytest.raises(error, match=match.format(prefix)) as caught:
        find_texts(**{**good, **changed})
    assert str(caught.value).startswith(next(iter(changed)))


@pytest.mark.parametrize("borders", [(0, 2, 1, 3), (0, -1, 3), (0, 2**62, 3), (0, -(2**62), 2**62, 3)])
def test_borders_out_of_order(borders):
    """Of the list they cost finds and nothing else, of the wanted texts they are an error."""
    utf8, right = pack([b"a", b"bc"])
    rows = find_texts(utf8, int64(*borders), utf8, right)
    assert ((rows >= -1) & (rows < len(borders) - 1)).all()
    with pytest.raises(ValueError, match=r"wanted_borders must ascend, but text . would go from"):
        find_texts(utf8, right, utf8, int64(*borders))


@pytest.mark.parametrize(("threads", "error", "match"), [
    (0, ValueError, "threads must be at least 1, not 0"),
    (1.5, TypeError, "threads must be an integer, not float"),
])  # fmt: skip
def test_bad_threads(threads, error, match):
    with pytest.raises(error, match=match):
        find([b"a"], [b"a"], threads)
