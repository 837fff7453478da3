# ruff: noqa: E501 - the edit matrix is a table
"""The workflow as people use it: what runs, what does not, what survives a kill. WORKFLOW tests 1 to 16."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Project = Any  # the fixture of conftest.py

VIEWS = {"collect": 1, "report": 1}


def test_first_run_then_nothing_to_do(finished: Project) -> None:
    page = finished.path("results/report/tiny/all/index.html")
    assert page.is_file()
    assert "forecast" in finished.first_output  # type: ignore[attr-defined]
    assert finished.planned() == {}
    assert "Nothing to be done" in finished.snakemake()


EDITS = {
    "nothing": (lambda p: None, {}),
    "touch of everything": (lambda p: [os.utime(f) for f in p.root.rglob("*.py")], {}),
    "comment": (lambda p: p.edit("methods/blob/alpha.py", "# a comment", "# another"), {}),
    "docstring": (lambda p: p.edit("methods/blob/alpha.py", "A method.", "The method."), {}),
    "comment in the plan": (lambda p: p.edit("config/tiny.yaml", "seeds: 2", "seeds: 2   # few"), {}),
    # alpha's two chunks; the round that holds its cells
    "one method": (lambda p: p.edit("methods/blob/alpha.py", "FACTOR * self", "1.0 * FACTOR * self"), {"train": 2, "measure": 2}),
    # alpha and beta, two chunks each
    "shared helper": (lambda p: p.edit("methods/blob/shared.py", "1.0", "0.9"), {"train": 4, "measure": 2}),
    # the data, all chunks
    "the task": (lambda p: p.edit("benchmarks/tasks/blobs.py", "steps=5", "steps=6"), {"data": 1, "train": 8, "measure": 2}),
    # the `more` chunks of three methods, and the baseline's seed on which two of them stand: no round
    "one more seed": (lambda p: p.edit("config/tiny.yaml", "seeds: 2", "seeds: 3"), {"train": 4}),
    "one seed less": (lambda p: p.edit("config/tiny.yaml", "seeds: 2", "seeds: 1"), {}),
    "one more setting": (lambda p: p.edit("benchmarks/papers/blobs.yaml", "[0.5, 1.0]", "[0.5, 0.7, 1.0]"), {"train": 2, "measure": 2}),
    "a setting removed": (lambda p: p.edit("benchmarks/papers/blobs.yaml", "[0.5, 1.0]", "[1.0]"), None),
    "a claim's threshold": (lambda p: p.edit("benchmarks/papers/blobs.yaml", "above: -0.5", "above: -0.4"), {"report": 1}),
    "measuring code": (lambda p: p.edit("benchmarks/measure/protocol.py", "SLOT_S = 0.020", "SLOT_S = 0.021"), {"measure": 2}),
    "metadata lost": (lambda p: shutil.rmtree(p.path(".snakemake")), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_exactly_what_it_touches(project: Project, name: str) -> None:
    edit, expected = EDITS[name]
    edit(project)
    counts = project.planned()
    for view in ("all", "so_far", "collect", "report", "pdf"):
        seen = counts.pop(view, 0)
        assert seen <= 1 or view == "collect", f"{view} would run {seen} times"
    if expected is None:  # chunks are renamed; their cells are final and nothing is trained again
        before = set((project.root / "results" / "cells").iterdir())
        project.snakemake()
        assert set((project.root / "results" / "cells").iterdir()) == before
        return
    expected = {rule: count for rule, count in expected.items() if rule not in VIEWS}
    assert counts == expected


def test_one_more_seed_and_back(project: Project) -> None:
    before = project.states()
    project.edit("config/tiny.yaml", "seeds: 2", "seeds: 3")
    project.snakemake()
    kept = project.states()
    assert all(kept[name] == state for name, state in before.items() if not name.startswith("tables"))
    project.edit("config/tiny.yaml", "seeds: 3", "seeds: 2")
    assert set(project.planned()) <= {"all", "report", "collect", "pdf"}


@pytest.mark.parametrize("number", range(3))
def test_killed_at_random_moments_then_the_plain_command(
    finished: Project, fresh: Project, number: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(2):
        run = subprocess.Popen(
            fresh.command(), cwd=fresh.root, env=fresh.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(rng.uniform(1.0, 12.0))
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    fresh.snakemake()
    assert fresh.states() == finished.states()
    assert fresh.planned() == {}


def test_a_second_run_in_the_same_folder_is_told_so(project: Project) -> None:
    project.edit("methods/blob/alpha.py", "FACTOR * self", "0.5 * FACTOR * self")
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys,time; sys.path.insert(0,'.'); from benchmarks.host import claim; "
         "claim('.snakemake/joulemark.lock'); print('held', flush=True); time.sleep(60)"],
        cwd=project.root, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout and holder.stdout.readline().strip() == "held"
        text = project.snakemake(status=1)
        assert "Another run (process" in text and "wait for it or stop it" in text
        assert project.planned()["train"] == 2  # a dry run works beside it
    finally:
        holder.kill()
        holder.wait()
    project.snakemake()  # a kill leaves no lock


def test_failures_are_records_and_a_harness_bug_is_not(fresh: Project) -> None:
    fresh.edit(
        "methods/blob/beta.py",
        "        for step",
        "        raise RuntimeError('beta is broken')\n        for step",
    )
    fresh.edit(
        "methods/blob/gamma.py", "from dataclasses", "raise ImportError('no such thing')\nfrom dataclasses"
    )
    fresh.snakemake()
    records = [json.loads(path.read_text()) for path in fresh.path("results/cells").glob("*.json")]
    by_method = {(r["key"]["method"], r["status"], r["reason"]) for r in records}
    assert ("beta", "failed", "RuntimeError: beta is broken") in by_method
    assert any(m == "gamma" and s == "failed" and "no such thing" in why for m, s, why in by_method)
    assert all(s == "ok" for m, s, _ in by_method if m in ("alpha", "baseline"))
    text = fresh.snakemake("strict", status=1)
    assert "beta" in text and "are missing or not ok" in text


def test_a_harness_bug_fails_its_job_only_and_a_report_is_written(fresh: Project) -> None:
    fresh.edit("benchmarks/execute.py", "def size_of_nothing" if False else "def _timed(", "def _timed(")
    fresh.edit(
        "benchmarks/execute.py", "    began = cpu_clock()\n    result = stage",
        "    if run.method.strength == 1.0 and run.seed == 0:\n        raise KeyError('a bug of ours')\n"
        "    began = cpu_clock()\n    result = stage",
    )  # fmt: skip
    fresh.edit("benchmarks/execute.py", "run.method.strength", "getattr(run.method, 'strength', 0)")
    text = fresh.snakemake(status=1)
    assert "a bug of the harness" in text
    assert fresh.path("results/report/tiny/so_far/index.html").is_file()
    done = [json.loads(path.read_text()) for path in fresh.path("results/cells").glob("*.json")]
    assert len(done) == 9  # all cells but alpha(strength=1), seed 0
    fresh.edit("benchmarks/execute.py", "raise KeyError('a bug of ours')", "pass")
    fresh.snakemake()
    assert len(list(fresh.path("results/cells").glob("*.json"))) == 10


def test_sources_that_change_under_way_stop_the_job(project: Project) -> None:
    code = "from benchmarks.plan import load_plan; p = load_plan({'plan': 'tiny'}); import sys; " \
           "name = next(n for n in p.chunks if '.alpha.s0' in n); print(p.chunk_text(name)); print(name, file=sys.stderr)"  # fmt: skip
    env = {**project.env(), "PYTHONPATH": str(project.root)}
    planned = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=env, capture_output=True, text=True
    )
    spec = planned.stdout
    shutil.rmtree(project.path("results/cells"))
    shutil.rmtree(project.path("results/artefacts"))
    env["JOULEMARK_SOURCES"] = "0" * 12
    job = subprocess.run(
        [sys.executable, "-m", "benchmarks", "train", "--out", "results/chunks/x.jsonl"],
        input=spec, cwd=project.root, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert job.returncode != 0 and "sources changed since planning: run again" in job.stderr
    assert not list(project.path("results").glob("cells/*"))


def test_quality_does_not_depend_on_cores(finished: Project, fresh: Project) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "plan=tiny"]
    subprocess.run(command, cwd=fresh.root, env=fresh.env(), check=True, capture_output=True)
    assert fresh.states() == finished.states()


def test_elsewhere_and_with_a_bare_environment(finished: Project, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(finished.root / "Snakefile"),
        "-n",
        "--cores",
        "2",
    ]
    done = subprocess.run(
        [*command, "--config", f"plan={finished.root / 'config' / 'tiny.yaml'}"], cwd=tmp_path, env=env,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Using workflow specific profile" in done.stdout + done.stderr


def test_report_summary_and_rulegraph(project: Project) -> None:
    assert "data" in project.snakemake("--rulegraph")
    assert "results/chunks" in project.snakemake("--summary")
    project.snakemake("--report", "report.zip")
    with zipfile.ZipFile(project.path("report.zip")) as archive:
        pictures = {Path(name).name for name in archive.namelist() if name.endswith(".svg")}
        told = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".html"))
    assert pictures == {path.name for path in project.path("results/report/tiny/all/figures").glob("*.svg")}
    assert any(name.startswith("forest") for name in pictures)
    assert "Every claim of the paper on one axis" in told  # its caption
    assert project.planned() == {}


def test_bad_plans_are_one_line(project: Project) -> None:
    def said(*config: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--config", *config], cwd=project.root,
            env=project.env(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        return done.stderr.strip().splitlines()[-1]

    assert "there is no config/nosuch.yaml; plans: " in said("plan=nosuch")
    project.edit("config/tiny.yaml", "seeds: 2", "sedes: 2")
    assert said("plan=tiny") == "config/tiny.yaml: unknown key 'sedes'; did you mean 'seeds'?"


def test_lint_format_and_profiles() -> None:
    lint = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True
    )
    assert "Congratulations" in lint.stdout + lint.stderr, lint.stdout[-3000:]
    snakefmt = Path(sys.executable).with_name("snakefmt")
    if snakefmt.exists():
        subprocess.run(
            [snakefmt, "--check", "Snakefile", "workflow"], cwd=ROOT, check=True, capture_output=True
        )
    import yaml

    common = {"scheduler": "greedy", "keep-going": True, "rerun-incomplete": True, "nolock": True,
              "rerun-triggers": ["mtime", "params"]}  # fmt: skip
    for path in (ROOT / "profiles").glob("*/config.yaml"):
        profile = yaml.safe_load(path.read_text())
        assert {key: profile[key] for key in common} == common, path


def test_every_shipped_plan_can_be_planned() -> None:
    for path in sorted((ROOT / "config").glob("*.yaml")):
        code = f"from benchmarks.plan import load_plan; p = load_plan({{'plan': {path.stem!r}}}); print(len(p.cells))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout) > 0
