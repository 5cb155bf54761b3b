"""Encoding by Ray in programs that are killed, interrupted, or lose a machine; then the rest is done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_encodings import plain, texts
from made_models import trained
from ray_processes import ray_processes, run_driver, start_driver

from spdq.data.items import Items
from spdq.models.encoding import CHUNK

N = 48 * CHUNK
COMMAND = "from spdq_cli.main import main; main()"
KILLED = """
    import os, signal, sys
    from pathlib import Path
    from made_encodings import texts
    import numpy as np
    from spdq.data.items import Items
    from spdq.distributed.encoding import encode_on_ray
    from spdq.models import load_model

    folder, n, signal_number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    model = load_model(folder / "model")
    encode_on_ray(
        model, folder / "model", Items(np.arange(n) + 1, texts(n), None), "text", folder / "ray.h5", n_workers=2,
        progress=lambda done, total: os.kill(os.getpid(), signal_number),
    )
"""
RESUMED = """
    import json, sys
    from pathlib import Path
    from made_encodings import texts
    import numpy as np
    from spdq.data.items import Items
    from spdq.distributed.encoding import encode_on_ray, working_path
    from spdq.models import load_model

    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    model, kept = load_model(folder / "model"), {}

    def look(done, total):
        kept.setdefault("first", done)
        kept["parts"] = {file.name: file.stat().st_ino for file in working_path(folder / "ray.h5").glob("*.part")}

    encode_on_ray(
        model, folder / "model", Items(np.arange(n) + 1, texts(n), None), "text", folder / "ray.h5", n_workers=2,
        resume=True, progress=look,
    )
    print(json.dumps(kept))
"""


NODE = """
    import sys
    from pathlib import Path
    from spdq.distributed.cluster import _set_environment
    _set_environment(private=True)
    import ray
    from ray.cluster_utils import Cluster
    from made_encodings import texts
    import numpy as np
    from spdq.data.items import Items
    from spdq.distributed.encoding import encode_on_ray
    from spdq.models import load_model

    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    model, seen = load_model(folder / "model"), []
    home = {"temp_dir": sys.argv[3], "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **home})
    other = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False)

    def lose_a_node(done, total):
        if not seen:
            cluster.remove_node(other, allow_graceful=False)
        seen.append(done)

    encode_on_ray(
        model, folder / "model", Items(np.arange(n) + 1, texts(n), None), "text", folder / "ray.h5",
        progress=lose_a_node,
    )
    print(seen[0], seen[-1], flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, texts, and the codes that one process makes of them."""
    folder = tmp_path_factory.mktemp("made")
    trained().save_pretrained(folder / "model")
    (folder / "texts.txt").write_text("\n".join(texts(N)))
    expected, _ = plain(trained(), "text", Items(np.arange(N) + 1, texts(N), None), folder / "plain.h5")
    return SimpleNamespace(folder=folder, expected=expected)


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made.folder / "model", tmp_path / "model")
    return tmp_path


def parts(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in (folder / ".ray.h5.partial").glob("*.part")}


def assert_done(made, folder):
    assert (folder / "ray.h5").read_bytes() == made.expected
    assert sorted(os.listdir(folder)) == ["model", "ray.h5"]


def test_the_program_is_killed(made, folder):
    code, _, err = run_driver(KILLED, folder, N, int(signal.SIGKILL))
    assert code == -signal.SIGKILL, err
    done = parts(folder)
    assert 0 < len(done) < N / CHUNK
    assert not (folder / "ray.h5").exists()
    code, out, err = run_driver(RESUMED, folder, N)
    assert (code, err) == (0, "")
    kept = json.loads(out)
    # Workers may have stored a few more in the moment after the program was gone: what is there is kept.
    assert {name: kept["parts"][name] for name in done} == done
    assert kept["first"] > len(done) * CHUNK
    assert len(kept["parts"]) == N / CHUNK
    assert_done(made, folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_is_interrupted_and_goes_on(made, folder, number, code):
    command = (
        "encode",
        folder / "model",
        made.folder / "texts.txt",
        folder / "ray.h5",
        "--modality",
        "text",
        "--ray",
    )
    with start_driver(COMMAND, *command) as program:
        while not parts(folder) and program.poll() is None:
            time.sleep(0.01)
        program.send_signal(number)
        _, err = program.communicate(timeout=120)
    assert (program.returncode, err) == (
        code, "spdq: interrupted: the same command with --resume goes on from what is done\n"
    )  # fmt: skip
    assert ray_processes(f"spdq-ray-{program.pid}-") == []
    assert 0 < len(parts(folder)) < N / CHUNK
    if number == signal.SIGINT:
        code, out, err = run_driver(COMMAND, *command, "--resume", "--json")
        assert (code, json.loads(out)["items"]) == (0, N)
        assert err.startswith("spdq: ")
        assert err.endswith(f" of {N} texts have no known word: nothing tells their codes apart\n")
        assert_done(made, folder)


def test_a_machine_is_lost_and_the_others_go_on(made, folder):
    home = Path("/tmp") / f"spdq-ray-{os.getpid()}-cluster"
    try:
        with start_driver(NODE, folder, N, home) as program:
            out, err = program.communicate(timeout=300)
        assert program.returncode == 0, err
        # Ray itself tells on stdout what became of the machine.
        first, last = map(int, out.splitlines()[-1].split())
        assert first < last == N
        assert_done(made, folder)
        assert ray_processes(str(home)) == []
    finally:
        shutil.rmtree(home, ignore_errors=True)
