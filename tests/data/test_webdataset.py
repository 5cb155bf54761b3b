import io
import json
import tarfile
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from made_sets import GridExtractor
from PIL import Image

import spdq.data.webdataset
from spdq.data import Dataset
from spdq.data.webdataset import load_webdataset
from spdq.errors import DataError, NotFoundError, StorageError


def picture(number):
    stream = io.BytesIO()
    colours = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(colours).save(stream, "PNG")
    return stream.getvalue()


def member(name, content=b"", kind=tarfile.REGTYPE, target=""):
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = len(content), kind, target
    return made, content


def write_tar(file, *members, form=tarfile.PAX_FORMAT):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for made in members:
            info, content = member(*made) if isinstance(made[0], str) else made
            tar.addfile(info, io.BytesIO(content))
    return file


def as_json(**values):
    return json.dumps(values, ensure_ascii=False).encode()


FIRST = (
    ("./a/1.PNG", picture(0)),
    ("./a/1.txt", b"a cat\nein Kater\n"),
    ("./a/1.json", as_json(text="else", labels=["cat"], year=2020, box={"x": 1})),
    ("./a/1.cls", b"3\n"),
    ("./a/1.seg.png", b"a mask, which is left alone"),
    ("2.json", as_json(text="a tree", year=None)),
    ("2.png", picture(1)),
)
SECOND = (("3.png", picture(2)), ("4.png", picture(0)), ("4.txt", b""), ("README", b"x"), (".x.png", b"x"))


def load(source, pictures, **arguments):
    return load_webdataset(source, pictures, GridExtractor(), **arguments)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_samples(tmp_path, form):
    write_tar(tmp_path / "mine" / "01.tar", *SECOND, form=form)
    write_tar(tmp_path / "mine" / "00.tar", ("./", b"", tarfile.DIRTYPE), *FIRST, form=form)
    (tmp_path / "mine" / "notes.txt").write_text("no shard")
    steps = []
    made, found = load(tmp_path / "mine", tmp_path / "out", progress=lambda *step: steps.append(step))
    assert made.name == "mine"
    assert made.ids.tolist() == ["a/1.PNG", "2.png", "3.png", "4.png"]
    assert made.texts == ("a cat\nein Kater", "a tree", "", "")
    assert made.label_names == ("cat", "class-3")
    npt.assert_array_equal(made.labels, [[1, 1], [0, 0], [0, 0], [0, 0]])
    assert made.attributes == {"year": (2020, None, None, None), "box": ('{"x": 1}', None, None, None)}
    assert found.repeated == ("4.png is a/1.PNG",)
    assert steps[-1] == (4, 4)
    assert files(tmp_path / "out") == ["2.png", "3.png", "4.png", "a/1.PNG"]
    assert made.image_path(1).read_bytes() == picture(1)
    npt.assert_array_equal(made.image_features[1:2], GridExtractor().extract([tmp_path / "out" / "2.png"]))
    made.save(tmp_path / "x.h5")
    assert Dataset.load(tmp_path / "x.h5").image_path(0).read_bytes() == picture(0)


def test_one_file_and_long_names(tmp_path):
    long = "x" * 90 + "/" + "y" * 150
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        file = write_tar(
            tmp_path / "one.tar", (f"{long}.png", picture(0)), ("木.webp", picture(1)), form=form
        )
        made, _ = load(file, tmp_path / "out")
        assert made.name == "one"
        assert made.ids.tolist() == [f"{long}.png", "木.webp"]
        assert (made.texts, made.labels, dict(made.attributes)) == (None, None, {})


def test_bad_pictures_are_skipped_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(spdq.data.webdataset, "MAX_PICTURE", 4 << 20)
    many = [("text.txt", b"no picture"), ("huge.png", bytes((4 << 20) + 1)), ("broken.png", b"no picture")]
    for number, why in enumerate(("text: no picture", "huge.png: above 4 MiB", "broken.png: broken picture")):
        file = write_tar(tmp_path / "x.tar", *FIRST, many[number], *SECOND)
        with pytest.raises(DataError, match=why):
            load(file, tmp_path / "out")
    file = write_tar(tmp_path / "x.tar", *FIRST, *many, *SECOND)
    made, found = load(file, tmp_path / "new", skip_bad=True)
    assert made.ids.tolist() == ["a/1.PNG", "2.png", "3.png", "4.png"]
    assert made.attributes["year"] == (2020, None, None, None)
    assert [why in said for why, said in zip(("text", "huge.png", "broken.png"), found.skipped, strict=True)]
    assert files(tmp_path / "new") == ["2.png", "3.png", "4.png", "a/1.PNG"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("/x.png", b""), r"member '/x\.png': expected a path inside the folder"),
        (("a/../../x.png", b""), "expected a path inside the folder"),
        (("../x.other", b""), "expected a path inside the folder"),
        (
            ("x.png", b"", tarfile.SYMTYPE, "/etc/passwd"),
            "member 'x.png': expected a regular file, got a link",
        ),
        (("x.png", b"", tarfile.LNKTYPE, "2.png"), "expected a regular file, got a link"),
        (("x.other", b"", tarfile.FIFOTYPE), "expected a regular file, got a link, device"),
        (("x.png", b"", tarfile.CHRTYPE), "expected a regular file, got a link, device"),
        (("x.png", b"", tarfile.GNUTYPE_SPARSE), r"damaged, cut off or no tar file \(a sparse file"),
        (("a/1.txt", b"again"), r"sample a/1: this key is already that of a sample in .*sample a/1"),
        (("2.jpg", b""), r"member 2\.jpg: a second picture of sample 2"),
        (("2.json", b"{}"), r"member 2\.json: a second \.json of sample 2"),
        (("2.txt", b"\xff"), r"member 2\.txt: not UTF-8 text"),
        (("2.txt", b"\0"), r"sample 2: text: a NUL character"),
        (("2.txt", bytes((1 << 20) + 1)), r"member 2\.txt: above 1 MiB"),
        (("2.cls", b"-1"), r"sample 2 \.cls: expected the number of a class, got '-1'"),
        (("2.cls", "³".encode()), "expected the number of a class"),
        (("2.cls", b"9" * 5000), "expected the number of a class"),
    ],
)
def test_bad_members(tmp_path, made, message):
    file = write_tar(tmp_path / "in" / "x.tar", *FIRST, made, *SECOND)
    with pytest.raises(DataError, match=message):
        load(file, tmp_path / "out", skip_bad=True)
    assert files(tmp_path / "out") == ["2.png", "a/1.PNG"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", r"sample 5 \.json: expected a JSON object, got list"),
        (b"{", r"sample 5 \.json: not JSON"),
        (b"[" * 100_000, r"sample 5 \.json: not JSON"),
        (b'{"text": 3}', "sample 5: text: expected text, got int"),
        (b'{"labels": "a"}', "sample 5: labels: expected a list of texts"),
        (b'{"labels": [" "]}', "sample 5: labels: an empty label"),
        (b'{"year": "old"}', r"sample 5: year: expected whole numbers as in .*sample a/1, got 'old'"),
        (as_json(**{f"c{c}": c for c in range(100)}), r"x\.tar: expected at most 99 columns"),
    ],
)
def test_bad_json(tmp_path, content, message):
    file = write_tar(tmp_path / "x.tar", *FIRST, ("5.png", picture(5)), ("5.json", content))
    with pytest.raises(DataError, match=message):
        load(file, tmp_path / "out")


def test_damaged_and_cut_off(tmp_path):
    file = write_tar(tmp_path / "x.tar", *FIRST, *SECOND)
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        starts = [made.offset for made in tar]
        end = tar.offset
    damaged = bytearray(whole)
    damaged[starts[-1] + 1] ^= 1
    cuts = [0, 100, *starts, starts[-1] + 100, starts[-1] + 512, end - 1, end - 512]
    for bad in (bytes(damaged), b"no tar" * 1000, *(whole[:cut] for cut in cuts)):
        file.write_bytes(bad)
        with pytest.raises(DataError, match=r"x\.tar: damaged, cut off or no tar file"):
            load(file, tmp_path / "out", skip_bad=True)


def test_headers_without_limit(tmp_path):
    large = tarfile.TarInfo("x.png")
    large.pax_headers = {"comment": "x" * ((1 << 20) + 1)}
    file = write_tar(tmp_path / "x.tar", *FIRST, (large, b""))
    with pytest.raises(DataError, match=r"a name or header of 1,048,\d+ bytes"):
        load(file, tmp_path / "out")
    for headers in ({"size": "-512"}, {"size": "9" * 30}, {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}):
        odd = tarfile.TarInfo("x.png")
        odd.pax_headers = headers
        file = write_tar(tmp_path / "x.tar", *FIRST, (odd, b""))
        with pytest.raises(DataError, match=r"expected a regular file|damaged|above 64 MiB"):
            load(file, tmp_path / "out")


def test_what_is_no_shard(tmp_path):
    with pytest.raises(NotFoundError, match="no: file or folder not found"):
        load(tmp_path / "no", tmp_path / "out")
    with pytest.raises(DataError, match=r"no \.tar files in this folder"):
        load(tmp_path, tmp_path / "out")
    (tmp_path / "x.tar").mkdir()
    with pytest.raises(DataError, match=r"x\.tar: not a regular file"):
        load(tmp_path, tmp_path / "out")
    empty = write_tar(tmp_path / "y.tar")
    with pytest.raises(DataError, match=r"y\.tar: one item cannot be split"):
        load(empty, tmp_path / "out")


def test_a_key_in_two_shards(tmp_path):
    write_tar(tmp_path / "in" / "0.tar", *SECOND)
    write_tar(tmp_path / "in" / "1.tar", *SECOND)
    with pytest.raises(DataError, match=r"1\.tar sample 3: this key is already that of a sample in .*0\.tar"):
        load(tmp_path / "in", tmp_path / "out")


def test_pictures_that_cannot_be_written(tmp_path):
    file = write_tar(tmp_path / "x.tar", *FIRST)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="cannot write pictures to"):
        load(file, tmp_path / "out")


def test_a_shard_that_cannot_be_read(tmp_path):
    memory = Path("/proc/self/mem")
    if not memory.exists():
        pytest.skip("no file here whose first byte is an input error")
    (tmp_path / "x.tar").symlink_to(memory)
    with pytest.raises(StorageError, match=r"cannot read .*x\.tar"):
        load(tmp_path / "x.tar", tmp_path / "out")
