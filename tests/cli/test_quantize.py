from __future__ import annotations

import json

import numpy as np
import numpy.testing as npt
import pytest

from spdq.models import load_model
from spdq.quantizers.additive import AdditiveQuantizer
from spdq_cli import encoding


@pytest.mark.parametrize(("modality", "rows"), [("image", "all"), ("text", "database"), ("unit", "train")])
def test_codebooks_are_those_of_the_items(spdq, world, tmp_path, modality, rows):
    made = tmp_path / "made"
    options = ("--modality", modality, "--rows", rows, "--seed", "4", "--json")
    done = spdq("quantize", world.model, world.data, made, *options)
    assert done.code == 0, done.err
    before, after = load_model(world.model), load_model(made)
    split = world.dataset.split
    chosen = np.arange(48) if rows == "all" else getattr(split, rows)
    image = world.dataset.image_features[chosen]
    text = after.text_features([world.dataset.texts[row] for row in chosen])
    vectors = {
        "image": lambda: before.embed_image(image),
        "text": lambda: before.embed_text(text),
        "unit": lambda: before.embed_unit(image, text),
    }[modality]()
    expected = AdditiveQuantizer(2, along=2.0, random_state=4).fit(vectors).codebooks_
    npt.assert_array_equal(after.codebooks.words, expected.words)
    npt.assert_array_equal(after.embed_image(image), before.embed_image(image))
    assert after.training == {**before.training, "codebooks": f"{len(chosen)} items, seed 4"}
    assert json.loads(done.out) == {
        "model": str(made), "bits": 16, "items": len(chosen), "modality": modality, "seed": 4,
        "fingerprint": after.fingerprint,
    }  # fmt: skip


def test_another_code_length(spdq, world, tmp_path):
    done = spdq("quantize", world.model, world.data, tmp_path / "made", "--bits", "32", "--json")
    assert done.code == 0, done.err
    model = load_model(tmp_path / "made")
    assert (model.config.bits, model.codebooks.bits, json.loads(done.out)["bits"]) == (32, 32, 32)


def test_of_many_items_a_part_is_embedded(spdq, world, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "MAX_FIT_ROWS", 20)
    made = []
    for number, seed in enumerate((0, 0, 1)):
        done = spdq("quantize", world.model, world.data, tmp_path / str(number), "--seed", seed, "--json")
        assert json.loads(done.out)["items"] == 20
        made.append(load_model(tmp_path / str(number)).codebooks.words)
    npt.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_the_new_model_serves_everything(spdq, world, tmp_path):
    made = tmp_path / "made"
    assert spdq("quantize", world.model, world.data, made).code == 0
    done = spdq("index", "build", tmp_path / "index", world.data, "--model", made)
    assert done.code == 0, done.err
    found = spdq("search", tmp_path / "index", "--text", "red bar", "-k", "3")
    assert found.code == 0, found.err
    assert len(found.out.splitlines()) >= 3
    other = spdq("search", tmp_path / "index", "--text", "red bar", "--model", world.model)
    assert other.code == 6


def test_a_directory_with_a_model_is_left_alone(spdq, world):
    done = spdq("quantize", world.model, world.data, world.model)
    assert (done.code, "already holds a model" in done.err) == (2, True)


def test_rows_of_a_split_need_one(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "d.h5")
    done = spdq("quantize", world.model, tmp_path / "d.h5", tmp_path / "made", "--rows", "database")
    assert (done.code, "has no split: use --rows all" in done.err) == (4, True)
