"""The commands and Python blocks of the pages in docs/ run, those of a page in order, in a folder of its own.

A page's folder holds ``photos``, the pictures that the tutorial draws. Trainings of the other pages are short.
"""

from __future__ import annotations

import dataclasses
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from documents import RUN, Block, blocks
from sources import ROOT

from spdq.training import SYSTEMS
from spdq_cli.main import cli

PAGES = {page.name: [block for block in blocks(page) if block.language in RUN and not block.not_run]
         for page in sorted((ROOT / "docs").glob("*.md"))}  # fmt: skip
STEPS, MIXES = 20, 500


def run(block: Block, names: dict[str, Any]) -> str:
    """Run a block -> what its commands print. Python shares ``names``; of bash there are only commands of spdq."""
    if block.language == "python":
        exec(compile(block.text, f"line {block.line}", "exec", dont_inherit=True), names)
        return ""
    printed = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "spdq", (
                f"line {block.line}: only commands of spdq are run here, not {words[0]}"
            )
            done = CliRunner().invoke(cli, words[1:], prog_name="spdq")
            assert done.exit_code == 0, f"{line}\n{done.stderr}"
            printed += done.stdout
    return printed


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw = PAGES["tutorial.md"][0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(draw, {})
    return folder / "photos"


@pytest.fixture
def short_trainings(monkeypatch) -> None:
    monkeypatch.setattr("spdq.training.codebooks.MIXES", MIXES)
    for home in SYSTEMS.values():
        module = import_module(home.partition(":")[0])
        recipes = module.__dict__[home.partition(":")[2]].recipes
        short = dataclasses.replace(recipes["default"], min_steps=STEPS, max_steps=STEPS)
        monkeypatch.setitem(recipes, "default", short)


@pytest.mark.parametrize("page", [name for name, found in PAGES.items() if found and name != "tutorial.md"])
def test_the_blocks_of_a_page_run(page, photos, tmp_path, monkeypatch, short_trainings):
    (tmp_path / "photos").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in PAGES[page]:
        run(block, names)
    if page == "search_index.md":
        assert names["shares"].shape == (5, 8)
        assert set(names["ids"][0]) & set(range(100))


def test_the_tutorial_finds_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = [run(block, names) for block in PAGES["tutorial.md"]]
    lines = [line.split("\t") for text in printed for line in text.splitlines()]
    hits = [(line[0], line[2]) for line in lines if len(line) == 4 and line[1].isdigit()]
    assert [query for query, _ in hits] == ["red circle"] * 3 + ["photos/blue-square-1.png"] * 3 + [
        "black bar"
    ] * 2
    for query, name in hits:
        assert name.startswith(Path(query).stem.replace(" ", "-").removesuffix("-1")), (query, name)
    assert all(hit.id.startswith("red-circle") for hit in names["hits"])
    assert names["shares"].sum() == pytest.approx(names["hits"][0].distance, abs=1e-5)
    assert capsys.readouterr().out.count("red-circle") == 3
