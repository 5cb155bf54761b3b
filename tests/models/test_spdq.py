from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import oracles_models as oracle
import pytest
import torch
from made_models import N_ITEMS, NAMES, trained, worded
from scipy import sparse

from spdq import load_model
from spdq.errors import DamagedError, IncompatibleError, UsageError
from spdq.models.directory import write_model
from spdq.models.network import BATCH
from spdq.models.spaces import UNIT_IMAGE_WEIGHT
from spdq.models.spdq import SPDQModel, branches


@pytest.fixture(scope="module", params=["default", "paper"])
def model(request):
    return trained(request.param)


def stored(model):
    """What is stored, as it comes back."""
    made = model.to_parts()
    return replace(made, config=json.loads(json.dumps(made.config)))


@pytest.fixture
def parts(model):
    return stored(model)


def inputs(model):
    texts = model.text_features(worded().texts)
    return {"image": worded().image_features, "text": texts}


def twin_branches(model, modality):
    state = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
    return oracle.tower(state, f"{modality}.", model.inputs[modality](inputs(model)[modality]))


def twin_vectors(model, modality):
    shared, logits = twin_branches(model, modality)
    if model.config.recipe == "paper":
        return shared @ getattr(model.space, modality).T
    sets = model.config.label_sets
    return [
        oracle.predictive_vector(*pair, sets) for pair in zip(shared.tolist(), logits.tolist(), strict=True)
    ]


def scaled(model, rows):
    """The twin's instance parts have length 1, the model's their own."""
    rows = np.array(rows)
    if model.config.recipe == "default":
        rows[:, len(NAMES) :] *= model.config.instance_scale
    return rows


def test_embeddings_equal_the_twin(model):
    given = inputs(model)
    image, text = twin_vectors(model, "image"), twin_vectors(model, "text")
    np.testing.assert_allclose(model.embed_image(given["image"]), scaled(model, image), atol=1e-4)
    np.testing.assert_allclose(model.embed_text(given["text"]), scaled(model, text), atol=1e-4)
    if model.config.recipe == "paper":
        units = (image + text) / 2
    else:
        sets = model.config.label_sets
        units = [
            oracle.predictive_unit(*pair, sets, UNIT_IMAGE_WEIGHT) for pair in zip(image, text, strict=True)
        ]
    np.testing.assert_allclose(
        model.embed_unit(given["image"], given["text"]), scaled(model, units), atol=1e-4
    )


@pytest.mark.parametrize("modality", ["image", "text"])
def test_posteriors_are_the_logits(model, modality):
    found = model.posteriors(modality, inputs(model)[modality])
    assert found.shape == (N_ITEMS, len(NAMES))
    np.testing.assert_allclose(found, twin_branches(model, modality)[1], atol=1e-3)


def test_query_weights(model):
    vectors = model.embed_text(inputs(model)["text"])
    default = model.weigh_query(vectors, "text")
    np.testing.assert_array_equal(default, model.weigh_query(vectors, "text", model.config.instance_weight))
    by_meaning = model.weigh_query(vectors, "text", 0.0)
    if model.config.recipe == "paper":
        np.testing.assert_array_equal(by_meaning, vectors)
        return
    np.testing.assert_array_equal(by_meaning[:, : len(NAMES)], vectors[:, : len(NAMES)])
    assert not by_meaning[:, len(NAMES) :].any()
    np.testing.assert_allclose(
        default[:, len(NAMES) :],
        vectors[:, len(NAMES) :] * model.config.instance_weight / model.config.instance_scale**2,
        rtol=1e-6,
    )


def test_branches_do_not_depend_on_the_batch():
    model = trained()
    rows = np.random.default_rng(0).normal(size=(2 * BATCH + 3, 12)).astype(np.float32)
    whole = branches(model.network.image, rows)
    for at in (0, BATCH - 1, BATCH, 2 * BATCH + 2):
        for part, alone in zip(whole, branches(model.network.image, rows[at : at + 1]), strict=True):
            np.testing.assert_allclose(part[at : at + 1], alone, atol=1e-5)
    assert [part.shape for part in whole] == [(len(rows), 32), (len(rows), len(NAMES))]
    assert [part.shape for part in branches(model.network.image, rows[:0])] == [(0, 32), (0, len(NAMES))]


@pytest.mark.parametrize("along", [None, 1.0, 4.0])
def test_how_codes_are_chosen_is_kept(along):
    model = trained()
    model.codebooks = replace(model.codebooks, along=1.0 if along is None else along)
    parts = stored(model)
    if along is None:  # Models of before had no such number.
        del parts.tensors["codebooks.along"]
    assert SPDQModel.from_parts(parts).codebooks.along == (along or 1.0)


def test_a_model_does_not_drop_out():
    network = SPDQModel.build_network(trained().config, trained().inputs, None).train()
    assert not SPDQModel.from_parts(stored(trained())).network.training
    given = torch.ones(2, 12)
    assert torch.equal(*network.image(given).logits)


def test_a_built_network_has_the_stored_names_and_shapes(model):
    built = SPDQModel.build_network(model.config, model.inputs, None).state_dict()
    kept = model.network.state_dict()
    assert {name: tensor.shape for name, tensor in built.items()} == {
        name: tensor.shape for name, tensor in kept.items()
    }
    assert ("text.direct_shared.weight" in built) == model.config.direct_text


def test_stored_tensors_are_named_by_their_part(parts, model):
    heads = {name.partition(".")[0] for name in parts.tensors}
    assert heads == {"network", "input", "codebooks"} | (
        {"space"} if model.config.recipe == "paper" else set()
    )
    assert parts.config["model_type"] == "spdq"


def without(parts, name):
    return replace(parts, tensors={key: tensor for key, tensor in parts.tensors.items() if key != name})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace(p, config=p.config | {"image_input": "pca"}), r"model: unknown input map 'pca'"),
        (lambda p: replace(p, config=p.config | {"text_input": "principal"}), "model: input map 'principal': exp"),
        (lambda p: without(p, "input.image.mean"), "model: input map 'standardise': expected tensors"),
        (lambda p: without(p, "codebooks.words"), r"model: 'words'\. Train anew"),
        (lambda p: replace(p, vocabulary={"format_version": 1}), "model: stored vocabulary: missing key"),
        (lambda p: replace(p, tensors=p.tensors | {"space.more": np.ones(3)}), "model: joint space"),
        (lambda p: without(p, "network.log_scale"), r"the network's tensors do not fit config\.json\. Train anew"),
        (lambda p: replace(p, tensors=p.tensors | {"network.more": np.ones(3)}), "network's tensors do not fit"),
        (lambda p: replace(p, config=p.config | {"hidden": 65}), "network's tensors do not fit"),
        (lambda p: replace(p, config=p.config | {"shared": 31}), "network's tensors do not fit"),
        (lambda p: replace(p, config=p.config | {"bits": 32}), "codebooks of .* and 16 bits, expected .* and 32"),
        (lambda p: replace(p, config=p.config | {"bits": 0}), r"config\.json: bits is 0"),
        (
            lambda p: replace(
                p, tensors=p.tensors | {"codebooks.words": p.tensors["codebooks.words"][:, :, 1:].copy()}
            ),
            "model: codebooks of .* dimensions and 16 bits, expected",
        ),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together(parts, change, message, tmp_path):
    """Through a directory too, whose hashes are right."""
    wrong = change(parts)
    with pytest.raises(DamagedError, match=message):
        SPDQModel.from_parts(wrong)
    write_model(tmp_path / "m", wrong)
    with pytest.raises(DamagedError, match=message):
        load_model(tmp_path / "m")


def test_the_other_recipe_has_another_space(parts):
    other = {"paper": "default", "default": "paper"}[parts.config["recipe"]]
    with pytest.raises(DamagedError, match="model: joint space"):
        SPDQModel.from_parts(replace(parts, config=parts.config | {"recipe": other}))


def test_a_newer_vocabulary(parts):
    with pytest.raises(IncompatibleError, match="stored vocabulary has format version 2"):
        SPDQModel.from_parts(replace(parts, vocabulary=parts.vocabulary | {"format_version": 2}))


def test_a_text_without_a_known_word_has_a_vector(model):
    vectors = model.embed_text(sparse.csr_matrix((1, model.text_width), dtype=np.float32))
    assert np.isfinite(vectors).all()


def test_codes_of_labels():
    model = trained("paper")
    labels = worded().labels
    expected = model.codebooks.encode(labels.astype(np.float32) @ model.space.prototypes.T)
    np.testing.assert_array_equal(model.encode_labels(labels), expected)
    with pytest.raises(UsageError, match='codes of labels exist for models of recipe "paper" only'):
        trained().encode_labels(labels)
