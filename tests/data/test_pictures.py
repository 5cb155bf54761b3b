import pytest

from spdq.data.pictures import existing_pictures, relative_path
from spdq.errors import DataError, NotFoundError


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
