"""Fill `.venv` from the locks: the one script behind `make setup`, `make test`, `make reproduce`.

    python3 setup_env.py            the packages of requirements.lock, torch, the project itself
    python3 setup_env.py --dev      those of requirements-dev.lock as well

Each ends with a stamp, `.venv/joulemark-stamp.json`, written by rename: what it names is installed, and a
run that was killed leaves none. A second call finds nothing to do and says nothing.

    TORCH=cpu|cuda   which build of torch; else what .venv holds; else cuda where an NVIDIA driver answers
    PYTHON=path      another Python of 3.11 to 3.13

Only the standard library is imported: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ".venv"
STAMP = "joulemark-stamp.json"
PYTHONS = ((3, 11), (3, 13))
BASE, DEV = "requirements.lock", "requirements-dev.lock"
TORCH_LOCKS = {"cpu": "requirements-torch-cpu.lock", "cuda": "requirements-torch-cuda.lock"}
# Asked only after pip's configured sources, and only where PyPI's wheel is not the CPU build (Linux).
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# The second form: the same, where a constraints file of the user's names torch as well.
NO_TORCH = re.compile(r"ERROR: (No matching distribution found for|Cannot install) torch\b")


# Megabytes to load and on disk, on Linux x86_64 with Python 3.11; CUDA's second one is an estimate.
SIZES = {"base": (206, 970), "dev": (38, 140), "cpu": (192, 760), "cuda": (2730, 5500)}


class SetupError(Exception):
    """One line that says what is wrong and what to do."""


def nvidia_driver_answers() -> bool:
    """Whether a driver lists a GPU: `nvidia-smi -L`, or else CUDA's own start-up call."""
    try:
        smi = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
        if smi.returncode == 0 and "GPU " in smi.stdout:
            return True
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return int(ctypes.CDLL("libcuda.so.1").cuInit(0)) == 0
    except (OSError, AttributeError):
        return False


def choose_torch(asked: str, held: str | None, platform: str, driver: Callable[[], bool]) -> str:
    """The build to install: what is `asked` for, else what .venv has `held`, else what the `driver` says."""
    if asked and asked not in TORCH_LOCKS:
        raise SetupError(f"TORCH={asked}: allowed are cpu and cuda.")
    if asked == "cuda" and platform != "linux":
        raise SetupError(f"TORCH=cuda: CUDA wheels are for Linux, this is {platform}; allowed is cpu.")
    if asked or held in TORCH_LOCKS:
        return asked or str(held)
    return "cuda" if platform == "linux" and driver() else "cpu"


def digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def base_stamp(root: Path, torch: str, python: tuple[int, ...]) -> dict[str, Any]:
    """What a stamp must say for the base packages and torch to be up to date."""
    locks = {name: digest(root / name) for name in (BASE, TORCH_LOCKS[torch])}
    return {"root": str(root), "python": list(python[:2]), "torch": torch, "locks": locks}


def read_stamp(root: Path) -> dict[str, Any]:
    """The stamp of .venv; empty where there is none, it is damaged, or its Python is gone."""
    try:
        stamp = json.loads((root / VENV / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(stamp, dict) and {"root", "python", "torch", "locks"} <= stamp.keys()
    return stamp if whole and os.access(root / VENV / "bin" / "python", os.X_OK) else {}


def write_stamp(root: Path, stamp: Mapping[str, Any]) -> None:
    """Write the stamp in one step, by rename."""
    path = root / VENV / STAMP
    path.with_suffix(".part").write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".part").replace(path)


def base_is_current(stamp: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether the stamp covers all that is wanted; it may cover more (the dev lock)."""
    same = all(stamp.get(key) == want[key] for key in ("root", "python", "torch"))
    return same and want["locks"].items() <= stamp["locks"].items()


def check_tools(which: Callable[[str], str | None] = shutil.which) -> None:
    """Raise unless git, make and a Python that can make a .venv are here."""
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        low, high = (".".join(map(str, version)) for version in PYTHONS)
        version = sys.version.split()[0]
        raise SetupError(f"{sys.executable} is Python {version}: {low} to {high} is needed (PYTHON=path).")
    if sys.platform not in ("linux", "darwin"):
        raise SetupError(f"{sys.platform} is not supported: use Linux or macOS (on Windows, WSL).")
    missing = [tool for tool in ("git", "make") if which(tool) is None]
    if missing:
        raise SetupError(f"{' and '.join(missing)} not found: install what is missing, then try again.")
    if importlib.util.find_spec("ensurepip") is None:  # Debian keeps it in a package of its own
        name = "python{}.{}-venv".format(*sys.version_info[:2])
        raise SetupError(f"{sys.executable} cannot make a virtual environment: install {name}.")


def make_venv(root: Path) -> None:
    """An empty .venv, whatever stood there before; the old stamp goes first."""
    (root / VENV / STAMP).unlink(missing_ok=True)
    # The Python beneath an active .venv, or clearing that one would pull the rug from under us.
    python = getattr(sys, "_base_executable", None) or sys.executable
    command = [python, "-I", "-m", "venv", "--clear", VENV]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if made.returncode:
        raise SetupError(f"{python} -m venv {VENV} failed: {telling_line(made.stdout + made.stderr)}")


class Progress:
    """One status line from pip's output: packages found, megabytes loaded, the file being loaded."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.found, self.megabytes = what, total, 0, 0.0
        self.text, self.now, self.start = "", "", time.monotonic()

    def read(self, line: str) -> None:
        """Take in one line of pip's output."""
        self.text += line
        self.found += line.startswith(("Collecting ", "Processing ", "Ignoring ", "Requirement already "))
        size = re.match(r"\s*Downloading (?:\S*/)?(\S+) \(([\d.]+) (bytes|kB|MB|GB)\)", line)
        if size:
            self.megabytes += float(size[2]) * {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}[size[3]]
            self.now = f"{size[1].split('-')[0]} ({size[2]} {size[3]})"
        elif line.startswith("Installing collected packages"):
            self.now = "unpacking"

    def __str__(self) -> str:
        """For example `packages: 37 of 112, 81 MB loaded, 12 s`."""
        seconds = time.monotonic() - self.start
        return f"  {self.what}: {self.found} of {self.total}, {self.megabytes:.0f} MB loaded, {seconds:.0f} s"


def pip(root: Path, what: str, lock: Path, *options: str) -> Progress:
    """Install a lock into .venv, hashes checked, nothing that it does not name. What pip said is returned."""
    progress = Progress(what, len(re.findall(r"(?m)^[a-z0-9][^\n]*==", lock.read_text(encoding="utf-8"))))
    command = [str(root / VENV / "bin" / "python"), "-I", "-m", "pip", "install", "--require-hashes"]
    command += ["--no-deps", "--no-input", "--no-warn-script-location", "--disable-pip-version-check"]
    # One package is an sdist: the setuptools of the lock builds it, so that nothing unpinned is fetched.
    command += ["--no-build-isolation", "--use-pep517", "--progress-bar", "off", "-r", str(lock), *options]
    clear = "\r\033[K" * sys.stdout.isatty()  # a terminal sees one line that moves
    log = (root / VENV / "install.log").open("a", encoding="utf-8")
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log, process:
        for line in process.stdout or ():
            log.write(line)
            progress.read(line)
            if clear:
                print(f"{clear}{progress} {progress.now}"[:100], end="", flush=True)
    print(clear, end="")
    if process.returncode == 0:
        print(progress, flush=True)
    elif not NO_TORCH.search(progress.text):
        why = telling_line(progress.text)
        raise SetupError(f"pip could not install {lock.name}: {why} (log: {VENV}/install.log)")
    return progress


def telling_line(text: str) -> str:
    """The first line of a tool's output that says ERROR, or else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if line.startswith("ERROR: ")), lines[-1])[:300]


def install_setuptools(root: Path) -> None:
    """The builder first, at the lock's version: the one package that is an sdist needs it."""
    entry = re.search(r"(?m)^setuptools==.*\n(?: +--hash.*\n)+", (root / BASE).read_text(encoding="utf-8"))
    if entry is None:
        raise SetupError(f"{BASE} names no setuptools: run `make lock`.")
    part = root / VENV / "setuptools.lock"
    part.write_text(entry[0].rstrip().rstrip("\\") + "\n", encoding="utf-8")
    pip(root, "setuptools", part)


def install_torch(root: Path, torch: str) -> None:
    """The chosen build; a CPU wheel that the configured sources lack comes from PyTorch's index."""
    lock = root / TORCH_LOCKS[torch]
    if not NO_TORCH.search(pip(root, f"torch ({torch})", lock).text):
        return
    if torch == "cpu" and sys.platform == "linux":
        options = ("--extra-index-url", CPU_WHEELS, "--retries", "1", "--timeout", "15")
        if not NO_TORCH.search(pip(root, f"torch ({torch})", lock, *options).text):
            return
        raise SetupError(
            f"No CPU wheel of torch in pip's sources, nor at {CPU_WHEELS} (no network?): PIP_FIND_LINKS="
            "folder names wheels of your own, TORCH=cuda takes the large build, which runs on a CPU as well."
        )
    raise SetupError(f"No wheel of torch for this Python and machine in pip's sources ({lock.name}).")


def link_project(root: Path) -> None:
    """Put the project on the path of .venv, and the command `joulemark` beside its Python."""
    python = root / VENV / "bin" / "python"
    (site,) = (root / VENV / "lib").glob("python3.*/site-packages")
    (site / "joulemark-project.pth").write_text(f"{root}\n", encoding="utf-8")
    command = python.with_name("joulemark")
    # Through /bin/sh: a #! line can hold neither blanks nor a long path.
    script = f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n"
    code = "import sys\n\nfrom joulemark.cli import main\n\nsys.exit(main())\n"
    command.write_text(script + code, encoding="utf-8")
    command.chmod(0o755)


def announce(torch: str, fresh: bool, dev: bool) -> None:
    """Say what comes before the first byte is loaded."""
    parts = ["base", torch] * fresh + ["dev"] * dev
    download, disk = (sum(SIZES[part][column] for part in parts) for column in (0, 1))
    what = f"packages and torch ({torch})" if fresh else "the tools for tests"
    minutes = max(1, round((download / 6 + disk / 15) / 60))  # 6 MB/s (50 Mbit/s) to load, 15 to unpack
    print(f"Filling {VENV} with {what}: about {download} MB to load, {disk / 1000:.1f} GB on disk,", end=" ")
    print(f"{minutes} min at 50 Mbit/s (Python {sys.version.split()[0]}).", flush=True)


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Let two `make` calls in one folder wait for each other; the kernel drops the lock with the process."""
    import fcntl

    with (root / BASE).open("rb") as file:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def setup(root: Path, dev: bool, environ: Mapping[str, str]) -> None:
    """Bring .venv to what the locks say, doing only what is missing."""
    check_tools()
    stamp = read_stamp(root)
    torch = choose_torch(environ.get("TORCH", ""), stamp.get("torch"), sys.platform, nvidia_driver_answers)
    # Without PYTHON=, a .venv of another allowed Python is as good.
    python = sys.version_info[:2] if environ.get("PYTHON") or not stamp else tuple(stamp["python"])
    want = base_stamp(root, torch, python)
    fresh = not base_is_current(stamp, want)
    dev = dev and (fresh or stamp["locks"].get(DEV) != digest(root / DEV))
    if not fresh and not dev:
        return
    announce(torch, fresh, dev)
    start = time.monotonic()
    if fresh:
        make_venv(root)
        install_setuptools(root)
        pip(root, "packages", root / BASE)
        install_torch(root, torch)
        link_project(root)
        stamp = base_stamp(root, torch, sys.version_info[:2])
    write_stamp(root, base_stamp(root, torch, tuple(stamp["python"])))  # the tools for tests come anew
    if dev:
        pip(root, "test tools", root / DEV)
        write_stamp(root, {**stamp, "locks": {**stamp["locks"], DEV: digest(root / DEV)}})
    print(f"{VENV} is ready after {time.monotonic() - start:.0f} s.", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the set-up; 1 and one line on stderr where it cannot."""
    parser = argparse.ArgumentParser(description="Fill .venv from the locks (see `make help`).")
    parser.add_argument("--dev", action="store_true", help="with what tests and linters need")
    dev = parser.parse_args(argv).dev
    try:
        with one_at_a_time(ROOT):
            setup(ROOT, dev, os.environ)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: stopped; the same command begins again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
