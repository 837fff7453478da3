"""The locks, and the files that other tools read: they agree with each other and with what they promise."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import setup_env

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-torch-cpu.lock",
    "requirements-torch-cuda.lock",
)
spec = importlib.util.spec_from_file_location("relock", ROOT / ".ci" / "relock.py")
assert spec and spec.loader
relock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(relock)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Package -> version; torch's two entries of the CPU lock count once, without the local label."""
    found = re.findall(r"(?m)^([a-z0-9][a-z0-9.-]*)==([^\s;+]+)", read(lock))
    assert len(found) - len(dict(found)) <= (lock == "requirements-torch-cpu.lock")
    return dict(found)


# ---- locks


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version_with_hashes(lock: str) -> None:
    blocks = re.split(r"(?m)^(?=[^\s#])", read(lock))[1:]
    assert len(blocks) > 10
    for block in blocks:
        first = block.splitlines()[0]
        assert re.match(r"[a-z0-9][a-z0-9.-]*==[0-9][^\s;]*( ; [^\\]+)? \\$", first), f"{lock}: {first}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), f"{lock}: no hash for {first}"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_no_path_and_no_source(lock: str) -> None:
    text = read(lock)
    assert not re.search(r"://|(?m:^\s*--(?!hash))| @ |\bfile:|[\w-]+\.(?:org|com|io|net|dev)\b", text)
    assert not re.search(r"(?m)(?:^|\s)/[a-z]", text)


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_what_two_locks_share_has_one_version(lock: str) -> None:
    base, other = pins("requirements.lock"), pins(lock)
    shared = base.keys() & other.keys()
    assert len(shared) >= 8
    assert {name: other[name] for name in shared} == {name: base[name] for name in shared}


def test_torch_stands_in_its_own_locks_without_torchvision_and_torchaudio() -> None:
    versions = {pins(lock)["torch"] for lock in LOCKS[2:]}
    assert versions == set(re.findall(r"(?m)^torch==(\S+)$", read("requirements-torch.in")))
    for lock in LOCKS:
        assert not {"torchvision", "torchaudio"} & pins(lock).keys()
    cuda = re.compile(r"torch$|triton|cuda-|nvidia-(?!ml-py)")
    assert not [name for lock in LOCKS[:2] for name in pins(lock) if cuda.match(name)]
    assert [name for name in pins(LOCKS[2]) if cuda.match(name)] == ["torch"]
    assert len([name for name in pins(LOCKS[3]) if cuda.match(name)]) > 10


def test_the_cpu_lock_is_what_make_lock_writes() -> None:
    made = relock.cpu_lock(read(LOCKS[3]), read(LOCKS[0]), read("requirements-torch.in"))
    assert made == read(LOCKS[2])
    with pytest.raises(SystemExit, match=r"2\.13\.1\+cpu"):
        relock.cpu_lock(
            read(LOCKS[3]).replace("torch==2.13.0", "torch==2.13.1"),
            read(LOCKS[0]),
            read("requirements-torch.in"),
        )


def test_the_cpu_lock_takes_the_cpu_wheels_of_three_pythons_on_linux() -> None:
    listed = re.findall(
        r"(?m)^# sha256:([0-9a-f]{64})  torch-\S+\+cpu-cp(\d+)-\S+_(x86_64|aarch64)\.whl$",
        read("requirements-torch.in"),
    )
    assert {(python, machine) for _, python, machine in listed} == {
        (python, machine) for python in ("311", "312", "313") for machine in ("x86_64", "aarch64")
    }
    entry = re.search(
        r"(?m)^torch==\S+\+cpu ; sys_platform == 'linux'.*\n((?: +--hash.*\n)+)", read(LOCKS[2])
    )
    assert entry and set(re.findall(r"[0-9a-f]{64}", entry[1])) == {digest for digest, *_ in listed}


@pytest.mark.parametrize(
    ("source", "lock"), [("requirements.in", LOCKS[0]), ("requirements-dev.in", LOCKS[1])]
)
def test_a_lock_covers_its_source(source: str, lock: str) -> None:
    lines = [line for line in read(source).splitlines() if line and not line.startswith("#")]
    asked = dict((*line.split("=="), "")[:2] for line in lines)
    locked = pins(lock)
    assert not asked.keys() - locked.keys()
    assert {name: locked[name] for name, version in asked.items() if version} == {
        n: v for n, v in asked.items() if v
    }


# ---- the files that other tools read


def test_the_makefile_knows_its_targets_and_calls_no_apt() -> None:
    make = shutil.which("make")
    assert make
    text = subprocess.run([make, "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "test", "reproduce", "lint", "lock", "clean"):
        assert f"make {target} " in text
        plan = subprocess.run(
            [make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert "apt" not in plan.replace("captur", "")
        if target == "clean":
            assert not re.search(r"rm -rf[^\n]*\b(results|data)\b", plan)
    assert (
        "joulemark reproduce"
        in subprocess.run([make, "-n", "reproduce"], cwd=ROOT, capture_output=True, text=True).stdout
    )


def test_make_without_a_fitting_python_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "old").chmod(0o755)
    environ = {**os.environ, "PYTHON": str(tmp_path / "old")}
    ran = subprocess.run(["make", "setup"], cwd=ROOT, env=environ, capture_output=True, text=True)
    ours = [line for line in ran.stderr.splitlines() if not line.startswith("make")]
    assert ran.returncode != 0 and len(ours) == 1
    assert "3.11 to 3.13" in ours[0] and "PYTHON=" in ours[0]


def test_ci_run_is_executable_bash_and_runs_both_commands() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert text.index("timed make test") < text.index("timed make reproduce")


def test_environment_yml_gives_python_and_the_same_locks() -> None:
    environment = yaml.safe_load(read("environment.yml"))
    assert environment["channels"][0] == "conda-forge"
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (extra,) = [entry for entry in environment["dependencies"] if isinstance(entry, dict)]
    (python,) = [entry.split("=")[1] for entry in plain if entry.startswith("python=")]
    assert setup_env.PYTHONS[0] <= tuple(map(int, python.split("."))) <= setup_env.PYTHONS[1]
    assert "pip" in plain
    files = [line.split()[1] for line in extra["pip"] if line.startswith("-r ")]
    assert files == ["requirements.lock", setup_env.TORCH_LOCKS["cpu"]]
    assert f"--extra-index-url {setup_env.CPU_WHEELS}" in extra["pip"]


def test_pyproject_names_packages_command_and_range() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    low, high = setup_env.PYTHONS
    assert project["project"]["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert project["project"]["scripts"] == {"joulemark": "joulemark.cli:main"}
    found = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert found == {"benchmarks", "methods", "reports", "joulemark"}
    assert found <= set(project["tool"]["mypy"]["files"])
    markers = {marker.split(":")[0] for marker in project["tool"]["pytest"]["ini_options"]["markers"]}
    assert markers == {"gpu", "slow", "browser", "latex"}
    for name in project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]:
        assert (ROOT / name).is_file()


def test_licence_and_citation_agree_with_pyproject() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["license"] == project["license"] == "Apache-2.0"
    assert "Apache License" in read("LICENSE") and "Version 2.0, January 2004" in read("LICENSE")
    assert str(citation["version"]) == project["version"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_hooks_call_tools_that_the_locks_install() -> None:
    names = pins("requirements.lock").keys() | pins("requirements-dev.lock").keys() | {"python"}
    (repo,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repo["repo"] == "local"
    tools = [hook["entry"].split()[0] for hook in repo["hooks"]]
    assert {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/snakefmt", ".venv/bin/snakemake"} <= set(tools)
    for hook, tool in zip(repo["hooks"], tools, strict=True):
        assert hook["language"] == "system" and Path(tool).name in names
        re.compile(hook.get("files", ""))


def test_the_catalog_file_and_the_issue_form_parse() -> None:
    usage = yaml.safe_load(read(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage["report"] is True and "software-stack-deployment" in usage
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/dispute-a-verdict.yml"))
    assert {"name", "description", "body"} <= form.keys()
    fields = {field["id"]: field for field in form["body"] if "id" in field}
    assert fields["verdict"]["attributes"]["options"] == ["holds", "falls short", "unclear", "not tested"]
    assert {field["type"] for field in form["body"]} <= {
        "markdown",
        "input",
        "textarea",
        "dropdown",
        "checkboxes",
    }


def test_git_ignores_what_a_run_writes_but_not_the_reference(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)

    def ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=tmp_path).returncode == 0

    for path in (
        ".venv/bin/python",
        "results/cells/a/record.json",
        "data/x.gz",
        ".snakemake/log",
        "a/__pycache__/b.pyc",
    ):
        assert ignored(path), path
    for path in (
        "results/reference/m/cells.jsonl.gz",
        "benchmarks/data/x.gz",
        "reports/site/pages.py",
        "requirements.lock",
    ):
        assert not ignored(path), path
