"""What a light import may load, and the house rules that a syntax tree can show."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from sources import HOMES, Source, sources

HEAVY = {"torch", "sklearn", "scipy", "h5py"}
LIBRARIES = ("spdq", "spdq_kernels", "spdq_benchmarks")
LEGACY_RANDOM = {
    "seed",
    "set_state",
    "rand",
    "randn",
    "randint",
    "random",
    "choice",
    "shuffle",
    "permutation",
    "normal",
}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def loaded(code: str) -> set[str]:
    """The top-level modules that are loaded after ``code``, without those of the standard library."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {name.partition(".")[0] for name in run.stderr.split()} - sys.stdlib_module_names


@pytest.mark.parametrize(
    "module",
    ["spdq", "spdq.errors", "spdq.index", "spdq.quantizers.codebooks", "spdq_kernels", "spdq.evaluation"],
)
def test_the_search_core_is_light(module):
    assert not loaded(f"import {module}") & HEAVY


def test_the_search_core_loads_numpy_alone():
    bare = loaded("")
    more = loaded("import spdq, spdq.index, spdq.quantizers.codebooks, spdq_kernels")
    assert more - bare == {"spdq", "spdq_kernels", "numpy"}


def test_searching_loads_nothing_heavy():
    code = """
import numpy as np
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
words = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
index = Index(Codebooks(words, "product"), metric="l2")
index.add(words.reshape(4, 8))
assert index.search(words.reshape(4, 8), k=1)[1][:, 0].tolist() == [0, 1, 2, 3]
"""
    # Compiled kernels need Numba, which loads scipy by itself where that is installed.
    assert not loaded(code) & (HEAVY - {"scipy"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_s_front_page_is_light(arguments):
    code = f"""
from spdq_cli.main import main
sys.argv = ["spdq", *{arguments}]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""
    assert not loaded(code) & {*HEAVY, "numba", "numpy", "PIL", "rich"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called: ``torch.load``; a method of a value is ``.name``."""
    return [(dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {word.arg: getattr(word.value, "value", None) for word in call.keywords}


def prints(source: Source) -> list[int]:
    if source.package not in LIBRARIES:
        return []
    return [call.lineno for name, call in calls(source.tree) if name == "print"]


def asserts(source: Source) -> list[int]:
    return [node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.Assert)]


def runs_text_as_code(source: Source) -> list[int]:
    return [
        call.lineno for name, call in calls(source.tree) if name in {"eval", "exec", "compile", "__import__"}
    ]


def reads_pickles(source: Source) -> list[int]:
    """The weights of Lite0 come as a pickle: that one file is read, by its checksum and as weights only."""
    if imported(source.tree) & PICKLES:
        return [1]
    lines = [call.lineno for _, call in calls(source.tree) if keywords(call).get("allow_pickle")]
    for name, call in calls(source.tree):
        exception = source.module == "spdq.features.lite0" and keywords(call).get("weights_only") is True
        if name in {"torch.load", "torch.save", "torch.jit.load"} and not exception:
            lines.append(call.lineno)
    return lines


def threads_of_numba(source: Source) -> list[int]:
    """Numba's own threads abort or kill a process that forks or has threads; ours do not."""
    lines = [call.lineno for _, call in calls(source.tree) if keywords(call).get("parallel")]
    lines += [call.lineno for _, call in calls(source.tree) if keywords(call).get("fastmath")]
    return lines + [
        node.lineno
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Name) and node.id == "prange")
        or (isinstance(node, ast.Attribute) and node.attr == "prange")
    ]


def seeds_the_whole_process(source: Source) -> list[int]:
    """torch draws weights and dropout from its global state, to be seeded where fork_rng restores it."""
    forked = any(name.endswith("fork_rng") for name, _ in calls(source.tree))
    lines = []
    for name, call in calls(source.tree):
        module, _, function = name.rpartition(".")
        legacy = module in {"np.random", "numpy.random"} and function in LEGACY_RANDOM
        standard = module == "random" and function in LEGACY_RANDOM and "random" in imported(source.tree)
        torch = function in {"manual_seed", "manual_seed_all"} and not forked
        if legacy or standard or torch:
            lines.append(call.lineno)
    return lines


RULES = [prints, asserts, runs_text_as_code, reads_pickles, threads_of_numba, seeds_the_whole_process]


@pytest.mark.parametrize("rule", RULES)
def test_house_rules(rule):
    assert {source.package for source in sources()} == set(HOMES)
    broken = [f"{source.path}:{line} {rule.__name__}" for source in sources() for line in rule(source)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("rule", "code"), [
    (prints, "print('x')"),
    (asserts, "def f(x):\n    assert x"),
    (runs_text_as_code, "eval('1')"),
    (runs_text_as_code, "x = __import__('os')"),
    (reads_pickles, "def f():\n    from pickle import loads"),
    (reads_pickles, "import joblib.numpy_pickle"),
    (reads_pickles, "np.load(path, allow_pickle=True)"),
    (reads_pickles, "torch.load(path, weights_only=True)"),
    (threads_of_numba, "njit(parallel=True)"),
    (threads_of_numba, "njit(fastmath=True)"),
    (threads_of_numba, "for i in numba.prange(3): pass"),
    (seeds_the_whole_process, "np.random.seed(0)"),
    (seeds_the_whole_process, "x = numpy.random.rand(3)"),
    (seeds_the_whole_process, "import random\nrandom.shuffle(x)"),
    (seeds_the_whole_process, "torch.manual_seed(0)"),
])  # fmt: skip
def test_house_rules_see(rule, code):
    assert rule(Source("spdq.data.a", "spdq/data/a.py", ast.parse(code)))


@pytest.mark.parametrize(("rule", "module", "code"), [
    (prints, "spdq_cli.output", "print('x')"),
    (runs_text_as_code, "spdq.a", "network.eval(); re.compile('x')"),
    (reads_pickles, "spdq.features.lite0", "torch.load(path, weights_only=True)"),
    (reads_pickles, "spdq.a", "np.load(path, allow_pickle=False)"),
    (threads_of_numba, "spdq_kernels.a", "njit(parallel=False, fastmath=False)"),
    (seeds_the_whole_process, "spdq.a", "random = np.random.default_rng(0)\nrandom.shuffle(x)"),
    (seeds_the_whole_process, "spdq.a", "with torch.random.fork_rng():\n    torch.manual_seed(0)"),
])  # fmt: skip
def test_house_rules_allow(rule, module, code):
    assert rule(Source(module, "a.py", ast.parse(code))) == []


def test_the_one_pickle_must_be_read_as_weights_only():
    source = Source("spdq.features.lite0", "a.py", ast.parse("torch.load(path)"))
    assert reads_pickles(source) == [1]
