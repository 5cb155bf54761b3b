from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_models import N_ITEMS, trained, worded
from scipy import sparse

from spdq import load_model
from spdq.errors import DataError, IncompatibleError, NotFoundError, StorageError
from spdq.models.directory import write_model
from spdq.models.model import present
from spdq.models.spdq import SPDQModel


@pytest.fixture(scope="module", params=["default", "paper"])
def model(request):
    return trained(request.param)


@pytest.fixture(scope="module")
def images():
    return worded().image_features


@pytest.fixture(scope="module")
def texts(model):
    return model.text_features(worded().texts)


def without_extractors(model):
    return SPDQModel(model.config, model.inputs, model.network, model.codebooks, space=model.space)


def test_shapes_and_types(model, images, texts):
    vectors = model.embed_image(images), model.embed_text(texts), model.embed_unit(images, texts)
    codes = model.encode_image(images), model.encode_text(texts), model.encode_unit(images, texts)
    for one, code in zip(vectors, codes, strict=True):
        assert (one.shape, one.dtype) == ((N_ITEMS, model.codebooks.dim), np.float32)
        assert one.flags.c_contiguous
        assert (code.shape, code.dtype) == ((N_ITEMS, 2), np.uint8)
        np.testing.assert_array_equal(code, model.codebooks.encode(one))


def test_a_row_does_not_depend_on_its_company(model, images, texts):
    np.testing.assert_allclose(model.embed_image(images[3]), model.embed_image(images)[3:4], atol=1e-5)
    np.testing.assert_allclose(model.embed_text(texts[3]), model.embed_text(texts)[3:4], atol=1e-5)
    unit = model.embed_unit(images[3], texts[3])
    np.testing.assert_allclose(unit, model.embed_unit(images, texts)[3:4], atol=1e-5)


def test_dense_sparse_and_other_types_are_one(model, images, texts):
    expected = model.embed_text(texts)
    np.testing.assert_allclose(model.embed_text(texts.toarray()), expected, atol=1e-5)
    np.testing.assert_allclose(model.embed_text(sparse.coo_array(texts)), expected, atol=1e-5)
    np.testing.assert_array_equal(model.embed_image(images.astype(np.float64)), model.embed_image(images))
    np.testing.assert_array_equal(model.embed_image(images.tolist()), model.embed_image(images))


def test_features_are_left_alone(model, images):
    given = images.copy()
    given.flags.writeable = False
    model.embed_image(given)
    np.testing.assert_array_equal(given, images)


def test_no_row(model):
    image, text = np.zeros((0, 12)), sparse.csr_matrix((0, model.text_width))
    assert model.embed_image(image).shape == (0, model.codebooks.dim)
    assert model.embed_unit(image, text).shape == (0, model.codebooks.dim)
    assert model.encode_text(text).shape == (0, 2)


@pytest.mark.parametrize("extreme", [1e-30, 1e6, -1e6])
def test_extreme_features(model, extreme):
    vectors = model.embed_unit(np.full((2, 12), extreme), np.full((2, model.text_width), extreme))
    assert np.isfinite(vectors).all()
    assert model.codebooks.encode(vectors).shape == (2, 2)


@pytest.mark.parametrize("shape", [(3, 11), (3, 13), (3, 0), (2, 3, 12), (13,)])
def test_wrong_widths(model, shape):
    with pytest.raises(DataError, match=r"expected image features of \(n, 12\), got \("):
        model.embed_image(np.zeros(shape))
    text = np.zeros((2, model.text_width + 1))
    for wrong in (text, sparse.csr_matrix(text)):
        with pytest.raises(DataError, match=rf"expected text features of \(n, {model.text_width}\), got \("):
            model.encode_text(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e6, -1e30, 1e300])
def test_forbidden_values(model, value):
    image, text = np.zeros((3, 12)), np.zeros((3, model.text_width))
    image[1, 2] = text[1, 2] = value
    problem = "features have NaN, infinite or values beyond 1e6: leave such rows out"
    for call in (model.embed_image, model.encode_image):
        with pytest.raises(DataError, match=f"image {problem}"):
            call(image)
    for wrong in (text, sparse.csr_matrix(text)):
        with pytest.raises(DataError, match=f"text {problem}"):
            model.embed_text(wrong)
        with pytest.raises(DataError, match=f"text {problem}"):
            model.embed_unit(np.zeros((3, 12)), wrong)


@pytest.mark.parametrize("wrong", ["words", [[1, 2], [1]], None, object()])
def test_features_that_are_no_numbers(model, wrong):
    with pytest.raises(DataError, match=r"image features must be numbers, \(n, 12\)|expected image features"):
        model.embed_image(wrong)


def test_complex_features(model):
    for wrong in (np.full((1, model.text_width), 1j), sparse.csr_matrix(np.full((1, model.text_width), 1j))):
        with pytest.raises(DataError, match=r"text features must be real numbers, \(n, "):
            model.embed_text(wrong)


def test_a_unit_without_a_part_is_what_the_other_says(model, images, texts):
    image, text = images[:4].copy(), texts[:4].tolil()
    image[1] = text[2] = 0
    units = model.embed_unit(image, text.tocsr())
    np.testing.assert_allclose(units[[0, 3]], model.embed_unit(images[:4], texts[:4])[[0, 3]], atol=1e-5)
    np.testing.assert_allclose(units[1:2], model.embed_text(texts[1]), atol=1e-5)
    np.testing.assert_allclose(units[2:3], model.embed_image(images[2]), atol=1e-5)
    np.testing.assert_array_equal(present(image), [True, False, True, True])
    np.testing.assert_array_equal(present(text.tocsr()), [True, True, False, True])


def test_a_unit_of_neither_part(model):
    image, text = np.ones((2, 12)), np.ones((2, model.text_width))
    image[1] = text[1] = 0
    with pytest.raises(DataError, match=r"unit 1 has neither an image nor a known word in its text"):
        model.embed_unit(image, text)


@pytest.mark.parametrize(("n_images", "n_texts"), [(3, 2), (1, 2), (0, 1)])
def test_units_of_unequal_length(model, images, texts, n_images, n_texts):
    problem = f"units need as many images as texts, got {n_images} and {n_texts}"
    for call in (model.embed_unit, model.encode_unit):
        with pytest.raises(DataError, match=problem):
            call(images[:n_images], texts[:n_texts])


def test_raw_texts(model, texts):
    assert texts.shape == (N_ITEMS, model.text_width)
    expected = model.text_extractor.transform(worded().texts)
    np.testing.assert_array_equal(texts.toarray(), expected.toarray())
    assert model.check_query("red blorfx") == model.unknown_words("red blorfx") == ["blorfx"]


def test_without_extractors(model, images, texts):
    bare = without_extractors(model)
    for call in (lambda: bare.text_features(["red"]), lambda: bare.check_query("red")):
        with pytest.raises(
            DataError,
            match=r"trained on ready-made text features, so it cannot read a text\. Query it by image",
        ):
            call()
    with pytest.raises(
        DataError,
        match=r"trained on ready-made image features, so it cannot read a picture\. Query it by text",
    ):
        bare.image_features([b"picture"])
    np.testing.assert_array_equal(bare.embed_unit(images, texts), model.embed_unit(images, texts))
    assert bare.fingerprint != model.fingerprint


def test_a_reloaded_model_is_the_same(model, images, texts, tmp_path):
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert type(again) is type(model)
    assert again.fingerprint == model.fingerprint
    assert again.config == model.config
    assert again.training == model.training
    np.testing.assert_array_equal(again.embed_unit(images, texts), model.embed_unit(images, texts))
    np.testing.assert_array_equal(again.encode_unit(images, texts), model.encode_unit(images, texts))
    np.testing.assert_array_equal(
        again.text_features(["red n7"]).toarray(), model.text_features(["red n7"]).toarray()
    )
    again.save_pretrained(tmp_path / "again")
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {path.name for path in (tmp_path / "again").iterdir()}
    for name in names - {"README.md"}:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


def test_a_model_without_extractors_is_reloaded(model, images, tmp_path):
    bare = without_extractors(model)
    bare.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.text_extractor is None
    assert again.image_settings is None
    assert again.fingerprint == bare.fingerprint
    np.testing.assert_array_equal(again.embed_image(images), bare.embed_image(images))


def test_the_same_in_another_process(tmp_path):
    model = trained()
    model.save_pretrained(tmp_path / "m")
    code = "import sys, spdq; print(spdq.load_model(sys.argv[1]).fingerprint)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}", tmp_path / "m"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == model.fingerprint


def test_every_tensor_is_in_the_fingerprint(model):
    parts = model.to_parts()
    seen = {model.fingerprint}
    for name, tensor in parts.tensors.items():
        changed = tensor.copy()
        changed.flat[0] += 1
        if not tensor.size or name.endswith(("indices", "indptr", "log")):
            continue
        other = SPDQModel.from_parts(
            replace(parts, config=to_json(parts), tensors=parts.tensors | {name: changed})
        )
        assert other.fingerprint not in seen, name
        seen.add(other.fingerprint)
    assert len(seen) > 15


def to_json(parts):
    """The config as it comes back from a file: lists in place of tuples."""
    names = [list(entry) for entry in parts.config["label_sets"]]
    return parts.config | {"label_names": list(parts.config["label_names"]), "label_sets": names}


def test_no_model_directory(tmp_path):
    with pytest.raises(NotFoundError, match=r"no model in .*absent"):
        load_model(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["cdq", None, 3])
def test_other_model_types_are_refused(model, tmp_path, kind):
    parts = model.to_parts()
    write_model(tmp_path / "m", replace(parts, config=parts.config | {"model_type": kind}))
    with pytest.raises(IncompatibleError, match=f"model type {kind!r} .*: this version knows "):
        load_model(tmp_path / "m")


def test_save_where_a_file_is(model, tmp_path):
    (tmp_path / "m").write_bytes(b"mine")
    with pytest.raises(StorageError, match="cannot write the model: File exists"):
        model.save_pretrained(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == b"mine"
