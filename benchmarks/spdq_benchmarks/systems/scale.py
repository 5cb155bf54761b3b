"""How fast a Mixer with very many classes trains and a very long click log is read, and what memory that takes.

The data is made: nothing here depends on what can be learned from it. Each part has a process of its own, with one
thread, so that its peak memory is its own; a log is written by another process than the one that reads it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple, TypeVar

import numpy as np

from spdq.data.clicks import read_clicks
from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import SpdqError, StorageError
from spdq.models.directory import write_bytes
from spdq_benchmarks.record_files import make_folder
from spdq_benchmarks.speed.machine import load_average, machine_facts
from spdq_benchmarks.workers import outcomes

MARKDOWN, FIGURES = "scale.md", "scale.json"
MAX_GIB = 4
"""What training the Mixer may take."""

DIM = 64
BATCH = 256
REGIONS, REGION_WIDTH, TEXT_WIDTH = 4, 16, 16
UNTIMED_STEPS = 3
"""The first steps: memory is taken from the system, caches are cold."""

QUERY_SHARE, IMAGE_SHARE = 0.4, 0.2
"""Distinct queries and images, as shares of a log's rows."""
POWER = 3
"""A row's query and image are the n u**POWER-th of n, u uniform in 0 to 1."""
CLICKED_ONCE = 0.3
"""Share of rows with one click; their number is geometric."""
_SYLLABLES = tuple(map("".join, product("bdfgklmnr", "aio")))
WORDS = tuple(map("".join, product(_SYLLABLES, repeat=3)))
"""19,683 made ones."""
_QUERY_WORDS = 3
_WRITTEN_AT_ONCE = 100_000

Say = Callable[[str], None]
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Rate:
    """How many a second of wall time, and of the process's CPU time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class MixerJob:
    """So many classes of one item each, and so many timed steps; the checkpoint goes into the directory."""

    directory: Path
    classes: int
    steps: int
    seed: int

    def __str__(self) -> str:
        return f"a Mixer with {self.classes:,} classes"


@dataclass(frozen=True)
class MixerFigures:
    """What training a Mixer took.

    Parameters
    ----------
    classes : learned.
    sampled : classes that take part in a step.
    forms : what each item is a sample of its class as.
    setup_seconds : wall time from a data set in memory to the first step.
    items_per_second : of the timed steps.
    peak_gib : memory of the process at its largest, with the data set and while the last step's checkpoint is written.
    """

    classes: int
    dim: int
    batch: int
    sampled: int
    steps: int
    forms: tuple[str, ...]
    setup_seconds: float
    items_per_second: Rate
    peak_gib: float


@dataclass(frozen=True)
class LogJob:
    """A made click log in the format TSV."""

    path: Path
    rows: int
    seed: int

    def __str__(self) -> str:
        return f"a click log of {self.rows:,} rows"

    @property
    def n_queries(self) -> int:
        """Distinct queries, each in one row at least."""
        return max(1, int(self.rows * QUERY_SHARE))

    @property
    def n_images(self) -> int:
        """Images that may be clicked."""
        return max(1, int(self.rows * IMAGE_SHARE))


@dataclass(frozen=True)
class LogFigures:
    """What reading a click log took.

    Parameters
    ----------
    rows : read.
    queries, pairs : distinct ones that were found.
    megabytes : size of the file, in 10**6 bytes.
    peak_gib : memory of the process at its largest, the ids of the images and what was read included.
    """

    rows: int
    queries: int
    pairs: int
    megabytes: float
    rows_per_second: Rate
    peak_gib: float


@dataclass(frozen=True)
class Scale:
    """All that was measured, and on what machine: its facts, and its load average at the start and at the end."""

    machine: dict[str, Any]
    load_average: tuple[float, float]
    mixer: MixerFigures
    click_log: LogFigures


def measure_scale(folder: Path, classes: int, rows: int, steps: int, seed: int, say: Say) -> Scale:
    """Train a Mixer on made items, then write a click log and read it.

    Parameters
    ----------
    folder
        Gets a temporary folder for checkpoint and log, which is gone afterwards; made where it is missing.
    classes
        Of the Mixer, 2 or more.
    rows
        Of the log, 1 or more.
    steps
        That are timed, 1 or more.
    seed
        Of everything that is drawn.
    say
        Called with a line before each part.

    Raises
    ------
    StorageError
        The folder cannot be made or written.
    SpdqError
        A part failed, for want of memory or of space, say.
    """
    make_folder(folder)
    load = load_average()
    with _temporary_folder(folder) as temporary:
        job = MixerJob(temporary / "run", classes, steps, seed)
        log = LogJob(temporary / "log.tsv", rows, seed)
        say(f"{job}: {UNTIMED_STEPS + steps} steps")
        mixer = in_own_process(train_mixer, job)
        say(f"{log}: writing")
        in_own_process(write_log, log)
        say(f"{log}: reading")
        click_log = in_own_process(read_log, log)
    machine = machine_facts()
    machine["versions"]["torch"] = version("torch")
    return Scale(machine, (load, load_average()), mixer, click_log)


def in_own_process(function: Callable[[Job], Result], job: Job) -> Result:
    """The function's result, from a process that does nothing else and has one thread.

    Raises SpdqError, with the job's name, where the function raises or the process dies.
    """
    with closing(outcomes(function, [job], 1)) as found:
        outcome = next(found)
    if outcome.result is None:
        raise SpdqError(f"{job}: {outcome.error}")
    return outcome.result


def train_mixer(job: MixerJob) -> MixerFigures:
    """Train a Mixer by the recipe "default", with ``DIM`` dimensions and ``BATCH`` items a step, and time the steps."""
    import torch

    from spdq.training.loop import Loop
    from spdq.training.mixer import RECIPES, MixerTask

    steps = UNTIMED_STEPS + job.steps
    recipe = replace(
        RECIPES["default"], dim=DIM, batch=BATCH, judge_from=1.0, min_steps=steps, max_steps=steps
    )
    dataset = _items(job)
    began = perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        task = MixerTask(dataset, recipe, job.seed, 64)
        loop = Loop(task, job.seed, {}, job.directory, False)
        setup = perf_counter() - began
        forms = tuple(task.terms(0, np.random.default_rng(job.seed)))
    moments: list[_Moment] = []
    loop.run(lambda done, total: moments.append(_now()))
    return MixerFigures(
        classes=task.samples.n_classes,
        dim=DIM,
        batch=BATCH,
        sampled=min(recipe.sampled, task.samples.n_classes),
        steps=job.steps,
        forms=forms,
        setup_seconds=setup,
        items_per_second=_rate(job.steps * BATCH, moments[UNTIMED_STEPS - 1], moments[-1]),
        peak_gib=_peak_gib(),
    )


def write_log(job: LogJob) -> int:
    """Write the log, whose size in bytes is returned.

    Queries are of three made words; each stands in one row at least, the other rows have them by a power law. Images
    ``img/0.jpg`` on are clicked by a power law, too.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    random = np.random.default_rng([job.seed, 1])
    numbers = random.choice(len(WORDS) ** _QUERY_WORDS, job.n_queries, replace=False, shuffle=False)
    words = np.unravel_index(numbers, (len(WORDS),) * _QUERY_WORDS)
    queries = [f"{WORDS[a]} {WORDS[b]} {WORDS[c]}" for a, b, c in zip(*words, strict=True)]
    often = job.n_queries * random.random(job.rows - job.n_queries) ** POWER
    query = random.permutation(np.concatenate([np.arange(job.n_queries), often.astype(np.int64)]))
    place = (job.n_images * random.random(job.rows) ** POWER).astype(np.int64)
    image = random.permutation(job.n_images)[place]
    clicks = random.geometric(CLICKED_ONCE, job.rows)
    try:
        with open(job.path, "w", encoding="utf-8", newline="\n") as file:
            file.write("query\timage\tclicks\n")
            for start in range(0, job.rows, _WRITTEN_AT_ONCE):
                block = slice(start, start + _WRITTEN_AT_ONCE)
                rows = zip(query[block].tolist(), image[block].tolist(), clicks[block].tolist(), strict=True)
                file.writelines(f"{queries[q]}\timg/{i}.jpg\t{count}\n" for q, i, count in rows)
    except OSError as error:
        raise StorageError(f"cannot write {job.path}: {error.strerror}") from error
    return job.path.stat().st_size


def read_log(job: LogJob) -> LogFigures:
    """Read the log that ``write_log`` wrote, and time it. Raises as ``read_clicks``."""
    ids = np.array([f"img/{number}.jpg" for number in range(job.n_images)])
    start = _now()
    clicks, found = read_clicks(job.path, ids)
    end = _now()
    return LogFigures(
        rows=found.rows,
        queries=len(clicks.queries),
        pairs=len(clicks),
        megabytes=job.path.stat().st_size / 1e6,
        rows_per_second=_rate(found.rows, start, end),
        peak_gib=_peak_gib(),
    )


def table(scale: Scale) -> str:
    """Markdown: the machine, then a table for each part."""
    machine, mixer, log = scale.machine, scale.mixer, scale.click_log
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    per_item = len(mixer.forms)
    return "\n".join(
        [
            f"- {machine['cpu']}, {machine['cores']} cores; each part in a process of its own, with one thread",
            f"- Python {machine['python']}, {versions}",
            f"- Load average {scale.load_average[0]} at the start, {scale.load_average[1]} at the end",
            *_sheet(
                "Mixer: training, one item a class",
                ("classes", f"{mixer.classes:,}"),
                ("of these in a step", f"{mixer.sampled:,}"),
                ("dimensions", f"{mixer.dim:,}"),
                ("items a step", f"{mixer.batch:,}"),
                ("timed steps", f"{mixer.steps:,}"),
                ("items a second, wall time", f"{mixer.items_per_second.wall:,.0f}"),
                ("items a second, CPU time", f"{mixer.items_per_second.cpu:,.0f}"),
                (f"samples an item ({', '.join(mixer.forms)})", f"{per_item}"),
                ("samples a second, wall time", f"{per_item * mixer.items_per_second.wall:,.0f}"),
                ("samples a second, CPU time", f"{per_item * mixer.items_per_second.cpu:,.0f}"),
                ("set-up, s", f"{mixer.setup_seconds:.1f}"),
                (f"peak memory, GiB (must be at most {MAX_GIB})", f"{mixer.peak_gib:.2f}"),
            ),
            *_sheet(
                "CSM: reading a click log",
                ("rows", f"{log.rows:,}"),
                ("size, MB", f"{log.megabytes:,.1f}"),
                ("distinct queries", f"{log.queries:,}"),
                ("distinct pairs of query and image", f"{log.pairs:,}"),
                ("rows a second, wall time", f"{log.rows_per_second.wall:,.0f}"),
                ("rows a second, CPU time", f"{log.rows_per_second.cpu:,.0f}"),
                ("peak memory, GiB", f"{log.peak_gib:.2f}"),
            ),
        ]
    )


def write_report(scale: Scale, folder: Path, command: str) -> None:
    """Write ``scale.md`` and ``scale.json`` into a folder that exists, each whole or not. Raises StorageError."""
    texts = {
        MARKDOWN: f"# Very many classes, very many clicks\n\nCommand: `{command}`\n\n{table(scale)}\n",
        FIGURES: json.dumps({"command": command, **asdict(scale)}, indent=1) + "\n",
    }
    for name, text in texts.items():
        try:
            write_bytes(folder / name, text.encode())
        except OSError as error:
            raise StorageError(f"cannot write {folder / name}: {error.strerror}") from error


class _Moment(NamedTuple):
    wall: float
    cpu: float


def _now() -> _Moment:
    return _Moment(perf_counter(), process_time())


def _rate(count: int, start: _Moment, end: _Moment) -> Rate:
    return Rate(count / (end.wall - start.wall), count / (end.cpu - start.cpu))


def _items(job: MixerJob) -> Dataset:
    """An item a class to train on, and a query, since a split has one."""
    random = np.random.default_rng(job.seed)
    n = job.classes + 1
    learned = np.arange(1, n)
    return Dataset(
        "made items",
        np.arange(n),
        image_features=random.random((n, REGIONS * REGION_WIDTH), np.float32),
        text_features=random.random((n, TEXT_WIDTH), np.float32),
        classes=np.maximum(np.arange(n) - 1, 0),
        split=Split(np.arange(1), learned, learned, "matched", job.seed),
        image_regions=REGIONS,
    )


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    try:
        made = tempfile.TemporaryDirectory(prefix=".scale-", dir=folder)
    except OSError as error:
        raise StorageError(f"cannot write into {folder}: {error.strerror}") from error
    with made as name:
        yield Path(name)


def _peak_gib() -> float:
    """Of this process alone. ``getrusage`` would not do: there a process begins with what its parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kib / (1 << 20)


def _sheet(title: str, *rows: tuple[str, str]) -> list[str]:
    return ["", f"**{title}**", "", "| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
