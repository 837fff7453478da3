"""Builds the stub of libnvidia-ml.so.1 into a temporary folder and runs scripts on it, each in its own process.

It is never installed and its boards are called "Stub", so that their joules can be told from measured ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("stub.c")
ROOT = SOURCE.parents[2]
#: The first lines of every script: rules that save time, `options` to change a law, `tell` to answer.
PROLOGUE = """
import json, os, sys, time
from benchmarks.measure.meters import *
from benchmarks.measure.meters.base import Meter, MeterError, Reading
from benchmarks.measure.meters.nvml import boards, open_board
from benchmarks.measure.meters.nvml_meters import nvml_meters

RULES = EnergyRules(window_s=2.0, least_s=1.0, least_refreshes=10, idle_s=0.0, warm_most_s=0.0, lead_in=1.0,
                    lead_out=0.7, batch_s=0.05)

def options(**values):
    with open(os.environ["NVML_STUB_OPTIONS"], "a") as file:
        for name, value in values.items():
            print(f"{name.replace('__', '.').lstrip('_')}={value}", file=file)

def nap():
    time.sleep(0.013)

class Trigger(Meter):
    # stands behind the others: what it does happens right after their first edge
    component = sensor = "trigger"
    def __init__(self, act):
        self.act = act
    def start(self):
        self.act(time.monotonic())
    def stop(self):
        pass
    def close(self, loaded=True):
        raise MeterError("no meter")

def told(reading):
    return {**reading.as_dict(), "name": reading.conditions.get("name")}

def tell(value):
    print("TOLD " + json.dumps(value))
"""


@dataclass
class Stub:
    """A built library and a folder for its options.

    Attributes:
        folder: holds libnvidia-ml.so.1.
    """

    folder: Path

    @property
    def library(self) -> Path:
        return self.folder / "libnvidia-ml.so.1"

    def environment(self, work: Path, options: dict[str, Any], preload: bool = False) -> dict[str, str]:
        """A process's environment in which NVML is the stub.

        Args:
            work: a folder for options and logs.
            options: of the stub, see stub.c.
            preload: by the project's own variable in place of the loader's path.
        """
        path = work / "options"
        path.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
        found = {
            **os.environ,
            "NVML_STUB_OPTIONS": str(path),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        found.pop("CUDA_VISIBLE_DEVICES", None)
        if preload:
            return {**found, "JOULEMARK_NVML_LIBRARY": str(self.library)}
        return {**found, "LD_LIBRARY_PATH": str(self.folder)}

    def run(self, script: str, work: Path, options: dict[str, Any], **changes: Any) -> Any:
        """What a script told, run in a process of its own.

        Args:
            script: behind PROLOGUE; calls `tell` once.
            work: a folder for options and logs.
            options: of the stub.
            changes: `preload`, and `environment` for further variables.
        """
        variables = changes.pop("environment", {})
        child = subprocess.run(
            [sys.executable, "-c", PROLOGUE + script],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**self.environment(work, options, **changes), **variables},
            timeout=300,
        )
        lines = [line for line in child.stdout.splitlines() if line.startswith("TOLD ")]
        assert child.returncode == 0 and lines, child.stderr[-3000:]
        return json.loads(lines[-1].removeprefix("TOLD "))


def build(folder: Path) -> Stub:
    """The stub in a folder; skips the test where it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        pytest.skip("the stub of libnvidia-ml.so.1 is for Linux")
    if compiler is None:
        pytest.skip("no C compiler: the stub of libnvidia-ml.so.1 cannot be built")
    made = Stub(folder)
    flags = [
        "-O2",
        "-Wall",
        "-Werror",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-Wl,-soname,libnvidia-ml.so.1",
    ]
    subprocess.run([compiler, *flags, "-o", str(made.library), str(SOURCE), "-lm"], check=True)
    return made


def fake_smi(folder: Path) -> dict[str, str]:
    """PATH with an empty `nvidia-smi`: CodeCarbon takes a GPU for real only where it can run that tool."""
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    return {"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}
