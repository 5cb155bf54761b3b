"""Where compiled kernels may be kept, each case in a process of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import spdq_kernels

PROJECT = """
import sys, warnings
warnings.simplefilter("always")
import numpy as np
from spdq_kernels import project
assert "numba" not in sys.modules
assert project(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)).tolist() == [[3.0] * 4] * 2
import numba
assert numba.config.CACHE_DIR == "", numba.config.CACHE_DIR
from spdq_kernels.cpu.tables import project
print(sum(project.stats.cache_hits.values()), end="")
"""


def run(cache_home: Path, code: str = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    kernels = str(Path(spdq_kernels.__file__).parents[1])
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONPATH": kernels, "XDG_CACHE_HOME": str(cache_home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_cached(cache_home: Path, hits: int) -> None:
    done = run(cache_home)
    assert (done.returncode, done.stdout, done.stderr) == (0, str(hits), "")


def assert_works_uncached(cache_home: Path, reason: str) -> None:
    done = run(cache_home)
    assert (done.returncode, done.stdout) == (0, "0"), done.stderr
    assert done.stderr.count("RuntimeWarning: compiled kernels are not cached") == 1
    assert reason in done.stderr


def test_the_directory_is_private_and_used(tmp_path):
    assert_cached(tmp_path / "made", 0)
    directories = [
        tmp_path / "made" / "spdq",
        *(tmp_path / "made").glob("spdq/numba"),
        key(tmp_path / "made"),
    ]
    assert [stat.S_IMODE(d.stat().st_mode) for d in directories] == [0o700] * 3
    assert_cached(tmp_path / "made", 1)


def key(cache_home: Path) -> Path:
    (directory,) = cache_home.glob("spdq/numba/*")
    return directory


@pytest.mark.parametrize(
    ("suffix", "damage"), [("nbi", "empty"), ("nbi", "half"), ("nbc", "empty"), ("nbc", "garbage")]
)
def test_torn_files_are_replaced(tmp_path, suffix, damage):
    assert_cached(tmp_path, 0)
    for path in key(tmp_path).rglob(f"*.{suffix}"):
        content = path.read_bytes()
        path.write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "garbage": b"\x80\x04K"}[damage]
        )
    assert_cached(tmp_path, 0)
    assert_cached(tmp_path, 1)


def test_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spdq").symlink_to(tmp_path / "elsewhere")
    assert_works_uncached(tmp_path, "spdq is a symbolic link, not a directory")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert_works_uncached(tmp_path / "file", "File exists")


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_that_others_can_write_is_refused(tmp_path, mode):
    (tmp_path / "spdq").mkdir()
    (tmp_path / "spdq").chmod(mode)
    assert_works_uncached(tmp_path, "spdq is writable by other users: chmod 700 it")


def test_a_home_that_everybody_can_write_is_refused(tmp_path):
    tmp_path.chmod(0o1777)
    assert_works_uncached(tmp_path, "is writable by everybody")


def test_a_directory_of_another_user_is_refused(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "spdq").mkdir(mode=0o755)
    os.chown(tmp_path / "spdq", 12345, 12345)
    assert_works_uncached(tmp_path, "spdq belongs to another user")


def test_a_relative_cache_home_is_passed_over(tmp_path):
    done = run(Path("relative"), HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / ".cache" / "spdq" / "numba").is_dir()
    assert not Path("relative").exists()


def test_a_full_disk_costs_the_cache_and_nothing_else(tmp_path):
    code = """
import errno, os
from numba.core.caching import IndexDataCacheFile
def no_space(*_): raise OSError(errno.ENOSPC, "No space left on device")
IndexDataCacheFile._save_data = no_space
""" + PROJECT.replace('assert "numba" not in sys.modules\n', "")
    done = run(tmp_path, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0", "")


def test_a_program_keeps_its_own_cache_directory(tmp_path):
    code = """
import numba
numba.config.CACHE_DIR = "/theirs"
from spdq_kernels import cpu
cpu.compiled("multiply")
assert numba.config.CACHE_DIR == "/theirs"
"""
    done = run(tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(key(tmp_path).rglob("tables.multiply-*.nbc"))


def test_without_the_compiler(tmp_path):
    code = PROJECT.rpartition("from spdq_kernels.cpu")[0]
    done = run(tmp_path, code, NUMBA_DISABLE_JIT="1")
    assert (done.returncode, done.stderr) == (0, "")
