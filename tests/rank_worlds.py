"""What several ranks and one process are compared on: every system, losses across batches of awkward sizes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch
from interrupts import heeding_ctrl_c
from oracles_csm import made_log
from oracles_gated import made_drawings
from oracles_training import made_dataset

from spdq.training import codebooks, task_of
from spdq.training.loop import Loop
from spdq.training.ranks import ALONE

SEED = 3
STEPS = 40
SMALL = {"min_steps": STEPS, "max_steps": STEPS, "hidden": 16}


def lonely_classes():
    """A class that one item alone has, another that nobody has, and texts of several lines."""
    dataset = made_dataset(text="raw")
    labels = dataset.labels.copy()
    labels[1:, 5], labels[0, 5], labels[:, 6] = 0, 1, 0
    return replace(dataset, labels=labels)


def partial_items():
    """Classes of two items; some items have no image, some no text."""
    dataset = replace(made_dataset(), labels=None, label_names=(), classes=np.arange(100) // 2)
    images, texts = dataset.image_features.copy(), dataset.text_features.copy()
    images[10:30], texts[25:60] = 0, 0
    return replace(dataset, image_features=images, text_features=texts)


def drawings():
    return replace(made_drawings(), image_regions=4)


WORLDS = {
    "spdq": ("spdq", lonely_classes, "default", {"batch": 17}),
    "spdq, MK-MMD as well": ("spdq", lonely_classes, "default", {"batch": 17, "mean_embedding": 1.0}),
    "spdq paper": ("spdq", made_dataset, "paper", {"batch": 33, "alignment": 0.1}),
    "csm": ("csm", made_log, "default", {"batch": 7, "negatives": 6, "dim": 8}),
    "csm paper": ("csm", made_log, "paper", {"batch": 8, "dim": 8}),
    "csm of pixels": ("csm", lambda: made_log(pixels=8), "default", {"batch": 7, "negatives": 6, "dim": 8}),
    "mixer": ("mixer", drawings, "default", {"batch": 16, "dim": 8}),
    "mixer of features": ("mixer", partial_items, "default", {"batch": 15, "dim": 8, "sampled": 9}),
    "mixer paper": ("mixer", drawings, "paper", {"batch": 11, "dim": 8}),
    "gated": ("gated", made_drawings, "default", {"batch": 17, "dim": 8}),
    "gated of words": ("gated", lambda: made_dataset(text="wide"), "paper", {"batch": 16, "dim": 8}),
    "gated, two items": ("gated", made_drawings, "default", {"batch": 2, "dim": 8}),
}
"""System, data set, recipe and what is changed of it."""
SHORT = ("spdq", "spdq paper", "csm", "mixer", "gated")
"""One world a system and kind of closed-form turn."""


def recipe(world):
    system, _, name, changes = WORLDS[world]
    return replace(task_of(system).recipes[name], **SMALL, **changes)


def first_loop(world, ranks=ALONE):
    """A run that is about to begin, from weights of which none is 0."""
    system, make, _, _ = WORLDS[world]
    torch.manual_seed(SEED)
    task = task_of(system)(make(), recipe(world), SEED, 16)
    task.ranks = ranks
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    loop = Loop(task, SEED, {}, None, resume=False)
    loop._rates = [[0.0] * len(rates) for rates in loop._rates]
    return loop


def steps_of(world, ranks=ALONE):
    """Terms and gradients of some steps from the same weights, by name: arrays that a rank count may not change."""
    loop, found = first_loop(world, ranks), {}
    task = loop.task
    judged = getattr(task, "judge_steps", 1)
    turn = getattr(task, "epoch_steps", 2)
    for step in sorted({0, 1, turn, turn + 1, -(-task.steps // 2 // judged) * judged}):
        loop.step = step
        for name, term in loop._one_step().items():
            found[f"{step}: term {name}"] = term.detach().numpy()
        named = dict(task.network.named_parameters())
        if hasattr(task, "head"):
            named["classes"] = task.head.weights
        for name, parameter in named.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
                found[f"{step}: gradient {name}"] = gradient.numpy().copy()
        for name, tensor in task.state().items():
            found[f"{step}: state {name}"] = tensor.numpy().copy()
    return found


def quick_codebooks():
    """Small made data need few mixes."""
    codebooks.MIXES = 100


def started(size, command, directory, **more):
    """``size`` processes of a command that are the ranks of one run on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = {
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        **more,
    }
    common = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    common |= {name: str(value) for name, value in run.items()}
    with heeding_ctrl_c():
        return [
            subprocess.Popen(
                command,
                env={**common, "RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=directory,
            )
            for rank in range(size)
        ]


def ended(processes, seconds=120):
    """Exit code, output and errors of each; none is left running."""
    try:
        found = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, found, strict=True)]
