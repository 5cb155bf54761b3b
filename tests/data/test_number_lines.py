import numpy as np
import numpy.testing as npt
import pytest

from spdq.data.number_lines import number_blocks
from spdq.errors import DataError


@pytest.mark.parametrize("block_numbers", [1, 5, 6, 1000])
def test_number_blocks(tmp_path, monkeypatch, block_numbers):
    monkeypatch.setattr("spdq.data.number_lines.BLOCK_NUMBERS", block_numbers)
    expected = np.random.default_rng(0).normal(size=(7, 3)).round(4)
    text = "".join("\t".join(map(str, row)) + " \r\n" for row in expected.tolist())
    for end in ("", "\n\n\n", " \n\t"):
        (tmp_path / "x.dat").write_text(text + end, newline="")
        blocks = list(number_blocks(tmp_path / "x.dat", 3))
        npt.assert_array_equal(np.concatenate(blocks), expected.astype(np.float32))
        assert max(map(len, blocks)) == min(7, max(1, block_numbers // 3))
    (tmp_path / "x.dat").write_text("\n")
    assert list(number_blocks(tmp_path / "x.dat", 3)) == []
    for gap in ("\n", "\n\n\n\n\n\n\n"):
        (tmp_path / "x.dat").write_text(text + gap + "1 2 3\n")
        with pytest.raises(DataError, match=r"x\.dat line 8: expected numbers, got an empty line"):
            list(number_blocks(tmp_path / "x.dat", 3))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2", "line 3: expected 3 numbers, got '1 2'"),
        ("1 2 3 4", "line 3: expected 3 numbers, got '1 2 3 4'"),
        ("1,2,3", "line 3: expected 3 numbers, got '1,2,3'"),
        ("# 2 3", "line 3: expected 3 numbers, got '# 2 3'"),
        ("1 2 inf", "line 3: expected finite numbers up to 1e[+]06, got 'inf'"),
        ("1e39 2 3", "line 3: expected finite numbers up to 1e[+]06, got '1e39'"),
    ],
)
def test_bad_numbers(tmp_path, monkeypatch, line, message):
    (tmp_path / "x.dat").write_text(f"1 2 3\n4 5 6\n{line}\n7 8 9\n")
    for block_numbers in (3, 1000):
        monkeypatch.setattr("spdq.data.number_lines.BLOCK_NUMBERS", block_numbers)
        with pytest.raises(DataError, match=message):
            list(number_blocks(tmp_path / "x.dat", 3))
