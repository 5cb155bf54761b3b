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


class Letters(Lengths):
    # How often a text has each of so many letters and digits; vectors of length 1.

    def __init__(self, gain, fetched=False):
        self.dim = gain
        self.name = f"letters:{gain}"
        self.letters = "abcdefghijklmnopqrstuvwxyz0123456789"[:gain]

    def extract(self, texts, progress=None):
        rows = np.array([[text.count(letter) for letter in self.letters] for text in texts], np.float32)
        rows = rows.reshape(-1, self.dim)
        if progress is not None:
            progress(len(texts), len(texts))
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


class Changed(Letters):
    # Letters that come back from their settings as others.

    def __init__(self, gain, fetched=False):
        super().__init__(gain)
        self.name = f"changed:{gain}"

    @classmethod
    def from_spec(cls, argument, settings):
        made = super().from_spec(argument, settings)
        if settings:
            made.dim, made.letters = 3, "abc"
        return made
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
    """A package of text extractors, ``lengths``, ``letters`` and ``changed`` -> the folder."""
    return install(
        folder,
        "my-lengths",
        "[spdq.text_extractors]\nlengths = my_lengths:Lengths\nletters = my_lengths:Letters\n"
        "changed = my_lengths:Changed\n",
        {"my_lengths": LENGTHS},
    )
