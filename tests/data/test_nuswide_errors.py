import pytest
from made_nuswide import made_release, write_release

from spdq.data.nuswide import load_nuswide
from spdq.errors import DataError, NotFoundError

MADE = made_release()
LABELS, TAGS, FEATURES = "Groundtruth/AllLabels", "NUS_WID_Tags", "Low_Level_Features"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """One release in both forms."""
    return write_release(tmp_path_factory.mktemp("nuswide"), MADE)


@pytest.fixture
def change(release):
    """Give a file of the release other content, or remove it (None); undone after the test."""
    before = {}

    def change(name, content):
        file = release / name
        before.setdefault(file, file.read_bytes())
        file.unlink()
        if content is not None:
            file.write_text(content, encoding="utf-8")

    yield change
    for file, content in before.items():
        file.write_bytes(content)


def lines_of(file):
    return file.read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            ["ImageList/Imagelist.txt", "ImageList/TestImagelist.txt"],
            r"Imagelist\.txt, .*TestImagelist\.txt; needed: Imagelist.txt or TrainImagelist.txt with TestImagelist.txt",
        ),
        (["ConceptsList/Concepts81.txt"], r"file not found: .*Concepts81\.txt$"),
        (["NUS_WID_Tags/TagList1k.txt"], r"file not found: .*TagList1k\.txt$"),
        (
            [f"{LABELS}/Labels_zebra.txt", "Groundtruth/TrainTestLabels/Labels_zebra_Train.txt"],
            r"AllLabels/Labels_zebra\.txt, .*Labels_zebra_Train\.txt; needed: Imagelist.txt with Labels_zebra.txt or "
            "TrainImagelist.txt with TestImagelist.txt with Labels_zebra_Train.txt with Labels_zebra_Test.txt",
        ),
        (
            [f"{TAGS}/AllTags1k.txt", f"{TAGS}/Test_Tags1k.dat"],
            r"file not found: .*/AllTags1k\.txt, .*/Test_Tags1k\.dat; needed: ",
        ),
        (
            [f"{FEATURES}/BoW_int.dat", "ImageList/TrainImagelist.txt"],
            r"file not found: .*/BoW_int\.dat, .*/TrainImagelist\.txt; needed: ",
        ),
        (
            ["ImageList/Imagelist.txt", f"{FEATURES}/BoW_Train_int.dat"],
            r"file not found: .*/Imagelist\.txt, .*/BoW_Train_int\.dat; needed: ",
        ),
    ],
)
def test_half_a_release(release, change, missing, message):
    for name in missing:
        change(name, None)
    with pytest.raises(NotFoundError, match=message):
        load_nuswide(release)


def test_a_kind_of_low_level_features_is_missing(release, change):
    for name in ("Normalized_EDH", "Train_Normalized_EDH"):
        change(f"{FEATURES}/{name}.dat", None)
    with pytest.raises(NotFoundError, match=r"/Normalized_EDH\.dat, .*/Train_Normalized_EDH\.dat; needed"):
        load_nuswide(release, "lowlevel")


def test_no_folder(tmp_path):
    with pytest.raises(NotFoundError, match=r"file not found: .*nowhere/ImageList/Imagelist\.txt"):
        load_nuswide(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "line", "content", "message"),
    [
        ("ImageList/Imagelist.txt", 3, "..\\..\\secret.jpg", "line 3: expected a path inside the folder"),
        ("ImageList/Imagelist.txt", 3, "", "line 3: expected a name, got an empty line"),
        (
            "ImageList/Imagelist.txt",
            3,
            "airport\\0000_10000.jpg",
            r"line 3: .*0000_10000\.jpg is in line 1, too",
        ),
        (
            "ConceptsList/Concepts81.txt",
            2,
            "../../animal",
            r"which is part of file names, got '\.\./\.\./animal'",
        ),
        ("ConceptsList/Concepts81.txt", 2, "animals", "the concept animal is missing"),
        ("ConceptsList/Concepts81.txt", 81, "", "expected 81 concepts, got 80"),
        (f"{TAGS}/TagList1k.txt", 7, "tag5", r"TagList1k\.txt line 7: tag5 is in line 6, too"),
        (f"{TAGS}/AllTags1k.txt", 9, "0\t1\t", r"AllTags1k\.txt line 9: expected 1000 numbers, got '0\\t1'"),
        (f"{TAGS}/AllTags1k.txt", 9, "2\t" * 1000, "line 9: expected 0 or 1, got '2'"),
        (f"{TAGS}/AllTags1k.txt", 9, "", "line 9: expected numbers, got an empty line"),
        (
            f"{TAGS}/All_Tags.txt",
            4,
            "99 night sky",
            r"line 4: expected the number of .*_10001\.jpg and its tags",
        ),
        (f"{TAGS}/All_Tags.txt", 4, "", "line 4: expected the number of .* got ''"),
        (
            f"{LABELS}/Labels_sky.txt",
            5,
            "-1130179",
            r"Labels_sky\.txt line 5: expected 0 or 1, got '-1130179'",
        ),
        (f"{LABELS}/Labels_sky.txt", 5, "yes", "line 5: expected 1 numbers, got 'yes'"),
        (f"{FEATURES}/BoW_int.dat", 1, "1 2 3", r"BoW_int\.dat line 1: expected 500 numbers, got '1 2 3'"),
        (
            f"{FEATURES}/BoW_int.dat",
            2,
            "nan " * 500,
            "line 2: expected finite numbers up to 1e[+]06, got 'nan'",
        ),
        (f"{FEATURES}/BoW_int.dat", 2, "3000000 " * 500, "line 2: expected finite numbers .* got '3000000'"),
    ],
)
def test_bad_lines(release, change, file, line, content, message):
    lines = lines_of(release / file)
    lines[line - 1] = content
    change(file, "\n".join(lines))
    with pytest.raises(DataError, match=message):
        load_nuswide(release)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("ImageList/Imagelist.txt", r"Labels_airport\.txt: 40 rows, but its image list names 41 pictures"),
        (f"{LABELS}/Labels_sky.txt", r"Labels_sky\.txt: 41 rows, but its image list names 40 pictures"),
        (f"{TAGS}/AllTags1k.txt", r"AllTags1k\.txt: 41 rows, but its image list names 40 pictures"),
        (f"{TAGS}/All_Tags.txt", r"All_Tags\.txt: 41 lines, but Imagelist.txt names 40 pictures"),
        (f"{FEATURES}/BoW_int.dat", r"BoW_int\.dat: 41 rows, but its image list names 40 pictures"),
    ],
)
def test_a_line_too_many(release, change, file, message):
    lines = lines_of(release / file)
    change(file, "\n".join([*lines[:-1], lines[-2].replace(".jpg", "0.jpg"), ""]))
    with pytest.raises(DataError, match=message):
        load_nuswide(release)


@pytest.mark.parametrize("file", [f"{TAGS}/AllTags1k.txt", f"{FEATURES}/BoW_int.dat"])
def test_a_line_too_few_and_no_lines(release, change, file):
    change(file, "\n".join(lines_of(release / file)[:-2]))
    with pytest.raises(DataError, match="39 rows, but its image list names 40 pictures"):
        load_nuswide(release)
    change(file, "")
    with pytest.raises(DataError, match=": 0 rows, but its image list names 40 pictures"):
        load_nuswide(release)


def test_lists_that_do_not_part_the_whole(release, change):
    change(f"{TAGS}/AllTags1k.txt", None)
    train, test = (lines_of(release / "ImageList" / f"{half}Imagelist.txt") for half in ("Train", "Test"))
    change("ImageList/TestImagelist.txt", "\n".join(["airport\\0999_1.jpg", *test]))
    with pytest.raises(DataError, match=r"TestImagelist\.txt: airport/0999_1\.jpg is not in Imagelist\.txt"):
        load_nuswide(release)
    change("ImageList/TestImagelist.txt", "\n".join([train[0], *test]))
    with pytest.raises(
        DataError, match=r"40 pictures, but each must be in one of the lists .*Test\w+\.txt 17"
    ):
        load_nuswide(release)
    change("ImageList/Imagelist.txt", None)
    with pytest.raises(
        DataError, match=r"TrainImagelist\.txt and .*TestImagelist\.txt: .* appears more than once"
    ):
        load_nuswide(release)


def test_nothing_to_keep_and_one_photo(tmp_path):
    made = made_release(4)
    made.labels[:] = 0
    release = write_release(tmp_path / "nothing", made, pairs=False)
    for concepts, what in ((10, "concepts and a tag"), (21, "concepts$")):
        with pytest.raises(DataError, match=f"no photo has one of the {what}"):
            load_nuswide(release, concepts=concepts)
    made.labels[2, :] = 1
    made.tags[2, 0] = 1
    release = write_release(tmp_path / "one", made, pairs=False)
    for concepts in (10, 81):
        with pytest.raises(DataError, match="one item cannot be split into queries and database"):
            load_nuswide(release, concepts=concepts)
    with pytest.raises(DataError, match="leave too few rows"):
        load_nuswide(release, concepts=21)
