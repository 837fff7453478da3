"""The example of CONTRIBUTING.md runs as it stands, in a plan of its own: one file, no card."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_example_touches_one_file_and_is_compared(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert code, "CONTRIBUTING.md has no example"
    file = tmp_path / "late_noise.py"
    file.write_text(code[1])
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JOULEMARK_PLUGINS": str(file),
        "JOULEMARK_LEASE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "joulemark", "try", "late_noise", "--eta", "0.02", "--task", "digits_mlp",
         "--seeds", "2", "--rounds", "2"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "late_noise(eta=0.02)" in done.stdout
    for metric in ("accuracy", "nonzero", "train_flops", "latency_s@batch64"):
        assert metric in done.stdout
    assert len(code[1].strip().splitlines()) <= 40
