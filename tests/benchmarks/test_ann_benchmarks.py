"""The folder for ann-benchmarks does what that project's runner demands, loaded and driven as the runner does."""

from __future__ import annotations

import configparser
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product

import numpy as np
import numpy.testing as npt
import pytest
from sources import ROOT

FOLDER = ROOT / "benchmarks" / "ann_benchmarks" / "spdq"
MODULE = "ann_benchmarks.algorithms.spdq"
METRICS = ("euclidean", "angular")
COUNT = 10
# What an algorithm of this folder inherits in their tree and does not write itself.
BASE = "class BaseANN:\n    def done(self):\n        pass\n"
# SPDQ's requirements: those that come with their requirements.txt or with numba, and those that the Dockerfile
# leaves out (by the name of their module).
THEIRS = {"h5py", "llvmlite", "numpy", "scikit-learn", "scipy", "threadpoolctl"}
LEFT_OUT = {"click": "click", "Pillow": "PIL", "rich": "rich", "torch": "torch"}
LIGHT = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(LEFT_OUT.values())}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
algorithm = importlib.import_module("{MODULE}.module").SPDQ(
    "angular", {{"code_bytes": 4, "rotation": "opq", "keep_vectors": True}}
)
rows = np.random.default_rng(0).standard_normal((300, 8), np.float32)
algorithm.fit(rows)
algorithm.set_query_arguments(20)
print(algorithm.query(rows[7], 3)[0])
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A checkout of theirs as the README leaves it: the folder copied among the algorithms."""
    root = tmp_path_factory.mktemp("checkout")
    algorithms = root / "ann_benchmarks" / "algorithms"
    (algorithms / "base").mkdir(parents=True)
    (algorithms / "base" / "module.py").write_text(BASE)
    for folder in (algorithms, algorithms.parent):
        (folder / "__init__.py").touch()
    shutil.copytree(FOLDER, algorithms / "spdq")
    return root


@pytest.fixture(scope="module")
def module(tree):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tree)
        yield importlib.import_module(f"{MODULE}.module")
    for name in [name for name in sys.modules if name.partition(".")[0] == "ann_benchmarks"]:
        del sys.modules[name]


def rows_and_queries(n=2000, n_queries=40, dim=20):
    """Vectors (., dim) float32 around 25 centres."""
    rng = np.random.default_rng(5)
    centres = 3 * rng.standard_normal((25, dim))
    vectors = centres[rng.integers(25, size=n + n_queries)] + rng.standard_normal((n + n_queries, dim))
    return vectors[:n].astype(np.float32), vectors[n:].astype(np.float32)


def distance(metric, a, b):
    if metric == "euclidean":
        return np.linalg.norm(a - b)
    return 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def made(module, metric="euclidean", **settings):
    return module.SPDQ(metric, {"code_bytes": 10, "rotation": "none", "keep_vectors": False} | settings)


def built(module, rows, **settings):
    algorithm = made(module, **settings)
    algorithm.fit(rows)
    return algorithm


def answers(algorithm, rows, queries, metric, count, batch):
    """The runner's query loop: lists of (row, true distance), the rows of an answer unique."""
    if batch:
        algorithm.batch_query(queries, count)
        found = algorithm.get_batch_results()
    else:
        found = [algorithm.query(query, count) for query in queries]
    for one in found:
        assert len(one) == len(set(one)) <= count
        assert all(0 <= row < len(rows) for row in one)
    return [
        [(int(row), float(distance(metric, query, rows[row]))) for row in one]
        for query, one in zip(queries, found, strict=True)
    ]


def recall(found, rows, queries, metric):
    """Their k-nn recall: the share of answers no farther than the k-th true neighbour."""
    hits = 0
    for query, answer in zip(queries, found, strict=True):
        farthest = np.sort([distance(metric, query, row) for row in rows])[COUNT - 1]
        hits += sum(at <= farthest + 1e-5 for _, at in answer)
    return hits / (len(queries) * COUNT)


def combinations(alternatives):
    """Their expansion: a list gives lists, a dict gives dicts, of one alternative for each place."""
    if isinstance(alternatives, dict):
        pairs = [[(key, value) for value in as_list(values)] for key, values in alternatives.items()]
        return [dict(chosen) for chosen in product(*pairs)]
    return [list(chosen) for chosen in product(*map(as_list, alternatives))]


def as_list(value):
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def algorithms():
    yaml = pytest.importorskip("yaml", reason='PyYAML is absent: pip install "spdq[dev]"')
    return yaml.safe_load((FOLDER / "config.yml").read_text())["float"]["any"]


def settings_of(algorithms, metric):
    """(arguments, query argument groups) of each run, after the JSON that carries them into the container."""
    runs = []
    for algorithm in algorithms:
        for group in algorithm["run_groups"].values():
            arguments = combinations([combinations(one) for one in group["arg_groups"]])
            base = [metric if one == "@metric" else one for one in algorithm["base_args"]]
            runs += [([*base, *chosen], combinations(group["query_args"])) for chosen in arguments]
    return json.loads(json.dumps(runs))


@pytest.mark.parametrize("metric", METRICS)
def test_every_run_of_the_config(module, algorithms, metric):
    rows, queries = rows_and_queries(n=300, n_queries=3)
    names = []
    for arguments, query_argument_groups in settings_of(algorithms, metric):
        algorithm = module.SPDQ(*arguments)
        algorithm.fit(rows)
        for query_arguments in query_argument_groups:
            algorithm.set_query_arguments(*query_arguments)
            for batch in (False, True):
                found = answers(algorithm, rows, queries, metric, COUNT, batch)
                assert [len(one) for one in found] == [COUNT] * len(queries)
            assert all(isinstance(value, int) for value in algorithm.get_additional().values())
            names.append(str(algorithm))
        algorithm.done()
    assert len(set(names)) == len(names) > 20


def test_the_config_names_what_is_there(module, algorithms):
    (algorithm,) = algorithms
    assert algorithm["module"] == MODULE
    assert hasattr(module, algorithm["constructor"])
    assert algorithm["docker_tag"] == f"ann-benchmarks-{FOLDER.name}"
    assert algorithm["disabled"] is False


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("rotation", "code_bytes", "codes_alone"), [
    ("none", 10, {"euclidean": 0.8, "angular": 0.55}),
    ("opq", 20, {"euclidean": 0.97, "angular": 0.9}),
])  # fmt: skip
def test_recall_of_codes_and_of_reranking(module, metric, rotation, code_bytes, codes_alone):
    rows, queries = rows_and_queries()
    settings = {"code_bytes": code_bytes, "rotation": rotation, "keep_vectors": True}
    algorithm = built(module, rows, metric=metric, **settings)
    shares = []
    for rerank in (0, 30, 200, len(rows)):
        algorithm.set_query_arguments(rerank)
        shares.append(recall(answers(algorithm, rows, queries, metric, COUNT, False), rows, queries, metric))
    assert shares[0] >= codes_alone[metric]
    assert shares == sorted(shares)
    assert shares[-2:] == [1, 1]


@pytest.mark.parametrize("metric", METRICS)
def test_reranked_answers_are_in_true_order(module, metric):
    rows, queries = rows_and_queries(n=300)
    rows[1::2] = rows[::2]  # Every distance twice.
    algorithm = built(module, rows, metric=metric, keep_vectors=True)
    algorithm.set_query_arguments(len(rows))
    for query, found in zip(queries, answers(algorithm, rows, queries, metric, 50, False), strict=True):
        true = np.array([distance(metric, query, row) for row in rows])
        npt.assert_allclose([at for _, at in found], np.sort(true)[:50], rtol=1e-5, atol=1e-6)
        ids = [row for row, _ in found]
        assert [a + 1 for a in ids[::2]] == ids[1::2]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rerank", [0, 5, 60])
def test_a_batch_answers_as_single_queries_do(module, metric, rerank):
    rows, queries = rows_and_queries(n=400)
    algorithm = built(module, rows, metric=metric, keep_vectors=True)
    algorithm.set_query_arguments(rerank)
    single = answers(algorithm, rows, queries, metric, COUNT, False)
    assert answers(algorithm, rows, queries, metric, COUNT, True) == single
    assert {len(one) for one in single} == {COUNT}
    # The runner measures true distances on these arrays: they must be as they were.
    for array, before in zip((rows, queries), rows_and_queries(n=400), strict=True):
        npt.assert_array_equal(array, before)


@pytest.mark.parametrize("rerank", [0, 7, 1000])
def test_more_asked_for_than_there_are(module, rerank):
    rows, queries = rows_and_queries(n=30, n_queries=2)
    algorithm = built(module, rows, keep_vectors=True)
    algorithm.set_query_arguments(rerank)
    for batch in (False, True):
        for found in answers(algorithm, rows, queries, "euclidean", 100, batch):
            assert sorted(row for row, _ in found) == list(range(30))


@pytest.mark.parametrize(("dim", "code_bytes", "has"), [
    (20, 10, 10), (20, 64, 20), (25, 16, 13), (7, 3, 3), (1, 8, 1), (100, 16, 15), (9, 1, 1),
])  # fmt: skip
@pytest.mark.parametrize("metric", METRICS)
def test_any_width_is_cut_into_bytes(module, metric, dim, code_bytes, has):
    rows, queries = rows_and_queries(n=100, n_queries=4, dim=dim)
    algorithm = built(module, rows, metric=metric, code_bytes=code_bytes)
    assert algorithm.get_additional() == {"code_bytes": has}
    # With fewer rows than words the codes are exact, and so are the answers.
    assert recall(answers(algorithm, rows, queries, metric, COUNT, False), rows, queries, metric) == 1


def test_one_row_and_rows_of_zeros(module):
    algorithm = built(module, np.zeros((1, 4), np.float32), metric="angular")
    assert algorithm.query(np.ones(4, np.float32), 3).tolist() == [0]
    rows = np.zeros((6, 4), np.float32)
    rows[4] = 2
    algorithm = built(module, rows, metric="angular", keep_vectors=True)
    for rerank in (0, 6):
        algorithm.set_query_arguments(rerank)
        assert algorithm.query(np.ones(4, np.float32), 3).tolist() == [4, 0, 1]
        assert algorithm.query(np.zeros(4, np.float32), 3).tolist() == [0, 1, 2]


def test_training_rows_are_at_most_the_stated_number(module, monkeypatch):
    assert module.MAX_TRAINING_ROWS == 100_000
    rows, queries = rows_and_queries(n=300)
    exact = built(module, rows, rotation="opq")
    again = built(module, rows, rotation="opq")
    monkeypatch.setattr(module, "MAX_TRAINING_ROWS", 1)
    one = built(module, rows)
    for query in queries:
        npt.assert_array_equal(exact.query(query, COUNT), again.query(query, COUNT))
        # One training row is one word: all codes are equal.
        assert one.query(query, COUNT).tolist() == list(range(COUNT))


def test_memory_in_kilobytes(module):
    rows, _ = rows_and_queries(n=2560)
    small, kept = (built(module, rows, keep_vectors=keep).get_memory_usage() for keep in (False, True))
    codes, codebooks = 2560 * 10, 4 * 256 * 20
    assert codes + codebooks <= 1024 * small <= codes + codebooks + 40 * 2560
    assert kept - small == pytest.approx(rows.nbytes / 1024)
    assert made(module).get_memory_usage() == 0


@pytest.mark.parametrize("metric", ["hamming", "jaccard", "l2", ""])
def test_other_metrics_are_refused(module, metric):
    with pytest.raises(ValueError, match=f"metric must be euclidean or angular, not {metric!r}"):
        made(module, metric=metric)


@pytest.mark.parametrize(("keep_vectors", "rerank"), [(False, 1), (False, -1), (True, -1)])
def test_reranking_needs_the_vectors(module, keep_vectors, rerank):
    algorithm = made(module, keep_vectors=keep_vectors)
    with pytest.raises(ValueError, match=f"rerank must be 0, or with keep_vectors .*, not {rerank}"):
        algorithm.set_query_arguments(rerank)


def test_it_runs_without_what_the_dockerfile_leaves_out(tree):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", LIGHT], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "7"), done.stderr


def test_the_dockerfile_installs_the_other_requirements():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = set(re.findall(r"^([\w.-]+)", config["options"]["install_requires"], re.MULTILINE))
    installed = re.search(r"^RUN pip install ([\w ]+) &&", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert required == {*THEIRS, *LEFT_OUT, *installed[1].split()}
