"""Readers see whole generations while another process writes; of many writers one writes."""

from __future__ import annotations

import json
import sqlite3
from itertools import count
from types import SimpleNamespace

import pytest
from faults_model import ATTRIBUTES, CODEBOOKS, Model, Script, assert_holds

from spdq.index import Index, store

WRITERS = 8
READERS = 4
SLOWEST_REFUSAL = 1.0
"""Seconds."""


def test_readers_beside_a_writer(nursery, tmp_path, full, figures):
    """Each answer is that of the model at the reader's generation, which never goes back."""
    path, log = tmp_path / "index", tmp_path / "log"
    log.touch()
    script = Script("str", 31)
    Index.create(path, CODEBOOKS, ids="str", attributes=ATTRIBUTES).close()
    writer = nursery.start("write", path=path, script=script, step=0, log=log)
    seconds = 30 if full else 4
    readers = [
        nursery.start("follow", path=path, script=script, log=log, seconds=seconds) for _ in range(READERS)
    ]
    for child in (writer, *readers):
        child.go()
    outcomes = [reader.outcome() for reader in readers]
    writer.kill()
    status, step, text = writer.outcome()
    assert status == -9, f"the writer ended after change {step}: {text}"
    assert [status for status, *_ in outcomes] == [0] * READERS, "\n".join(text for *_, text in outcomes)
    read = [json.loads(text) for *_, text in outcomes]
    figures |= {
        "changes": step,
        "reads": sum(one["reads"] for one in read),
        "generations seen": sum(one["generations"] for one in read),
    }
    assert all(one["generations"] > 5 for one in read)


def test_writers_at_once(nursery, tmp_path, full, figures):
    """The one that writes stays until all others have been refused."""
    path, model = tmp_path / "index", Model(Script("int", 41))
    Index.create(path, CODEBOOKS, ids="int", attributes=ATTRIBUTES).close()
    figures |= {"rounds": 0, "refused": 0, "slowest refusal in s": 0.0}
    for _ in range(100 if full else 5):
        job = {"path": path, "script": model.script, "step": model.step}
        children = [nursery.start("contend", **job) for _ in range(WRITERS)]
        for child in children:
            child.go()

        def decided(children=children, last=model.step):
            ended = sum(child.ended() for child in children)
            return ended == WRITERS - 1 or sum(child.report.step > last for child in children) > 1

        children[0].wait_until(decided)
        for child in children:
            child.go(2)
        outcomes = [child.outcome() for child in children]
        assert [status for status, *_ in outcomes] == [0] * WRITERS, outcomes
        refused = [json.loads(text) for _, step, text in outcomes if step == model.step]
        assert len(refused) == WRITERS - 1, "more than one wrote"
        for one in refused:
            assert f"is writing to {path}" in one["error"]
            assert one["seconds"] <= SLOWEST_REFUSAL
            figures["slowest refusal in s"] = max(figures["slowest refusal in s"], round(one["seconds"], 3))
        figures["rounds"] += 1
        figures["refused"] += len(refused)
        model.advance()
        status, found, text = nursery.run("check", path=path, model=model).outcome()
        assert (status, text, found) == (0, "", model.step)


@pytest.mark.parametrize("moment", ["map_file", "check_container", "open_attributes", "connect"])
def test_segments_that_are_replaced_while_a_reader_opens_them(tmp_path, monkeypatch, moment):
    """A writer merges them just before the reader does its next step: it must begin anew, not call it damage."""
    place = SimpleNamespace(**vars(sqlite3)) if moment == "connect" else store
    model, real = Model(Script("str", 51, ("add",) * 3)).advance(3), getattr(place, moment)
    for nth in range(6 if moment == "map_file" else 3):
        path, calls = tmp_path / f"index{nth}", count()
        with Index.create(path, CODEBOOKS, ids="str", attributes=ATTRIBUTES) as writer:
            for step in (1, 2, 3):
                model.script.change(step, writer.ids.tolist()).apply(writer)

            def late(*given, writer=writer, calls=calls, nth=nth, **named):
                if next(calls) == nth:
                    writer.compact()
                return real(*given, **named)

            with monkeypatch.context() as patch:
                patch.setattr(store, "sqlite3", place if moment == "connect" else sqlite3)
                patch.setattr(place, moment, late)
                reader = Index.open(path)
            with reader:
                assert len(reader.code_blocks) == 1
                assert_holds(reader, model.items())
