"""The script behind `make`: what it chooses, when it fills .venv, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import setup_env
from setup_env import SetupError, choose_torch

LOCKS = (setup_env.BASE, setup_env.DEV, *setup_env.TORCH_LOCKS.values())


# ---- which torch


@pytest.mark.parametrize(
    ("asked", "held", "platform", "driver", "expected"),
    [
        ("", None, "linux", False, "cpu"),
        ("", None, "linux", True, "cuda"),
        ("", None, "darwin", True, "cpu"),
        ("", "cpu", "linux", True, "cpu"),
        ("", "cuda", "linux", False, "cuda"),
        ("cpu", "cuda", "linux", True, "cpu"),
        ("cuda", "cpu", "linux", False, "cuda"),
    ],
)
def test_torch_is_asked_for_held_or_chosen_by_the_driver(
    asked: str, held: str | None, platform: str, driver: bool, expected: str
) -> None:
    assert choose_torch(asked, held, platform, lambda: driver) == expected


@pytest.mark.parametrize(("asked", "platform"), [("gpu", "linux"), ("CPU", "linux"), ("cuda", "darwin")])
def test_a_wrong_torch_is_one_line_that_says_what_is_allowed(asked: str, platform: str) -> None:
    with pytest.raises(SetupError, match="allowed") as error:
        choose_torch(asked, "cpu", platform, lambda: True)
    assert f"TORCH={asked}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("script", "library", "expected"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", None, True),
        ("echo 'No devices found.'", None, False),
        ("exit 9", None, False),
        (None, None, False),
        (None, 0, True),
        (None, 100, False),
    ],
)
def test_the_driver_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, library: int | None, expected: bool
) -> None:
    def load(name: str) -> Any:
        if library is None:
            raise OSError(name)
        return type("Cuda", (), {"cuInit": staticmethod(lambda flags: library)})

    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.setattr(setup_env.ctypes, "CDLL", load)
    assert setup_env.nvidia_driver_answers() is expected


# ---- the stamp: .venv is filled when it must be, and only then


class Steps:
    """A root with short locks, and setup's steps replaced by notes of their names."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.done, self.failing = root, [], ""
        for lock in LOCKS:
            (root / lock).write_text("setuptools==1 \\\n    --hash=sha256:0\n")
        monkeypatch.setattr(setup_env, "nvidia_driver_answers", lambda: False)
        monkeypatch.setattr(setup_env, "link_project", lambda root: self.note("link"))
        monkeypatch.setattr(setup_env, "pip", lambda root, what, lock, *options: self.note(lock.name))
        self.really_make = setup_env.make_venv
        monkeypatch.setattr(setup_env, "make_venv", self.make)
        monkeypatch.setattr(setup_env, "install_torch", lambda root, torch: self.note(f"torch {torch}"))

    def note(self, what: str) -> None:
        self.done.append(what)
        if what == self.failing:
            raise SetupError("no network")

    def make(self, root: Path) -> None:
        shutil.rmtree(root / ".venv", ignore_errors=True)
        (root / ".venv" / "bin").mkdir(parents=True)
        (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        self.note("venv")

    def run(self, dev: bool = False, **environ: str) -> list[str]:
        self.done = []
        setup_env.setup(self.root, dev, environ)
        return self.done


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(tmp_path, monkeypatch)


FRESH = ["venv", "setuptools.lock", "requirements.lock", "torch cpu", "link"]


def test_a_second_setup_does_nothing_and_says_nothing(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps.run() == FRESH
    said = capsys.readouterr().out
    assert said.index("MB to load") < said.index("is ready")
    assert steps.run() == []
    assert capsys.readouterr().out == ""


def test_test_tools_come_on_top_and_once(steps: Steps) -> None:
    steps.run()
    assert steps.run(dev=True) == ["requirements-dev.lock"]
    assert steps.run(dev=True) == [] and steps.run() == []
    (steps.root / "requirements-dev.lock").write_text("changed\n")
    assert steps.run() == []
    assert steps.run(dev=True) == ["requirements-dev.lock"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-torch-cpu.lock"])
def test_a_changed_lock_fills_venv_anew(steps: Steps, lock: str) -> None:
    steps.run(dev=True)
    with (steps.root / lock).open("a") as file:
        file.write("# another\n")
    assert steps.run() == FRESH
    assert steps.run(dev=True) == ["requirements-dev.lock"]


def test_the_other_torchs_lock_does_not_matter(steps: Steps) -> None:
    steps.run()
    (steps.root / "requirements-torch-cuda.lock").write_text("changed\n")
    assert steps.run() == []


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA wheels are for Linux")
def test_torch_is_kept_until_another_is_asked_for(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.run()
    monkeypatch.setattr(setup_env, "nvidia_driver_answers", lambda: True)
    assert steps.run() == [] and steps.run(TORCH="cpu") == []
    assert "torch cuda" in steps.run(TORCH="cuda")
    assert steps.run() == []


@pytest.mark.parametrize("failing", [*FRESH, "requirements-dev.lock"])
def test_a_failed_step_leaves_no_stamp_for_what_it_did_not_do(steps: Steps, failing: str) -> None:
    steps.failing = failing
    with pytest.raises(SetupError):
        steps.run(dev=True)
    steps.failing = ""
    begun_anew = [*FRESH, "requirements-dev.lock"] if failing in FRESH else ["requirements-dev.lock"]
    assert steps.run(dev=True) == begun_anew


def test_a_stamp_that_is_damaged_moved_or_without_its_python_does_not_count(steps: Steps) -> None:
    stamp = steps.root / ".venv" / "joulemark-stamp.json"
    steps.run()
    stamp.write_text("{half")
    assert steps.run() == FRESH
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "root": "/elsewhere"}))
    assert steps.run() == FRESH
    (steps.root / ".venv" / "bin" / "python").unlink()
    assert steps.run() == FRESH


def test_another_python_counts_only_where_it_is_asked_for(steps: Steps) -> None:
    stamp = steps.root / ".venv" / "joulemark-stamp.json"
    steps.run()
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": [3, 9]}))
    assert steps.run() == []
    assert steps.run(PYTHON=sys.executable) == FRESH


def test_the_old_stamp_goes_before_the_old_venv(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    steps.run()

    def stopped(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env.subprocess, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        steps.really_make(steps.root)
    assert not (steps.root / ".venv" / "joulemark-stamp.json").exists()


# ---- what can go wrong is one line


def test_main_prints_one_line_and_ends_with_1(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup_env, "ROOT", steps.root)
    monkeypatch.setenv("TORCH", "rocm")
    assert setup_env.main([]) == 1
    assert capsys.readouterr().err == "setup: TORCH=rocm: allowed are cpu and cuda.\n"
    assert steps.done == []


def test_missing_tools_are_named() -> None:
    with pytest.raises(SetupError, match="^git and make not found"):
        setup_env.check_tools(lambda tool: None)
    with pytest.raises(SetupError, match="^make not found"):
        setup_env.check_tools(lambda tool: None if tool == "make" else "/usr/bin/" + tool)


def test_a_python_outside_the_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 14, 0))
    with pytest.raises(SetupError, match=r"3\.11 to 3\.13 is needed"):
        setup_env.check_tools()


@pytest.mark.parametrize(
    "refusal",
    [
        "ERROR: No matching distribution found for torch==2.13.0+cpu",
        "ERROR: Cannot install torch==2.13.0+cpu because",
    ],
)
@pytest.mark.parametrize("answers", [1, 2, 3])
def test_the_cpu_wheel_is_looked_for_in_pips_sources_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str, answers: int
) -> None:
    calls: list[tuple[str, ...]] = []

    def pip(root: Path, what: str, lock: Path, *options: str) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(text="" if len(calls) == answers else refusal)

    monkeypatch.setattr(setup_env, "pip", pip)
    monkeypatch.setattr(setup_env.sys, "platform", "linux")
    if answers == 3:
        with pytest.raises(SetupError, match="PIP_FIND_LINKS"):
            setup_env.install_torch(tmp_path, "cpu")
    else:
        setup_env.install_torch(tmp_path, "cpu")
    assert calls[0] == () and len(calls) == min(answers, 2)
    assert all("--extra-index-url" in options for options in calls[1:])


def test_no_other_index_is_asked_for_cuda_and_on_macos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def pip(root: Path, what: str, lock: Path, *options: str) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(text="ERROR: No matching distribution found for torch==2.13.0")

    monkeypatch.setattr(setup_env, "pip", pip)
    for platform, torch in (("linux", "cuda"), ("darwin", "cpu")):
        monkeypatch.setattr(setup_env.sys, "platform", platform)
        with pytest.raises(SetupError, match=f"torch-{torch}.lock"):
            setup_env.install_torch(tmp_path, torch)
    assert calls == [(), ()]


def test_progress_counts_packages_and_megabytes() -> None:
    progress = setup_env.Progress("packages", 4)
    for line in (
        "Collecting numpy==2.4.6 (from -r requirements.lock (line 1))",
        "  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.5 MB)",
        "Processing /wheels/arrow-1.4.0-py3-none-any.whl",
        "Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment",
        "Requirement already satisfied: jinja2==3.1.6 in ./.venv",
        "  Downloading https://host/a/b/yte-1.9.4-py3-none-any.whl (500 kB)",
    ):
        progress.read(line + "\n")
    assert str(progress).startswith("  packages: 4 of 4, 17 MB loaded, ") and progress.now == "yte (500 kB)"


def test_the_telling_line_of_a_failed_install() -> None:
    text = "Collecting x\nERROR: Cannot install x and y\nThe conflict is caused by\nERROR: see the manual\n\n"
    assert setup_env.telling_line(text) == "ERROR: Cannot install x and y"
    assert setup_env.telling_line("one\ntwo\n") == "two"
    assert setup_env.telling_line("") == "it said nothing"


def test_the_command_runs_from_anywhere_even_where_the_path_has_blanks(tmp_path: Path) -> None:
    root = tmp_path / "a folder"
    (root / "joulemark").mkdir(parents=True)
    (root / "joulemark" / "cli.py").write_text("def main():\n    print('it runs')\n    return 3\n")
    venv.create(root / ".venv", symlinks=True, with_pip=False)
    setup_env.link_project(root)
    ran = subprocess.run([root / ".venv" / "bin" / "joulemark"], cwd="/", capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (3, "it runs\n"), ran.stderr
