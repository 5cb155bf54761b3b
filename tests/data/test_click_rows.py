import gzip
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clicks import ENDINGS, write_log

from spdq.data import click_rows as module
from spdq.data.click_rows import click_rows
from spdq.errors import DataError, MissingExtraError, NotFoundError, UsageError

ROWS = [("a cat", "1.jpg", 3), ("Dog ", "b/2.jpg", 0), ("a cat", "1.jpg", 10**9), ("猫", "é.jpg", 1)]


def read(path, progress=None):
    """All rows of a log, each as a tuple."""
    found = []
    for block in click_rows(path, progress):
        found += zip(block.queries, block.images, block.clicks.tolist(), strict=True)
    return found


def need(ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is absent (extra parquet)")


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_forms_say_the_same(tmp_path, ending):
    need(ending)
    seen = []
    path = write_log(tmp_path / f"log{ending}", ROWS)
    assert read(path, lambda done, total: seen.append((done, total))) == ROWS
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_blocks_change_nothing(tmp_path, ending, monkeypatch):
    need(ending)
    rows = [(f"query {number % 7}" * (number % 3 + 1), f"{number}.jpg", number) for number in range(200)]
    path = write_log(
        tmp_path / f"log{ending.upper()}" if ending == ".tsv" else tmp_path / f"log{ending}", rows
    )
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    blocks = list(click_rows(path))
    assert len(blocks) > 10
    assert read(path) == rows
    assert blocks[-1].where(0).startswith(f"{path} {'row' if ending == '.parquet' else 'line'} ")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_images_may_be_integers(tmp_path, ending):
    need(ending)
    assert read(write_log(tmp_path / f"x{ending}", [("cat", 12, 3), ("cat", -4, 3)])) == [
        ("cat", "12", 3),
        ("cat", "-4", 3),
    ]


def test_other_text_types_of_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is absent (extra parquet)")
    from pyarrow import parquet

    queries = pyarrow.array(["cat", "dog", "cat"], pyarrow.large_string())
    columns = {
        "query": queries.dictionary_encode(),
        "image": pyarrow.array(["1", "2", "3"], pyarrow.large_string()),
        "clicks": pyarrow.array([1, 2, 3], pyarrow.uint8()),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == [("cat", "1", 1), ("dog", "2", 2), ("cat", "3", 3)]


def test_a_log_of_other_programs(tmp_path):
    content = '\ufeffclicks\twhen\timage\tquery\r\n\r\n 3 \t\t1.jpg\t a "cat\u2028\r\n007\tx\t2.jpg\tb'
    (tmp_path / "x.tsv").write_bytes(content.encode())
    assert read(tmp_path / "x.tsv") == [(' a "cat\u2028', "1.jpg", 3), ("b", "2.jpg", 7)]
    content = '\ufeff\n\n{"query": "a\\nb", "image": "1", "clicks": 2, "x": [1]}\r\n'
    (tmp_path / "x.jsonl").write_bytes(content.encode())
    assert read(tmp_path / "x.jsonl") == [("a\nb", "1", 2)]
    (tmp_path / "only.tsv").write_text("query\timage\tclicks\n")
    assert read(tmp_path / "only.tsv") == []


FIELD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\t\n\r"), max_size=5)


@given(st.lists(st.tuples(FIELD, FIELD, st.integers(0, 10**9)), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_text(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("logs")
    for ending in (".tsv", ".jsonl.gz"):
        assert read(write_log(folder / f"x{ending}", rows)) == rows


HEAD = "query\timage\tclicks\n"
WHOLE = "clicks: expected a whole number from 0 to 1,000,000,000, got "
BAD_TSV = [
    ("", r"x\.tsv: empty, expected a header line with query, image, clicks"),
    ("\n\n", r"x\.tsv: empty"),
    (
        "query\timage\n",
        r"line 1: expected a header line with query, image and clicks once each, .* got 'query",
    ),
    ("query,image,clicks\n", "line 1: expected a header line"),
    ("query\timage\tclicks\tquery\n", "line 1: expected a header line"),
    ("\n\nQuery\timage\tclicks\n", "line 3: expected a header line"),
    (HEAD + "a\tb\t1\n\na\tb\n", "line 4: expected 3 fields as in the header, got 2"),
    (HEAD + "a\tb\t1\ta\n\tb\n", "line 2: expected 3 fields as in the header, got 4"),
    (HEAD + "a\tb\t1\na\tb\t-3\n", f"line 3: {WHOLE}-3"),
    (HEAD + "a\tb\t1.5\n", f"line 2: {WHOLE}'1.5'"),
    (HEAD + "a\tb\t1e3\n", f"line 2: {WHOLE}'1e3'"),
    (HEAD + "a\tb\t\n", f"line 2: {WHOLE}''"),
    (HEAD + "a\tb\t1_0\n", f"line 2: {WHOLE}'1_0'"),
    (HEAD + "a\tb\t٣\n", f"line 2: {WHOLE}'٣'"),
    (HEAD + "a\tb\tnan\n", f"line 2: {WHOLE}'nan'"),
    (HEAD + "\na\tb\t1000000001\n", f"line 3: {WHOLE}1000000001"),
    (HEAD + "a\tb\t" + "9" * 5000, f"line 2: {WHOLE}'9999"),
]


@pytest.mark.parametrize(("content", "message"), BAD_TSV)
def test_bad_tsv(tmp_path, content, message):
    (tmp_path / "x.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.tsv")


GOOD = '{"query": "a", "image": "b", "clicks": 1}\n'
BAD_JSON = [
    ("\n" + GOOD + "{", r"x\.jsonl line 3: not JSON"),
    (GOOD + "[" * 100_000, "line 2: not JSON"),
    (GOOD + "[]", "line 2: expected a JSON object, got list"),
    (GOOD + '{"image": "b", "clicks": 1}', "line 2: query: expected text, got nothing"),
    (GOOD + '{"query": 3, "image": "b", "clicks": 1}', "line 2: query: expected text, got int"),
    (
        GOOD + '{"query": "a", "image": true, "clicks": 1}',
        "line 2: image: expected text or an integer, got bool",
    ),
    (GOOD + '{"query": "a", "clicks": 1}', "line 2: image: expected text or an integer, got nothing"),
    (GOOD + '{"query": "a", "image": "b"}', f"line 2: {WHOLE}nothing"),
    (GOOD + '{"query": "a", "image": "b", "clicks": "1"}', f"line 2: {WHOLE}'1'"),
    (GOOD + '{"query": "a", "image": "b", "clicks": 1.0}', f"line 2: {WHOLE}1.0"),
    (GOOD + '{"query": "a", "image": "b", "clicks": true}', f"line 2: {WHOLE}True"),
    (GOOD + '{"query": "a", "image": "b", "clicks": NaN}', f"line 2: {WHOLE}nan"),
    (GOOD + '{"query": "a", "image": "b", "clicks": -1}', f"line 2: {WHOLE}-1"),
    (GOOD + '{"query": "a", "image": "b", "clicks": 1' + "0" * 30 + "}", f"line 2: {WHOLE}1000"),
]


@pytest.mark.parametrize(("content", "message"), BAD_JSON)
def test_bad_json_lines(tmp_path, content, message):
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.jsonl")


def test_bad_bytes_name_their_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 30)
    (tmp_path / "x.tsv").write_bytes(HEAD.encode() + b"a\tb\t1\n" * 20 + b"\n\xff\tb\t1\n")
    with pytest.raises(DataError, match=r"x\.tsv line 23: not UTF-8 text"):
        read(tmp_path / "x.tsv")
    (tmp_path / "x.tsv").write_bytes(HEAD.encode() + b"a\tb\t1\n" * 20 + b"\xed\xa0\x80\tb\t1\n")
    with pytest.raises(DataError, match=r"line 22: not UTF-8 text"):
        read(tmp_path / "x.tsv")
    (tmp_path / "x.tsv").write_bytes(HEAD.encode() + b"a" * 200)
    with pytest.raises(DataError, match=r"x\.tsv line 2: longer than 30 bytes"):
        read(tmp_path / "x.tsv")


def test_bad_gzip(tmp_path):
    path = write_log(tmp_path / "x.tsv.gz", [(f"query {n}", "1.jpg", n) for n in range(1000)])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content in (whole[:-20], HEAD.encode(), bytes(damaged), whole + b"more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.tsv\.gz: not a whole gzip file \(.+\)"):
            read(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="empty, expected a header line"):
        read(path)


def test_bad_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is absent (extra parquet)")
    from pyarrow import parquet

    path = tmp_path / "x.parquet"

    def refuse(message, **columns):
        parquet.write_table(
            pyarrow.table({"query": ["a"] * 2, "image": ["b"] * 2, "clicks": [1] * 2} | columns), path
        )
        with pytest.raises(DataError, match=message):
            read(path)

    refuse(r"x\.parquet: column query: expected text, got int64", query=[1, 2])
    refuse("column image: expected text or integers, got double", image=[1.0, 2.0])
    refuse("column clicks: expected integers, got string", clicks=["1", "2"])
    refuse("column clicks: expected integers, got double", clicks=[1.0, 2.0])
    refuse(f"row 2: {WHOLE}-4", clicks=[1, -4])
    refuse(f"row 1: {WHOLE}18446744073709551615", clicks=pyarrow.array([2**64 - 1, 1], pyarrow.uint64()))
    refuse("row 2: query: expected a value, got null", query=["a", None])
    refuse("row 1: clicks: expected a value, got null", clicks=[None, 2])
    refuse("row 2: image: expected a value, got null", image=pyarrow.array([1, None]))
    broken = pyarrow.StringArray.from_buffers(2, *pyarrow.array([b"a", b"\xff"]).buffers()[1:])
    refuse("not a readable Parquet file .*utf-8", query=broken)
    parquet.write_table(pyarrow.table({"query": ["a"], "clicks": [1]}), path)
    with pytest.raises(DataError, match=r"x\.parquet: expected a column image, there are query, clicks"):
        read(path)
    for content in (b"", b"query\timage\tclicks\n", path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.parquet: not a readable Parquet file \(.+\)"):
            read(path)


def test_parquet_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(MissingExtraError, match=r"x\.parquet: Parquet needs pyarrow: .*spdq\[parquet\]"):
        read(tmp_path / "x.parquet")


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError, match=r"x\.csv: expected a click log whose name ends in \.tsv, \.jsonl, "):
        read(tmp_path / "x.csv")
    for ending in ENDINGS:
        with pytest.raises(NotFoundError, match=r"file not found: .*x\."):
            read(tmp_path / f"x{ending}")
    (tmp_path / "x.tsv").mkdir()
    os.mkfifo(tmp_path / "y.tsv")
    for name in ("x.tsv", "y.tsv"):
        with pytest.raises(DataError, match=f"{name}: not a regular file"):
            read(tmp_path / name)


def test_no_permission(tmp_path):
    path = write_log(tmp_path / "x.tsv", ROWS)
    tmp_path.chmod(0o755)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(NotFoundError, match=r"x\.tsv: cannot be read \(Permission denied\)"):
            read(path)
    finally:
        os.seteuid(user)
