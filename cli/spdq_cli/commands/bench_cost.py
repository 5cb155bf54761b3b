"""``spdq bench cost``."""

from __future__ import annotations

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_facts

GIB = 1 << 30


@click.command(short_help="Estimate what very many items would take: memory, machines, latency.")
@click.option(
    "--items", type=click.IntRange(min=1), default=1_000_000_000, show_default=True, help="To be searched."
)
@click.option(
    "--bits",
    type=click.Choice(["16", "32", "64", "128"]),
    default="64",
    show_default=True,
    help="Length of a code.",
)
@click.option(
    "--shards", type=click.IntRange(min=1), default=8, show_default=True, help="Each on a machine of its own."
)
@click.option(
    "--replicas", type=click.IntRange(min=1), default=2, show_default=True, help="Copies of all shards."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Queries a second, in all, each by itself.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Hits of a query.")
@click.option("--cores", type=click.IntRange(min=1), help="Of a machine.  [default: as many as here]")
@click.option(
    "--memory",
    metavar="GIB",
    type=click.FloatRange(min=0, min_open=True),
    help="Of a machine.  [default: as much as here]",
)
@json_option
def cost(
    items: int,
    bits: str,
    shards: int,
    replicas: int,
    rate: float,
    k: int,
    cores: int | None,
    memory: float | None,
    as_json: bool,
) -> None:
    """Measure searches on this machine, alone and through Ray (extra "ray"), for some seconds, and extrapolate.

    The result is an estimate for machines like this one and leaves the network out. Questions come at random and are
    answered one by one on all cores; `docs/ray.md` has the formulas.
    """
    from dataclasses import asdict

    from spdq_benchmarks.cost import Plan, estimate, machine_memory, measure

    measured = measure(int(bits), k, note)
    room = machine_memory() if memory is None else int(memory * GIB)
    plan = Plan(items, int(bits), shards, replicas, rate, cores or measured.cores, room)
    found = estimate(plan, measured)
    facts = {
        "extrapolated": f"{items:,} items of {bits} bits in {shards} shards, {replicas} replicas",
        "memory of a shard, GiB": round(found.shard_bytes / GIB, 2),
        "memory in all, GiB": round(found.total_bytes / GIB, 2),
        "machines": found.machines,
        "one query alone, ms": round(1000 * found.alone, 2),
        f"busy at {rate:g} queries a second": f"{found.busy:.0%}",
        "median, ms": None if found.median is None else round(1000 * found.median, 2),
        "p99, ms": None if found.p99 is None else round(1000 * found.p99, 2),
        "replicas busy for at most 70 %": found.enough_replicas,
    }
    if as_json:
        print_facts({"plan": asdict(plan), "measured": asdict(measured), "cost": asdict(found)}, True)
    else:
        print_facts(facts, False)
