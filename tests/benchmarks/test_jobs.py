"""Train jobs end to end on tasks of milliseconds: what becomes of cells that fail, and of jobs that stop."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import children, jobs, scoring
from benchmarks.records import Store, read_json, write_json

LIMITS = {"cell_minutes": 2, "memory_gb": 6}
#: What a method does wrong -> the status and reason of its record.
FAULTS = {
    "raises": ("failed", "ValueError: no such luck"),
    "diverges": ("diverged", "the loss is nan in step 0 of phase 'train'"),
    "not_finite": ("diverged", "body.0.weight is not finite after training"),
    "eats_memory": ("oom", "needs more than 6 GB (limits.memory_gb)"),
    "eats_numpy": ("oom", "needs more than 6 GB (limits.memory_gb)"),
    "killed": ("oom", "needs more than 6 GB (limits.memory_gb)"),
    "exits": ("failed", "the child process ended with status 3"),
    "imports": ("skipped", "joulemark_no_such_peer is not installed"),
    "forgets_update": ("failed", "call step.update() once in every turn of run.steps(model)"),
    "returns_nothing": ("failed", "tiny_fails: a stage returned nothing; return the model"),
    "overspends": ("failed", "phase 'two' asks for 1.40 of the training budget; shares add up to at most 1"),
    "loads_stranger": ("failed", "is not a cell knob of tiny_fails; a method loads what it names"),
    "notes_nan": ("failed", "run.log.note(gap=...): a float (nan) is no finite number or word"),
    "notes_object": ("failed", "run.log.note(model=...): a TinyNet"),
    "spends_nan": ("failed", "run.log.spend(tokens=...): a float (nan) is no finite number or word"),
    "intrudes": ("failed", "body.0 (Sequential) is neither in the built model nor a Layer"),
    "other_class": ("failed", "body.1 (Tanh) is neither in the built model nor a Layer"),
    "more_tensors": ("failed", "the model cannot be built again from its spec"),
    "fewer_layers": ("failed", "the model cannot be built again from its spec"),
}


def run_of(task: str = "tiny", **methods: Any) -> dict[str, Any]:
    return {"task": {task: {}}, "methods": methods}


def events(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINY_EVENTS", str(tmp_path / "events.log"))
    return tmp_path / "events.log"


def test_what_a_method_does_wrong_is_a_record(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_fails={"how": list(FAULTS)}, tiny_wide={}, tiny_peer={})])
    plan = house.plan()
    assert set(house.train(plan).values()) == {0}  # failure is data: every job ends well
    records = {how: house.record(plan, "tiny_fails", how=how) for how in FAULTS}
    found = {how: (record["status"], record["reason"]) for how, record in records.items()}
    wrong = {
        how: (found[how], (status, reason))
        for how, (status, reason) in FAULTS.items()
        if found[how][0] != status or reason not in found[how][1]
    }
    assert not wrong
    assert records["raises"]["trace"].endswith("ValueError: no such luck")
    assert all("\n" not in reason for _, reason in found.values())
    assert all(record["quality"] == {} for record in records.values())
    assert {house.record(plan, name)["status"] for name in ("tiny_wide", "baseline")} == {
        "ok"
    }  # the others go on
    peer = house.record(plan, "tiny_peer")
    assert (peer["status"], peer["reason"]) == ("skipped", "needs the package joulemark-no-such-peer")


def test_a_diverged_cell_keeps_no_artefact_and_its_followers_are_skipped(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_half={"start": {"tiny_fails": {"how": "diverges"}}})])
    plan = house.plan()
    house.train(plan)
    start, follower = house.record(plan, "tiny_fails"), house.record(plan, "tiny_half")
    assert (start["status"], follower["status"]) == ("diverged", "skipped")
    assert not Store(house.results).has_artefact(start["key"]["artefact"])
    assert "its start tiny_fails has no artefact" in follower["reason"]


def test_a_cell_that_takes_too_long_is_stopped(house: Any) -> None:
    house.write_plan(limits={"cell_minutes": 0.005, "memory_gb": 6})
    house.write_card(
        runs=[{**run_of(tiny_fails={"how": "sleeps"}), "baseline": {"tiny_fails": {"how": "sleeps"}}}]
    )
    plan = house.plan()
    assert set(house.train(plan).values()) == {0}
    record = house.record(plan, "tiny_fails")
    assert record["status"] == "timeout"
    assert record["reason"] == "not done after 0.005 minutes (limits.cell_minutes)"


def test_a_second_pass_trains_nothing(house: Any, log: Path) -> None:
    house.write_card(
        runs=[run_of(tiny_wide={"hidden": [5, 9]}, tiny_pair={}, tiny_fails={"how": "diverges"})]
    )
    plan = house.plan()
    house.train(plan)
    done = len(events(log))
    bundles = {path.name: path.read_bytes() for path in (house.results / "chunks").iterdir()}
    stamps = {path: path.stat().st_mtime_ns for path in (house.results / "cells").iterdir()}
    house.train(house.plan())
    assert len(events(log)) == done > 0
    assert {path.name: path.read_bytes() for path in (house.results / "chunks").iterdir()} == bundles
    assert {path: path.stat().st_mtime_ns for path in (house.results / "cells").iterdir()} == stamps


def test_an_interrupted_chunk_passes_over_what_is_final(house: Any, log: Path) -> None:
    house.write_card(runs=[run_of(tiny_wide={"hidden": [5, 9, 13]})])
    plan = house.plan()
    house.train(plan)
    chunk = next(chunk for name, chunk in plan.chunks.items() if "tiny_wide" in name)
    lost = chunk.cells[1]
    Store(house.results).cell(lost.record).unlink()
    (house.results / "chunks" / f"{chunk.name}.jsonl").unlink()
    log.unlink()
    house.train(plan)
    # its artefact was whole, so it is scored again and not trained again
    assert events(log) == ["score TinyWide 0"] * 2  # test and validation items
    assert (house.results / "chunks" / f"{chunk.name}.jsonl").is_file()


@pytest.mark.parametrize("where", ["fit", "probe"])
def test_what_failed_is_tried_again(
    house: Any, log: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    house.write_card(runs=[run_of(tiny_flaky={})])
    plan = house.plan()
    monkeypatch.setenv("TINY_FAIL", where)
    house.train(plan)
    assert house.record(plan, "tiny_flaky")["status"] == "failed"
    monkeypatch.delenv("TINY_FAIL")
    house.train(plan)
    record = house.record(plan, "tiny_flaky")
    assert (record["status"], record["reason"], record["trace"]) == ("ok", "", "")
    assert (
        events(log).count("fit TinyFlaky 0") == 1
    )  # after a failure of the probe it is scored, not trained again


def test_a_probe_that_is_no_number_is_the_methods_fault(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_FAIL", "nan")
    house.write_card(runs=[run_of(tiny_flaky={})])
    plan = house.plan()
    assert set(house.train(plan).values()) == {0}
    assert house.record(plan, "tiny_flaky")["reason"] == (
        "tiny_flaky: probe gives nan for odd; where there is no number, give None"
    )


def test_a_bug_of_the_harness_stops_its_job_after_the_other_cells(
    house: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:

    house.write_card(runs=[run_of(tiny_wide={"hidden": [5, 9, 13]})])
    plan = house.plan()
    real = scoring.score

    def broken(world: Any, cell: Any) -> Any:
        if cell["knobs"].get("hidden") == 9:
            raise KeyError("a bug of ours")
        return real(world, cell)

    monkeypatch.setattr(scoring, "score", broken)
    status = house.train(plan)
    name = next(name for name in status if "tiny_wide" in name)
    assert {key: value for key, value in status.items() if value} == {name: 1}
    assert not (house.results / "chunks" / f"{name}.jsonl").exists()
    hidden = {record["key"]["knobs"].get("hidden") for record in house.records(plan)}
    assert hidden == {None, 5, 13}  # the others are done, the broken one has no record
    told = capfd.readouterr().err
    assert "a bug of ours" in told and "a bug of the harness stopped 1 cells (tiny_wide seed 0)" in told
    monkeypatch.setattr(scoring, "score", real)
    assert set(house.train(plan).values()) == {0}  # and the same command mends it


def test_same_numbers_whatever_the_order(make_house: Callable[[], Any]) -> None:
    methods = {"tiny_wide": {"hidden": [5, 9]}, "tiny_student": {"teacher": {"tiny_wide": {"hidden": 9}}}}
    runs = [run_of(**methods, tiny_half={})]
    found = []
    for reverse in (False, True):
        house = make_house()
        house.write_plan(seeds=2)
        house.write_card(runs=runs)
        plan = house.plan()
        house.train(plan, reverse=reverse)
        records = {record["key"]["system"]: record for record in house.records(plan)}
        for record in records.values():
            assert record["status"] == "ok"
            record.pop("timing"), record["training"].pop("cpu_s"), record["training"].pop("stage_cpu_s")
            record["key"].pop("record")  # covers the harness's own files, which lie elsewhere in each house
        found.append(records)
    assert len(found[0]) == 10
    assert found[0] == found[1]


def test_other_seeds_give_other_numbers(house: Any) -> None:
    """The detector of duplicates: a seed that does not reach the model gives equal losses."""
    house.write_plan(seeds=3)
    house.write_card(runs=[run_of(tiny_wide={}, tiny_half={}, tiny_student={})])
    plan = house.plan()
    house.train(plan)
    seen: dict[tuple[Any, ...], int] = {}
    for record in house.records(plan):
        key = (record["key"]["method"], record["quality"]["nll"]["items"], str(record["training"]["curve"]))
        assert key not in seen, (
            f"{key[0]}: seeds {seen[key]} and {record['key']['seed']} are the same training"
        )
        seen[key] = record["key"]["seed"]


def test_two_processes_on_one_chunk_train_it_once(house: Any, log: Path) -> None:
    house.write_card(runs=[run_of(tiny_wide={})])
    plan = house.plan()
    house.prepare(plan)
    name = next(name for name in plan.chunks if "tiny_wide" in name)
    spec, out = json.loads(plan.chunk_text(name)), house.results / "chunks" / f"{name}.jsonl"
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = jobs.train_chunk(spec, out)
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    assert events(log).count("fit TinyWide 0") == 1


def test_sources_changed_since_planning(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write_card()
    plan = house.plan()
    house.prepare(plan)
    monkeypatch.setenv("JOULEMARK_SOURCES", "another")
    with pytest.raises(SystemExit, match="sources changed since planning: run again"):
        house.train(plan)
    assert not any(name.startswith(("cells", "chunks", "artefacts")) for name in house.written())


@pytest.mark.parametrize("table, name", [("methods", "tiny_wide"), ("tasks", "tiny"), ("methods", "")])
def test_only_files_of_the_cell_stop_its_job(
    table: str, name: str, house: Any, monkeypatch: pytest.MonkeyPatch, tiny_index: dict[str, Any]
) -> None:
    """A method that somebody writes meanwhile must not stop a long run; an edit of what is trained must."""
    house.write_card(runs=[run_of(tiny_wide={"hidden": 4})])
    plan = house.plan()
    house.prepare(plan)
    before = copy.deepcopy(tiny_index)
    del before["methods"]["grpo"]  # it came after planning
    if name:
        before[table][name]["source"] = "another"
    planned = house.results / "index" / f"planned-{os.getpid()}-{name}.json"
    planned.write_text(json.dumps(before))
    monkeypatch.setenv("JOULEMARK_SOURCES", planned.stem)
    try:
        if name:
            with pytest.raises(SystemExit, match=rf"sources changed since planning: run again \({name}\)"):
                house.train(plan)
        else:
            assert set(house.train(plan).values()) == {0}
    finally:
        planned.unlink()


def test_a_gpu_plan_trains_on_the_gpu(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are told the device; data wait in the machine's memory until the fork, which CUDA does not survive."""
    house.write_card()
    house.write_plan("gpu")
    told = [
        json.loads(plan.chunk_text(next(iter(plan.chunks))))
        for plan in (house.plan(), house.plan(plan="gpu"))
    ]
    assert "device" not in told[0] and told[1]["device"] == "cuda"
    plan = house.plan()
    house.prepare(plan)
    spec = json.loads(plan.chunk_text(next(iter(plan.chunks))))
    job = jobs.TrainJob(Store(house.results), house.results / "data" / spec["data"], LIMITS, "meta")
    assert {part.device.type for part in job.world.read("train").values()} == {"cpu"}
    assert {part.device.type for part in job.world.split("train").values()} == {"meta"}


def test_a_final_chunk_asks_for_no_torch(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write_card()
    plan = house.plan()
    house.train(plan)
    monkeypatch.setattr(jobs.TrainJob, "world", property(lambda self: pytest.fail("the world was made")))
    assert set(house.train(plan).values()) == {0}


def test_the_bundle_holds_the_records_byte_for_byte(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_wide={"hidden": [5, 9]})])
    plan = house.plan()
    house.train(plan)
    store = Store(house.results)
    for name, chunk in plan.chunks.items():
        expected = b"".join(store.cell(cell.record).read_bytes() for cell in chunk.cells)
        assert (house.results / "chunks" / f"{name}.jsonl").read_bytes() == expected
    assert not [name for name in house.written() if name.endswith((".tmp", ".child.json"))]


# -------------------------------------------------------------------- children


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (lambda: 0, 0),
        (lambda: 3, 3),
        (lambda: 1 / 0, children.HARNESS_BUG),
        (lambda: exec("raise SystemExit(0)"), children.HARNESS_BUG),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -signal.SIGTERM),
    ],
)
def test_in_child(work: Callable[[], int], status: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert children.in_child(work, LIMITS) == status


def test_in_child_stops_what_takes_too_long() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert (
        children.in_child(lambda: signal.pause() or 0, {**LIMITS, "cell_minutes": 0.002}) == children.TIMEOUT
    )
    assert signal.getsignal(signal.SIGALRM) is before


# -------------------------------------------------------------------- data and measure jobs


def test_prepared_data_is_whole_or_not_there(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    house.write_card()
    plan = house.plan()
    name = next(iter(plan.chunks.values())).data
    spec, out = json.loads(plan.data_text(name)), house.results / "data" / name
    jobs.prepare_data(spec, out)
    assert sorted(path.stem for path in out.iterdir()) == ["test", "train", "valid"]
    task = type(jobs.TrainJob(Store(house.results), out, LIMITS).world.instance("tasks", "tiny", {}))
    odd = {"train": {"x": np.zeros(3), "y": np.zeros(2)}, "valid": {}, "test": {}}
    monkeypatch.setattr(task, "prepare", lambda self: odd)
    with pytest.raises(SystemExit, match=r"tiny: split train: arrays of different lengths \[2, 3\]"):
        jobs.prepare_data(spec, house.results / "data" / "other")
    assert not (house.results / "data" / "other").exists()


def test_a_round_without_visits_leaves_an_empty_bundle(house: Any) -> None:
    """Cells without an artefact are never timed: the round is done, and its bundle says nothing."""
    house.write_plan(rounds=1)
    house.write_card(
        runs=[{**run_of(tiny_fails={}), "baseline": {"tiny_fails": {}}, "workloads": ["batch1"]}]
    )
    plan = house.plan()
    house.train(plan)
    ((name, _),) = plan.rounds.items()
    out = house.results / "rounds" / f"{name}.jsonl"
    assert jobs.measure_round(json.loads(plan.round_text(name)), out) == 0
    assert out.read_text() == ""


def test_a_round_passes_over_final_visits(house: Any) -> None:
    """A visit that is not flagged, or was tried often enough, is not made again."""
    from benchmarks.measure.rounds import RETRIES, missing_visits, visit_names

    house.write_plan(rounds=1)
    house.write_card(runs=[{**run_of(tiny_wide={}), "workloads": ["batch1"]}])
    plan = house.plan()
    house.train(plan)
    ((name, _),) = plan.rounds.items()
    spec, store = json.loads(plan.round_text(name)), Store(house.results)
    names = visit_names(spec)
    assert [visit for _, _, visit in missing_visits(spec, store)] == names and len(names) == 2
    write_json(store.visit(names[0]), {"flagged": False, "tries": 1})
    write_json(store.visit(names[1]), {"flagged": True, "tries": RETRIES})
    assert [visit for _, _, visit in missing_visits(spec, store)] == [names[1]]
    write_json(store.visit(names[1]), {"flagged": True, "tries": RETRIES + 1})
    assert missing_visits(spec, store) == []
    assert jobs.measure_round(spec, house.results / "rounds" / "r.jsonl") == 0
    assert read_json(store.visit(names[0])) == {"flagged": False, "tries": 1}
