"""`joulemark extend` on a finished run: what exists is not touched, the page has the new seeds."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd

Project = Any  # the fixture of conftest.py


def joulemark(project: Project, *args: str) -> str:
    command = [sys.executable, "-m", "joulemark", "extend", *args, "--plan", "tiny", "--cores", "2"]
    done = subprocess.run(command, cwd=project.root, env=project.env(), capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_extend_adds_seeds_and_rounds_and_repeats_nothing(project: Project) -> None:
    results = project.root / "results"
    before = {
        path: path.stat().st_mtime_ns for name in ("cells", "visits") for path in (results / name).iterdir()
    }
    said = joulemark(project, "blobs", "--seeds", "3", "--rounds", "3")
    assert "blobs: 2 to 3 seeds, 2 to 3 rounds; 5 cells and 1 rounds to run" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    cells = [path for path in (results / "cells").iterdir() if path not in before]
    assert len(cells) == 5  # the baseline, alpha twice, beta and gamma, one seed each
    verdicts = pd.read_parquet(results / "report" / "tiny" / "study_blobs" / "verdicts.parquet")
    assert verdicts["n"].tolist() == [3]
    assert "all of it exists" in joulemark(project, "blobs", "--seeds", "3", "--rounds", "3")
    assert "nothing to do: blobs has 2 seeds" in joulemark(project, "blobs", "--seeds", "2")
