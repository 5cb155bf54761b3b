from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from importlib.util import find_spec

import click
import pytest

from spdq_cli.lazy import LazyCommand, LazyGroup
from spdq_cli.main import COMMANDS, cli

WRITTEN = {name: entry for name, entry in COMMANDS.items() if find_spec(entry.home.partition(":")[0])}

ABSENT_UNLESS_GIVEN = (
    "text",
    "image",
    "queries",
    "ids",
    "file",
    "where",
    "radius",
    "attributes",
    "codebooks",
    "split_file",
)
NEEDED_BY_SOME_INPUTS = (("index build", "model_dir"), ("index export", "modality"))


def leaves(command, name):
    """Every command under a command, with its full name."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    context = click.Context(command)
    names = [part for part in command.list_commands(context) if command is not cli or part in WRITTEN]
    return [
        leaf
        for part in names
        for leaf in leaves(command.get_command(context, part), f"{name} {part}".strip())
    ]


@pytest.mark.parametrize(
    "args", [["--help"], ["train", "--help"], ["search", "-h"], ["dataset", "import", "--help"]]
)
def test_help_is_light(run, args):
    code = (
        "import sys\nfrom spdq_cli.main import main\ntry:\n    main()\nfinally:\n"
        "    print([m for m in ('torch', 'numba', 'numpy', 'h5py', 'rich', 'sklearn') if m in sys.modules])"
    )
    done = run(*args, command=("-c", code))
    assert done.code == 0
    assert done.out.splitlines()[-1] == "[]"


def test_help_lists_every_command(spdq):
    done = spdq("--help")
    assert done.code == 0
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.short_help)}$", done.out, re.MULTILINE)


@pytest.mark.parametrize("name", WRITTEN)
def test_short_help_is_the_command_s_own(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.get_short_help_str(200) == COMMANDS[name].short_help


@pytest.mark.parametrize(("name", "command"), leaves(cli, ""))
def test_help_documents_every_option_with_its_default(spdq, name, command):
    done = spdq(*name.split(), "--help")
    assert done.code == 0
    assert command.help
    shown = " ".join(done.out.split())
    for option in command.to_info_dict(click.Context(command))["params"]:
        if option["param_type_name"] == "option":
            assert option["help"]
            assert option["opts"][-1] in shown
            absent = option["name"] in ABSENT_UNLESS_GIVEN or (name, option["name"]) in NEEDED_BY_SOME_INPUTS
            if not (option["is_flag"] or option["required"] or absent):
                default = option["default"]
                assert (
                    "[default: " in option["help"]
                    if default in (None, "")
                    else f"default: {default}" in shown
                )


def test_version_names_what_matters(run):
    done = run("--version")
    assert done.code == 0
    assert re.fullmatch(r"spdq \S+, Python 3\.\S+, numba \d\S+, torch \d\S+\n", done.out)


def test_no_arguments_show_the_help(spdq):
    done = spdq()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: spdq")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--no-such"], "No such option.*--no-such.*See `spdq --help`"),
        (["nonsense"], "No such command 'nonsense'.*See `spdq --help`"),
        (["index", "nonsense"], "No such command 'nonsense'.*See `spdq index --help`"),
        (["train", "x.h5"], "Missing argument 'MODEL_DIR'.*See `spdq train --help`"),
        (["train", "x.h5", "m", "--bits", "48"], "'48' is not one of '16', '32', '64', '128'"),
        (["train", "x.h5", "m", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["search", "i", "--text", "x", "-k", "0"], "'-k': 0 is not in the range x>=1"),
        (["encode", "m", "x.h5", "o.h5"], "Missing option '--modality'"),
    ],
)
def test_usage_errors_are_one_line(spdq, args, message):
    done = spdq(*args)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert re.fullmatch(f"spdq: error: .*{message}.*\n", done.err)


def test_a_bug_is_one_line_and_a_traceback_only_when_asked(spdq, monkeypatch):
    @click.command()
    def broken():
        raise KeyError("lost")

    monkeypatch.setitem(COMMANDS, "broken", LazyCommand("broken", "Breaks."))
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: broken)
    done = spdq("broken")
    assert done.code == 1
    assert re.fullmatch("spdq: internal error: KeyError: 'lost'; please report this; .*--debug.*\n", done.err)
    debugged = spdq("--debug", "broken")
    assert debugged.code == 1
    assert debugged.err.startswith("Traceback")
    assert debugged.err.endswith(done.err)


def test_debug_shows_where_an_error_of_the_library_comes_from(spdq):
    done = spdq("--debug", "dataset", "info", "missing.h5")
    assert done.code == 3
    assert "Traceback" in done.err
    assert done.err.endswith("spdq: error: data set not found: missing.h5\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_have_their_exit_codes(process, world, number, code):
    with process("search", world.index, "--text", "-", "--json", stdin=subprocess.PIPE) as started:
        started.stdin.write("red circle\n")
        started.stdin.flush()
        assert json.loads(started.stdout.readline())["query"] == "red circle"
        time.sleep(0.2)  # It waits for the next line now.
        started.send_signal(number)
        _, err = started.communicate(timeout=60)
    assert started.returncode == code
    assert err == "spdq: interrupted\n"


def test_a_closed_pipe_is_quiet(process, world):
    with process("search", world.index, "--text", "-", "--json", stdin=subprocess.PIPE) as started:
        started.stdin.write("red circle\n")
        started.stdin.flush()
        started.stdout.readline()
        started.stdout.close()
        started.stdin.write("blue bar\n")
        started.stdin.close()
        started.wait(timeout=60)
        assert started.stderr.read() == ""
    assert started.returncode == 141


def test_full_storage_behind_stdout_is_an_error_of_storage(run, world):
    with open("/dev/full", "w") as full:
        done = run("dataset", "info", world.data, stdout=full)
    assert done.code == 8
    assert done.err == "spdq: error: cannot write to standard output: No space left on device\n"


def test_completion_knows_commands_without_importing_them(run):
    code = (
        "import os, sys\n"
        "os.environ |= {'_SPDQ_COMPLETE': 'bash_complete', 'COMP_WORDS': 'spdq e', 'COMP_CWORD': '1'}\n"
        "from spdq_cli.main import main\ntry:\n    main()\nfinally:\n    print('numpy' in sys.modules)"
    )
    done = run(command=("-c", code))
    assert done.out.splitlines() == ["plain,encode", "plain,evaluate", "False"]


def test_torch_threads_sleep_while_they_wait_unless_told_otherwise(run):
    code = (
        "import os, sys\nfrom spdq_cli.main import main\nsys.argv = ['spdq', '--version']\n"
        "try:\n    main()\nfinally:\n    print(os.environ['OMP_WAIT_POLICY'])"
    )
    unset = "import os\nos.environ.pop('OMP_WAIT_POLICY', None)\n"
    assert run(command=("-c", unset + code)).out.splitlines()[-1] == "PASSIVE"
    chosen = "import os\nos.environ['OMP_WAIT_POLICY'] = 'ACTIVE'\n"
    assert run(command=("-c", chosen + code)).out.splitlines()[-1] == "ACTIVE"
