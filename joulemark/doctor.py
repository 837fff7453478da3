"""joulemark doctor: what this machine can measure and what not, with the reason and the remedy."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: name -> what it is for.
PACKAGES = {
    "torch": "training and timing", "snakemake": "the workflow", "pandas": "tables", "matplotlib": "figures",
    "seaborn": "figures", "tabulate": "tables", "codecarbon": "carbon", "nvidia-ml-py": "joules of NVIDIA GPUs",
    "pytest": "tests", "safetensors": "artefacts", "pyarrow": "tables",
}  # fmt: skip


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    sub.add_argument("--quick", action="store_true", help="leave out the known-ratio check (10 s)")


def run(command: str, args: argparse.Namespace) -> int:
    """Print the diagnosis."""
    for name, state, remedy in diagnosis():
        print(f"{name:24} {state}" + (f"\n{'':24} -> {remedy}" if remedy else ""))
    if not args.quick:
        print(f"{'known ratio':24} {known_ratio()}")
    return 0


def diagnosis() -> Iterator[tuple[str, str, str]]:
    """(what, state, remedy) for everything that a measurement may need."""
    yield (
        "machine",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "",
    )
    for name, purpose in PACKAGES.items():
        try:
            yield name, f"{version(name)} ({purpose})", ""
        except PackageNotFoundError:
            yield name, f"missing ({purpose})", "make setup"
    yield _clocks()
    yield _rapl()
    yield _nvml()
    yield _tool(
        "latexmk",
        "report.pdf",
        "install latexmk, texlive-latex-recommended; without it report.tex is written only",
    )
    yield _tool("cc", "small C kernels", "install a C compiler; without it those kernels are skipped")


def _clocks() -> tuple[str, str, str]:
    if Path("/proc/stat").exists():
        return "clocks", "wall, thread and process CPU time; others' load from /proc", ""
    return "clocks", "wall, thread and process CPU time; others' load is null (no /proc)", ""


def _rapl() -> tuple[str, str, str]:
    zones = (
        sorted(Path("/sys/class/powercap").glob("intel-rapl:*/energy_uj"))
        if Path("/sys/class/powercap").exists()
        else []
    )
    if not zones:
        return (
            "CPU energy (RAPL)",
            "none: no /sys/class/powercap/intel-rapl (virtual machines hide it)",
            "energy of the CPU is modelled, and no claim uses it",
        )
    try:
        zones[0].read_text()
    except PermissionError:
        return (
            "CPU energy (RAPL)",
            f"there, but {zones[0]} may not be read",
            f"sudo chmod a+r {zones[0].parent.parent}/*/energy_uj",
        )
    return "CPU energy (RAPL)", f"{len(zones)} zones", ""


def _nvml() -> tuple[str, str, str]:
    if importlib.util.find_spec("pynvml") is None:
        return "GPU energy (NVML)", "the package nvidia-ml-py is missing", "make setup"
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(at)) for at in range(count)]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return (
            "GPU energy (NVML)",
            f"none: {error}",
            "joules of a GPU need an NVIDIA driver; everything else works without",
        )
    return "GPU energy (NVML)", ", ".join(map(str, names)) or "no device", ""


def _tool(name: str, purpose: str, remedy: str) -> tuple[str, str, str]:
    found = shutil.which(name)
    return purpose, f"{found}" if found else f"no {name}", "" if found else remedy


def known_ratio() -> str:
    """The same work once and twice, timed by the round's own clocks: the ratio must be 2."""
    import math

    import numpy as np

    from benchmarks.measure.clocks import CallRunner, paired_ratio, take_turns

    matrix = np.random.default_rng(0).standard_normal((160, 160))

    def once() -> None:
        matrix @ matrix

    def twice() -> None:
        matrix @ matrix
        matrix @ matrix

    base, double = take_turns([CallRunner(once), CallRunner(twice)], np.random.default_rng(1))
    ratio = paired_ratio(double.samples, base.samples)
    value = math.exp(ratio.log)
    clean = len(base.clean) / max(len(base.samples), 1)
    word = (
        "as it should"
        if abs(value / 2 - 1) < 0.03
        else "NOT 2: something disturbs the clocks of this machine"
    )
    return f"{value:.3f} ({ratio.clock} clock, {clean:.0%} of the samples clean): {word}"
