from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_training import QUICK
from torch import nn

from spdq.training import codebooks
from spdq.training.codebooks import ALONG, TEXT_VIEWS, fit_codebooks, fit_vectors, unsure
from spdq.training.rows import training_rows


def test_fitted_on_all_forms_of_the_training_rows(data, trained):
    model = trained().model
    rows = training_rows(data(), QUICK["default"], 0)
    train = data().split.train
    image, text = data().image_features[train], data().text_features[train]
    expected = [model.embed_image(image), model.embed_text(text), model.embed_unit(image, text)]
    found = fit_vectors(model, rows, 0)[: 3 * len(train)]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_texts_of_lines_add_units_with_parts_of_them(data, trained):
    model = trained(text="raw").model
    dataset = data("raw")
    train = dataset.split.train
    kinds = 3 + 1 + TEXT_VIEWS
    vectors = fit_vectors(model, training_rows(dataset, QUICK["default"], 0), 0)
    vectors = vectors[: kinds * len(train)].reshape(kinds, len(train), -1)
    images = dataset.image_features[train]

    def units(texts):
        return model.embed_unit(images, model.text_features(texts))

    lines = [dataset.texts[row].split("\n") for row in train]
    np.testing.assert_allclose(vectors[3], units([item[0] for item in lines]), atol=1e-5)
    longest = max(map(len, lines))
    single = [units([(item * longest)[place] for item in lines]) for place in range(longest)]
    for view in vectors[4:]:
        gaps = np.min([np.abs(view - line).max(axis=1) for line in single], axis=0)
        # Some are one line, as in training; others several.
        assert gaps.min() < 1e-4
        assert gaps.max() > 1e-3
    assert np.abs(vectors[4] - vectors[5]).max() > 0.01


def test_few_vectors_are_joined_by_mixes_of_their_labels(data, trained, monkeypatch):
    model, rows = trained().model, training_rows(data(), QUICK["default"], 0)
    every = fit_vectors(model, rows, 0)
    assert len(every) == 3 * 80 + codebooks.MIXES + 3 * 80
    own, mixed = every[:240].astype(np.float64), every[240:-240].astype(np.float64)
    labels, instance = data().labels.shape[1], {row.tobytes() for row in every[:240, 8:]}
    assert labels == 8
    assert {row.tobytes() for row in every[240:-240, 8:]} <= instance
    lowest, highest = own[:, :8].min(axis=0), own[:, :8].max(axis=0)
    assert ((mixed[:, :8] >= lowest - 1e-6) & (mixed[:, :8] <= highest + 1e-6)).all()
    assert not {row.tobytes() for row in every[240:-240, :8]} & {row.tobytes() for row in every[:240, :8]}
    monkeypatch.setattr(codebooks, "FEW_FIT_ROWS", 240)
    np.testing.assert_array_equal(fit_vectors(model, rows, 0)[:240], every[:240])
    assert len(fit_vectors(model, rows, 0)) == 480


def test_some_are_what_the_network_says_when_it_is_unsure(data, trained):
    model, rows = trained().model, training_rows(data(), QUICK["default"], 0)
    before = model.embed_image(data().image_features)
    vectors = fit_vectors(model, rows, 0)
    sure, doubtful = vectors[:80], vectors[-240:-160]
    groups = slice(*next((start, stop) for start, stop, exclusive in model.config.label_sets if exclusive))
    assert np.median(doubtful[:, groups].max(axis=1)) < np.median(sure[:, groups].max(axis=1))
    units = model.space.units(doubtful, vectors[-160:-80])
    np.testing.assert_allclose(vectors[-80:], units, atol=1e-6)
    # It is itself again, and nobody else's random numbers were drawn.
    np.testing.assert_array_equal(model.embed_image(data().image_features), before)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(fit_vectors(model, rows, 0), vectors)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_network_is_itself_again_after_an_error(trained):
    network = trained().model.network
    shares = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    with pytest.raises(KeyboardInterrupt), unsure(network, 0):
        raise KeyboardInterrupt
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert [layer.p for layer in layers] == shares
    assert not any(layer.training for layer in layers)


def test_many_vectors_are_sampled(data, trained, monkeypatch):
    model, rows = trained().model, training_rows(data(), QUICK["default"], 0)
    monkeypatch.setattr(codebooks, "FEW_FIT_ROWS", 0)
    whole = {row.tobytes() for row in fit_vectors(model, rows, 0)}
    monkeypatch.setattr(codebooks, "MAX_FIT_ROWS", 50)
    some, again, other = (fit_vectors(model, rows, seed) for seed in (0, 0, 1))
    assert len(some) == 50
    assert {row.tobytes() for row in some} <= whole
    np.testing.assert_array_equal(some, again)
    assert not np.array_equal(some, other)


@pytest.mark.parametrize("bits", [16, 32])
def test_codebooks_have_the_bits_and_code_better_than_one_word(data, trained, bits):
    model, rows = trained(text="raw").model, training_rows(data("raw"), QUICK["default"], 0)
    found = fit_codebooks(model, rows, bits, 0)
    assert (found.kind, found.bits, found.n_words, found.dim) == ("additive", bits, 256, model.space.dim)
    assert found.along == ALONG > 1
    vectors = fit_vectors(model, rows, 0)
    error = np.sum((vectors - found.decode(found.encode(vectors))) ** 2)
    assert error < 0.5 * np.sum((vectors - vectors.mean(axis=0)) ** 2)
    assert fit_codebooks(model, rows, bits, 0).fingerprint == found.fingerprint
    assert fit_codebooks(model, rows, bits, 1).fingerprint != found.fingerprint


def test_the_codebooks_of_the_paper_are_those_of_its_label_points(data, trained):
    model, rows = trained("paper").model, training_rows(data(), QUICK["paper"], 0)
    found = fit_codebooks(model, rows, 16, 0)
    assert (found.kind, found.bits, found.dim) == ("additive", 16, model.space.dim)
    points = (data().labels @ model.space.prototypes.T).astype(np.float32)[data().split.train]
    np.testing.assert_allclose(found.decode(found.encode(points)), points, atol=1e-3)
