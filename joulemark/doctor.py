"""joulemark doctor: what this machine can measure and what not, with the reason and the remedy, on one page."""

from __future__ import annotations

import argparse
import math
import os
import platform
import shutil
import textwrap
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.host import cpu_name

#: name -> what it is for.
PACKAGES = {
    "torch": "training and timing", "snakemake": "the workflow", "pandas": "tables", "matplotlib": "figures",
    "seaborn": "figures", "tabulate": "tables", "codecarbon": "carbon", "nvidia-ml-py": "joules of NVIDIA GPUs",
    "pytest": "tests", "safetensors": "artefacts", "pyarrow": "tables",
}  # fmt: skip
#: Mini-rounds of the known-ratio check.
TIMES = 5
#: An interval wider than this share says nothing about the clocks.
WIDE = 0.2

#: (what, state, remedy)
Line = tuple[str, str, str]


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    sub.add_argument("--quick", action="store_true", help="leave out the known-ratio check (10 s)")
    sub.add_argument("--noise", action="store_true", help="measure the noise of this machine (minutes)")
    sub.add_argument(
        "--rounds", type=int, default=15, help="of the noise study, for each condition (default: 15)"
    )
    sub.add_argument(
        "--conditions", default="quiet,busy,memory", help="of the noise study (default: quiet,busy,memory)"
    )
    sub.add_argument(
        "--out", type=Path, default=Path("results/noise"), help="folder of the study and its figure"
    )


def run(command: str, args: argparse.Namespace) -> int:
    """Print the diagnosis, or measure the noise."""
    if args.noise:
        from joulemark.noise import run_noise

        return run_noise(args.rounds, args.conditions.split(","), args.out)
    for line in diagnosis():
        print(_shown(*line))
    if not args.quick:
        for line in known_ratio():
            print(_shown(*line), flush=True)
    return 0


def _shown(what: str, state: str, remedy: str) -> str:
    indent = " " * 25
    text = textwrap.fill(state, 118, initial_indent=f"{what:24} ", subsequent_indent=indent)
    return text + (
        "\n" + textwrap.fill(f"-> {remedy}", 118, initial_indent=indent, subsequent_indent=f"{indent}   ")
        if remedy
        else ""
    )


def diagnosis() -> Iterator[Line]:
    """Everything that a measurement may need."""
    yield (
        "machine",
        f"{platform.system()} {platform.machine()}, {cpu_name()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "",
    )
    yield from _packages()
    yield from _surroundings()
    yield _clocks()
    yield from _sensors()
    yield _model()
    yield _carbon()
    yield _tool(
        "latexmk",
        "report.pdf",
        "install latexmk, texlive-latex-recommended; without it report.tex is written only",
    )
    yield _tool("cc", "small C kernels", "install a C compiler; without it those kernels are skipped")


def _packages() -> Iterator[Line]:
    for name, purpose in PACKAGES.items():
        try:
            yield name, f"{version(name)} ({purpose})", ""
        except PackageNotFoundError:
            yield name, f"missing ({purpose})", "make setup"


def _surroundings() -> Iterator[Line]:
    """Container, virtual machine, quota, governor, load: what stands in every visit and gates nothing."""
    from benchmarks.measure.machine import Watch, preflight

    found = preflight()
    parts = [found["container"] or "no container", "virtual machine" if found["hypervisor"] else "bare metal"]
    yield "container", ", ".join(parts), ""
    quota = found["cpu_quota_cores"]
    yield (
        "CPU quota",
        "none" if quota is None else f"{quota:g} cores",
        ""
        if quota is None
        else "a quota stops processes in slices: samples will be pre-empted; ask for whole cores",
    )
    governor = found["governor"]
    yield (
        "CPU governor",
        governor or "unknown (virtual machines hide it)",
        "sudo cpupower frequency-set -g performance, where you may"
        if governor in ("powersave", "ondemand")
        else "",
    )
    watch = Watch()
    time.sleep(0.5)
    others = watch.stop()["others_cores"]
    busy = others is not None and others > 0.1
    yield (
        "neighbours",
        f"load {found['load']}, "
        + ("others unknown" if others is None else f"others take {others:.2f} cores now"),
        "ratios hold beside neighbours, in wider intervals; for narrow ones let the machine be idle"
        if busy
        else "",
    )


def _clocks() -> Line:
    names: tuple[tuple[str, Any], ...] = (
        ("wall", "perf_counter"), ("thread CPU", "thread_time"), ("process CPU", "process_time"),
    )  # fmt: skip
    told = [f"{name} {time.get_clock_info(clock).resolution:.0e} s" for name, clock in names]
    others = "from /proc" if Path("/proc/stat").exists() else "unknown (no /proc)"
    return (
        "clocks",
        f"{', '.join(told)}; an empty sample costs {_empty_sample_s() * 1e6:.1f} us; others' load {others}",
        "",
    )


def _empty_sample_s() -> float:
    from benchmarks.measure.clocks import CallRunner

    return CallRunner(lambda: None).overhead_s(1)


def _sensors() -> Iterator[Line]:
    """Each component with the sensor that would be read, or the reason and the remedy that the meter gives."""
    from benchmarks.measure.meters import meters_for
    from benchmarks.measure.meters.none import NoMeter

    names = {"gpu": "energy of the GPU", "cpu_package": "energy of the CPU", "dram": "energy of memory"}
    for meter in (one for one in meters_for("cuda") if one.basis == "measured"):
        what = names.get(meter.component, meter.component)
        if isinstance(meter, NoMeter):
            yield what, f"null: {meter.reason}", ""
        else:
            yield what, f"{meter.sensor}, refreshed every {meter.refresh_s * 1000:g} ms", ""


def _model() -> Line:
    """What CodeCarbon's model would say: never a measurement."""
    from benchmarks.measure.meters import MeterError
    from benchmarks.measure.meters.load_model import processor

    try:
        found = processor()
    except MeterError as error:
        return "modelled energy", f"none: {error}", ""
    known = "from its table" if found.known else "assumed: the table does not know this processor"
    return (
        "modelled energy",
        f"CodeCarbon: {found.tdp_w:g} W for {found.threads} threads ({known}); CPU time in other clothes, "
        "in no front and no claim",
        "",
    )


def _carbon() -> Line:
    from benchmarks.plan import DEFAULTS
    from reports.judging.carbon import intensity

    found = intensity(DEFAULTS["carbon"])
    if found.g_per_kwh is None or found.low is None or found.high is None:
        return (
            "carbon",
            f"null: {found.source}",
            "state your own: carbon: {intensity_g_per_kwh: 50} in the plan",
        )
    return (
        "carbon",
        f"{found.g_per_kwh:.0f} g CO2e a kWh ({found.low:.0f} to {found.high:.0f}) for {found.country} in {found.year} "
        f"({found.source}); computed afterwards: another country re-runs nothing",
        "",
    )


def _tool(name: str, purpose: str, remedy: str) -> Line:
    found = shutil.which(name)
    return purpose, f"{found}" if found else f"no {name}", "" if found else remedy


def known_ratio() -> Iterator[Line]:
    """The same work by a copy, and twice, on the real clocks of a process like a round's: ratios of 1 and 2."""
    from benchmarks.measure.known import in_a_process
    from reports.judging.statistics import student

    found = in_a_process(TIMES)
    how = f"{' and '.join(found['clocks'])} clock, {found['clean']:.0%} of the samples clean, {TIMES} repeats"
    yield "noise floor (A/A)", _interval(student(found["same"]).exp(), 1.0, how), ""
    yield "known ratio", _interval(student(found["double"]).exp(), 2.0, how), ""


def _interval(found: Any, truth: float, how: str) -> str:
    """The interval beside the truth; one process has no spread between processes, so 3 % is allowed."""
    near = found.low <= truth <= found.high or abs(math.log(found.effect / truth)) < 0.03
    word = (
        f"it should be {truth:g}; this interval is too wide to tell"
        if math.log(found.high / found.low) > WIDE
        else f"it should be {truth:g}, and is"
        if near
        else f"NOT {truth:g}: something disturbs the clocks of this machine"
    )
    return f"{found.effect:.3f} [{found.low:.3f}, {found.high:.3f}] ({how}): {word}"


__all__: Sequence[str] = ("arguments", "diagnosis", "known_ratio", "run")
