import pytest

from spdq.data.pictures import existing_pictures, picture_names, relative_path, write_pictures
from spdq.errors import DataError, NotFoundError, StorageError


def test_relative_paths():
    assert relative_path("./a//b.jpg", "here") == "a/b.jpg"
    for name in ("", ".", "/a.jpg", "a/../../b.jpg", ".."):
        with pytest.raises(DataError, match=r"^here: expected a path inside the folder, got"):
            relative_path(name, "here")


def test_existing_pictures(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert existing_pictures(tmp_path, ["a.jpg"]) == [tmp_path / "a.jpg"]
    with pytest.raises(NotFoundError, match=r"2 of 3 pictures not found, the first: .*b\.jpg"):
        existing_pictures(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])


def test_pictures_are_written_whole(tmp_path):
    folder = tmp_path / "a" / "b"
    assert write_pictures(folder, iter([("x.png", b"x"), ("y.png", b"y")])) == [
        folder / "x.png",
        folder / "y.png",
    ]
    assert [path.read_bytes() for path in (folder / "x.png", folder / "y.png")] == [b"x", b"y"]

    def half():
        yield "x.png", b"new"
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        write_pictures(folder, half())
    assert sorted(path.name for path in folder.iterdir()) == ["x.png", "y.png"]
    assert (folder / "x.png").read_bytes() == b"new"
    assert write_pictures(folder, ()) == []


def test_pictures_that_cannot_be_written(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match=r"cannot write pictures to .*a: File exists"):
        write_pictures(tmp_path / "a", ())
    (tmp_path / "b" / "x.png").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write pictures to .*b: Is a directory"):
        write_pictures(tmp_path / "b", [("x.png", b"x")])
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["x.png"]


def test_picture_names(tmp_path):
    for name in (
        "b.JPG",
        "a/c.png",
        "a/d/e.webp",
        "a/f.jpeg",
        "a/notes.txt",
        ".hidden.png",
        ".git/x.png",
        "g.gif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert picture_names(tmp_path) == ["a/c.png", "a/d/e.webp", "a/f.jpeg", "b.JPG"]
    (tmp_path / ".git" / "x.png").unlink()
    with pytest.raises(
        DataError, match=r"\.git: no pictures \(\.jpg, \.jpeg, \.png, \.webp\) in this folder"
    ):
        picture_names(tmp_path / ".git")
    for missing in ("none", "b.JPG"):
        with pytest.raises(NotFoundError, match=f"folder not found: .*{missing}"):
            picture_names(tmp_path / missing)
