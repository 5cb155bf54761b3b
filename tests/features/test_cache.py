from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from spdq.errors import DataError, LockedError, NotFoundError, StorageError, UsageError
from spdq.features import cache, image_extractor
from spdq.features.cache import CHUNK, CachedExtractor


class Counting:
    """A real extractor that writes down how many pictures it was given, call by call."""

    def __init__(self, spec="pixels:8"):
        self.real = image_extractor(spec)
        self.calls = []

    name = property(lambda self: self.real.name)
    dim = property(lambda self: self.real.dim)
    regions = property(lambda self: self.real.regions)

    def settings(self):
        return self.real.settings()

    def extract(self, images, progress=None):
        self.calls.append(len(images))
        return self.real.extract(images, progress)


def draw(folder, numbers):
    """A picture of noise a number, the same for the same number."""
    folder.mkdir(exist_ok=True)
    files = []
    for number in numbers:
        files.append(folder / f"{number}.png")
        noise = np.random.default_rng(number).integers(0, 256, (12, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(files[-1])
    return files


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def pictures(tmp_path):
    return draw(tmp_path / "pictures", range(5))


@pytest.fixture
def cached(counting, tmp_path):
    return CachedExtractor(counting, tmp_path / "deep" / "cache")


@pytest.fixture
def plain(pictures):
    return image_extractor("pixels:8").extract(pictures)


def stored_file(tmp_path):
    (file,) = (tmp_path / "deep" / "cache").glob("*.sqlite")
    return file


def change(tmp_path, statement, *values):
    with sqlite3.connect(stored_file(tmp_path)) as connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    return changed


def test_a_second_run_extracts_only_what_is_new(cached, counting, pictures, plain, tmp_path):
    np.testing.assert_array_equal(cached.extract(pictures), plain)
    again = cached.extract(pictures[::-1])
    np.testing.assert_array_equal(again[::-1], plain)
    assert (again.dtype, counting.calls) == (np.float32, [5])
    more = [*pictures[:2], *draw(tmp_path / "pictures", [7, 8]), pictures[4]]
    np.testing.assert_array_equal(cached.extract(more), image_extractor("pixels:8").extract(more))
    assert counting.calls == [5, 2]


def test_it_is_the_extractor_it_keeps_for(cached, counting):
    assert (cached.name, cached.dim, cached.regions) == ("pixels:8", 192, 1)
    assert cached.settings() == counting.settings()
    assert cached.extract([]).shape == (0, 192)


def test_content_counts_and_not_the_name(cached, counting, pictures, plain, tmp_path):
    cached.extract(pictures)
    moved = pictures[0].rename(tmp_path / "elsewhere.png")
    rows = cached.extract([moved, str(pictures[1]), pictures[2].read_bytes()])
    np.testing.assert_array_equal(rows, plain[:3])
    assert counting.calls == [5]
    pictures[1].write_bytes(pictures[2].read_bytes())
    np.testing.assert_array_equal(cached.extract([pictures[1]])[0], plain[2])
    draw(tmp_path / "other", [9])[0].replace(pictures[1])
    assert not np.array_equal(cached.extract([pictures[1]])[0], plain[1])
    assert counting.calls == [5, 1]


def test_a_picture_that_comes_twice_is_extracted_once(cached, counting, pictures, plain):
    twice = [pictures[0], pictures[1], pictures[0], pictures[0].read_bytes()]
    np.testing.assert_array_equal(cached.extract(twice), plain[[0, 1, 0, 0]])
    assert counting.calls == [2]


def test_pil_images_are_always_extracted(cached, counting, pictures, plain):
    for _ in range(2):
        rows = cached.extract([Image.open(pictures[0]), pictures[1]])
        np.testing.assert_array_equal(rows, plain[:2])
    assert counting.calls == [2, 1]


def test_each_set_of_settings_has_its_own(cached, counting, pictures, tmp_path):
    cached.extract(pictures)
    other = Counting("pixels:16")
    rows = CachedExtractor(other, tmp_path / "deep" / "cache").extract(pictures)
    assert (rows.shape, other.calls, counting.calls) == ((5, 768), [5], [5])
    assert len(list((tmp_path / "deep" / "cache").glob("*.sqlite"))) == 2


def test_large_sets_go_by_chunks_and_the_progress_is_told(cached, counting, tmp_path):
    many = draw(tmp_path / "many", range(CHUNK + 6))
    cached.extract(many[:10])
    calls = []
    cached.extract(many, progress=lambda *call: calls.append(call))
    assert counting.calls == [10, CHUNK - 10, 6]
    assert calls[0] == (11, CHUNK + 6)
    assert calls[-1] == (CHUNK + 6, CHUNK + 6)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize("damage", [
    "UPDATE rows SET features = zeroblob(length(features)) WHERE picture = ?",
    "UPDATE rows SET features = substr(features, 1, 400) WHERE picture = ?",
    "UPDATE rows SET features = 'text' WHERE picture = ?",
    "UPDATE rows SET checksum = x'00' WHERE picture = ?",
    "UPDATE rows SET (features, checksum) = (SELECT features, checksum FROM rows AS other "
    "WHERE other.picture <> rows.picture) WHERE picture = ?",
])  # fmt: skip
def test_a_damaged_row_is_extracted_anew(cached, counting, pictures, plain, tmp_path, damage):
    cached.extract(pictures)
    with sqlite3.connect(stored_file(tmp_path)) as connection:
        (key,) = connection.execute("SELECT picture FROM rows ORDER BY picture LIMIT 1").fetchone()
    connection.close()
    assert change(tmp_path, damage, key) == 1
    np.testing.assert_array_equal(cached.extract(pictures), plain)
    np.testing.assert_array_equal(cached.extract(pictures), plain)
    assert counting.calls == [5, 1]


@pytest.mark.parametrize("content", [b"", b"nonsense" * 999, "half", "torn"])
def test_a_damaged_file_is_made_anew(cached, counting, pictures, plain, tmp_path, content):
    cached.extract(pictures)
    file = stored_file(tmp_path)
    whole = file.read_bytes()
    torn = whole[:4096] + os.urandom(len(whole) - 4096)
    file.write_bytes({"half": whole[: len(whole) // 2], "torn": torn}.get(content, content))
    np.testing.assert_array_equal(cached.extract(pictures), plain)
    np.testing.assert_array_equal(cached.extract(pictures), plain)
    assert counting.calls == [5, 5]


def test_a_file_that_changes_meanwhile_is_not_kept(cached, counting, pictures, tmp_path, monkeypatch):
    other = draw(tmp_path / "other", [9])[0]
    extract = counting.real.extract

    def change_first(images, progress=None):
        other.replace(pictures[0])
        return extract(images, progress)

    original = pictures[0].read_bytes()
    monkeypatch.setattr(counting.real, "extract", change_first)
    cached.extract(pictures[:1])
    monkeypatch.undo()
    pictures[0].write_bytes(original)
    np.testing.assert_array_equal(cached.extract(pictures[:1]), extract(pictures[:1]))
    assert counting.calls == [1, 1]


def test_what_the_extractor_refuses_is_refused(cached, counting, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(pictures[0].read_bytes()[:60])
    with pytest.raises(DataError, match=r"broken\.png: broken picture"):
        cached.extract([pictures[0], tmp_path / "broken.png"])
    with pytest.raises(NotFoundError, match=r"none\.png: cannot be read"):
        cached.extract([tmp_path / "none.png"])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: not a regular file"):
        cached.extract([tmp_path / "pipe.png"])
    with pytest.raises(NotFoundError, match="embedded null"):
        cached.extract(["a\0b.png"])
    for one in (pictures[0], b"abc", Image.new("RGB", (2, 2))):
        with pytest.raises(UsageError, match="expected a sequence of images, got one"):
            CachedExtractor(image_extractor("pixels:8"), tmp_path).extract(one)


def test_a_folder_that_refuses(counting, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"feature cache .*file.*: choose another folder"):
        CachedExtractor(counting, tmp_path / "file").extract(pictures)
    folder = tmp_path / "cache"
    CachedExtractor(counting, folder).extract(pictures)
    (file,) = folder.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(
        StorageError, match="unable to open database file: make room, or choose another folder"
    ):
        CachedExtractor(counting, folder).extract(pictures)


def test_a_folder_that_another_keeps(cached, pictures, tmp_path, monkeypatch):
    cached.extract(pictures)
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0)
    connection = sqlite3.connect(stored_file(tmp_path))
    try:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LockedError, match="another process has kept it for 0 s: try again"):
            cached.extract(pictures)
    finally:
        connection.close()


SLOW = """
    import sys, time
    from pathlib import Path
    from spdq.features import image_extractor
    from spdq.features.cache import CachedExtractor

    real = image_extractor("pixels:8")

    class Counting:
        name, dim, regions, settings = real.name, real.dim, real.regions, staticmethod(real.settings)
        count = 0

        def extract(self, images, progress=None):
            Counting.count += len(images)
            return real.extract(images, progress)

    folder, *files = map(Path, sys.argv[1:])
    CachedExtractor(Counting(), folder).extract(
        files, lambda done, total: (print(done, flush=True), time.sleep(0.002))
    )
    print("extracted", Counting.count)
"""


def start(folder, files):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), folder, *files],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_killed_process_loses_no_more_than_two_chunks(counting, tmp_path):
    files = draw(tmp_path / "many", range(3 * CHUNK))
    with start(tmp_path / "cache", files) as process:
        for line in process.stdout:
            if int(line) >= 2 * CHUNK + 5:
                break
        process.send_signal(signal.SIGKILL)
    rows = CachedExtractor(counting, tmp_path / "cache").extract(files)
    # The second one may have been written, or was about to be.
    assert counting.calls in ([CHUNK], [CHUNK, CHUNK])
    np.testing.assert_array_equal(rows, image_extractor("pixels:8").extract(files))


def test_two_processes_share_a_folder(counting, tmp_path):
    files = draw(tmp_path / "many", range(2 * CHUNK))
    halves = files[: CHUNK + 20], files[CHUNK - 20 :]
    with start(tmp_path / "cache", halves[0]) as one, start(tmp_path / "cache", halves[1]) as two:
        outs = [process.communicate(timeout=120)[0].splitlines()[-1] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0)
    assert all(out.startswith("extracted") for out in outs)
    rows = CachedExtractor(counting, tmp_path / "cache").extract(files)
    assert counting.calls == []
    np.testing.assert_array_equal(rows, image_extractor("pixels:8").extract(files))


def test_a_change_of_one_setting_is_another_cache(tmp_path, pictures):
    """Whatever ``settings`` says decides: a network's weights have their SHA-256 there."""

    class Reweighted(Counting):
        def settings(self):
            return self.real.settings() | {"weights_sha256": self.weights}

    one, two = Reweighted(), Reweighted()
    one.weights, two.weights = "0" * 64, "1" * 64
    for extractor in (one, two, one, two):
        CachedExtractor(extractor, tmp_path / "cache").extract(pictures)
    assert one.calls == two.calls == [5]
