"""How long the search page takes from the last key to the answer, in a real browser, over many items."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.errors import MissingExtraError, NotFoundError, SpdqError
from spdq.index import Index
from spdq.models import load_model
from spdq.models.rows import embed_rows
from spdq_benchmarks.demo import DATA, MODEL

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
KEY_MS = 60
SHUFFLED = 2
"""Bytes of a code that are drawn anew, so that no two items need be alike."""

_SERVE = """
import json, sys
from spdq.serving import Settings, serve
index, pictures, folder = json.loads(sys.argv[1])
told = lambda url: print(url, flush=True)
serve(index, pictures=pictures, picture_folder=folder, settings=Settings(port=0), ready=told)
"""
# The answer to the whole words is the first that is told once the page has put them into its address.
_TYPE = """
async ([words, pause]) => {
    const box = document.getElementById("words"), status = document.getElementById("status");
    const asked = () => new URLSearchParams(location.hash.slice(1)).get("text") === words;
    for (let length = 1; length < words.length; length++) {
        box.value = words.slice(0, length);
        box.dispatchEvent(new InputEvent("input"));
        await new Promise((done) => setTimeout(done, pause));
    }
    const answered = new Promise((done) => {
        new MutationObserver((_, observer) => {
            if (asked()) { observer.disconnect(); requestAnimationFrame(done); }
        }).observe(status, {childList: true});
    });
    box.value = words;
    const began = performance.now();
    box.dispatchEvent(new InputEvent("input"));
    await answered;
    return performance.now() - began;
}
"""


@dataclass(frozen=True)
class PageFigures:
    """Milliseconds from the last key of some words to the frame that shows the answer."""

    items: int
    queries: int
    median: float
    p95: float
    most: float


def measure_page(demo: Path, items: int, queries: int, seed: int) -> PageFigures:
    """Type names of emoji into the page of an index of ``items`` codes, made of those of a demo's folder.

    Raises NotFoundError where the demo has not run there or there is no browser, MissingExtraError without Playwright.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtraError("the page is measured by playwright: pip install playwright") from error
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise NotFoundError(f"no browser found: install one of {', '.join(BROWSERS)}")
    dataset = Dataset.load(demo / DATA)
    random = np.random.default_rng(seed)
    rows = random.integers(len(dataset), size=queries)
    names = [(dataset.texts or ())[row].split("\n")[0] for row in rows]
    with tempfile.TemporaryDirectory(prefix=".page-", dir=demo) as temporary:
        _build(Path(temporary), demo, dataset, items, random)
        with _server(Path(temporary), demo) as url, sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=browser, args=FLAGS)
            page = chromium.new_page()
            page.goto(url)
            page.wait_for_selector(".card")
            taken = [float(page.evaluate(_TYPE, [name, KEY_MS])) for name in ["cat", *names]][1:]
            chromium.close()
    median, p95 = np.percentile(taken, (50, 95))
    return PageFigures(items, queries, float(median), float(p95), max(taken))


def _build(folder: Path, demo: Path, dataset: Dataset, items: int, random: np.random.Generator) -> None:
    model = load_model(demo / MODEL)
    own = model.codebooks.encode(embed_rows(model, dataset, "u", np.arange(len(dataset))))
    rows = random.integers(len(dataset), size=items)
    codes = own[rows]
    for byte in range(codes.shape[1] - SHUFFLED, codes.shape[1]):
        codes[:, byte] = random.permutation(codes[:, byte])
    labels = dataset.names_of_labels(rows)
    years = random.integers(1990, 2027, size=items).tolist()
    with Index.create(
        folder / "index",
        model.codebooks,
        "ip",
        "int",
        model.fingerprint,
        demo / MODEL,
        attributes={"labels": "set", "year": "int"},
    ) as index:
        index.add_codes(codes, np.arange(items), {"labels": labels, "year": years})
    texts, paths = dataset.texts or (), dataset.image_paths or ()
    pictures = os.path.relpath(dataset.root or demo, folder)
    Dataset(
        "emoji many times over",
        np.arange(items),
        image_features=np.zeros((items, 1), np.float32),
        texts=tuple(texts[row] for row in rows),
        image_paths=tuple(f"{pictures}/{paths[row]}" for row in rows),
        root=folder,
    ).save(folder / "pictures.h5")


@contextmanager
def _server(folder: Path, demo: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    given = [str(folder / "index"), str(folder / "pictures.h5"), str(demo)]
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, json.dumps(given)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise SpdqError("the server failed: its error stands above")
            yield url
        finally:
            process.terminate()
