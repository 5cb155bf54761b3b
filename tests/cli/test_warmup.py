from __future__ import annotations

import subprocess


def test_warmup_fills_the_cache(process, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with process("warmup", stderr=subprocess.STDOUT) as started:
        out, _ = started.communicate(timeout=300)
    assert (started.returncode, out) == (0, "")
    assert list(tmp_path.rglob("*.nbi"))
