"""``spdq bench embedding``."""

from __future__ import annotations

import json

from made_models import trained, worded


def test_figures_are_printed(spdq, tmp_path):
    trained().save_pretrained(tmp_path / "m")
    worded().save(tmp_path / "data.h5")
    done = spdq("bench", "embedding", tmp_path / "m", tmp_path / "data.h5", "--repeats", "1", "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert [figure["unit"] for figure in figures] == ["ms", "ms"]
    assert all(isinstance(figure["reached"], bool) for figure in figures)


def test_a_missing_model(spdq, tmp_path):
    assert spdq("bench", "embedding", tmp_path / "m", tmp_path / "data.h5").code == 3
