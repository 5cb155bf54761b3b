"""Signs of canonical variates."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.cca import CCA
from spdq_benchmarks.baselines.contract import Pairs


def test_twelve_classes_in_eight_directions() -> None:
    made = (12, 1, 20, 18, 0.1)
    training = class_pairs(320, *made)
    method = CCA().fit(training, 8)
    assert min(precision(method, held_out(80, *made), training)) > 0.9


def test_vectors_are_those_of_a_generic_solver() -> None:
    pairs = class_pairs(40, 3, seed=3, d_image=6, d_text=5, noise=1.0)
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    _, image, text = oracle.canonical(x, y, CCA.ridge)
    method = CCA().fit(pairs, 8)
    # Five directions for eight bits: the first three come again.
    again = [0, 1, 2, 3, 4, 0, 1, 2]
    assert oracle.agree_up_to_sign(method.embed_image(pairs.image), (x @ image)[:, again], 1e-4)
    assert oracle.agree_up_to_sign(method.embed_text(pairs.text), (y @ text)[:, again], 1e-4)
    assert method.settings == {"ridge": 1.0, "directions": 5}


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scale_of_the_inputs_changes_no_code(scale: float) -> None:
    pairs = class_pairs(60, 4, seed=5, noise=1.0)
    scaled = Pairs(pairs.image * np.float32(scale), pairs.text)
    first, second = CCA().fit(pairs, 16), CCA().fit(scaled, 16)
    agree = np.unpackbits(first.encode_image(pairs.image)) == np.unpackbits(second.encode_image(scaled.image))
    # A direction may come out the other way round, on both sides.
    assert np.isin(agree.reshape(60, 16).mean(axis=0).round(2), [0, 1]).all()
