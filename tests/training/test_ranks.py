"""Several ranks against one process: losses, gradients, weights, codebooks (spdq/training/ranks.py)."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_worlds import SEED, SHORT, STEPS, WORLDS, ended, recipe, started, steps_of
from torch.nn import functional

from spdq.models import load_model
from spdq.training import train
from spdq.training.log import LOG, read_log
from spdq.training.ranks import ALONE, Ranks, _WholeDropout

DRIVER = Path(__file__).with_name("rank_driver.py")
RELATIVE = 1e-5
"""Of the largest entry of an array: single precision, added up in another order."""


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """``ranked(3)`` -> what each of three ranks has found, ``arrays`` and ``said``, and their folder."""

    @cache
    def run(size):
        out = tmp_path_factory.mktemp(f"ranks{size}")
        for code, _, errors in ended(started(size, [sys.executable, str(DRIVER), str(out)], out)):
            assert (code, errors) == (0, "")
        arrays = [dict(np.load(out / f"{rank}.npz")) for rank in range(size)]
        said = [json.loads((out / f"{rank}.json").read_text()) for rank in range(size)]
        return arrays, said, out

    return run


@pytest.fixture(scope="module")
def alone():
    return cache(steps_of)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("world", WORLDS)
def test_terms_and_gradients_are_those_of_one_process(ranked, alone, world, size):
    arrays, _, _ = ranked(size)
    expected = alone(world)
    assert len(expected) > 4
    for found in arrays:
        own = {
            name.partition("; ")[2]: array for name, array in found.items() if name.startswith(f"{world};")
        }
        assert own.keys() == expected.keys()
        for name, array in own.items():
            first = arrays[0][f"{world}; {name}"]
            assert array.tobytes() == first.tobytes(), f"rank 0 has another {name}"
            scale = np.abs(expected[name]).max(initial=0)
            np.testing.assert_allclose(array, expected[name], 0, RELATIVE * scale, err_msg=name)
            if "state" in name:
                np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_the_worlds_have_every_loss():
    terms = {name.split("term ")[1] for world in WORLDS for name in steps_of(world) if "term " in name}
    of_spdq = {"classification", "distillation", "contrastive", "mean_embedding", "alignment"}
    of_mixer = {"query", "image", "text", "unit"}
    assert of_spdq | of_mixer | {f"{q}2{t}" for q in "it" for t in "itu"} == terms


@pytest.mark.parametrize("world", SHORT)
def test_a_run_of_two_ranks(ranked, world):
    _, said, out = ranked(2)
    first, second = (one["runs"][world] for one in said)
    assert first["progress"] == [*range(1, STEPS + 1)]
    assert second["progress"] == []
    assert {**first, "progress": []} == second
    assert first["resumed"] == first["model"]
    assert first["codebooks"] == first["codebooks of one process"]
    folder = out / f"{world}, whole"
    assert load_model(folder).fingerprint == first["model"]
    assert [entry["step"] for entry in read_log(folder / LOG)] == [20, 40]
    assert not list(folder.glob("checkpoint*"))
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("world", SHORT)
def test_the_weights_of_a_run_are_nearly_those_of_one_process(ranked, world):
    """Nearly: Adam makes a step of full length of a gradient that is all rounding, and codes jump."""
    _, _, out = ranked(2)
    system, make, _, _ = WORLDS[world]
    two = load_model(out / f"{world}, whole")
    one = train(system, make(), 16, recipe(world), SEED)
    for name, weights in two.network.state_dict().items():
        expected = one.network.state_dict()[name]
        apart = torch.linalg.vector_norm(weights - expected) / torch.linalg.vector_norm(expected)
        assert apart < 0.05, name


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_with_other_data_or_settings_are_refused(ranked, size):
    _, said, _ = ranked(size)
    others = {2: "rank 1 of 2", 3: "rank 1, 2 of 3"}[size]
    for one in said:
        assert one["other features"] == (
            f"ranks of one run need the same data and settings: {others} has another than rank 0. "
            "Give all ranks the same files and the same settings"
        )
        expected = "nothing was wrong" if size == 2 else "rank 2 of 3 has another than rank 0"
        assert expected in one["other seed"]


@given(st.integers(0, 3000), st.integers(1, 5), st.sampled_from([1, 2, 512]))
def test_every_row_has_one_rank(n, size, step):
    slices = [Ranks(rank, size).rows(n, step) for rank in range(size)]
    assert [row for own in slices for row in range(n)[own]] == [*range(n)]
    assert all(own.start % step == 0 or own.start == n for own in slices)
    lengths = [-(-len(range(n)[own]) // step) for own in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 7), slice(7, 7)])
def test_dropout_of_some_rows_is_that_of_all(p, rows):
    whole = torch.randn(7, 4, 3)
    torch.manual_seed(1)
    expected, after = functional.dropout(whole, p)[rows], torch.rand(2)
    torch.manual_seed(1)
    with _WholeDropout(rows, 7):
        found = torch.nn.Dropout(p)(whole[rows])
    assert torch.equal(found, expected)
    assert torch.equal(torch.rand(2), after)


def test_dropout_that_is_off_draws_nothing():
    layer = torch.nn.Dropout(0.5).eval()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with _WholeDropout(slice(0, 2), 7):
        assert torch.equal(layer(torch.ones(2, 3)), torch.ones(2, 3))
    assert torch.equal(torch.rand(2), expected)


def test_one_process_sends_nothing():
    tensor, array = torch.ones(2, 3), np.ones((2, 3))
    assert ALONE.is_first
    assert ALONE.alike(tensor) is tensor
    assert ALONE.embed(lambda rows: rows, tensor) is tensor
    assert ALONE.share(lambda rows: rows, array) is array
    assert ALONE.told({"a": 1.0}) == {"a": 1.0}
    assert ALONE.told_arrays({"a": array})["a"] is array
    ALONE.check_alike("data", "any")
    ALONE.begin_alike([tensor])
    ALONE.add_gradients([torch.nn.Parameter(tensor)])
    ALONE.wait()
