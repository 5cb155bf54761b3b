"""Models whose texts are read by an extractor with a name: trained, stored, read again, asked."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import made_models
import made_plugins
import numpy as np
import pytest

from spdq import Engine, Index, load_model
from spdq.data import Dataset
from spdq.errors import DamagedError, DataError, IncompatibleError, UsageError
from spdq.features import NamedTexts, text_extractor
from spdq.models.directory import TEXT_EXTRACTOR, VOCABULARY
from spdq.models.rows import text_features
from spdq.models.spdq import SPDQModel
from spdq.training.gated import RECIPES as GATED
from spdq.training.gated import GatedTask
from spdq.training.mixer import RECIPES as MIXER
from spdq.training.mixer import MixerTask
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.evaluation import judge

STEPS = {"min_steps": 60, "max_steps": 60}
LETTERS = "letters:36"


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory):
    """The extractor is one of an installed package; others are tested with the libraries that have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made_plugins.install_lengths(tmp_path_factory.mktemp("lengths") / "site"))
        yield
    sys.modules.pop("my_lengths", None)


def read(dataset: Dataset, spec: str = LETTERS) -> Dataset:
    return dataset.with_text_features(text_extractor(spec))


@pytest.fixture(scope="module")
def dataset():
    return read(made_models.worded())


def train(task, dataset, recipes):
    if task is MixerTask:
        dataset = dataset.with_classes_of("colour:")
    return train_task(task, dataset, 16, replace(recipes["default"], **STEPS))


@pytest.fixture(scope="module")
def model(dataset):
    return train(SPDQTask, dataset, RECIPES)


@pytest.mark.parametrize(("task", "recipes"), [(SPDQTask, RECIPES), (GatedTask, GATED), (MixerTask, MIXER)])
def test_every_system_learns_and_comes_back_as_it_was(dataset, tmp_path, task, recipes):
    model = train(task, dataset, recipes)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert (again.fingerprint, again.text_width) == (model.fingerprint, 36)
    stored = json.loads((tmp_path / TEXT_EXTRACTOR).read_text("utf-8"))
    assert stored == text_extractor(LETTERS).settings()
    assert not (tmp_path / VOCABULARY).exists()
    features = again.text_features(dataset.texts)
    np.testing.assert_allclose(features, dataset.text_features, atol=1e-6)
    np.testing.assert_array_equal(again.embed_text(features), model.embed_text(features))
    figures = judge(
        again, dataset if task is not MixerTask else dataset.with_classes_of("colour:"), directions=["t2i"]
    )
    assert figures[0].figure.value > 0.5, "chance is about a third"


def test_texts_are_searched_by_the_same_extractor(model, dataset, tmp_path):
    model.save_pretrained(tmp_path / "model")
    codes = model.encode_unit(dataset.image_features, dataset.text_features)
    with Index.create(
        tmp_path / "index", model.codebooks, metric="ip", model_fingerprint=model.fingerprint
    ) as index:
        index.add_codes(codes, dataset.ids)
    engine = Engine(tmp_path / "model", tmp_path / "index")
    hits = engine.search(text="large blue", k=5)
    assert [(hit.id - 100) // 7 % 3 for hit in hits].count(2) >= 3
    assert engine.unknown_words("zyzzyva") == []


def test_no_word_is_unknown_and_bad_queries_are_refused(model):
    assert model.check_query("zyzzyva") == model.unknown_words("zyzzyva") == []
    with pytest.raises(DataError, match="empty query text: give at least one word"):
        model.check_query(" \n")


def test_lines_are_learned_from_and_asked_by(model, dataset):
    rows = np.array([3, 10])
    first = text_features(model, dataset, rows, first_line=True)
    lines = [dataset.texts[row].splitlines()[0] for row in rows]
    np.testing.assert_allclose(first, model.text_features(lines), atol=1e-6)
    np.testing.assert_array_equal(text_features(model, dataset, rows), dataset.text_features[rows])


def test_texts_of_one_line_need_no_lines():
    worded = made_models.worded()
    dataset = read(replace(worded, texts=tuple(text.splitlines()[0] for text in worded.texts)))
    assert dataset.line_features is None
    model = train(SPDQTask, dataset, RECIPES)
    np.testing.assert_array_equal(
        text_features(model, dataset, np.arange(3), True), dataset.text_features[:3]
    )


def test_a_data_set_of_another_extractor_is_read_again(model, dataset):
    other = read(made_models.worded(), "letters:26")
    rows = np.arange(4)
    np.testing.assert_allclose(text_features(model, other, rows), dataset.text_features[rows], atol=1e-6)
    with pytest.raises(
        IncompatibleError,
        match=r"text features were made by letters:26, the model's by letters:36\. Import the data",
    ):
        text_features(model, replace(other, texts=None, line_features=None), rows)


def test_a_model_of_words_reads_the_texts_of_such_a_data_set(dataset):
    words = made_models.trained()
    rows = np.arange(4)
    expected = words.text_features([dataset.texts[row] for row in rows])
    assert (text_features(words, dataset, rows) != expected).nnz == 0


def test_the_data_set_s_extractor_is_needed_before_the_work(dataset):
    gone = replace(dataset, text_extractor="gone:1")
    with pytest.raises(UsageError, match="unknown text extractor 'gone': known are"):
        train(SPDQTask, gone, RECIPES)


def test_another_width_is_refused():
    model = train(SPDQTask, read(made_models.worded(), "changed:36"), RECIPES)
    message = (
        r"text extractor changed:36 makes 3 features of a text, the model was trained with 36: bring back"
    )
    with pytest.raises(IncompatibleError, match=message):
        model.text_features(["red"])


def stored_parts(model):
    """As they are read: JSON knows no tuples."""
    parts = model.to_parts()
    return replace(parts, config=json.loads(json.dumps(parts.config)))


def test_an_extractor_that_is_gone_is_missed_when_a_text_comes(model, dataset):
    parts = stored_parts(model)
    gone = SPDQModel.from_parts(replace(parts, text_extractor={"name": "gone:1"}))
    assert gone.embed_image(dataset.image_features[:2]).shape[0] == 2
    with pytest.raises(UsageError, match="unknown text extractor 'gone'"):
        gone.text_features(["red"])
    with pytest.raises(
        DamagedError, match=r"model: stored text extractor: name must be a spec, got None\. Train"
    ):
        SPDQModel.from_parts(replace(parts, text_extractor={}))


def test_settings_are_in_the_fingerprint(model):
    parts = stored_parts(model)
    other = SPDQModel.from_parts(replace(parts, text_extractor=parts.text_extractor | {"version": 2}))
    assert other.fingerprint != model.fingerprint
    assert isinstance(other.text_extractor, NamedTexts)
