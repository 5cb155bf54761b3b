from __future__ import annotations

import pytest
import torch
from safetensors.torch import save
from torch import nn

from spdq.errors import DamagedError, IncompatibleError, StorageError
from spdq.training.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    module_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

RUN = {"seed": 3, "bits": 64, "recipe": {"learning_rate": 1e-3, "name": "default"}}


def trained(seed, steps):
    torch.manual_seed(seed)
    module = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    walk(module, optimizer, steps)
    return module, optimizer


def walk(module, optimizer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(module(torch.arange(4.0) + step).square().sum())
        optimizer.step()


def test_what_is_saved_is_read_back(tmp_path):
    state = {"run": RUN, "step": 50, "best": {"value": 0.1 + 0.2, "step": 50}}
    tensors = {
        "float": torch.randn(3, 2),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "scalar": torch.tensor(2.5),
        "slant": torch.arange(6.0).reshape(2, 3).T,
        "none": torch.zeros(0, 4),
    }
    save_checkpoint(tmp_path, state, tensors)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    found_state, found = load_checkpoint(tmp_path, RUN)
    assert found_state == state
    assert sorted(found) == sorted(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_an_optimizer_goes_on_where_it_was(tmp_path):
    module, optimizer = trained(0, 3)
    tensors = {f"module.{name}": t for name, t in module_tensors(module).items()}
    tensors |= {f"optimizer.{name}": t for name, t in optimizer_tensors(optimizer).items()}
    save_checkpoint(tmp_path, {"run": RUN}, tensors)
    walk(module, optimizer, 4)

    _, found = load_checkpoint(tmp_path, RUN)
    other, other_optimizer = trained(1, 0)
    other.load_state_dict({k.removeprefix("module."): t for k, t in found.items() if k.startswith("module.")})
    restore_optimizer(
        other_optimizer,
        {k.removeprefix("optimizer."): t for k, t in found.items() if k.startswith("optimizer.")},
    )
    walk(other, other_optimizer, 4)
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_module_tensors_are_a_copy():
    module, optimizer = trained(0, 1)
    kept = module_tensors(module)
    before = kept["weight"].clone()
    walk(module, optimizer, 1)
    assert torch.equal(kept["weight"], before)
    assert not torch.equal(module.weight, before)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "run: seed differ"),
        ({"bits": 16, "seed": 4}, "run: bits, seed differ"),
        ({"recipe": RUN["recipe"] | {"learning_rate": 2e-3}}, "run: recipe differ"),
        ({"torch": "9"}, "run: torch differ"),
    ],
)
def test_another_run_is_refused(tmp_path, change, named):
    save_checkpoint(tmp_path, {"run": RUN}, {})
    with pytest.raises(IncompatibleError, match=named):
        load_checkpoint(tmp_path, RUN | change)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint at all",
        save({"a": torch.zeros(3)}),
        save({"a": torch.zeros(3)}, metadata={"other": "{}"}),
        save({"a": torch.zeros(3)}, metadata={"state": '{"run": '}),
        save({"a": torch.zeros(3)}, metadata={"state": '{"run": {}}'})[:-1],
    ],
    ids=["empty", "text", "no metadata", "no state", "cut state", "cut tensors"],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(DamagedError, match=r"not a checkpoint .*Remove it and train anew"):
        load_checkpoint(tmp_path, {})


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DamagedError, match="not a checkpoint"):
        load_checkpoint(tmp_path, {})


def test_a_refused_write_leaves_nothing(tmp_path):
    (tmp_path / CHECKPOINT).mkdir()
    with pytest.raises(StorageError, match=rf"cannot write .*{CHECKPOINT}: "):
        save_checkpoint(tmp_path, {"run": RUN}, {"a": torch.zeros(3)})
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_sparse_adam_goes_on_bitwise():
    """Its step is an int: as a tensor it would be computed with in single precision."""

    def walked(bag, optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            terms = torch.tensor([step % 7, (3 * step) % 7])
            torch.autograd.backward((bag(terms, torch.tensor([0])) - 1).square().sum())
            optimizer.step()

    def made():
        bag = nn.EmbeddingBag(7, 3, mode="sum", sparse=True)
        nn.init.zeros_(bag.weight)
        return bag, torch.optim.SparseAdam(bag.parameters(), lr=0.1)

    bag, optimizer = made()
    walked(bag, optimizer, range(12))
    other, resumed = made()
    other.load_state_dict(bag.state_dict())
    restore_optimizer(resumed, {name: t.clone() for name, t in optimizer_tensors(optimizer).items()})
    walked(bag, optimizer, range(12, 40))
    walked(other, resumed, range(12, 40))
    assert torch.equal(bag.weight, other.weight)
