"""One rank: writes what it finds to OUT/RANK.npz and OUT/RANK.json.  python rank_driver.py OUT"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rank_worlds import SEED, SHORT, WORLDS, quick_codebooks, recipe, steps_of

from spdq.errors import IncompatibleError
from spdq.training import loop, task_of, train
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.joining import joined_ranks
from spdq.training.log import LOG

HALFWAY = 20


def gradients(ranks):
    return {f"{world}; {name}": array for world in WORLDS for name, array in steps_of(world, ranks).items()}


def runs(ranks, out):
    """Each system trained, and trained once more from its checkpoint halfway."""
    said = {}
    for world in SHORT:
        system, make, _, _ = WORLDS[world]
        whole, rest = (out / f"{world}, {name}" for name in ("whole", "resumed"))
        seen = []

        def halfway(step, steps, whole=whole, rest=rest, seen=seen):
            seen.append(step)
            if step == HALFWAY + 1:
                rest.mkdir()
                for name in (CHECKPOINT, LOG):
                    shutil.copy(whole / name, rest / name)

        dataset, settings = make(), recipe(world)
        model = train(system, dataset, 16, settings, SEED, whole, progress=halfway)
        again = train(system, dataset, 16, settings, SEED, rest, resume=True)
        alone = task_of(system).codebooks(model, dataset, 16)
        said[world] = {
            "model": model.fingerprint,
            "resumed": again.fingerprint,
            "codebooks": model.codebooks.fingerprint,
            "codebooks of one process": alone.fingerprint,
            "progress": seen,
        }
    return said


def refused(ranks, train_with):
    try:
        train_with()
    except IncompatibleError as error:
        return str(error)
    return "nothing was wrong"


def main() -> None:
    out = Path(sys.argv[1])
    loop.CHECK_EVERY, loop.MAX_SAVING = HALFWAY, 1e9
    quick_codebooks()
    with joined_ranks() as ranks:
        system, make, _, _ = WORLDS["gated"]
        dataset, own = make(), recipe("gated")
        other = replace(dataset, image_features=dataset.image_features + ranks.rank)
        said = {
            "other features": refused(ranks, lambda: train(system, other, 16, own)),
            "other seed": refused(ranks, lambda: train(system, dataset, 16, own, seed=ranks.rank // 2)),
            "runs": runs(ranks, out) if ranks.size == 2 else {},
        }
        np.savez(out / f"{ranks.rank}.npz", **gradients(ranks))
        (out / f"{ranks.rank}.json").write_text(json.dumps(said))


main()
