from __future__ import annotations

import json
import os
import pty
import re
import subprocess

import pytest

from spdq.errors import StorageError
from spdq_cli.output import print_facts, print_table, write_json_file
from spdq_cli.progress import progress_bar


def test_a_pipe_gets_tab_separated_lines(capsys):
    print_table(("id", "value", "there"), [("a b", 0.25, True), ("c\td", None, False)])
    assert capsys.readouterr().out == "id\tvalue\tthere\na b\t0.2500\tyes\nc\\td\t-\tno\n"


def test_no_rows_leave_the_header(capsys):
    print_table(("id", "value"), [])
    assert capsys.readouterr().out == "id\tvalue\n"


def test_facts(capsys):
    facts = {"name": "x", "empty": {}, "split": {"kind": "seen", "seed": 0}}
    print_facts(facts, as_json=False)
    assert capsys.readouterr().out == "what\tvalue\nname\tx\nempty\t-\nsplit.kind\tseen\nsplit.seed\t0\n"
    print_facts(facts, as_json=True)
    assert json.loads(capsys.readouterr().out) == facts


def test_json_files_are_whole_or_absent(tmp_path):
    write_json_file(tmp_path / "x.json", {"é": 1})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"é": 1}
    with pytest.raises(StorageError, match="cannot write"):
        write_json_file(tmp_path / "no" / "x.json", {})
    assert os.listdir(tmp_path) == ["x.json"]


def test_no_bar_where_stderr_is_no_terminal(capsys):
    with progress_bar("Work", quiet=False) as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def on_terminal(process, code):
    """What a piece of Python shows on a terminal 80 columns wide."""
    ours, theirs = pty.openpty()
    try:
        started = process(command=("-c", code), stdin=theirs, stdout=theirs, stderr=theirs, text=False)
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so at the end.
                break
            if not part:
                break
            shown += part
        assert started.wait(timeout=60) == 0
    finally:
        os.close(ours)
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_a_terminal_gets_a_table(process):
    code = "from spdq_cli.output import print_table\nprint_table(('id', 'rank'), [('[red]x', 1), ('y', 10)])"
    lines = [line.rstrip() for line in on_terminal(process, code).splitlines()]
    assert [line.split() for line in lines] == [["id", "rank"], ["[red]x", "1"], ["y", "10"]]
    assert lines[1].index("1") == lines[2].index("10") + 1  # Numbers stand at the right.


BAR = (
    "from spdq_cli.progress import progress_bar\nwith progress_bar('Work', {quiet}) as progress:\n"
    "    print(progress is None)\n    progress and progress(3, 4)\n"
)


def test_a_terminal_gets_a_bar_unless_quiet(process):
    shown = on_terminal(process, BAR.format(quiet=False))
    assert "False" in shown
    assert "3/4" in shown
    assert on_terminal(process, BAR.format(quiet=True)).strip() == "True"


def test_the_bar_never_mixes_with_the_data(process):
    with process(command=("-c", BAR.format(quiet=False)), stderr=subprocess.PIPE) as started:
        out, err = started.communicate(timeout=60)
    assert (out, err) == ("True\n", "")
