"""Ray encodes as one process does, and takes up what is done."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_encodings import case, plain, store, texts, worker
from made_models import trained, trained_on_pictures
from PIL import Image

from spdq.data.items import Items
from spdq.distributed import encoding
from spdq.distributed.encoding import encode_on_ray, working_path
from spdq.errors import DataError, IncompatibleError, StorageError, UnavailableError, UsageError
from spdq.models.encoding import CHUNK, Missing


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Folders of the two models."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name, model in (("texts", trained()), ("pictures", trained_on_pictures())):
        model.save_pretrained(folder / name)
        made[model.fingerprint] = folder / name
    return made


@pytest.mark.parametrize(("kind", "workers"), [
    ("pictures", 1), ("features", 2), ("sparse", 1), ("units", 3), ("texts", 2), ("one text", 3),
])  # fmt: skip
def test_the_bytes_are_those_of_one_process(local_ray, stored, tmp_path, kind, workers):
    model, modality, items = case(kind, tmp_path)
    expected, lacked = plain(model, modality, items, tmp_path / "plain.h5")
    seen = []
    out = tmp_path / "ray.h5"
    made, missing = encode_on_ray(
        model, stored[model.fingerprint], items, modality, out, n_workers=workers,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert out.read_bytes() == expected
    assert missing == lacked
    assert (missing == Missing()) == (kind == "features" or kind == "sparse" or kind == "one text")
    assert len(made) == len(items)
    assert seen[-1] == (len(items), len(items))
    assert not working_path(out).exists()


def test_what_is_done_is_not_done_again(local_ray, stored, tmp_path):
    model, modality, items = case("texts", tmp_path)
    expected, lacked = plain(model, modality, items, tmp_path / "plain.h5")
    out, folder = tmp_path / "ray.h5", working_path(tmp_path / "ray.h5")
    store(model, modality, items, out, {0, CHUNK, 2 * CHUNK})
    damaged = folder / f"{CHUNK:012d}.part"
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[:-1] + b"?")
    before, after, seen = inodes(folder), {}, []

    def look(done, total):
        seen.append(done)
        after.update(inodes(folder))

    _, missing = encode_on_ray(
        model, stored[model.fingerprint], items, modality, out, n_workers=1, resume=True, progress=look
    )
    assert (out.read_bytes(), missing) == (expected, lacked)
    assert seen == [len(items)]
    assert {name for name in before if after[name] != before[name]} == {damaged.name}


def inodes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in folder.glob("*.part")}


def test_all_done_needs_no_ray(stored, tmp_path, monkeypatch):
    model, modality, items = case("texts", tmp_path)
    expected, lacked = plain(model, modality, items, tmp_path / "plain.h5")
    out = tmp_path / "ray.h5"
    store(model, modality, items, out, {0, CHUNK, 2 * CHUNK})
    monkeypatch.setattr(encoding, "ray_session", None)
    _, missing = encode_on_ray(model, stored[model.fingerprint], items, modality, out, resume=True)
    assert (out.read_bytes(), missing) == (expected, lacked)
    assert not working_path(out).exists()


def test_other_items_do_not_take_up_what_is_done(stored, tmp_path):
    model, modality, items = case("texts", tmp_path)
    out, folder = tmp_path / "ray.h5", stored[model.fingerprint]
    store(model, modality, items, out, {0})
    changed = replace(items, texts=[*items.texts[:-1], "blue"])
    with pytest.raises(IncompatibleError, match=r"\.ray\.h5\.partial is of another run \(other input\)"):
        encode_on_ray(model, folder, changed, modality, out, resume=True)
    with pytest.raises(UsageError, match="holds an encoding that was not finished: go on with --resume"):
        encode_on_ray(model, folder, items, modality, out)
    assert sorted(os.listdir(tmp_path)) == [".ray.h5.partial"]


def test_a_killed_worker_is_replaced(local_ray, stored, tmp_path):
    model, modality, items = trained(), "text", Items(np.arange(40 * CHUNK), texts(40 * CHUNK), None)
    expected, _ = plain(model, modality, items, tmp_path / "plain.h5")
    killed, seen = [], []

    def kill_one(done, total):
        seen.append(done)
        if not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    out = tmp_path / "ray.h5"
    encode_on_ray(model, stored[model.fingerprint], items, modality, out, n_workers=2, progress=kill_one)
    assert out.read_bytes() == expected
    assert (len(killed), seen[-1]) == (1, len(items))


def workers() -> list[int]:
    """Numbers of the processes that encode."""
    return [int(line.parent.name) for line in Path("/proc").glob("[0-9]*/cmdline") if is_worker(line)]


def is_worker(line: Path) -> bool:
    try:
        return "ray::MapWorker(MapBatches(Encoder))" in line.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_that_only_die(local_ray, tmp_path, monkeypatch):
    model, modality, items = case("texts", tmp_path)
    monkeypatch.setattr(encoding, "Encoder", worker(lambda block: os._exit(1)))
    with pytest.raises(UnavailableError, match="a worker is lost"):
        encode_on_ray(model, tmp_path, items, modality, tmp_path / "ray.h5", n_workers=1)
    assert os.listdir(tmp_path) == []


def test_a_broken_picture_is_named_as_it_was_given(local_ray, stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("good.png")
    Path("bad.png").write_bytes(b"no picture")
    model = trained_on_pictures()
    items = Items(np.arange(CHUNK + 1), None, [*[Path("good.png")] * CHUNK, Path("bad.png")])
    with pytest.raises(DataError, match=r"^bad\.png: not a JPEG, PNG or WebP picture"):
        encode_on_ray(model, stored[model.fingerprint], items, "image", Path("ray.h5"), n_workers=1)
    # The first chunk is done, so there is something to go on with.
    assert sorted(os.listdir()) == [".ray.h5.partial", "bad.png", "good.png"]


def test_the_model_is_another_one_by_now(local_ray, stored, tmp_path):
    model, modality, items = case("one text", tmp_path)
    other = stored[trained_on_pictures().fingerprint]
    with pytest.raises(IncompatibleError, match="does not hold the model of this run: it was changed since"):
        encode_on_ray(model, other, items, modality, tmp_path / "ray.h5", n_workers=1)
    assert os.listdir(tmp_path) == []


def test_workers_that_store_elsewhere(local_ray, stored, tmp_path, monkeypatch):
    model, modality, items = case("one text", tmp_path)
    said = {"items": [1], "error": [""], "message": [""]}
    monkeypatch.setattr(encoding, "Encoder", worker(lambda block: type(block).from_pydict(said)))
    with pytest.raises(
        UnavailableError, match=r"stored nothing in .*\.ray\.h5\.partial: is it one folder to all"
    ):
        encode_on_ray(model, stored[model.fingerprint], items, modality, tmp_path / "ray.h5", n_workers=1)


def test_the_number_of_workers(tmp_path):
    model, modality, items = case("one text", tmp_path)
    with pytest.raises(UsageError, match="expected 1 or more workers, got 0"):
        encode_on_ray(model, tmp_path, items, modality, tmp_path / "ray.h5", n_workers=0)


def test_the_output_cannot_be_written(stored, tmp_path):
    model, modality, items = case("texts", tmp_path)
    out = tmp_path / "ray.h5"
    store(model, modality, items, out, {0, CHUNK, 2 * CHUNK})
    out.mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*ray\.h5"):
        encode_on_ray(model, stored[model.fingerprint], items, modality, out, resume=True)
    assert len(inodes(working_path(out))) == 3
