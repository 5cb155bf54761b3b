from __future__ import annotations

import json
import os
import signal
import time

import pytest
from safetensors import safe_open

from spdq.models import load_model

TRAIN = ("--bits", "16", "--seed", "3")
STORED = ("config.json", "model.safetensors", "vocabulary.json", "preprocessor_config.json", "README.md")


def stop_after_first_steps(process, number, *args):
    """Send a signal once steps are logged and saved -> exit code, stderr."""
    saved = args[2] / "checkpoint.safetensors"
    with process(*args) as started:
        while not saved.is_file():
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.002)
        started.send_signal(number)
        _, err = started.communicate(timeout=120)
    return started.returncode, err


def test_what_a_trained_model_is(world):
    model = load_model(world.model)
    assert model.codebooks.bits == 16
    assert model.training["seed"] == 3
    assert set(os.listdir(world.model)) - {"eval.json"} == {*STORED, "training_log.jsonl"}
    entries = [json.loads(line) for line in (world.model / "training_log.jsonl").read_text().splitlines()]
    assert entries[0]["step"] > 0


def test_ctrl_c_then_resume_gives_the_very_same_model(process, run, world, tmp_path):
    code, err = stop_after_first_steps(process, signal.SIGINT, "train", world.data, tmp_path / "m", *TRAIN)
    assert code == 130
    assert err == "spdq: interrupted: the same command with --resume goes on from the last checkpoint\n"
    assert "config.json" not in os.listdir(tmp_path / "m")

    again = run("train", world.data, tmp_path / "m", *TRAIN)
    assert again.code == 2
    assert "holds an interrupted run: go on with --resume, or remove" in again.err
    other = run("train", world.data, tmp_path / "m", "--bits", "32", "--seed", "3", "--resume")
    assert other.code == 6
    assert "belongs to another run: bits differ" in other.err

    resumed = run("train", world.data, tmp_path / "m", *TRAIN, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    made = json.loads(resumed.out)
    assert (made["bits"], made["seed"], made["split"], made["dataset"]) == (16, 3, "seen", "drawings")
    for name in STORED:
        assert (tmp_path / "m" / name).read_bytes() == (world.model / name).read_bytes(), name
    steps = [
        [json.loads(line)["step"] for line in (folder / "training_log.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "m", world.model)
    ]
    assert steps[0] == steps[1]


def test_sigterm_stops_as_ctrl_c_does(process, world, tmp_path):
    options = ("--recipe", "paper", "--labels", "colour:", "--bits", "32")
    code, err = stop_after_first_steps(process, signal.SIGTERM, "train", world.data, tmp_path / "m", *options)
    assert code == 143
    assert err == "spdq: interrupted: the same command with --resume goes on from the last checkpoint\n"
    assert sorted(os.listdir(tmp_path / "m")) == ["checkpoint.safetensors", "training_log.jsonl"]
    with safe_open(tmp_path / "m" / "checkpoint.safetensors", "numpy") as checkpoint:
        started = json.loads(checkpoint.metadata()["state"])["run"]
        assert (started["recipe"]["name"], started["bits"], started["seed"]) == ("paper", 32, 0)
        assert checkpoint.get_tensor("network.image.classifier.bias").shape == (4,)


def test_a_directory_with_a_model_is_left_alone(spdq, world):
    before = (world.model / "config.json").read_bytes()
    for options in ([], ["--resume"]):
        done = spdq("train", world.data, world.model, *options)
        assert done.code == 2
        assert "already holds a model: choose another directory" in done.err
    assert (world.model / "config.json").read_bytes() == before


def test_nothing_to_resume(spdq, world, tmp_path):
    done = spdq("train", world.data, tmp_path / "m", "--resume")
    assert done.code == 2
    assert "nothing to resume" in done.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--labels", "taste:"], 4, "no label starts with 'taste:'; there are colour:, shape:"),
        (["--workers", "2"], 2, "--workers and --address are for --ray"),
        (["--address", "auto"], 2, "--workers and --address are for --ray"),
        (["--recipe", "soup"], 2, "'soup' is not one of 'default', 'paper'"),
        (["--model", "soup"], 2, "unknown system 'soup': known are spdq, csm, mixer, gated"),
    ],
)
def test_what_cannot_be_trained(spdq, world, tmp_path, options, code, message):
    done = spdq("train", world.data, tmp_path / "m", *options)
    assert done.code == code
    assert message in done.err
    assert os.listdir(tmp_path) == []
