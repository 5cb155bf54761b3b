"""Pascal Sentence (Rashtchian et al., NAACL-HLT 2010 workshop), as features: 20 classes, split.

The files ``{train,test}_{img,txt,img_lab}.mat`` of DSCMR (Zhen et al., CVPR 2019): in each the variable of the
file's name, image features (n, 4096), text features (n, 300) and class numbers (n, 1) from 0.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.matlab import open_matlab
from spdq.data.matlab_parts import Variable, count_items, item_rows
from spdq.data.splits import SplitKind, make_split
from spdq.errors import DataError

N_CLASSES = 20


def load_pascal(folder: Path, kind: SplitKind = "seen", seed: int = 0) -> Dataset:
    """Read the six files; the queries are their test items.

    Features are as published. ids are the part and the row in it, from 1: ``train-1``. The files do not name
    their classes; labels are ``class-0`` to ``class-19``.

    Raises
    ------
    NotFoundError
        A file is missing.
    DataError
        A file is not what is described above, or the files do not align.
    DamagedError
        A file of version 7.3 is truncated or damaged.
    UsageError
        Unknown kind.
    """
    train, test = (_read(folder, part) for part in ("train", "test"))
    for name, a, b in zip(("img", "txt"), train, test, strict=False):
        if a.shape[1] != b.shape[1]:
            raise DataError(f"{folder}: train_{name} has {a.shape[1]} columns, test_{name} {b.shape[1]}")
    image, text, classes = (np.concatenate(parts) for parts in zip(train, test, strict=True))
    n_train, n = len(train[0]), len(classes)
    return Dataset(
        name="pascal",
        ids=np.array(
            [f"train-{row + 1}" if row < n_train else f"test-{row - n_train + 1}" for row in range(n)]
        ),
        image_features=image,
        text_features=text,
        labels=np.eye(N_CLASSES, dtype=np.uint8)[classes[:, 0].astype(np.int64)],
        label_names=tuple(f"class-{number}" for number in range(N_CLASSES)),
        split=make_split(n, np.arange(n_train, n), kind, seed),
    )


def _read(folder: Path, part: str) -> list[npt.NDArray[np.float32]]:
    """Image features, text features and class numbers of one part."""
    with ExitStack() as stack:
        names = [f"{part}_{name}" for name in ("img", "txt", "img_lab")]
        files = [stack.enter_context(open_matlab(folder / f"{name}.mat")) for name in names]
        variables = [Variable(file, name) for file, name in zip(files, names, strict=True)]
        n = count_items(variables)
        image, text, classes = (item_rows(variable, n, np.float32) for variable in variables)
    if classes.shape[1] != 1 or not np.isin(classes, np.arange(N_CLASSES)).all():
        raise DataError(f"{variables[2].where}: expected one class from 0 to {N_CLASSES - 1} an item")
    return [image, text, classes]
