"""The whole NVML path without a GPU: nvidia-ml-py and CodeCarbon read a compiled stub, each test in its own process.

Many boards in one process save time: each has its own law or fault, and one window reads them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
import yaml

from tests.nvml_stub.stub import ROOT, Stub, build, fake_smi

#: Windows here are 2 s long and wait for processes to start: real time, little of it used.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    return build(tmp_path_factory.mktemp("stub"))


@pytest.fixture(scope="module")
def jobs(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """All scripts, a few at a time: they sleep most of their seconds."""
    with ThreadPoolExecutor(3) as pool:
        started = {}
        for name, (script, options, changes) in JOBS.items():
            work = tmp_path_factory.mktemp(name)
            told = {key: str(value).replace("WORK", str(work)) for key, value in options.items()}
            if changes.get("smi"):
                changes = {"environment": {**fake_smi(work), "CUDA_VISIBLE_DEVICES": uuid(1)}}
            if changes.get("no_smi"):
                changes = {"environment": {"PATH": str(work)}}
            started[name] = pool.submit(stub.run, script, work, told, **changes)
        yield started


def uuid(board: int) -> str:
    return f"GPU-00000000-0000-0000-0000-00000000000{board}"


def by_board(told: list[dict[str, Any]], board: int) -> dict[str, dict[str, Any]]:
    return {one["sensor"]: one for one in told if one["conditions"].get("uuid") == uuid(board)}


# -------------------------------------------------------------------- laws

LAWS = """
meters = [meter for uuid in boards() for meter in nvml_meters(open_board(uuid), RULES, refresh_s=0.02)]
step = []
def act(t):
    step.append(t + 0.5)
    options(_2__t0=t + 0.5)
windows = Windows([*meters, Trigger(act)], RULES)
readings = windows.measure(nap)
lines = {}
for meter in meters:
    if hasattr(meter, "timeline"):
        line = meter.timeline.close()
        lines[meter.board.uuid] = sum(poll.instant_w for poll in line.polls) / len(line.polls)
edges = [t for t, _ in meters[4]._edges]
tell({"readings": [told(one) for one in readings], "naive_w": lines, "step": step[0], "edges": edges})
"""
LAW_OPTIONS = {
    "boards": 6,
    "counter_period": 0.02,
    "watts": 200,
    **{"1.law": "square", "1.watts": 400, "1.idle": 100, "1.period": 0.1, "1.phase": 0.5},
    **{"2.law": "step", "2.watts": 400, "2.idle": 100, "2.t0": 1e12},
    **{"3.law": "square", "3.watts": 400, "3.idle": 100, "3.period": 0.1, "3.phase": 0.0},
    "4.counter_period": 0.1,
    "5.err.nvmlDeviceGetTotalEnergyConsumption": 3,
}


@pytest.fixture
def laws(jobs: dict[str, Future[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = jobs["laws"].result()
    return found


#: Board -> (mean watts, or None for the step; highest watts, counter's refresh).
TRUTH = {0: (200.0, 200.0, 0.02), 1: (250.0, 400.0, 0.02), 3: (250.0, 400.0, 0.02), 4: (200.0, 200.0, 0.1)}


@pytest.mark.parametrize("board", TRUTH)
def test_recovered_joules_err_by_a_refresh_an_edge_at_most(laws: dict[str, Any], board: int) -> None:
    watts, most_w, refresh_s = TRUTH[board]
    found = by_board(laws["readings"], board)
    counter, power = found["nvml_counter"], found["nvml_power"]
    # a square wave's window ends anywhere in its period: a quarter of 100 ms at 150 W from the mean
    slack_j = refresh_s * most_w + (0.025 * 300.0 if watts != most_w else 0.0)
    assert counter["energy_j"] == pytest.approx(watts * counter["window_s"], abs=slack_j)
    assert power["energy_j"] == pytest.approx(watts * power["window_s"], rel=0.01)
    assert counter["name"] == power["name"] == "Stub"


def test_a_step_inside_the_window_is_found(laws: dict[str, Any]) -> None:
    found = by_board(laws["readings"], 2)
    began, ended = laws["edges"]
    true_j = 100.0 * (laws["step"] - began) + 400.0 * (ended - laws["step"])
    assert found["nvml_counter"]["energy_j"] == pytest.approx(true_j, abs=0.02 * 400)
    # the power is refreshed every 100 ms and read every 50
    assert found["nvml_power"]["energy_j"] == pytest.approx(true_j, abs=0.1 * 300 + 0.01 * true_j)


def test_naive_polling_of_the_square_wave_fails(laws: dict[str, Any]) -> None:
    """25 of 100 ms seen at 20 Hz: 100 or 400 W of 250, by phase; beside it the counter is right."""
    naive = laws["naive_w"]
    assert naive[uuid(0)] == pytest.approx(200.0, rel=0.01)
    assert sorted([naive[uuid(1)], naive[uuid(3)]]) == [
        pytest.approx(100.0, abs=2),
        pytest.approx(400.0, abs=2),
    ]


def test_a_board_without_a_counter_is_read_by_its_power(laws: dict[str, Any]) -> None:
    found = by_board(laws["readings"], 5)
    assert list(found) == ["nvml_power"]
    assert found["nvml_power"]["power_w"] == pytest.approx(200.0, rel=0.01)
    (none,) = [one for one in laws["readings"] if "no energy counter" in one["reason"]]
    assert none["energy_j"] is None and none["sensor"] == "none"


# -------------------------------------------------------------------- faults

FAULTS = """
meters = [meter for uuid in boards() for meter in nvml_meters(open_board(uuid), RULES, refresh_s=0.02)]
def act(t):
    mj = meters[4].board.energy_j() * 1000
    options(_0__lost_at=t + 1, _1__reset_at=t + 1, _2__wrap_mj=mj + 200e3, _3__stuck_at=t + 1,
            **{"5__err.nvmlDeviceGetTotalEnergyConsumption": f"3@{t + 1}",
               "6__err.nvmlDeviceGetTotalEnergyConsumption": f"4@{t + 1}",
               "7__err.nvmlDeviceGetTotalEnergyConsumption": f"999@{t + 1}",
               "7__err.nvmlDeviceGetFieldValues": f"999@{t + 1}"})
readings = Windows([*meters, Trigger(act)], RULES).measure(nap)
tell([{**told(one), "board": at // 2} for at, one in enumerate(readings[:-1])])
"""
REASONS = {
    0: "device lost",
    1: "went back",
    2: "went back",
    3: "the power timeline",
    5: "not supported any more",
    6: "Insufficient Permissions",
    7: "Unknown Error",
}


def test_every_fault_is_a_null_with_its_reason(jobs: dict[str, Future[Any]]) -> None:
    told = jobs["faults"].result()
    for board, reason in REASONS.items():
        counter, power = (one for one in told if one["board"] == board)
        assert counter["energy_j"] is None and reason in counter["reason"], counter
        if board in (0, 7):
            assert power["energy_j"] is None and power["reason"], power
        else:
            assert power["power_w"] == pytest.approx(200.0, rel=0.01)
    healthy = [one for one in told if one["board"] == 4]
    assert all(one["power_w"] == pytest.approx(200.0, rel=0.02) for one in healthy), (
        "others are not disturbed"
    )


# -------------------------------------------------------------------- flags, slices, drivers

FLAGS = """
import threading
found = {}
def meters_of(at):
    return nvml_meters(open_board(boards()[at]), RULES, refresh_s=0.02)[-1:]
meters = [meter for at in range(6) for meter in meters_of(at)]
def act(t):
    threading.Timer(1.0, options, kwargs={"_3__sm_mhz": 1200}).start()
readings = Windows([*meters, Trigger(act)], RULES).measure(nap)
for name in (boards()[6], "MIG-1", "GPU-none", ""):
    try:
        open_board(name)
    except MeterError as error:
        found[name] = str(error)
log = os.environ["NVML_STUB_OPTIONS"].replace("options", "log")
called = sorted(set(open(log).read().split()))
tell({"called": called, "flags": [one.flags for one in readings[:-1]], "refused": found,
      "watts": [one.power_w for one in readings[:-1]]})
"""


FLAG_OPTIONS = {
    "boards": 7, "watts": 200, "counter_period": 0.02, "log": "WORK/log", "procs": "self",
    "0.reasons": 0x40, "1.reasons": 0x4, "2.temp_per_s": 5, "4.procs": "self,4242",
    "5.err.nvmlDeviceGetFieldValues": 13, "6.mig": 1,
}  # fmt: skip


def test_flags_refusals_and_an_old_driver(jobs: dict[str, Future[Any]]) -> None:
    told = jobs["flags"].result()
    expected = [["throttled"], ["power cap"], ["temperature drift"], ["clock changed"], ["foreign process"]]
    assert told["flags"][:5] == expected
    assert told["flags"][5] == ["instantaneous power"], "a driver without field values"
    assert told["watts"] == [pytest.approx(200.0, rel=0.02)] * 6
    refused = told["refused"]
    assert "MIG is enabled" in refused[uuid(6)] and "MIG slice" in refused["MIG-1"]
    assert "there are GPU-" in refused["GPU-none"] and "7 boards and no UUID" in refused[""]
    called = set(told["called"])
    assert "nvmlDeviceGetHandleByUUID" in called
    assert not [name for name in called if "Set" in name or "Reset" in name], (
        "no setting of a device is touched"
    )


# -------------------------------------------------------------------- CodeCarbon

CODECARBON = """
from benchmarks.measure.meters.tracker import CodeCarbonTracker
uuid = boards()[1]
meters = [*nvml_meters(open_board(uuid), RULES, refresh_s=0.02), CodeCarbonTracker(uuid)]
windows = Windows(meters, RULES)
good = windows.measure(nap)
windows.meters.append(Trigger(lambda t: options(_1__lost_at=t + 0.5)))
lost = windows.measure(nap)
meters[-1].end()
tell({"good": [told(one) for one in good], "lost": [told(one) for one in lost], "record": energy_record(good, "cuda")})
"""
TWO = {"boards": 2, "counter_period": 0.02, "watts": 150, "1.watts": 300}


def test_codecarbons_tracker_agrees_within_a_refresh_and_says_zero_of_a_lost_board(
    jobs: dict[str, Future[Any]],
) -> None:
    """The second of two boards, by its UUID, under the lease's CUDA_VISIBLE_DEVICES that CodeCarbon misreads."""
    told = jobs["codecarbon"].result()
    counter, _, theirs = told["good"]
    assert theirs["sensor"] == "codecarbon"
    # its edges lie some milliseconds inside ours, and each counter is a refresh late at most
    apart_s = abs(theirs["window_s"] - counter["window_s"])
    assert theirs["energy_j"] == pytest.approx(counter["energy_j"], abs=300.0 * (0.04 + apart_s))
    assert told["record"]["energy_sensor"] == "nvml_counter", "a cross-reading is never the visit's number"
    counter, power, theirs = told["lost"][:3]
    assert "device lost" in counter["reason"] and "lost" in power["reason"]
    assert theirs["energy_j"] is None and theirs["reason"] == "CodeCarbon reports 0 J"


NO_SMI = """
from benchmarks.measure.meters.tracker import CodeCarbonTracker
meter = CodeCarbonTracker(boards()[0])
try:
    meter.open()
except MeterError as error:
    tell(str(error))
"""


def test_codecarbon_without_nvidia_smi_is_a_null_that_says_so(jobs: dict[str, Future[Any]]) -> None:
    assert "nvidia-smi" in jobs["no_smi"].result()


# -------------------------------------------------------------------- end to end

VISIT = """
law = os.environ["NVML_STUB_OPTIONS"] + ".schedule"
def write(t, watts):
    with open(law, "a") as file:
        print(t, watts, file=file)
write(0, 60)

class Gpu:
    # work that a device would do: the stub's schedule says what it draws
    busy = False
    def call(self):
        if not self.busy:
            write(time.monotonic(), 300)
            self.busy = True
        time.sleep(0.012)
    def synchronize(self):
        pass

gpu = Gpu()
meters = meters_for("cuda", boards()[0], RULES)
rules = EnergyRules(**{**RULES.as_dict(), "idle_s": 0.8, "window_s": 3.0})
windows = Windows(meters, rules, gpu.synchronize)
readings = windows.measure(gpu.call)
tell({"record": energy_record(readings, "cuda"), "rules": rules.as_dict(), "sensors": len(sensors(meters))})
"""


def test_a_visit_is_recorded_with_joules_of_the_stub(jobs: dict[str, Future[Any]]) -> None:
    told = jobs["visit"].result()
    record = told["record"]
    head = record["readings"][0]
    assert told["sensors"] >= 2 and record["energy_sensor"] == "nvml_counter" and record["reason"] == ""
    assert head["idle_w"] == pytest.approx(60.0, abs=25.0)
    assert head["power_w"] == pytest.approx(300.0, rel=0.1)
    assert record["energy_j"] == pytest.approx(head["energy_j"] / head["calls"])
    assert record["net_j"] < record["energy_j"]
    assert head["conditions"]["name"] == "Stub", "a record says whose joules these are"
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "visit.schema.yaml").read_text())
    jsonschema.validate(record, schema["properties"]["energy"])
    assert json.loads(json.dumps(record)) == record


#: Script, options of the stub (WORK: the folder of its own), changes of its environment; the longest first.
JOBS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "visit": (
        VISIT,
        {"law": "schedule", "schedule": "WORK/options.schedule", "procs": "self"},
        {"preload": True},
    ),
    "codecarbon": (CODECARBON, TWO, {"smi": True}),
    "laws": (LAWS, LAW_OPTIONS, {}),
    "faults": (FAULTS, {"boards": 8, "counter_period": 0.02, "watts": 200}, {}),
    "flags": (FLAGS, FLAG_OPTIONS, {}),
    "no_smi": (NO_SMI, TWO, {"no_smi": True}),
}
