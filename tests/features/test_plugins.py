from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from made_plugins import install
from PIL import Image

from spdq.errors import IncompatibleError, UsageError
from spdq.features import image_extractor
from spdq.features.registry import downloading_image_extractor

CODE = """
import numpy as np
from spdq.errors import IncompatibleError, UsageError
from spdq.features import load_image


class Means:
    regions = 1
    dim = 3

    def __init__(self, gain, fetched=False):
        self.gain, self.fetched = gain, fetched
        self.name = f"means:{gain}"

    @classmethod
    def from_spec(cls, argument, settings):
        if settings.get("version", 1) != 1:
            raise IncompatibleError("means has version 1")
        if argument is not None and not argument.isdigit():
            raise UsageError(f"means: expected a whole gain, got {argument!r}")
        return cls(int(argument or 1))

    def settings(self):
        return {"name": self.name, "version": 1}

    def downloading(self):
        return Means(self.gain, fetched=True)

    def extract(self, images, progress=None):
        return np.array([load_image(image).mean((0, 1)) for image in images], np.float32) * self.gain


class Misnamed(Means):
    @classmethod
    def from_spec(cls, argument, settings):
        return cls(1)


class Half:
    name, dim = "half", 3

    @classmethod
    def from_spec(cls, argument, settings):
        return cls()
"""
POINTS = """[spdq.image_extractors]
means = my_pictures:Means
misnamed = my_pictures:Misnamed
half = my_pictures:Half
gone = my_pictures:Gone
nowhere = no_such_module_of_ours:Means
plain = my_pictures:CODE
lite0 = my_pictures:Means
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = install(tmp_path / "site", "my-pictures", POINTS, {"my_pictures": CODE})
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("my_pictures", None)


def test_an_installed_package_adds_a_name(site):
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    extractor = image_extractor("means:2")
    np.testing.assert_array_equal(extractor.extract([picture]), [[20, 40, 60]])
    assert image_extractor("means").name == "means:1"
    assert image_extractor(**extractor.settings()).settings() == {"name": "means:2", "version": 1}


def test_it_may_fetch_only_where_that_is_allowed(site):
    assert not image_extractor("means").fetched
    assert downloading_image_extractor("means").fetched
    assert downloading_image_extractor("lite0").name == "lite0:128"


def test_its_own_refusals_come_through(site):
    with pytest.raises(UsageError, match="means: expected a whole gain, got 'x'"):
        image_extractor("means:x")
    with pytest.raises(IncompatibleError, match="means has version 1"):
        image_extractor("means", version=2)


def test_the_names_of_spdq_stay_its_own(site):
    assert image_extractor("lite0:32").name == "lite0:32"


def test_unknown_names_list_those_of_packages(site):
    known = "gone, half, lite0, means, misnamed, nowhere, open_clip, pixels, plain, timm"
    with pytest.raises(UsageError, match=f"unknown image extractor 'mine': known are {known}$"):
        image_extractor("mine")


@pytest.mark.parametrize(("name", "reason"), [
    ("gone", r"cannot be loaded \(AttributeError: .*Gone.*\): update or uninstall it"),
    ("nowhere", r"cannot be loaded \(ModuleNotFoundError: .*no_such_module_of_ours.*\): update"),
    ("plain", r"cannot be loaded \(AttributeError"),
    ("half", r"has no regions, settings, extract: update or uninstall it"),
    ("misnamed", r"calls itself 'means:1': its specs must start with 'misnamed'"),
])  # fmt: skip
def test_packages_that_do_not_work(site, monkeypatch, name, reason):
    (site / "my_pictures.py").write_text(CODE + "\nCODE = 1\n")
    with pytest.raises(
        IncompatibleError, match=f"image extractor '{name}' of the package my-pictures {reason}"
    ):
        image_extractor(name)


def test_two_packages_of_one_name(site):
    install(site, "your-pictures", "[spdq.image_extractors]\nmeans = my_pictures:Means\n", {})
    with pytest.raises(UsageError, match="'means' is added by my-pictures and your-pictures: uninstall one"):
        image_extractor("means")


def test_an_import_of_the_room_is_light(site):
    code = (
        "import sys, spdq, spdq.features, spdq.features.registry, spdq.features.timm_images\n"
        "import spdq.features.open_clip_images, spdq.features.cache, spdq.features.text_cache\n"
        "import spdq.features.sentence_texts, spdq.features.open_clip_texts\n"
        "spdq.features.image_extractor('timm:resnet18'); spdq.features.image_extractor('open_clip:RN50')\n"
        "spdq.features.text_extractor('open_clip:RN50'); spdq.features.text_extractor('sentence-transformers:a')\n"
        "heavy = {'torch', 'torchvision', 'timm', 'open_clip', 'sentence_transformers', 'transformers'}\n"
        "heavy |= {'huggingface_hub', 'sqlite3', 'my_pictures'}\n"
        "sys.exit(' '.join(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "\n")
