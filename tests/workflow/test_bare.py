"""The same work without Snakemake, on a machine that has torch, numpy, pyyaml and safetensors and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from typing import Any

#: Found by every Python that has the project on its path; refuses what a bare machine does not have.
BARE = """
import importlib.machinery
import sys

class Refuse:
    MISSING = {"pandas", "scipy", "snakemake", "jsonschema", "matplotlib", "seaborn", "optuna", "sklearn", "pyarrow",
               "jinja2", "tabulate", "codecarbon"}

    def find_spec(self, name, path=None, target=None):  # a spec, since torch only asks whether there is one
        return importlib.machinery.ModuleSpec(name, self) if name.partition(".")[0] in self.MISSING else None

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {spec.name!r} (a bare machine)", name=spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Refuse())
"""


def joulemark(project: Any, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**project.env(), "PYTHONPATH": str(project.root)}
    command = [sys.executable, "-m", "joulemark", *args, "--plan", "tiny"]
    return subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True)


def test_a_bare_machine_trains_and_measures_stops_in_time_and_goes_on(fresh: Any) -> None:
    fresh.path("sitecustomize.py").write_text(BARE)
    stopped = joulemark(fresh, "measure", "--limit-s", "0")
    assert stopped.returncode == 3 and "jobs are left: the same command goes on" in stopped.stdout, (
        stopped.stderr
    )
    done = joulemark(fresh, "measure", "--pack", "out.tar")
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(fresh.path("out.tar")) as tar:
        records = [json.loads(tar.extractfile(name).read()) for name in tar.getnames()]  # type: ignore[union-attr]
    assert {record["kind"] for record in records} == {"cell", "visit"}
    assert len([r for r in records if r["kind"] == "cell" and r["status"] == "ok"]) == 10
    again = joulemark(fresh, "train")
    assert again.returncode == 0 and "[" not in again.stdout, "a second call has nothing to do"
    fresh.path("sitecustomize.py").unlink()
    assert set(fresh.planned()) <= {
        "all",
        "collect",
        "report",
        "pdf",
        "data",
    }  # the workflow takes it from there
