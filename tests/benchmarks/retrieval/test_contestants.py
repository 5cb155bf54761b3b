"""SPDQ, its ablations and baselines behind one face."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from oracles_training import made_dataset
from scipy.spatial.distance import cdist

from spdq.errors import DataError
from spdq.models.rows import text_features
from spdq.quantizers import ProductQuantizer
from spdq.training import with_bits
from spdq.training.recipes import training_recipe
from spdq.training.rows import training_rows
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline
from spdq_benchmarks.retrieval import contestant_baseline
from spdq_benchmarks.retrieval.contestant import LEARNED_BITS
from spdq_benchmarks.retrieval.contestant_baseline import Inputs, learn_baseline
from spdq_benchmarks.retrieval.contestant_spdq import CHANGES, fit_product, learn_spdq, spdq_settings
from spdq_benchmarks.retrieval.methods import METHODS, known_settings, learn
from spdq_benchmarks.retrieval.shared_rows import shared_rows

ROWS = np.arange(30)


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def raw():
    return made_dataset(60, text="raw", kind="unseen", every=4)


@pytest.fixture(scope="module")
def paper(raw):
    """The paper's network and its ablations', each learned once."""
    return {method: learn_spdq(method, raw, 1) for method in CHANGES if method != "spdq"}


def weights(learned):
    return learned.model.network.state_dict()


def differ(some, other):
    return any(not torch.equal(tensor, weights(other)[name]) for name, tensor in weights(some).items())


def test_spdq_is_what_training_gives(raw):
    learned = learn("spdq", raw, 1)
    model = train_task(SPDQTask, raw, LEARNED_BITS, "default", 1)
    short = with_bits(model, raw, 16)
    for contestant, expected in ((learned.with_bits(64), model), (learned.with_bits(16), short)):
        assert contestant.bits == expected.codebooks.bits
        np.testing.assert_array_equal(contestant.model.codebooks.words, expected.codebooks.words)
        images, texts = contestant.images(ROWS), contestant.texts(ROWS)
        np.testing.assert_array_equal(images, expected.embed_image(raw.image_features[ROWS]))
        units = expected.embed_unit(raw.image_features[ROWS], text_features(expected, raw, ROWS))
        np.testing.assert_array_equal(contestant.units(images, texts), units)
        names = text_features(expected, raw, ROWS, first_line=True)
        queries = contestant.weighted(contestant.texts(ROWS, first_line=True))
        np.testing.assert_array_equal(queries, expected.weigh_query(expected.embed_text(names), "text"))
        codes = contestant.encode(units)
        decoded = expected.codebooks.decode(codes)
        np.testing.assert_allclose(
            contestant.code_distances(queries, codes), -queries @ decoded.T, rtol=1e-4, atol=1e-5
        )
    assert learned.floats.bits == LEARNED_BITS
    np.testing.assert_allclose(
        learned.floats.vector_distances(queries, units), -queries @ units.T, rtol=1e-5, atol=1e-6
    )


def test_times_of_learning_and_of_codes(raw):
    learned = learn("spdq", raw, 1)
    at_once, later = learned.with_bits(64), learned.with_bits(16)
    assert at_once.train_seconds == later.train_seconds > 0
    assert at_once.code_seconds == 0 < later.code_seconds


def test_settings_are_the_recipe_with_its_change():
    paper = spdq_settings("spdq-paper")
    assert paper["name"] == "paper"
    assert paper["quantizer"] == "additive"
    changed = {
        method: {name for name, value in spdq_settings(method).items() if value != paper[name]}
        for method in CHANGES
        if method != "spdq"
    }
    assert changed == {
        "spdq-paper": set(),
        "spdq-paper:no-mmd": {"mean_embedding"},
        "spdq-paper:no-private": {"private"},
        "spdq-paper:no-alignment": {"alignment"},
        "spdq-paper:no-feedback": {"quantization"},
        "spdq-paper:product": {"quantizer"},
    }
    assert known_settings("spdq") == spdq_settings("spdq")


def test_every_ablation_changes_what_is_learned(paper):
    whole = paper["spdq-paper"]
    for method, learned in paper.items():
        assert differ(whole, learned) == (method not in ("spdq-paper", "spdq-paper:product")), method
        vectors = learned.floats.images(ROWS)
        assert np.isfinite(vectors).all()
        assert learned.with_bits(16).encode(vectors).shape == (30, 2)


def test_without_alignment_the_network_is_trained_as_if_there_were_none(paper, raw):
    learned = paper["spdq-paper:no-alignment"]
    alone = train_task(SPDQTask, raw, LEARNED_BITS, replace(training_recipe("paper"), alignment=0.0), 1)
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(tensor, weights(learned)[name]), name
    space = learned.model.space
    assert space.kind == "aligned"
    np.testing.assert_allclose(space.image @ space.image.T, np.eye(space.dim), atol=1e-5)


def test_without_a_private_branch_there_is_none(paper):
    tower = paper["spdq-paper:no-private"].model.network.image
    assert tower.private.out_features == 0
    assert tower.classifier.in_features == tower.shared.out_features


def test_product_codebooks_of_label_targets(paper, raw):
    learned = paper["spdq-paper:product"]
    assert learned.model.codebooks.kind == "additive"
    for bits in (16, 64):
        found = learned.with_bits(bits).model.codebooks
        assert (found.kind, found.bits) == ("product", bits)
        targets = learned.model.space.label_vectors(raw.labels[raw.split.train].astype(np.float64))
        # Fewer distinct label rows than words: each has words of its own.
        np.testing.assert_allclose(found.decode(found.encode(targets)), targets, atol=1e-4)
    rows, counts = np.unique(raw.labels[raw.split.train], axis=0, return_counts=True)
    expected = ProductQuantizer(8, rotation="opq", random_state=1).fit(
        learned.model.space.label_vectors(rows.astype(np.float64)), sample_weight=counts
    )
    np.testing.assert_allclose(found.words, expected.codebooks_.words, atol=1e-5)


def test_only_the_paper_s_space_has_label_targets(raw):
    learned = learn("spdq", raw, 1)
    with pytest.raises(
        TypeError, match="expected a model with label prototypes, got one with a predictive space"
    ):
        fit_product(learned.model, learned.data, 16, 0)


def test_pairs_hold_whole_texts_and_first_lines(raw):
    inputs = Inputs.fit(raw, 0)
    data = training_rows(raw, training_recipe("default"), 0)
    train = raw.split.train
    pairs = inputs.pairs()
    assert len(pairs) == 2 * len(train)
    np.testing.assert_array_equal(pairs.image, np.tile(data.image[train], (2, 1)))
    np.testing.assert_array_equal(pairs.text, np.concatenate([data.text[train], data.first_lines(train)]))
    np.testing.assert_array_equal(pairs.labels, np.tile(raw.labels[train], (2, 1)))
    assert not np.array_equal(pairs.text[0], pairs.text[len(train)])
    # A text is the same input, whenever it is asked for.
    np.testing.assert_allclose(inputs.images(ROWS), data.image[ROWS], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(inputs.texts(ROWS, False), data.text[ROWS], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(inputs.texts(ROWS, True), data.first_lines(ROWS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["features", "wide"])
def test_features_have_one_line(text):
    dataset = made_dataset(60, text=text)
    inputs = Inputs.fit(dataset, 0)
    assert len(inputs.pairs()) == len(dataset.split.train)
    np.testing.assert_array_equal(inputs.texts(ROWS, True), inputs.texts(ROWS, False))
    np.testing.assert_allclose(inputs.texts(ROWS, False), inputs.data.text[ROWS], rtol=1e-4, atol=1e-4)


def test_inputs_do_not_depend_on_labels(raw):
    unlabelled = Inputs.fit(replace(raw, labels=None, label_names=()), 0)
    pairs, labelled = unlabelled.pairs(), Inputs.fit(raw, 0).pairs()
    assert pairs.labels is None
    np.testing.assert_array_equal(pairs.image, labelled.image)
    np.testing.assert_array_equal(pairs.text, labelled.text)


def test_rows_are_made_once_for_all_methods(raw):
    inputs = Inputs.fit(raw, 0)
    assert inputs.seconds > 0
    assert Inputs.fit(raw, 0).data is inputs.data
    assert Inputs.fit(raw, 1).data is not inputs.data
    for name, same in (("paper", True), ("default", False)):
        recipe = training_recipe(name)
        data = shared_rows(raw, replace(recipe, mean_embedding=0.5), 1).data
        assert (data is shared_rows(raw, training_recipe("paper"), 1).data) == same
        fresh = training_rows(raw, recipe, 1)
        np.testing.assert_array_equal(data.lines, fresh.lines)
        assert data.label_sets == fresh.label_sets
    narrow = shared_rows(raw, replace(recipe, image_width=5), 1).data
    assert narrow is not data
    learned = learn_baseline("ridge-opq", raw, 0)
    assert learned.train_seconds > inputs.seconds


def test_what_inputs_need(raw):
    inputs = Inputs.fit(raw, 0)
    for changed, ask, message in (
        (raw.with_split(None), lambda found: found.pairs(), "made has no split"),
        (replace(raw, image_features=None), lambda found: found.images(ROWS), "made has no /image/features"),
        (replace(raw, texts=None), lambda found: found.texts(ROWS, True), "made has no text"),
    ):
        with pytest.raises(DataError, match=message):
            ask(replace(inputs, dataset=changed))


def test_a_hashing_baseline_starts_anew_for_each_length(raw):
    learned = learn_baseline("cvh", raw, 0)
    assert learned.floats is None
    for bits in (16, 32):
        contestant = learned.with_bits(bits)
        assert (contestant.bits, contestant.query, contestant.code_seconds) == (bits, "code", 0)
        assert contestant.train_seconds > 0
        fitted = contestant.model.fit(learned.pairs, bits, 0)
        codes = contestant.encode(contestant.images(ROWS))
        np.testing.assert_array_equal(codes, fitted.encode_image(learned.inputs.images(ROWS)))
        distances = contestant.code_distances(contestant.texts(ROWS), codes)
        unpacked = np.unpackbits(codes, axis=1)
        mine = np.unpackbits(contestant.encode(contestant.texts(ROWS)), axis=1)
        np.testing.assert_array_equal(distances, (mine[:, None] != unpacked[None]).sum(axis=2))


def test_a_quantizing_baseline_learns_once(raw):
    learned = learn_baseline("ridge-opq", raw, 0)
    first, other = learned.with_bits(64), learned.with_bits(16)
    assert (first.query, first.code_seconds) == ("float", 0)
    assert first.model is learned.floats.model
    assert other.code_seconds > 0
    assert other.train_seconds == first.train_seconds > 0
    assert {first.encode(first.images(ROWS)).shape, other.encode(other.images(ROWS)).shape} == {
        (30, 8),
        (30, 2),
    }
    images, texts = other.images(ROWS), other.texts(ROWS)
    np.testing.assert_array_equal(other.units(images, texts), (images + texts) / 2)


class Plain(QuantizingBaseline):
    """Image and text inputs as they are, cut to one width."""

    name, needs_labels, metric = "plain", False, "l2"
    settings: ClassVar = {}

    def _learn(self):
        self.width = min(self.pairs.image.shape[1], self.pairs.text.shape[1])

    def _quantizer(self, dim):
        return ProductQuantizer(self.bits // 8, random_state=0)

    def embed_image(self, rows):
        return np.pad(rows[:, : self.width], ((0, 0), (0, -self.width % 8)))

    embed_text = embed_image


def test_vectors_are_compared_by_the_method_s_own_metric(monkeypatch):
    monkeypatch.setattr(contestant_baseline, "baseline_class", lambda name: Plain)
    dataset = made_dataset(60)
    floats = learn_baseline("plain", dataset, 0).floats
    images, texts = floats.images(ROWS), floats.texts(ROWS)
    expected = cdist(texts, images, "sqeuclidean")
    np.testing.assert_allclose(floats.vector_distances(texts, images), expected, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(Plain, "metric", "ip")
    np.testing.assert_allclose(
        floats.vector_distances(texts, images), -texts @ images.T, rtol=1e-5, atol=1e-5
    )


def test_every_method_is_known_by_one_name():
    assert len(set(METHODS)) == len(METHODS)
    assert METHODS[:2] == ("spdq", "spdq-paper")
    assert known_settings("cvh") == {"image_width": 256, "text_width": 1024, "learned_bits": 64}
