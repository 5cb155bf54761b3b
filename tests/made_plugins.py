"""Packages as pip leaves them, which add extractors of their own."""

from __future__ import annotations

LENGTHS = """
import numpy as np
from spdq.errors import UsageError


class Lengths:
    dim = 2

    def __init__(self, gain, fetched=False):
        self.gain, self.fetched = gain, fetched
        self.name = f"lengths:{gain}"

    @classmethod
    def from_spec(cls, argument, settings):
        if argument is not None and not argument.isdigit():
            raise UsageError(f"lengths: expected a whole gain, got {argument!r}")
        return cls(int(argument or 1))

    def settings(self):
        return {"name": self.name, "version": 1}

    def downloading(self):
        return Lengths(self.gain, fetched=True)

    def extract(self, texts, progress=None):
        return np.array([[len(text) * self.gain, 1] for text in texts], np.float32).reshape(-1, 2)
"""


def install(folder, package, points, modules):
    """A distribution: its modules (name -> source), and its metadata in a dist-info folder -> the folder."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (info / "RECORD").write_text("")
    (info / "INSTALLER").write_text("pip\n")
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def install_lengths(folder):
    """A text extractor: the length of a text times its argument, and 1 -> the folder."""
    return install(
        folder,
        "my-lengths",
        "[spdq.text_extractors]\nlengths = my_lengths:Lengths\n",
        {"my_lengths": LENGTHS},
    )
