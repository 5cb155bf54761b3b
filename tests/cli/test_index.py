from __future__ import annotations

import json
import os

import numpy as np
import numpy.testing as npt
import pytest

from spdq.data.codes import Codes
from spdq.index import Index
from spdq.models import load_model


def test_an_index_of_all_images(world):
    with Index.open(world.index) as index:
        assert list(index.ids) == sorted(world.dataset.ids)
        assert index.metric == "ip"
        assert index.model_path == str(world.model.resolve())
        index.check_model(load_model(world.model).fingerprint)


@pytest.mark.parametrize("modality", ["image", "text", "unit"])
@pytest.mark.parametrize("rows", ["all", "database", "train"])
def test_from_a_data_set_or_from_its_codes(spdq, world, tmp_path, modality, rows):
    options = ("--model", world.model)
    done = spdq(
        "index",
        "build",
        tmp_path / "a",
        world.data,
        *options,
        "--modality",
        modality,
        "--rows",
        rows,
        "--json",
    )
    assert done.code == 0, done.err
    split = world.dataset.split
    chosen = np.arange(48) if rows == "all" else getattr(split, rows)
    assert json.loads(done.out)["items"] == len(chosen)
    spdq("encode", world.model, world.data, tmp_path / "c.h5", "--modality", modality)
    codes = Codes.load(tmp_path / "c.h5")
    Codes(codes.ids[chosen], codes.codes[chosen], *(getattr(codes, name) for name in REST)).save(
        tmp_path / "c.h5"
    )
    assert spdq("index", "build", tmp_path / "b", tmp_path / "c.h5", *options).code == 0
    with Index.open(tmp_path / "a") as a, Index.open(tmp_path / "b") as b:
        npt.assert_array_equal(a.ids, b.ids)
        npt.assert_array_equal(a.codes, b.codes)


REST = ("bits", "model_fingerprint", "codebook_fingerprint", "modality")


def test_the_model_s_path_is_stored_absolute(spdq, world, tmp_path, monkeypatch):
    monkeypatch.chdir(world.folder)
    assert spdq("index", "build", tmp_path / "i", "data.h5", "--model", "model").code == 0
    monkeypatch.chdir(tmp_path)
    assert spdq("search", "i", "--text", "red").code == 0


def test_info(spdq, world):
    done = spdq("index", "info", world.index, "--json")
    stats = json.loads(done.out)
    assert (stats["items"], stats["bits"], stats["metric"], stats["writable"]) == (48, 16, "ip", False)
    # Of 48 drawings: only that both errors are known, and of the same things.
    assert 0.2 < stats["drift"] < 5
    assert spdq("index", "verify", world.index).out.splitlines()[1] == "verified\tyes"


def test_verify_finds_damage(spdq, world, tmp_path):
    assert spdq("index", "build", tmp_path / "i", world.data, "--model", world.model).code == 0
    (segment,) = (tmp_path / "i" / "segments").glob("*.safetensors")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.chmod(0o644)
    segment.write_bytes(content)
    done = spdq("index", "verify", tmp_path / "i")
    assert done.code == 5
    assert "checksum mismatch" in done.err


def other_codes(world, tmp_path, **changes):
    model = load_model(world.model)
    parts = {
        "ids": np.arange(2),
        "codes": np.zeros((2, 2), np.uint8),
        "bits": 16,
        "model_fingerprint": model.fingerprint,
        "codebook_fingerprint": model.codebooks.fingerprint,
        "modality": "image",
    }
    Codes(**{**parts, **changes}).save(tmp_path / "c.h5")
    return tmp_path / "c.h5"


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({"model_fingerprint": "ab" * 32}, [], 6, "c.h5 was encoded with model abababababab, this is "),
        ({"codebook_fingerprint": "ab" * 32}, [], 6, "c.h5 was encoded with model "),
        ({"codes": np.full((2, 3), 7, np.uint8)}, [], 4, "expected codes of shape (n, 2), got (2, 3)"),
        ({}, ["--modality", "image"], 2, "c.h5 holds codes (image): --modality and --rows are for data sets"),
        ({}, ["--rows", "all"], 2, "--modality and --rows are for data sets"),
    ],
)
def test_codes_that_do_not_fit(spdq, world, tmp_path, changes, options, code, message):
    source = other_codes(world, tmp_path, **changes)
    done = spdq("index", "build", tmp_path / "i", source, "--model", world.model, *options)
    assert done.code == code
    assert message in done.err
    assert os.listdir(tmp_path) == ["c.h5"]


def test_where_an_index_can_be(spdq, world, tmp_path):
    done = spdq("index", "build", world.index, world.data, "--model", world.model)
    assert done.code == 2
    assert "already exists: choose another directory" in done.err
    done = spdq("index", "build", tmp_path / "no" / "i", world.data, "--model", world.model)
    assert done.code == 3
    assert "folder not found" in done.err


def test_rows_of_a_split_that_is_not_there(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "d.h5")
    done = spdq(
        "index", "build", tmp_path / "i", tmp_path / "d.h5", "--model", world.model, "--rows", "train"
    )
    assert done.code == 4
    assert "has no split: use --rows all" in done.err


def test_a_full_disk_leaves_nothing(run, world, tmp_path):
    code = (
        "import resource\nfrom spdq_cli.main import main\n"
        "import spdq.models.spdq, spdq.index.store, spdq_kernels\nspdq_kernels.warmup()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\nmain()"
    )
    done = run("index", "build", tmp_path / "i", world.data, "--model", world.model, command=("-c", code))
    assert done.code == 8, done.err
    assert os.listdir(tmp_path) == []


def stats(spdq, path):
    done = spdq("index", "info", path, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.fixture
def vectors(tmp_path):
    """A .npy file of 600 vectors (600, 16), and the vectors."""
    made = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    np.save(tmp_path / "v.npy", made)
    return tmp_path / "v.npy", made


def test_labels_become_an_attribute(spdq, world):
    assert stats(spdq, world.index)["attributes"] == {"labels": "set"}
    where = "has(labels, 'colour:red') and not has(labels, 'shape:bar')"
    done = spdq("search", world.index, "--text", "green bar", "-k", 48, "--where", where, "--json")
    labels = {str(key): row for key, row in zip(world.dataset.ids, world.dataset.labels, strict=True)}
    names = world.dataset.label_names
    expected = [
        key
        for key, row in labels.items()
        if row[names.index("colour:red")] and not row[names.index("shape:bar")]
    ]
    assert sorted(hit["id"] for hit in json.loads(done.out)["hits"]) == sorted(expected)


def test_vectors_codes_and_codebooks_in_files(spdq, tmp_path, vectors):
    file, made = vectors
    done = spdq("index", "build", tmp_path / "a", file, "--bits", 32, "--metric", "ip", "--opq", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["items"], facts["bits"], facts["metric"], facts["kind"]) == (600, 32, "ip", "product")
    assert facts["drift"] == pytest.approx(1, abs=0.2)
    with Index.open(tmp_path / "a") as a:
        assert a.codebooks.rotation is not None
        np.save(tmp_path / "c.npy", a.codes)
    (tmp_path / "ids.txt").write_text("".join(f"item {row}\n" for row in range(600)))
    done = spdq(
        *("index", "build", tmp_path / "b", tmp_path / "c.npy"),
        *(
            "--codebooks",
            tmp_path / "a" / "codebooks.safetensors",
            "--ids",
            tmp_path / "ids.txt",
            "--metric",
            "ip",
        ),
    )
    assert done.code == 0, done.err
    with Index.open(tmp_path / "a") as a, Index.open(tmp_path / "b") as b:
        npt.assert_array_equal(a.search(made[:3], 5)[0], b.search(made[:3], 5)[0])
        assert b.search(made[:3], 5)[1].tolist() == [
            [f"item {row}" for row in found] for found in a.search(made[:3], 5)[1]
        ]


def test_adding_replacing_removing_and_compacting(spdq, tmp_path, vectors):
    file, _ = vectors
    index = tmp_path / "i"
    (tmp_path / "a.csv").write_text("id,year\n" + "".join(f"{row},{1900 + row}\n" for row in range(600)))
    done = spdq("index", "build", index, file, "--bits", 16, "--attributes", tmp_path / "a.csv")
    assert done.code == 0, done.err
    assert stats(spdq, index)["attributes"] == {"year": "int"}
    done = spdq("index", "add", index, file, "--json")
    assert json.loads(done.out) == {"added": 600, "replaced": 0, "items": 1200}
    np.save(tmp_path / "ids.npy", np.arange(1100, 1700))
    again = ("index", "add", index, file, "--ids", tmp_path / "ids.npy", "--json")
    done = spdq(*again)
    assert (done.code, "duplicate id 1100" in done.err) == (4, True)
    assert json.loads(spdq(*again, "--update").out) == {"added": 500, "replaced": 100, "items": 1700}
    assert json.loads(spdq("index", "remove", index, "--where", "year < 1910", "--json").out)["removed"] == 10
    assert json.loads(spdq("index", "remove", index, "10", "11", "--json").out)["items"] == 1688
    done = spdq("index", "remove", index, "12", "11")
    assert (done.code, "no item has the id 11" in done.err) == (4, True)
    (tmp_path / "gone.txt").write_text("12\n11\n")
    done = spdq("index", "remove", index, "--ids", tmp_path / "gone.txt", "--ignore-missing", "--json")
    assert json.loads(done.out)["removed"] == 1
    assert stats(spdq, index)["removed"] == 113
    compacted = json.loads(spdq("index", "compact", index, "--json").out)
    assert (compacted["items"], compacted["segments"]) == (1687, 1)
    assert compacted["bytes"] < compacted["bytes_before"]
    assert stats(spdq, index)["removed"] == 0
    assert spdq("index", "verify", index).code == 0


def test_items_of_a_data_set_are_added_with_the_index_s_model(spdq, world, tmp_path):
    index = tmp_path / "i"
    options = ("--rows", "train", "--modality", "unit")
    assert spdq("index", "build", index, world.data, "--model", world.model, *options).code == 0
    done = spdq("index", "add", index, world.data, "--modality", "unit", "--update", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == 48
    with Index.open(index) as added:
        assert added.select("has(labels, 'colour:red')").tolist() == sorted(
            key for key in world.dataset.ids.tolist() if key.startswith("red") and key != world.dataset.ids[1]
        )


def test_repair_says_what_it_did(spdq, world, tmp_path):
    index = tmp_path / "i"
    assert spdq("index", "build", index, world.data, "--model", world.model).code == 0
    assert spdq("index", "repair", index).out == "nothing is damaged\n"
    (attributes,) = (index / "segments").glob("*.db")
    attributes.chmod(0o644)
    attributes.write_bytes(b"nothing")
    done = spdq("index", "verify", index)
    assert done.code == 5
    assert 'Run "spdq index repair"' in done.err
    done = json.loads(spdq("index", "repair", index, "--json").out)["done"]
    assert any("the attributes of 48 items are lost" in line for line in done)
    assert spdq("index", "verify", index).code == 0
    assert spdq("search", index, "--text", "red", "-k", 1).code == 0


def test_exports_and_imports(spdq, world, tmp_path, vectors):
    file, made = vectors
    assert spdq("index", "build", tmp_path / "a", file, "--bits", 32).code == 0
    assert spdq("index", "export", tmp_path / "a", tmp_path / "a.faiss").code == 0
    assert spdq("index", "import", tmp_path / "a.faiss", tmp_path / "b").code == 0
    assert spdq("index", "export", tmp_path / "a", tmp_path / "a.npy").code == 0
    with Index.open(tmp_path / "a") as a, Index.open(tmp_path / "b") as b:
        npt.assert_array_equal(a.codes, b.codes)
        npt.assert_array_equal(a.search(made[:2])[1], b.search(made[:2])[1])
        npt.assert_array_equal(np.load(tmp_path / "a.npy"), a.codes)
        npt.assert_array_equal(np.load(tmp_path / "a.ids.npy"), a.ids)
    done = spdq("index", "export", world.index, tmp_path / "w.npy", "--json")
    assert json.loads(done.out)["files"] == f"{tmp_path / 'w.npy'}, {tmp_path / 'w.ids.txt'}"
    assert (tmp_path / "w.ids.txt").read_text().splitlines() == sorted(world.dataset.ids.tolist())
    assert spdq("index", "export", world.index, tmp_path / "w.h5", "--modality", "image").code == 0
    done = spdq("index", "build", tmp_path / "again", tmp_path / "w.h5", "--model", world.model)
    assert done.code == 0, done.err
    with Index.open(world.index) as a, Index.open(tmp_path / "again") as b:
        npt.assert_array_equal(a.codes, b.codes)


def test_range(spdq, world):
    every = json.loads(spdq("search", world.index, "--text", "red", "-k", 48, "--json").out)["hits"]
    radius = every[5]["distance"]
    found = json.loads(spdq("search", world.index, "--text", "red", "--range", radius, "--json").out)["hits"]
    assert found == [hit for hit in every if hit["distance"] > radius]
    done = spdq("search", world.index, "--queries", world.data, "--range", radius, "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert len(answers) == len(world.dataset.split.query)
    assert all(hit["distance"] > radius for answer in answers for hit in answer["hits"])


@pytest.fixture(scope="module")
def bad(spdq, world, tmp_path_factory):
    """Paths for ``test_bad_arguments``; nothing there changes them."""
    folder = tmp_path_factory.mktemp("bad")
    made = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    arrays = {
        "v": made,
        "codes": np.zeros((5, 2), np.uint8),
        "flat": made[0],
        "some": np.arange(1000, 1600),
        "few": made[:20],
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "text.npy").write_text("text")
    (folder / "short.txt").write_text("1\n")
    (folder / "j.jsonl").write_text('{"id": 1000, "colour": "red"}\n')
    assert spdq("index", "build", folder / "numbers", folder / "few.npy", "--bits", 8).code == 0
    return {
        **{name: folder / f"{name}.npy" for name in (*arrays, "text")},
        "short": folder / "short.txt",
        "json": folder / "j.jsonl",
        "numbers": folder / "numbers",
        "data": world.data,
        "model": world.model,
        "index": world.index,
    }


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("index build {out} {v} --model m", 2, "--model, --modality and --rows are for data sets"),
        ("index build {out} {data}", 2, "needs --model MODEL_DIR"),
        ("index build {out} {data} --model {model} --bits 8", 2, "are for vectors without a model"),
        ("index build {out} {v} --codebooks {model} --bits 8", 2, "for codebooks that are learned"),
        (
            "index build {out} {data} --model {model} --ids {short}",
            2,
            "--ids and --codebooks are for .npy files",
        ),
        ("index build {out} {codes}", 2, "codes need --codebooks"),
        ("index build {out} {v} --bits 12", 2, "bits must be a multiple of 8"),
        ("index build {out} {flat}", 4, "expected vectors (n, D) of floats or codes (n, M) uint8"),
        ("index build {out} {text}", 4, "not an array file of NumPy"),
        ("index build {out} {out}.npy", 3, "file not found"),
        ("index build {out} {v} --ids {text}", 4, "not an array file of NumPy"),
        ("index build {out} {v} --ids {v}", 4, "expected ids (n,) of integers"),
        ("index build {out} {v} --ids {short}", 4, "expected 600 ids"),
        ("index add {index} {v} --model {model}", 2, "are for data sets and codes"),
        ("index add {index} {data} --ids {short}", 2, "--ids is for .npy files"),
        ("index add {index} {data}", 4, 'duplicate id "black-bar-0"'),
        ("index add {numbers} {v} --ids {some} --attributes {json}", 4, "unknown attribute 'colour'"),
        ("index add {numbers} {v} --attributes {json}", 2, "give the ids of the items to add"),
        ("index remove {index}", 2, "and only one of them"),
        ("index remove {index} a --where 1", 2, "and only one of them"),
        ("index remove {numbers} a", 2, "this index has int ids: expected integers"),
        ("index remove {index} --where colour=1", 2, "no such column: colour"),
        ("index export {index} {out}.faiss", 2, "additive"),
        ("index export {index} {out}.txt", 2, "expected the name of a .faiss, .npy or .h5 file"),
        ("index export {index} {out}.h5", 2, "and --modality"),
        ("index import {text} {out}", 6, ""),
        ("search {index} --text red --where colour=1", 2, "The attributes are labels (set)"),
        ("search {index} --text red --range nan", 2, "radius must not be NaN"),
    ],
)
def test_bad_arguments(spdq, bad, tmp_path, args, code, message):
    done = spdq(*args.format(out=tmp_path / "out", **bad).split())
    assert done.code == code, done.err
    assert message in done.err
    assert os.listdir(tmp_path) == []
    assert "internal error" not in done.err


def test_a_build_that_is_interrupted_goes_on(process, run, tmp_path):
    np.save(tmp_path / "c.npy", np.zeros((40_000, 2), np.uint8))
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32))
    assert run("index", "build", tmp_path / "a", tmp_path / "v.npy", "--bits", 16).code == 0
    slow = (
        "import spdq.index.building as b, time\nb.BATCH_BYTES = 8000\nadd = b.Batch.add_to\n"
        "def slowly(batch, index):\n    add(batch, index); print(len(index), flush=True); time.sleep(0.2)\n"
        "b.Batch.add_to = slowly\nfrom spdq_cli.main import main\nmain()"
    )
    build = ("index", "build", tmp_path / "b", tmp_path / "c.npy")
    build += ("--codebooks", tmp_path / "a" / "codebooks.safetensors")
    with process(*build, command=("-c", slow)) as started:
        added = int(started.stdout.readline())
        started.send_signal(2)
        started.communicate()
    assert started.returncode == 130
    assert added == 4000
    assert not (tmp_path / "b").exists()
    done = run(*build, "--resume", "--seed", 1)
    assert done.code == 2
    assert "of another input or other settings" in done.err
    (tmp_path / "a.csv").write_text("id\n")
    done = run(*build, "--resume", "--attributes", tmp_path / "a.csv")
    assert done.code == 2
    done = run(*build, "--resume", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == 40_000
    assert not list(tmp_path.glob(".*"))
