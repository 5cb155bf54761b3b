import os

import pytest

from spdq.data.text_lines import listed_names, open_text, text_lines
from spdq.errors import DataError, NotFoundError


def test_lines_end_with_line_ends_only(tmp_path):
    (tmp_path / "x.txt").write_bytes("\ufeffa\u2028b\x0bc\r\nd\re\x85\n\nf".encode())
    assert text_lines(tmp_path / "x.txt") == ["a\u2028b\x0bc", "d", "e\x85", "", "f"]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match=r"file not found: .*x\.txt"):
        text_lines(tmp_path / "x.txt")
    with pytest.raises(DataError, match="not a regular file"):
        text_lines(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        text_lines(tmp_path / "pipe")
    (tmp_path / "x.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"x\.txt: not UTF-8 text"):
        text_lines(tmp_path / "x.txt")
    with pytest.raises(NotFoundError, match=r"cannot be read \(File name too long\)"):
        text_lines(tmp_path / ("x" * 5000))


def test_errors_inside_pass_as_they_are(tmp_path):
    (tmp_path / "x.txt").write_text("a")
    with pytest.raises(NotFoundError, match=r"^inner$"), open_text(tmp_path / "x.txt"):
        raise NotFoundError("inner")


def test_listed_names(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("a b \n c\n\n\n")
    assert listed_names(file) == ["a b", "c"]
    file.write_text("\n \n")
    with pytest.raises(DataError, match=r"x\.txt: empty"):
        listed_names(file)
