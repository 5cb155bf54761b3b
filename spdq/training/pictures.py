"""A model of pictures that have neither texts nor labels: principal axes of their features, and codebooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from spdq.data.dataset import Dataset
from spdq.models.inputs import fit_image_input
from spdq.models.pictures import PictureConfig, PictureModel
from spdq.quantizers.codebooks import Codebooks
from spdq.training.inputs import image_settings
from spdq.training.needs import lacking, training_split
from spdq.training.provenance import run_identity
from spdq.training.run import check_bits, check_seed
from spdq.training.vectors import OWN_ALONG, additive_codebooks

WIDTH = 256
"""Principal axes that are kept."""
MAX_ROWS = 10_000
"""Pictures that the axes are fitted on; more cost time and add nothing."""


def fit_pictures(
    dataset: Dataset, bits: int = 64, seed: int = 0, directory: Path | None = None
) -> PictureModel:
    """Make a model that finds pictures by pictures, from the features of a data set's training rows.

    Parameters
    ----------
    bits
        Code length, 16, 32, 64 or 128.
    seed
        Of what is drawn of many rows, and of the codebooks.
    directory
        Where the model goes; None keeps it in memory.

    Raises
    ------
    DataError
        The data set has no image features or no split.
    UsageError
        Other bits, a negative seed.
    StorageError
        The directory cannot be written.
    """
    check_bits(bits)
    check_seed(seed)
    split = training_split(dataset)
    if dataset.image_features is None:
        raise lacking(dataset, "/image/features")
    rows = split.train
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng([seed, 5]).choice(rows, MAX_ROWS, replace=False))
    image = fit_image_input(dataset.image_features[rows].astype(np.float32), WIDTH)
    origin = run_identity(dataset, {}, seed, bits)
    origin |= {"split": split.kind, "rows": len(rows), "validation_rows": 0, "steps": 0}
    model = PictureModel(
        PictureConfig(recipe="default", bits=bits, training=origin, image_input=image.kind),
        {"image": image},
        nn.Identity(),
        Codebooks(np.zeros((bits // 8, 1, 1), np.float32), "additive"),
        image_settings=image_settings(dataset),
    )
    vectors = model.embed_image(dataset.image_features[split.train])
    model.codebooks = additive_codebooks(vectors, bits, OWN_ALONG, seed)
    if directory is not None:
        model.save_pretrained(directory)
    return model
