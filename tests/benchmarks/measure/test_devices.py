"""Device adapters: measuring code names no framework's device; NVML's answers, events, leases by UUID."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.measure import devices
from benchmarks.measure.clocks import CallRunner, take_turns
from benchmarks.measure.devices import open_device
from benchmarks.measure.meters import nvml as meter
from benchmarks.measure.rounds import alone

ROOT = Path(__file__).resolve().parents[3]
MEASURE = ROOT / "benchmarks" / "measure"
UUID = "GPU-11111111-2222-3333-4444-555555555555"


def test_measuring_code_names_no_frameworks_device() -> None:
    """Only the adapters and the meters of a vendor may know of CUDA; comments and docstrings may tell of it."""
    import ast

    for path in sorted(MEASURE.glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        } - {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        }
        named = {"cuda", "mps", "xpu"} & names
        said = [word for word in words if re.fullmatch(r"cuda(:\d+)?|mps|xpu|CUDA_\w+", word)]
        assert not named and not said, f"{path.name} names a framework's device: {sorted(named)} {said}"


def test_an_unknown_kind_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"device 'tpu': there is no benchmarks/measure/devices/tpu.py"):
        open_device("tpu")


def test_a_new_kind_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abacus.py").write_text(
        "from benchmarks.measure.devices import Device\n"
        "class Adapter(Device):\n"
        "    def __init__(self, kind): self.kind = kind\n"
        "    def synchronize(self): pass\n"
        "    def identity(self): return {'kind': self.kind, 'name': 'beads', 'uuid': 'ABC'}\n"
    )
    monkeypatch.setattr(devices, "__path__", [*devices.__path__, str(tmp_path)])
    made = open_device("abacus")
    assert (made.kind, made.lease, made.timer(), made.foreign_processes()) == ("abacus", "ABC", None, None)
    assert made.high_water_bytes(lambda: None) is None and made.environment() == {}
    monkeypatch.delitem(sys.modules, f"{devices.__name__}.abacus")


# -------------------------------------------------------------------- the processor


def test_the_processor_is_the_machine() -> None:
    cpu = open_device("cpu")
    cpu.synchronize()
    identity = cpu.identity()
    assert identity["kind"] == "cpu" and identity["name"] and identity["uuid"] == cpu.lease == ""
    assert cpu.timer() is None and cpu.warm_s == 0.0 and cpu.facts() == {}
    small, large = (cpu.high_water_bytes(lambda size=size: bytearray(size)) for size in (2**10, 80 * 2**20))
    if small is not None:
        assert large is not None and large - small > 60 * 2**20


def test_a_round_holds_the_machine_or_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setenv("JOULEMARK_LEASE", str(tmp_path))

    def free(name: str, shared: bool) -> bool:
        with open(tmp_path / name) as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    with alone("cpu") as sees:
        assert sees == {} and not free("joulemark.lease", shared=True)
    monkeypatch.setattr("benchmarks.measure.devices.cuda.Adapter.lease", UUID)
    with alone("cuda") as sees:
        assert sees == {"CUDA_VISIBLE_DEVICES": UUID}
        assert free("joulemark.lease", shared=True) and not free("joulemark.lease", shared=False)
        assert not free(f"joulemark.{UUID}.lease", shared=True)


# -------------------------------------------------------------------- CUDA without a GPU


class NVMLError(Exception):
    """What pynvml raises."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A pynvml with one board; the dictionary says what it answers, and a value of NVMLError is raised."""
    said: dict[str, Any] = {"pids": [7], "limit": 300_000, "by": []}

    def answer(name: str) -> Any:
        if isinstance(said[name], NVMLError):
            raise said[name]
        return said[name]

    def by(how: str, value: Any) -> str:
        said["by"].append((how, value))
        return "handle"

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: by("index", index),
        nvmlDeviceGetHandleByUUID=lambda uuid: by("uuid", uuid),
        nvmlDeviceGetName=lambda handle: b"Board X",
        nvmlDeviceGetUUID=lambda handle: UUID,
        nvmlSystemGetDriverVersion=lambda: "600.1",
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: answer("limit"),
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [
            SimpleNamespace(pid=pid) for pid in answer("pids")
        ],
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    meter.nvml.cache_clear()
    yield said
    meter.nvml.cache_clear()


def test_a_board_is_known_by_its_uuid(nvml: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    board = open_device("cuda")
    assert board.identity() == {
        "kind": "cuda", "name": "Board X", "uuid": UUID, "driver": "600.1", "power_limit_w": 300.0,
    }  # fmt: skip
    assert board.lease == UUID and board.environment() == {"CUDA_VISIBLE_DEVICES": UUID}
    assert board.facts() == {"gpu": "Board X", "gpu_uuid": UUID, "driver": "600.1", "power_limit_w": 300.0}
    assert nvml["by"][-1] == ("index", 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"3,{UUID}")
    open_device("cuda:1").identity()
    assert nvml["by"][-1] == ("uuid", UUID)
    open_device("cuda:0").identity()
    assert nvml["by"][-1] == ("index", 3)


def test_what_a_driver_does_not_tell_is_null(nvml: dict[str, Any]) -> None:
    nvml["limit"] = nvml["pids"] = NVMLError("not supported")
    board = open_device("cuda")
    assert board.identity()["power_limit_w"] is None and board.foreign_processes() is None


def test_processes_of_others_are_foreign(nvml: dict[str, Any]) -> None:
    import os

    nvml["pids"] = [os.getpid(), 7]
    assert open_device("cuda").foreign_processes() == [7]


def test_without_nvml_a_board_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    meter.nvml.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", UUID)
    board = open_device("cuda")
    assert (board.identity()["name"], board.lease, board.foreign_processes()) == (None, UUID, None)


def test_events_are_marks_around_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.at = 0

        def record(self) -> None:
            told.append("mark")
            self.at = len(told)

        def synchronize(self) -> None:
            told.append("wait for the mark")

        def elapsed_time(self, other: Event) -> float:
            return 1000.0 * (other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda index: told.append(f"wait for {index}"))
    board = open_device("cuda:2")
    runner = CallRunner(lambda: told.append("call"), board.synchronize, timer=board.timer())
    assert runner.sample(0, 3).device_s == pytest.approx(4.0 / 3)
    assert told == ["wait for 2", "mark", "call", "call", "call", "mark", "wait for the mark", "wait for 2"]


# -------------------------------------------------------------------- a real GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
def test_a_real_board() -> None:
    import numpy as np

    board = open_device("cuda")
    a = torch.randn(4096, 4096, device="cuda")
    assert board.identity()["uuid"].startswith("GPU-")
    runners = [
        CallRunner(lambda: a @ a, board.synchronize, timer=board.timer()),
        CallRunner(lambda: (a @ a, a @ a), board.synchronize, timer=board.timer()),
    ]
    base, twice = take_turns(runners, np.random.default_rng(0), board.warm_s)
    ratio = np.median([s.time_s for s in twice.samples]) / np.median([s.time_s for s in base.samples])
    assert 1.9 < ratio < 2.1
    peak = board.high_water_bytes(lambda: torch.empty(2**28, dtype=torch.uint8, device="cuda"))
    assert peak is not None and peak >= 2**28
