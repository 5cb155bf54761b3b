from __future__ import annotations

import pytest

from spdq import errors as library
from spdq_cli.errors import Terminated, note, printable, report, terminate


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (library.UsageError("what"), 2),
        (library.NotFoundError("what"), 3),
        (library.MissingExtraError("what"), 3),
        (library.DataError("what"), 4),
        (library.DamagedError("what"), 5),
        (library.IncompatibleError("what"), 6),
        (library.LockedError("what"), 7),
        (library.StorageError("what"), 8),
    ],
)
def test_every_library_error_has_its_code_and_one_line(capsys, error, code):
    assert report(error, debug=False) == code
    assert capsys.readouterr().err == "spdq: error: what\n"


def test_interrupts(capsys):
    assert report(KeyboardInterrupt(), debug=True) == 130
    assert report(Terminated("go on with --resume"), debug=False) == 143
    assert capsys.readouterr().err == "spdq: interrupted\nspdq: go on with --resume\n"


def test_the_signal_handler_raises():
    with pytest.raises(Terminated):
        terminate(15, None)


def test_no_line_break_or_escape_sequence_reaches_the_terminal(capsys):
    note("bad\nname \x1b[31mred\x07")
    assert capsys.readouterr().err == "spdq: bad name \\x1b[31mred\\x07\n"
    assert printable("drapeau 🏳️‍🌈") == "drapeau 🏳️‍🌈"
