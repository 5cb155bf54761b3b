"""The arrows between the rooms: who may import whom. A new room is a new row of a table here."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import pytest
from sources import HOMES, ROOT, Source, sources

# The rooms of spdq. errors is the ground, open to all; data and evaluation are open to the rooms above them.
# The room spdq is the table of names in spdq/__init__.py: the others take nothing from it but the version.
ROOMS = {
    "errors": set(),
    "data": set(),
    "evaluation": set(),
    "losses": set(),
    "features": {"data"},
    "networks": {"losses"},
    "quantizers": {"spdq_kernels"},
    "models": {"networks", "features", "quantizers", "data", "evaluation"},
    "index": {"quantizers", "spdq_kernels"},
    # features: the word extractor is fitted on the training rows, so training makes it; the model keeps it.
    "training": {"networks", "losses", "quantizers", "models", "features", "data", "evaluation"},
    "hits": {"features", "data"},
    "engine": {"hits", "models", "index", "data", "evaluation"},
    "serving": {"engine", "index", "models", "features", "data"},
    "distributed": {
        "engine",
        "index",
        "models",
        "training",
        "serving",
        "features",
        "quantizers",
        "data",
        "spdq_kernels",
    },
    "spdq": {"data", "engine", "index", "models", "quantizers"},
}
PACKAGES = {
    "spdq_kernels": set(),
    "spdq": {"spdq_kernels"},
    "spdq_benchmarks": {"spdq", "spdq_kernels"},
    "spdq_cli": {"spdq", "spdq_kernels", "spdq_benchmarks"},
}
ONLY_IN_THE_CLI = {"click", "rich"}
DOTTED = re.compile(r"(spdq\w*(?:\.\w+)+)(?::\w+)?")


def imports(source: Source) -> set[str]:
    """Dotted names that a file imports, anywhere in it, or holds as a string, as lazy tables do."""
    found = set()
    package = source.module if source.path.endswith("__init__.py") else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and (named := DOTTED.fullmatch(str(node.value))):
            found.add(named[1])
    return found


def room(name: str) -> str:
    """The room of a dotted name: ``spdq.index.ids`` -> index, ``spdq_kernels.cpu`` -> spdq_kernels.

    ``from spdq import Index`` is an import of the room that ``spdq.Index`` comes from.
    """
    package, _, rest = name.partition(".")
    if package != "spdq" or not rest:
        return package
    part = rest.partition(".")[0]
    if part in ROOMS:
        return part
    return room(re_exports().get(part, "spdq"))


def re_exports() -> dict[str, str]:
    (top,) = (source for source in sources() if source.module == "spdq")
    return {
        alias.name: node.module or ""
        for node in ast.walk(top.tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spdq.")
        for alias in node.names
    }


def ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def test_imports_between_rooms_follow_the_arrows():
    wrong = []
    for source in sources():
        if source.package == "spdq":
            here = room(source.module)
            allowed = ROOMS[here] | {"errors"}
            wrong += [
                f"{source.path} imports {name}: {here} may import only {', '.join(sorted(allowed))}"
                for name in sorted(imports(source))
                if ours(name) and room(name) not in allowed | {here} and name != "spdq.__version__"
            ]
    assert not wrong, "\n".join(wrong)


def test_imports_between_packages_follow_the_arrows():
    wrong = []
    for source in sources():
        allowed = PACKAGES[source.package] | {source.package}
        wrong += [
            f"{source.path} imports {name}: {source.package} may import only {', '.join(sorted(allowed))}"
            for name in sorted(imports(source))
            if ours(name) and name.partition(".")[0] not in allowed
        ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_between_rooms():
    """By what is imported, not by the table. The names in spdq/__init__.py load late and close no circle."""
    graph = defaultdict(set)
    for source in sources():
        here = room(source.module) if source.package == "spdq" else source.package
        if here != "spdq":
            graph[here] |= {room(name) for name in imports(source) if ours(name)} - {here, "spdq"}
    assert {"spdq_kernels", "index", "models", "training", "spdq_cli"} <= set(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_table_names_every_room():
    folders = {path.name.removesuffix(".py") for path in HOMES["spdq"].iterdir() if path.name[0] not in "._"}
    assert folders - {"py.typed"} | {"spdq"} == set(ROOMS)


def test_terminal_libraries_stay_in_the_cli():
    wrong = [
        f"{source.path} imports {name}"
        for source in sources()
        for name in imports(source)
        if source.package != "spdq_cli" and name.partition(".")[0] in ONLY_IN_THE_CLI
    ]
    assert not wrong, "\n".join(wrong)


def test_kernels_need_numpy_and_numba_alone():
    wrong = [
        f"{source.path} imports {name}"
        for source in sources()
        for name in imports(source)
        if source.package == "spdq_kernels"
        and name.partition(".")[0]
        not in {"numpy", "numba", "llvmlite", "spdq_kernels"} | sys.stdlib_module_names
    ]
    assert not wrong, "\n".join(wrong)


def test_setup_cfg_ships_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    there = {source.module for source in sources() if source.path.endswith("__init__.py")}
    assert len(listed) == len(set(listed))
    assert set(listed) == there, f"only in setup.cfg or only as a folder: {sorted(set(listed) ^ there)}"


def test_every_folder_of_modules_is_a_package():
    folders = {source.path.rpartition("/")[0] for source in sources()}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize(("code", "found"), [
    ("import spdq.index.ids", {"spdq.index.ids"}),
    ("from spdq.index import ids, store", {"spdq.index.ids", "spdq.index.store"}),
    ("def f():\n    from spdq import models", {"spdq.models"}),
    ("if TYPE_CHECKING:\n    import torch", {"torch"}),
    ("from . import b", {"spdq.data.b"}),
    ("from .b import c", {"spdq.data.b.c"}),
    ("from ..errors import E", {"spdq.errors.E"}),
    ("x = 'spdq.features.lite0:Lite0Extractor'", {"spdq.features.lite0"}),
    ("x = 'see spdq.features'", set()),
])  # fmt: skip
def test_imports_are_found_wherever_they_stand(code, found):
    assert imports(Source("spdq.data.a", "spdq/data/a.py", ast.parse(code))) == found


@pytest.mark.parametrize(("name", "where"), [
    ("spdq.index.ids", "index"), ("spdq.errors.DataError", "errors"), ("spdq.Index", "index"),
    ("spdq.load_model", "models"), ("spdq.__version__", "spdq"), ("spdq", "spdq"),
    ("spdq_kernels.cpu", "spdq_kernels"),
])  # fmt: skip
def test_rooms_of_names(name, where):
    assert room(name) == where
