"""Make the locks again with uv: `make lock` keeps what is pinned, `make lock UPGRADE=1` takes newer versions.

- requirements.lock: all but torch, exact versions, sha256 of every file, every platform, Python 3.11 on
- requirements-dev.lock: what tests and linters add; what both name has the same version
- requirements-torch-cuda.lock: torch from PyPI, with what its Linux wheel needs
- requirements-torch-cpu.lock: the same without CUDA; on Linux the wheels that requirements-torch.in lists
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.9"
WHEEL_SUM = re.compile(r"(?m)^# (sha256:[0-9a-f]{64})  torch-([^-]+)-\S+\.whl$")
HEADER = "# Made by `make lock`: do not edit.\n"


def entries(lock: str) -> dict[str, str]:
    """The blocks of a lock by package name: the pin, its hashes, who needs it."""
    blocks = re.findall(r"(?m)^[a-z0-9].*\n(?:[ \t]+.*\n)*", lock)
    return {re.split(r"[=\s;\[]", block)[0]: block for block in blocks}


def cpu_lock(cuda: str, base: str, source: str) -> str:
    """The CPU lock from the CUDA lock.

    What torch and requirements.lock share stays, CUDA's packages go, and torch itself gets two entries: the
    wheels that `source` (requirements-torch.in) lists on Linux, PyPI's elsewhere, where that is a CPU build.
    """
    blocks, shared = entries(cuda), entries(base)
    version = blocks["torch"].split()[0].removeprefix("torch==")
    sums = [digest for digest, wheel in WHEEL_SUM.findall(source) if wheel == f"{version}+cpu"]
    if not sums:
        raise SystemExit(f"requirements-torch.in has no wheel of torch {version}+cpu: add its sha256 lines.")
    linux = [f"torch=={version}+cpu ; sys_platform == 'linux'", *(f"    --hash={digest}" for digest in sums)]
    other = blocks["torch"].replace(f"torch=={version}", f"torch=={version} ; sys_platform != 'linux'", 1)
    kept = [block for name, block in blocks.items() if name in shared]
    return HEADER + "".join(kept) + " \\\n".join(linux) + "\n" + other


def uv(tool: Path, source: str, lock: str, *options: str) -> None:
    """Resolve one source to one lock, one version a package for all Pythons and platforms."""
    command = [str(tool), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--fork-strategy", "fewest", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links"]
    subprocess.run([*command, *options, source, "-o", lock], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    path = ROOT / lock
    path.write_text(HEADER + path.read_text(encoding="utf-8"), encoding="utf-8")


def main() -> None:
    """Write the four locks."""
    upgrade = ["--upgrade"] if os.environ.get("UPGRADE") else []
    same = ["-c", "requirements.lock"]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        tools = Path(folder) / "bin"
        subprocess.run([tools / "python", "-m", "pip", "install", "--quiet", UV], check=True)
        uv(tools / "uv", "requirements.in", "requirements.lock", *upgrade)
        uv(tools / "uv", "requirements-dev.in", "requirements-dev.lock", *same, *upgrade)
        uv(tools / "uv", "requirements-torch.in", "requirements-torch-cuda.lock", *same, *upgrade)
    base, cuda, source = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements.lock", "requirements-torch-cuda.lock", "requirements-torch.in")
    )
    (ROOT / "requirements-torch-cpu.lock").write_text(cpu_lock(cuda, base, source), encoding="utf-8")


if __name__ == "__main__":
    main()
