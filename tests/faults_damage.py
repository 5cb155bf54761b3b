"""Copies of an index with one file damaged, and what the index makes of them."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults_model import ATTRIBUTES, CODEBOOKS, Model, Script, assert_answers, content, item

from spdq.errors import DamagedError, SpdqError
from spdq.index import Index

KINDS = {
    "segment": "segments/*.safetensors",
    "attributes": "segments/*.db",
    "catalogue": "catalog.db",
    "codebooks": "codebooks.safetensors",
}
CHANGES = 14
SCRIPT_SEED = 5
UNKNOWN = dict.fromkeys(ATTRIBUTES)


def make_bases(folder):
    """An index of each kind of ids with several segments, some rows of which are removed."""
    for ids in ("int", "str"):
        model = Model(Script(ids, SCRIPT_SEED))
        with Index.create(folder / ids, CODEBOOKS, ids=ids, attributes=ATTRIBUTES) as index:
            for _ in range(CHANGES):
                model.next().apply(index)
                model.advance()
            assert index.stats()["segments"] > 3
            assert index.stats()["removed"] > 0
        (folder / f"{ids}.json").write_text(json.dumps(model.state()))


@cache
def _truth(base, ids):
    """What the index holds, and for each id all that an item of this id ever was."""
    final = Model.of(json.loads((base / f"{ids}.json").read_text()))
    ever, model = {}, Model(final.script)
    while model.step < final.step:
        for one, step in model.advance().written.items():
            ever.setdefault(one, []).append(item(one, step))
    assert model.items() == final.items()
    return final, ever


@dataclass(frozen=True)
class _Damaged:
    directory: Path
    file: Path
    kind: str
    model: Model
    ever: dict


def examine(folder, base, kind, chance):
    """Damage a copy of an index and return, as plain values, how, what found it, and all that went wrong."""
    model, ever = _truth(base, ids := chance.choice(("int", "str")))
    file = chance.choice(sorted((base / ids).glob(KINDS[kind]))).relative_to(base / ids)
    damage, data = mutated((base / ids / file).read_bytes(), chance)
    result = {"damage": damage, "file": str(file), "wrong": []}
    for look in (_found, _found_late, _repaired):
        directory = folder / "damaged"
        shutil.copytree(base / ids, directory, copy_function=_copy)
        (directory / file).unlink()
        (directory / file).write_bytes(data)
        try:
            result[look.__name__] = look(_Damaged(directory, directory / file, kind, model, ever))
        except Exception:
            result["wrong"].append(traceback.format_exc(limit=-3)[-2000:])
        shutil.rmtree(directory)
    return result


def mutated(data, chance):
    """The name of a damage and bytes that have it: of ten seven have a bit flipped, one each the others."""
    damage = chance.choices(("flip", "cut", "zeros", "longer"), (7, 1, 1, 1))[0]
    at = chance.randrange(len(data))
    match damage:
        case "flip":
            return damage, data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case "cut":
            return damage, data[:at]
        case "longer":
            return damage, data + chance.randbytes(chance.randint(1, 512))
    zeroed = data[:at] + bytes(len(data[at : at + 512])) + data[at + 512 :]
    return (damage, zeroed) if zeroed != data else mutated(data, chance)


def _copy(source, target):
    (os.link if "segments" in source else shutil.copy)(source, target)


def _found(damaged):
    """When an index that verifies as it opens finds the damage; no answer before may be wrong."""
    try:
        index = Index.open(damaged.directory)
    except SpdqError as error:
        _names_the_file(error, damaged)
        return f"open: {type(error).__name__}"
    assert damaged.kind == "catalogue", "not found at opening"
    try:
        with index:
            assert content(index) == damaged.model.items()
            assert_answers(index, damaged.model.items())
            index.verify()
    except SpdqError as error:
        _names_the_file(error, damaged)
        return f"verify: {type(error).__name__}"
    return _found_by_a_writer(damaged)


def _found_by_a_writer(damaged):
    model = damaged.model.copy()
    try:
        with Index.open(damaged.directory, writable=True) as index:
            model.next().apply(index)
            model.advance()
            assert content(index) == model.items()
            index.verify()
    except SpdqError as error:
        _names_the_file(error, damaged)
        return f"writer: {type(error).__name__}"
    return "harmless"


def _found_late(damaged):
    """The same where nothing is verified at opening: answers may be wrong, but no other errors than ours."""
    if damaged.kind in ("catalogue", "codebooks"):
        return "always verified"
    try:
        index = Index.open(damaged.directory, verify=False)
    except SpdqError as error:
        _names_the_file(error, damaged)
        return f"open: {type(error).__name__}"
    with index:
        try:
            content(index)
            assert_answers(index, damaged.model.items())
        except (AssertionError, SpdqError):
            pass  # The price of not verifying.
        try:
            index.verify()
        except SpdqError as error:
            _names_the_file(error, damaged)
            return f"verify: {type(error).__name__}"
    raise AssertionError("verify did not find it")


def _names_the_file(error, damaged):
    assert damaged.file.name in str(error), f"does not name {damaged.file.name}: {error!r}"
    assert isinstance(error, DamagedError) or damaged.kind == "catalogue", repr(error)


def _repaired(damaged):
    """What repairing saves: nothing that was not so, all that the damaged file did not hold."""
    items = damaged.model.items()
    try:
        done = Index.repair(damaged.directory)
    except SpdqError as error:
        _names_the_file(error, damaged)
        if damaged.kind in ("codebooks", "catalogue"):
            return f"refused: {type(error).__name__}"
        raise
    with Index.open(damaged.directory, writable=True) as index:
        index.verify()
        held = content(index)
        assert_answers(index, held)
    if not done:
        assert held == items
        return "nothing to repair"
    match damaged.kind:
        case "segment":
            assert len(held) < len(items)
            assert all(held[one] == items[one] for one in held)
        case "attributes":
            codes = {one: code for one, (code, _) in items.items()}
            assert {one: code for one, (code, _) in held.items()} == codes
            assert all(values in (items[one][1], UNKNOWN) for one, (_, values) in held.items())
        case "catalogue":  # Removed items may be back.
            assert all(held.get(one) == items[one] for one in items)
            assert all(held[one] in damaged.ever[one] for one in held)
        case kind:
            raise AssertionError(f"{kind} cannot be repaired")
    return "repaired"
