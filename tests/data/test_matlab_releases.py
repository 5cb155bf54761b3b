import numpy as np
import numpy.testing as npt
import pytest
from made_matlab import PixelExtractor, all_files, items, matlab_pixels, photos, write_v5, write_v73
from made_sets import assert_same
from PIL import Image
from scipy import sparse

from spdq.data import Dataset
from spdq.data.matlab_releases import find_release, load_matlab
from spdq.errors import DataError, NotFoundError, UsageError

both = pytest.mark.parametrize("write", [write_v5, write_v73])


def extracted(pixels):
    return PixelExtractor().extract([Image.fromarray(picture) for picture in pixels])


def assert_parts(dataset, made, image):
    npt.assert_array_equal(dataset.image_features, image)
    assert sparse.issparse(dataset.text_features)
    npt.assert_array_equal(dataset.text_features.toarray(), made["tags"])
    npt.assert_array_equal(dataset.labels, made["labels"])
    assert dataset.label_names == ("label-1", "label-2", "label-3", "label-4")


@pytest.mark.parametrize(
    ("prefix", "features"),
    [("mirflickr25k", "iall-vgg"), ("nus-wide-tc10", "xall-vgg"), ("nus-wide-tc21", "xall-vgg")],
)
def test_a_file_a_part(tmp_path, prefix, features):
    made = items(50)
    all_files(tmp_path, prefix, made, features=features)
    plain = load_matlab(tmp_path)
    assert plain.name == prefix
    assert plain.ids.tolist() == list(range(1, 51))
    assert (plain.image_extractor, plain.image_paths, plain.texts) == (None, None, None)
    assert_parts(plain, made, made["features"].astype(np.float32))
    through = load_matlab(tmp_path, PixelExtractor())
    assert through.image_extractor == "pixels"
    assert_parts(through, made, extracted(made["pixels"]))
    release = find_release(tmp_path).describe()
    assert release["release"] == prefix
    assert release["files"].split(", ")[0] == f"IAll/{prefix}-iall.mat"
    assert release["parts"] == "pixels, features, text, labels"


def test_shuffled_files_have_another_name(tmp_path):
    made = items(20)
    for part, name, key in (
        ("iall-vgg", "XAll", "features"),
        ("yall", "YAll", "tags"),
        ("lall", "LAll", "labels"),
    ):
        write_v5(tmp_path / f"mirflickr25k-{part}-rand.mat", **{name: made[key]})
    assert load_matlab(tmp_path).name == "mirflickr25k-rand"


def test_transposed_parts(tmp_path):
    made = items(50)
    write_v73(tmp_path / "mirflickr25k-iall-vgg.mat", XAll=made["features"].T)
    write_v5(tmp_path / "mirflickr25k-yall.mat", YAll=sparse.csc_matrix(made["tags"].T.astype(float)))
    write_v73(tmp_path / "mirflickr25k-lall.mat", LAll=made["labels"].astype(bool))
    assert_parts(load_matlab(tmp_path), made, made["features"].astype(np.float32))


@both
@pytest.mark.parametrize("name", ["images", "IAll", "XAll"])
def test_all_in_one_file(tmp_path, write, name):
    made = items(30)
    image = made["features"] if name == "XAll" else matlab_pixels(made["pixels"])
    file = write(tmp_path / "FLICKR-25K.mat", **{name: image}, YAll=made["tags"], LAll=made["labels"])
    extractor = None if name == "XAll" else PixelExtractor()
    dataset = load_matlab(file, extractor)
    assert dataset.name == "FLICKR-25K"
    assert_parts(dataset, made, image.astype(np.float32) if name == "XAll" else extracted(made["pixels"]))
    (tmp_path / "imagenet-vgg-f.mat").write_bytes(b"not read")
    assert_same(load_matlab(tmp_path, extractor), dataset)


@pytest.mark.parametrize("suffix", ["", "21"])
def test_lists_of_torchcmh(tmp_path, suffix):
    made = items(30)
    names = photos(tmp_path / "mir", made["pixels"])
    listed, tags, labels = ("FAll", "YAll", "LAll") if not suffix else ("imgs", "tags", "labels")
    write_v5(tmp_path / "mir" / f"imgList{suffix}.mat", **{listed: names})
    write_v5(tmp_path / "mir" / f"tagList{suffix}.mat", **{tags: made["tags"]})
    write_v73(tmp_path / "mir" / f"labelList{suffix}.mat", **{labels: made["labels"]})
    dataset = load_matlab(tmp_path / "mir", PixelExtractor())
    assert dataset.name == "mir"
    assert dataset.ids.tolist() == names
    assert dataset.image_path(4) == tmp_path / "mir" / "mirflickr" / "im5.png"
    assert_parts(dataset, made, extracted(made["pixels"]))
    with pytest.raises(UsageError, match="mir lists pictures: name the extractor"):
        load_matlab(tmp_path / "mir")
    (tmp_path / "mir" / "mirflickr" / "im5.png").unlink()
    with pytest.raises(
        NotFoundError, match=r"1 of 30 listed pictures not found below .*mir, the first: im5\.png"
    ):
        load_matlab(tmp_path / "mir", PixelExtractor())


@both
@pytest.mark.parametrize("labels", ["category", "label"])
def test_captions_of_dcmht(tmp_path, write, labels):
    made = items(30)
    names = photos(tmp_path, made["pixels"])
    captions = [f"photo {number}" for number in range(30)]
    captions[3] = ["a  dog", "it\nruns "]
    write(tmp_path / "index.mat", index=[f"/home/someone/photos/{name}" for name in names])
    write(tmp_path / "caption.mat", caption=captions)
    write(tmp_path / "label.mat", **{labels: made["labels"]})
    dataset = load_matlab(tmp_path, PixelExtractor())
    assert dataset.texts[:5] == ("photo 0", "photo 1", "photo 2", "a dog\nit runs", "photo 4")
    assert dataset.text_features is None
    assert dataset.ids[0] == "im1.png"
    assert dataset.image_paths[0] == "mirflickr/im1.png"
    dataset.save(tmp_path / "x.h5")
    assert_same(Dataset.load(tmp_path / "x.h5"), dataset)
    (tmp_path / "caption.mat").unlink()
    (tmp_path / "caption.txt").write_text("".join(f"line  {number}\n" for number in range(30)))
    assert load_matlab(tmp_path, PixelExtractor()).texts[29] == "line 29"
    (tmp_path / "caption.txt").write_text("one\n")
    with pytest.raises(
        DataError, match=r"30 index\.mat, 1 caption\.txt: these parts have no number of items"
    ):
        load_matlab(tmp_path, PixelExtractor())


def test_names_beside_features_are_ids(tmp_path):
    made = items(30)
    all_files(tmp_path, "mirflickr25k", made, pixels=False)
    write_v5(tmp_path / "FAll" / "mirflickr25k-fall.mat", FAll=[f"im{number}.png" for number in range(1, 31)])
    plain = load_matlab(tmp_path)
    assert (plain.ids[2], plain.image_paths) == ("im3.png", None)
    with pytest.raises(NotFoundError, match="30 of 30 listed pictures not found"):
        load_matlab(tmp_path, PixelExtractor())
    photos(tmp_path, made["pixels"])
    assert load_matlab(tmp_path).image_paths[2] == "mirflickr/im3.png"
    npt.assert_array_equal(load_matlab(tmp_path, PixelExtractor()).image_features, extracted(made["pixels"]))
    write_v5(tmp_path / "FAll" / "mirflickr25k-fall.mat", FAll=["im1.png"] * 30)
    with pytest.raises(DataError, match=r'duplicate id "im1\.png"'):
        load_matlab(tmp_path)


def labelled(n, c):
    """Few numbers, for the rules of queries: item i has class i mod c, and class 0, too, where i is even."""
    labels = np.eye(c, dtype=np.uint8)[np.arange(n) % c]
    labels[::2, 0] = 1
    return {
        "features": np.random.default_rng(0).random((n, 2)),
        "tags": np.eye(3)[np.arange(n) % 3],
        "labels": labels,
    }


@pytest.mark.parametrize(
    ("prefix", "n", "n_query"),
    [
        ("mirflickr25k", 20_015, 2000),
        ("mirflickr25k", 90, 9),
        ("nus-wide-tc10", 18_660, 187),
        ("nus-wide-tc10", 30, 1),
    ],
)
def test_queries_are_random(tmp_path, prefix, n, n_query):
    all_files(tmp_path, prefix, labelled(n, 5), pixels=False)
    splits = [load_matlab(tmp_path, seed=seed).split for seed in (0, 0, 1)]
    assert [len(split.query) for split in splits] == [n_query] * 3
    assert [len(split.train) for split in splits] == [n - n_query] * 3
    npt.assert_array_equal(splits[0].query, splits[1].query)
    assert n_query == 1 or not np.array_equal(splits[0].query, splits[2].query)


@pytest.mark.parametrize("n", [21_000, 300])
def test_queries_of_tc21_are_100_a_class(tmp_path, n):
    made = labelled(n, 21)
    all_files(tmp_path, "nus-wide-tc21", made, pixels=False)
    split = load_matlab(tmp_path).split
    of_class = made["labels"][split.query].sum(axis=0)
    assert len(split.query) == 2100 if n == 21_000 else 21 <= len(split.query) < 60
    assert of_class.min() >= (100 if n == 21_000 else 1)
    write_v5(tmp_path / "one" / "all-tc21.mat", XAll=made["features"], YAll=made["tags"], LAll=made["labels"])
    npt.assert_array_equal(load_matlab(tmp_path / "one").split.query, split.query)


def test_kinds(tmp_path):
    all_files(tmp_path, "mirflickr25k", items(50))
    seen, unseen, paired = (load_matlab(tmp_path, kind=kind).split for kind in ("seen", "unseen", "paired"))
    assert (len(seen.query), len(unseen.train), len(paired.database)) == (5, 22, 50)


PARTS = {
    "iall": r"mirflickr25k-iall\.mat or mirflickr25k-iall-vgg\.mat or mirflickr25k-xall-vgg\.mat",
    "yall": r"mirflickr25k-yall\.mat",
    "lall": r"mirflickr25k-lall\.mat",
}


@pytest.mark.parametrize("part", PARTS)
def test_half_a_release(tmp_path, part):
    all_files(tmp_path, "mirflickr25k", items(20), features="")
    next(tmp_path.rglob(f"*-{part}.mat")).unlink()
    with pytest.raises(
        NotFoundError, match=rf"file not found: {PARTS[part]} in .*, beside mirflickr25k-.all\.mat"
    ):
        load_matlab(tmp_path)


@pytest.mark.parametrize(
    "missing", ["imgList.mat", "tagList.mat", "labelList.mat", "index.mat", "caption.mat", "label.mat"]
)
def test_half_of_three_files(tmp_path, missing):
    made = {"List.mat": ("img", "tag", "label"), ".mat": ("index", "caption", "label")}
    suffix = "List.mat" if "List" in missing else ".mat"
    for stem in made[suffix]:
        if stem + suffix != missing:
            write_v5(tmp_path / f"{stem}{suffix}", A=np.ones((2, 3)))
    with pytest.raises(NotFoundError, match=f"file not found: {missing}"):
        load_matlab(tmp_path)


def test_sources_that_hold_none_or_several(tmp_path):
    with pytest.raises(NotFoundError, match=r"file or folder not found: .*nothing"):
        load_matlab(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"not a known release in MATLAB files; known are FLICKR-25K\.mat"):
        load_matlab(tmp_path)
    other = write_v5(tmp_path / "other.mat", A=np.ones((2, 2)))
    (tmp_path / "notes.txt").write_text("text")
    for source in (tmp_path, other, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match="not a known release in MATLAB files"):
            load_matlab(source)
    other.write_bytes(b"text")
    with pytest.raises(DataError, match=r"other\.mat: not a MATLAB v5 file, nor one of v7.3"):
        load_matlab(other)
    other.unlink()
    for prefix in ("mirflickr25k", "nus-wide-tc21"):
        all_files(tmp_path, prefix, items(20))
    for path in tmp_path.rglob("*all*.mat"):
        path.rename(tmp_path / path.name)
    with pytest.raises(
        UsageError, match=r"several releases: name a file of one instead of the folder: mirflickr25k-"
    ):
        load_matlab(tmp_path)
    assert load_matlab(tmp_path / "nus-wide-tc21-lall.mat").name == "nus-wide-tc21"


@both
def test_parts_of_another_kind_or_size(tmp_path, write):
    made = items(20)

    def load(**changes):
        variables = {"XAll": made["features"], "YAll": made["tags"], "LAll": made["labels"]} | changes
        return load_matlab(write(tmp_path / "x.mat", **{k: v for k, v in variables.items() if v is not None}))

    assert load().name == "x"
    for changes, message in [
        (
            {"YAll": made["tags"][:19]},
            "YAll 19 x 12, LAll 20 x 4: these parts have no number of items in common",
        ),
        ({"XAll": np.ones((20, 20))}, "cannot tell items from features, XAll is square"),
        ({"LAll": made["labels"] * 3}, "LAll: expected 0 or 1 for each label, got 3"),
        ({"XAll": np.full((20, 7), np.nan)}, "image_features row 0 has NaN"),
        ({"YAll": None}, r"x\.mat: variable not found: YAll or tags"),
        ({"XAll": None}, "variable not found: IAll or images or XAll"),
    ]:
        with pytest.raises(DataError, match=message):
            load(**changes)


def test_a_file_without_its_variable(tmp_path):
    all_files(tmp_path, "mirflickr25k", items(20))
    write_v5(tmp_path / "LAll" / "mirflickr25k-lall.mat", other=np.ones((20, 4)))
    expected = "LAll or labels or category or label, got other"
    with pytest.raises(DataError, match=rf"mirflickr25k-lall\.mat: expected the variable {expected}"):
        load_matlab(tmp_path)
