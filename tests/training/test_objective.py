from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_training as oracle
import pytest
import torch

from spdq.networks.spdq import SPDQNetwork
from spdq.training.alternation import LabelRows, initial_alignment
from spdq.training.objective import TRAINING_UNIT_IMAGE_WEIGHT, batch_terms
from spdq.training.recipes import RECIPES
from spdq.training.rows import training_rows
from spdq.training.teacher import make_lessons

DEFAULT = replace(
    RECIPES["default"], classification=2.1, contrastive=0.6, label_smoothing=0.05, distillation=0.0
)
PAPER = replace(RECIPES["paper"], alignment=0.3, mean_embedding=0.8, classification=1.7, align_dim=8)


def network_of(data, recipe):
    torch.manual_seed(0)
    sizes = {
        "hidden": 16,
        "shared": 12,
        "private": 6,
        "image_dropout": 0.1,
        "text_dropout": 0.1,
        "dropout": 0.5,
    }
    widths = data.inputs["image"].out_width, data.inputs["text"].out_width
    return SPDQNetwork(*widths, data.labels.shape[1], direct_text=recipe.direct_text, **sizes).eval()


def numbers(terms):
    return {name: float(term.detach()) for name, term in terms.items()}


def outputs_of(tower, inputs):
    return {name: part.detach().numpy() for name, part in tower(inputs)._asdict().items()}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def paper(data):
    """Rows, network and alignment of the paper's recipe."""
    rows = training_rows(data(), PAPER, 0)
    alignment = initial_alignment(LabelRows.of(rows.labels[rows.train].numpy()), 12, 8, 2, 256, 0)
    return rows, network_of(rows, PAPER), alignment


def test_the_default_terms_of_features(data):
    rows = training_rows(data(), DEFAULT, 0)
    network = network_of(rows, DEFAULT)
    batch = rows.train[5:37]
    found = numbers(batch_terms(network, rows, batch, DEFAULT, None, {}, np.random.default_rng(0)))

    image, text = outputs_of(network.image, rows.image[batch]), outputs_of(network.text, rows.text[batch])
    labels = data().labels[batch]
    scale = float(network.log_scale.detach().exp())
    expected = {
        "classification": 2.1
        * sum(oracle.classification(o["logits"], labels, rows.label_sets, 0.05) for o in (image, text)),
        "contrastive": 0.6 * oracle.contrastive(unit(image["shared"]), unit(text["shared"]), scale),
    }
    assert found == pytest.approx(expected, rel=1e-4)
    assert rows.label_sets[0][2]


def test_the_default_terms_of_texts_with_lines(data):
    rows = training_rows(data("raw"), DEFAULT, 0)
    network = network_of(rows, DEFAULT)
    batch = rows.train[:24]
    found = numbers(batch_terms(network, rows, batch, DEFAULT, None, {}, np.random.default_rng(9)))

    random = np.random.default_rng(9)
    texts = [outputs_of(network.text, rows.text_views(batch, DEFAULT, random)) for _ in range(2)]
    image = outputs_of(network.image, rows.image[batch])
    labels = data("raw").labels[batch]
    picture, first, second = (unit(output["shared"]) for output in (image, *texts))
    scale = float(network.log_scale.detach().exp())
    mixed = unit(TRAINING_UNIT_IMAGE_WEIGHT * picture + second)
    pairs = [(picture, first), (first, second), (first, mixed)]
    expected = {
        "classification": 2.1
        * sum(oracle.classification(o["logits"], labels, rows.label_sets, 0.05) for o in (image, *texts)),
        "contrastive": 0.6 * sum(oracle.contrastive(x, y, scale) for x, y in pairs),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_terms_of_the_paper(data, paper):
    rows, network, alignment = paper
    batch = rows.train[:31]
    found = numbers(batch_terms(network, rows, batch, PAPER, alignment, {}, np.random.default_rng(0)))

    image, text = outputs_of(network.image, rows.image[batch]), outputs_of(network.text, rows.text[batch])
    labels = data().labels[batch]
    together, apart = (
        oracle.mean_embedding(image[branch], text[branch], labels) for branch in ("shared", "private")
    )
    codes = np.zeros((len(batch), 2), np.uint8)
    aligned = oracle.alignment_cost(alignment, codes, image["shared"], text["shared"], labels, 0)
    expected = {
        "classification": 1.7
        * sum(oracle.classification(o["logits"], labels, rows.label_sets, 0) for o in (image, text)),
        "mean_embedding": 0.8 * (together - apart),
        "alignment": 0.3 * aligned / len(batch),
    }
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_without_an_alignment_its_term_is_left_out(paper):
    rows, network, _ = paper
    terms = batch_terms(network, rows, rows.train[:20], PAPER, None, {}, np.random.default_rng(0))
    assert set(terms) == {"classification", "mean_embedding"}


def test_a_batch_without_pairs_has_no_mean_embedding(paper):
    rows, network, alignment = paper
    terms = batch_terms(network, rows, rows.train[:1], PAPER, alignment, {}, np.random.default_rng(0))
    assert set(terms) == {"classification", "alignment"}


@pytest.mark.parametrize("name", ["classification", "mean_embedding", "contrastive", "alignment"])
def test_a_weight_of_zero_leaves_a_term_out(paper, name):
    rows, network, alignment = paper
    whole = replace(PAPER, contrastive=0.5)
    full, less = (
        numbers(batch_terms(network, rows, rows.train[:20], r, alignment, {}, np.random.default_rng(0)))
        for r in (whole, replace(whole, **{name: 0.0}))
    )
    assert set(full) == {"classification", "mean_embedding", "contrastive", "alignment"}
    assert less == {other: value for other, value in full.items() if other != name}


def test_every_part_that_is_trained_gets_a_gradient(paper):
    rows, network, alignment = paper
    recipe = replace(PAPER, contrastive=0.5)
    terms = batch_terms(network, rows, rows.train[:40], recipe, alignment, {}, np.random.default_rng(0))
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    network.zero_grad()


def test_the_teachers_term(data):
    recipe = replace(DEFAULT, distillation=0.7, lesson_batch=19, lesson_noise=0.2)
    rows = training_rows(data(), recipe, 0)
    network, lessons = network_of(rows, recipe), make_lessons(rows, 0)
    found = numbers(
        batch_terms(network, rows, rows.train[:8], recipe, None, lessons, np.random.default_rng(4))
    )

    random = np.random.default_rng(4)
    expected = 0.0
    for modality, tower in (("image", network.image), ("text", network.text)):
        inputs, posteriors = lessons[modality].draw(19, 0.2, random)
        logits = outputs_of(tower, inputs)["logits"]
        expected += oracle.classification(logits, posteriors.numpy(), rows.label_sets, 0)
    assert found["distillation"] == pytest.approx(0.7 * expected, rel=1e-4)
