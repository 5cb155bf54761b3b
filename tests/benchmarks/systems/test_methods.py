"""Every method of every study: vectors of the right rows, better than chance, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_csm import judged_log
from oracles_gated import made_drawings
from sklearn.linear_model import Ridge

from spdq.errors import DataError
from spdq.features.words import WordExtractor
from spdq_benchmarks.relevance import relevance
from spdq_benchmarks.systems.bags import RIDGES
from spdq_benchmarks.systems.csm_methods import popularity, words, words_to_image
from spdq_benchmarks.systems.gated_methods import cca
from spdq_benchmarks.systems.mixer_methods import SHARES, late_fusion
from spdq_benchmarks.systems.studies import STUDIES
from spdq_benchmarks.systems.trainings import TRAININGS

SETS = {"csm": judged_log, "mixer": made_drawings, "gated": made_drawings}
ALL = [(system, method) for system, study in STUDIES.items() for method in study.methods]


def figure(vectors, dataset, direction, protocol):
    judge = relevance(dataset, dataset.split, "")
    (found,) = judge(-(vectors.queries[direction[0]] @ vectors.items[direction[2]].T), [protocol], None)
    return found.value


def chance(dataset, protocol):
    n = len(dataset.grades.queries) if dataset.grades is not None else len(dataset.split.query)
    tied = np.zeros((n, len(dataset.split.database)), np.float32)
    return relevance(dataset, dataset.split, "")(tied, [protocol], None)[0].value


@pytest.mark.parametrize(("system", "method"), ALL)
def test_a_method_gives_vectors_and_codes(quick, system, method):
    dataset, study = SETS[system](), STUDIES[system]
    vectors = study.methods[method](dataset, 0)
    assert vectors.directions(study.directions) == list(study.directions)
    queries = len(dataset.grades.queries) if system == "csm" else len(dataset.split.query)
    widths = {rows.shape[1] for rows in (*vectors.queries.values(), *vectors.items.values())}
    assert len(widths) == 1
    assert {len(rows) for rows in vectors.queries.values()} == {queries}
    assert {len(rows) for rows in vectors.items.values()} == {len(dataset.split.database)}
    assert (vectors.codebooks is None) == (method == "popularity")
    if vectors.codebooks is not None:
        assert vectors.codebooks(16).bits == 16
        assert vectors.codebooks(16).dim == widths.pop()


@pytest.mark.parametrize(("system", "method"), [pair for pair in ALL if pair[1] != "popularity"])
def test_a_method_beats_chance(quick, system, method):
    """Having trained on the documents, too: the made words of a new thing say nothing of its picture."""
    dataset, study = SETS[system](), STUDIES[system]
    vectors = study.methods[method](TRAININGS["database"].of(dataset, 0), 0)
    assert figure(vectors, dataset, study.directions[-1], study.main) > 1.3 * chance(dataset, study.main)


def test_words_are_a_plain_ridge_regression():
    """Against scikit-learn's, in all dimensions of the vocabulary, on the ridge that was chosen."""
    log = judged_log()
    found = words(log, 0)
    strength = found.settings["ridge"]
    assert strength in RIDGES
    extractor = WordExtractor.fit(log.clicks.queries, letters=None)
    terms = extractor.transform(log.clicks.queries).toarray().astype(float)
    bags = np.zeros((len(log), extractor.dim))
    for query, item, clicks in zip(log.clicks.query, log.clicks.item, log.clicks.value, strict=True):
        bags[item] += (1 + np.log(clicks)) * terms[query]
    if found.settings["length"] == "1":
        bags /= np.maximum(np.linalg.norm(bags, axis=1, keepdims=True), 1e-12)
    images = log.image_features - log.image_features.mean(axis=0)
    images /= np.linalg.norm(images, axis=1).mean()
    plain = Ridge(strength, fit_intercept=False).fit(images, bags).predict(images)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    expected = extractor.transform(log.grades.queries) @ plain.T
    np.testing.assert_allclose(found.queries["t"] @ found.items["i"].T, expected, atol=2e-5)


def test_images_are_predicted_from_words_by_the_normal_equations():
    log = judged_log()
    found = words_to_image(log, 0)
    extractor = WordExtractor.fit(log.clicks.queries, letters=None)
    bags = extractor.transform(log.clicks.queries).toarray().astype(float)
    images = log.image_features - log.image_features.mean(axis=0)
    images /= np.linalg.norm(images, axis=1).mean()
    targets = []
    for query in range(len(bags)):
        of = log.clicks.query == query
        targets.append(
            np.average(images[log.clicks.item[of]], axis=0, weights=1 + np.log(log.clicks.value[of]))
        )
    ridged = bags.T @ bags + found.settings["ridge"] * np.eye(bags.shape[1])
    plain = extractor.transform(log.grades.queries) @ np.linalg.solve(ridged, bags.T @ np.array(targets))
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    expected = plain @ (images / np.linalg.norm(images, axis=1, keepdims=True)).T
    np.testing.assert_allclose(found.queries["t"] @ found.items["i"].T, expected, atol=1e-3)


def test_popularity_counts_all_clicks():
    log = judged_log()
    counts = np.zeros(len(log))
    np.add.at(counts, log.clicks.item, log.clicks.value)
    found = popularity(log, 0)
    np.testing.assert_array_equal(
        found.queries["t"] @ found.items["i"].T, np.tile(counts, (len(log.grades.queries), 1))
    )


def test_late_fusion_adds_scores(quick):
    drawings = made_drawings()
    both = late_fusion(drawings, 0)
    share = both.settings["text_share"]
    assert share in SHARES
    seen, told = (STUDIES["mixer"].methods[name](drawings, 0) for name in ("image-only", "text-only"))
    expected = sum(
        weight * one.queries["i"] @ one.items["u"].T for one, weight in ((seen, 1), (told, np.float32(share)))
    )
    np.testing.assert_allclose(both.queries["i"] @ both.items["u"].T, expected, atol=1e-5)


def test_cca_compares_by_cosine_and_averages_units(quick):
    found = cca(made_drawings(), 0)
    for rows in (*found.queries.values(), *found.items.values()):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    mean = found.items["i"] + found.items["t"]
    np.testing.assert_allclose(
        found.items["u"], mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize(
    ("part", "message"), [("image_features", "no /image/features"), ("grades", "no /grades")]
)
def test_a_click_log_that_lacks_a_part(part, message):
    with pytest.raises(DataError, match=message):
        words(replace(judged_log(), **{part: None}), 0)
