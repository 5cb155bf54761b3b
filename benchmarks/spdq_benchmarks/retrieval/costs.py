"""What a run was and what it cost: data sets, machine, seconds, bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spdq_benchmarks.retrieval.cells import FLOATS, PAPER, Record, Results
from spdq_benchmarks.retrieval.sheets import NO_FIGURE, Entry, Sheet

TRAINING = "rest"
"""The training whose seconds are shown: all items but the queries."""


def dataset_sheet(results: Results) -> Sheet:
    """Data sets with their digests, counts and seeds."""
    rows = []
    for name in results.datasets:
        records = [record for record in results.records if record["dataset"] == name]
        queries = sorted({(r["training"], r["rows"]["query"]) for r in records})
        trained = sorted({(r["training"], r["rows"]["train"]) for r in records})
        searched = sorted({pair for r in records for pair in r["rows"]["database"].items()})
        seeds = sorted({record["seed"] for record in records})
        methods = len({record["method"] for record in records})
        cells = [
            records[0]["dataset_digest"][:16],
            *(
                ", ".join(f"{split} {rows:,}" for split, rows in found)
                for found in (queries, trained, searched)
            ),
            ", ".join(map(str, seeds)),
            str(methods),
        ]
        rows.append((name, tuple(map(Entry, cells))))
    heads = ("digest (16 of 64 digits)", "queries", "trained on", "database", "seeds", "methods")
    about = "Queries and training items by training (rest: all items but the queries; half: a random half of those)."
    return Sheet(
        "Data sets", about, "data set", tuple(("", head) for head in heads), tuple(rows), is_text=True
    )


def seed_sentences(results: Results) -> list[str]:
    """Which methods were run with which seeds: those of our default recipe and the rest apart."""
    by_method: dict[tuple[int, ...], list[str]] = {}
    for method in results.methods:
        seeds = tuple(sorted({r["seed"] for r in results.records if r["method"] == method}))
        by_method.setdefault(seeds, []).append(method)
    return [
        f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {', '.join(methods)}."
        for seeds, methods in sorted(by_method.items(), key=lambda pair: (-len(pair[0]), pair[0]))
    ]


def machine_sentences(results: Results) -> list[str]:
    """Machines, threads and versions; several of a kind where the records come from several."""
    machines = _distinct([record["machine"] for record in results.records])
    versions = _distinct([record["versions"] for record in results.records])
    threads = sorted({record["threads"] for record in results.records})
    return [
        *(f"Machine: {_told(machine)}." for machine in machines),
        f"Threads of one job: {', '.join(map(str, threads))}.",
        *(f"Versions: {_told(found)}." for found in versions),
    ]


def cost_sheet(results: Results, dataset: str) -> Sheet | None:
    """CPU time of training and of encoding one item, bytes of one: means over seeds; None where nothing is."""
    records = [r for r in results.records if (r["dataset"], r["training"]) == (dataset, TRAINING)]
    if not records:
        return None
    paper = _seconds(_of(records, PAPER, results.reference), "train")
    rows = []
    for method in results.methods:
        found = _of(records, method, results.reference)
        if found:
            train = _seconds(found, "train")
            floats = _of(records, method, FLOATS)
            cells = [
                f"{train:.2f}",
                NO_FIGURE if math.isnan(paper) or not paper else f"{train / paper:.2f}",
                f"{_seconds(found, 'fit_code'):.2f}",
                f"{1e6 * _seconds(found, 'encode_per_image'):.1f}",
                f"{1e6 * _seconds(found, 'encode_per_text'):.1f}",
                str(found[0]["code_bytes"]),
                f"{floats[0]['code_bytes']:,}" if floats else NO_FIGURE,
                str(found[0]["query"]),
                "labels" if found[0]["labels"] else "pairs alone",
            ]
            rows.append((method, tuple(map(Entry, cells))))
    bits = f"{results.reference} bits"
    heads = (
        ("CPU seconds", "train"),
        ("CPU seconds", f"of {PAPER}'s"),
        ("CPU seconds", f"fit code, {bits}"),
        ("CPU microseconds an item, features to code", "image"),
        ("CPU microseconds an item, features to code", "text"),
        ("bytes an item", bits),
        ("bytes an item", "float vector"),
        ("", "query is"),
        ("", "learns from"),
    )
    about = f"{dataset}, trained on all items but the queries; means over seeds."
    return Sheet(f"Time and size, {dataset}", about, "method", heads, tuple(rows))


def _of(records: Sequence[Record], method: str, bits: int) -> list[Record]:
    coding = "vectors" if bits == FLOATS else "codes"
    return [
        r
        for r in records
        if r["method"] == method and r["coding"] == coding and (bits == FLOATS or r["bits"] == bits)
    ]


def _seconds(records: Sequence[Record], name: str) -> float:
    if not records:
        return math.nan
    return math.fsum(record["seconds"][name] for record in records) / len(records)


def _distinct(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [entry for place, entry in enumerate(found) if entry not in found[:place]]


def _told(entry: Any) -> str:
    """A JSON value in words, ``cpu x, cores 2``; what is null is not told."""
    if isinstance(entry, Mapping):
        return ", ".join(f"{name} {_told(value)}" for name, value in entry.items() if value is not None)
    if isinstance(entry, list | tuple):
        return " ".join(map(_told, entry))
    return str(entry)
