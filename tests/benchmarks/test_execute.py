# ruff: noqa: E501
"""One cell in this process: stages, starts, what is scored, and that loading gives back what was trained."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import execute, scoring
from benchmarks.cells import Cell
from benchmarks.plan import Plan
from benchmarks.records import Store, unpack
from benchmarks.run import Diverged, MethodError
from benchmarks.tasks.base import Scores

WIDE = {"tiny_wide": {"hidden": 5}}
PAIR = {"tiny_pair": {"start": WIDE, "other": "baseline"}}
METHODS: dict[str, Any] = {
    "tiny_wide": {"hidden": 5},
    "tiny_student": {"teacher": [WIDE, PAIR]},
    "tiny_pair": {"start": [WIDE, PAIR], "other": ["baseline", PAIR], "weight": [0.25, 0.75]},
    "tiny_keeps": {},
    "tiny_half": {"start": ["baseline", {"tiny_half": {}}, WIDE]},
    "tiny_narrow": {"start": ["baseline", {"tiny_narrow": {}}]},
    "tiny_double": {"start": {"tiny_narrow": {}}},
}


class Bench:
    """A plan's cells, trained in this process in the order of their starts."""

    def __init__(self, house: Any, plan: Plan) -> None:
        house.prepare(plan)
        self.plan, self.store = plan, Store(house.results)
        self.world = execute.World(
            self.store, plan.index, house.results / "data" / plan.layout.data_name(plan.cells[0])
        )
        self.spec = {cell.system: json.loads(json.dumps(cell.spec())) for cell in plan.cells}

    def train(self, cell: Cell) -> dict[str, Any]:
        return execute.train(self.world, self.spec[cell.system])

    def score(self, cell: Cell) -> dict[str, Any]:
        return scoring.score(self.world, self.spec[cell.system])

    def system(self, cell: Cell) -> Any:
        return self.world.system(self.spec[cell.system])[0]

    def all(self) -> Iterator[Cell]:
        for cell in self.plan.cells:  # starts stand first
            if not self.store.has_artefact(cell.artefact):
                self.train(cell)
            yield cell

    def find(self, method: str, **knobs: Any) -> Cell:
        (one,) = [
            cell
            for cell in self.plan.cells
            if cell.arm.method["method"] == method and knobs.items() <= cell.arm.method["knobs"].items()
        ]
        return one


@pytest.fixture
def deterministic() -> Iterator[None]:
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    execute.settle()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.fixture
def bench(house: Any, deterministic: None) -> Bench:
    house.write_card(runs=[{"task": {"tiny": {}}, "methods": METHODS}])
    return Bench(house, house.plan())


def x_of(bench: Bench) -> torch.Tensor:
    return bench.world.split("test")["x"]


def label(cell: Cell) -> str:
    return f"{cell.arm.method['method']} {json.dumps(cell.arm.method['knobs'])}"


# -------------------------------------------------------------------- saved and loaded


def test_a_loaded_cell_answers_bit_for_bit_as_it_did(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `train` holds in its hands at the end and what is loaded from the artefact give the same outputs."""
    held: dict[str, Any] = {}
    real = execute._check_model

    def keep(model: Any, *rest: Any) -> None:
        real(model, *rest)
        held["model"] = copy.deepcopy(model)

    monkeypatch.setattr(execute, "_check_model", keep)
    for cell in bench.all():
        spec = bench.spec[cell.system]
        bench.train(cell)
        run = bench.world.run(spec)
        served = run.method.serve(held["model"].eval(), run)
        kind = next((p.dtype for p in served.parameters()), torch.float32)
        assert torch.equal(served(x_of(bench).to(kind)), bench.system(cell)(x_of(bench).to(kind))), label(
            cell
        )


def test_training_twice_is_the_same_training(bench: Bench) -> None:
    def numbers(cell: Cell) -> tuple[Any, ...]:
        training = bench.train(cell)
        files = sorted(bench.store.artefact(cell.artefact).rglob("*"))
        return (
            {key: value for key, value in training.items() if "cpu_s" not in key},
            {
                file.name: file.read_bytes()
                for file in files
                if file.is_file() and file.name != "training.json"
            },
            bench.score(cell),
        )

    for cell in list(bench.all()):
        assert numbers(cell) == numbers(cell), label(cell)


def test_scoring_is_that_of_the_form_that_serves(bench: Bench) -> None:
    for cell in bench.all():
        quality = bench.score(cell)["quality"]
        system, split = bench.system(cell), bench.world.split("test")
        kind = next((p.dtype for p in system.parameters()), torch.float32)
        right = (system(split["x"].to(kind)).argmax(-1) == split["y"]).numpy()
        assert np.array_equal(unpack(quality["accuracy"]["items"]), right), label(cell)
        assert quality["accuracy"]["mean"] == right.mean() and quality["accuracy"]["n"] == 60
        valid = bench.world.split("valid")
        right = (system(valid["x"].to(kind)).argmax(-1) == valid["y"]).double().mean()
        assert quality["accuracy"]["valid"] == pytest.approx(float(right))
        for level in (0, 1):
            items = unpack(quality[f"accuracy@level={level}"]["items"])
            assert np.array_equal(items, unpack(quality["accuracy"]["items"])[level::2])


# -------------------------------------------------------------------- stages


def test_kept_levels_are_scored(bench: Bench) -> None:
    list(bench.all())
    cell = bench.find("tiny_keeps")
    quality = bench.score(cell)["quality"]
    assert {name for name in quality if "round" in name} == {
        "accuracy@round=4", "accuracy@round=9", "nll@round=4", "nll@round=9",
    }  # fmt: skip
    losses = [quality[name]["mean"] for name in ("nll@round=4", "nll@round=9", "nll")]
    assert len(set(losses)) == 3  # three places on the way
    kept = bench.store.artefact(cell.artefact) / "kept" / "round=9"
    model = bench.world.model(kept, bench.spec[cell.system])
    split = bench.world.split("test")
    by_hand = nn.functional.cross_entropy(model(split["x"]).double(), split["y"])
    assert quality["nll@round=9"]["mean"] == pytest.approx(by_hand.item(), rel=1e-6)


def test_serving_trains_and_stores_nothing(bench: Bench) -> None:
    list(bench.all())
    cells = [cell for cell in bench.plan.cells if cell.arm.method["method"] == "tiny_pair"]
    for cell in cells:
        folder = bench.store.artefact(cell.artefact)
        assert sorted(path.name for path in folder.iterdir()) == ["spec.json", "training.json"]
    light, heavy = (
        bench.find("tiny_pair", weight=weight, start=WIDE_KNOBS, other={"method": "baseline", "knobs": {}})
        for weight in (0.25, 0.75)
    )
    assert light.artefact == heavy.artefact and light.system != heavy.system  # a serve knob: one artefact
    first, second = bench.system(bench.find("tiny_wide")), bench.system(bench.find("baseline"))
    x = x_of(bench)
    assert torch.equal(bench.system(heavy)(x), 0.25 * first(x) + 0.75 * second(x))


WIDE_KNOBS = {"method": "tiny_wide", "knobs": {"hidden": 5, "drop": 0.0, "mode": "a", "flag": False}}
PAIR_KNOBS = {
    "method": "tiny_pair",
    "knobs": {"start": WIDE_KNOBS, "other": {"method": "baseline", "knobs": {}}, "weight": 0.5},
}


def test_what_stands_on_a_cascade_sees_the_cascade(bench: Bench) -> None:
    """A start, or any cell knob, that only serves is what it serves, with the cells that it stands on."""
    list(bench.all())
    wide, base = bench.system(bench.find("tiny_wide")), bench.system(bench.find("baseline"))
    x = x_of(bench)
    inner = 0.5 * wide(x) + 0.5 * base(x)
    on_top = bench.find("tiny_pair", start=PAIR_KNOBS, other={"method": "baseline", "knobs": {}}, weight=0.25)
    assert torch.allclose(bench.system(on_top)(x), 0.75 * inner + 0.25 * base(x))
    beside = bench.find("tiny_pair", start=WIDE_KNOBS, other=PAIR_KNOBS, weight=0.25)
    assert torch.allclose(bench.system(beside)(x), 0.75 * wide(x) + 0.25 * inner)
    student = bench.find("tiny_student", teacher=PAIR_KNOBS)
    assert (
        bench.score(student)["quality"]["nll"]["mean"]
        != bench.score(bench.find("tiny_student", teacher=WIDE_KNOBS))["quality"]["nll"]["mean"]
    )


def test_run_load_gives_copies(bench: Bench) -> None:
    list(bench.all())
    cell = bench.find("tiny_pair", weight=0.25, start=WIDE_KNOBS, other={"method": "baseline", "knobs": {}})
    run = bench.world.run(bench.spec[cell.system])
    first = run.load(run.method.start)
    with torch.no_grad():
        first.body[0].weight.zero_()
    assert run.load(run.method.start).body[0].weight.abs().sum() > 0
    with pytest.raises(MethodError, match="is not a cell knob of tiny_pair; a method loads what it names"):
        run.load({"method": "tiny_keeps", "knobs": {}})
    with pytest.raises(MethodError, match="None is not a cell knob"):
        run.load(None)


def test_costs_are_those_of_the_tensors(bench: Bench) -> None:
    list(bench.all())
    for cell in bench.plan.cells:
        cost, system = bench.score(cell)["cost"], bench.system(cell)
        if cell.arm.method["method"] in ("baseline", "tiny_wide", "tiny_keeps", "tiny_student"):
            size = sum(p.numel() for p in system.parameters())
            width = system.body[0].out_features
            assert (cost["params"], cost["stored_bytes"]) == (size, 4 * size)
            assert cost["flops@batch8"] == 8 * 2 * (6 * width + 3 * width)
    half = bench.score(bench.find("tiny_half", start={"method": "baseline", "knobs": {}}))["cost"]
    assert half["stored_bytes"] == 2 * 48 + 4 * (24 + 3) and half["params"] == 48 + 24 + 3
    narrow = bench.score(bench.find("tiny_narrow", start={"method": "baseline", "knobs": {}}))["cost"]
    assert narrow["params"] == 6 * 4 + 4 + 4 * 3 + 3


def test_a_budget_of_zero_scores_nothing_and_counts_all(house: Any, deterministic: None) -> None:
    house.write_card(runs=[{"task": {"tiny": {}}, "methods": {"tiny_wide": {}}, "train": False}])
    bench = Bench(house, house.plan())
    for cell in bench.all():
        found = bench.score(cell)
        assert found["quality"] == {} and found["cost"]["params"] > 0
        assert bench.train(cell)["steps"] == {}


# -------------------------------------------------------------------- systems that are no module


def test_a_simulator_is_made_again(house: Any, deterministic: None) -> None:
    house.write_card(runs=[{"task": {"tiny_sim": {"load": [1.0, 2.0]}}, "methods": {"tiny_fast": {}}}])
    plan = house.plan()
    for name, chunk in plan.chunks.items():
        house.prepare(plan)
        world = execute.World(Store(house.results), plan.index, house.results / "data" / chunk.data)
        for cell in chunk.cells:
            spec = json.loads(json.dumps(cell.spec()))
            execute.train(world, spec)
            found = scoring.score(world, spec)
            speed, load = (2.0 if "fast" in name else 1.0), cell.arm.task_knobs["load"]
            assert np.allclose(unpack(found["quality"]["wait"]["items"]), np.arange(1, 51) * load / speed)
            assert found["cost"] == {"price": 2.0 * speed} and found["basis"] == "modelled"


class Plain:
    """A system that is no module."""


@pytest.mark.parametrize(
    ("built", "model", "fitted"), [(nn.Linear(1, 1), Plain(), False), (Plain(), Plain(), True)]
)
def test_what_was_learnt_must_be_storable(built: Any, model: Any, fitted: bool) -> None:
    with pytest.raises(MethodError, match="m: what was learnt cannot be stored in a Plain; return a module"):
        execute._check_model(model, built, fitted, {"method": "m"})
    execute._check_model(Plain(), Plain(), False, {"method": "m"})


# -------------------------------------------------------------------- what a task may not do


def scored(bench: Bench, monkeypatch: pytest.MonkeyPatch, scores: dict[str, Scores]) -> dict[str, Any]:
    cell = next(bench.all())
    task = type(bench.world.run(bench.spec[cell.system]).task)
    monkeypatch.setattr(task, "score", lambda self, system, split, run: scores)
    return bench.score(cell)


def test_a_metric_that_is_not_declared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match="task Tiny: score gives 'f1', which is none of its metrics"):
        scored(bench, monkeypatch, {"f1": Scores(np.zeros(3))})


def test_scores_that_are_not_finite(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Diverged, match="nll is not finite for 2 test items"):
        scored(bench, monkeypatch, {"nll": Scores(np.array([1.0, np.nan, np.inf]))})


def test_a_counted_number_that_is_none_is_null_and_nan_is_refused() -> None:
    scoring._check_numbers({"a": None, "b": 0.0}, "here")
    with pytest.raises(
        MethodError, match="task t: counted gives nan for price; where there is no number, give None"
    ):
        scoring._check_numbers({"price": float("nan")}, "task t: counted")


def test_training_costs() -> None:
    training = {
        "steps": {"train": 10, "tune": 5}, "flops": {"train": 100, "tune": 7}, "samples": 60,
        "peak_live_bytes": {"train": 9, "tune": 11}, "spent": {"tokens": 3},
    }  # fmt: skip
    assert scoring.training_costs(training) == {
        "train_steps": 15, "train_samples": 60, "train_flops": 1035, "train_peak_live_bytes": 11, "spent_tokens": 3,
    }  # fmt: skip
    training["flops"]["tune"] = None  # an operator without a formula makes the sum null, never smaller
    assert scoring.training_costs(training)["train_flops"] is None


def test_a_record_says_where_it_was_made(bench: Bench) -> None:
    cell = bench.plan.cells[0]
    record = scoring.blank(bench.spec[cell.system], "failed", "two\n lines", "trace")
    assert record["reason"] == "two lines" and record["status"] == "failed"
    assert record["env"]["torch"] == torch.__version__ and record["env"]["threads"] == 1
    assert record["key"]["artefact"] == cell.artefact and record["quality"] == {}


def test_the_test_split_is_the_harnesss_alone(bench: Bench) -> None:
    run = bench.world.run(bench.spec[bench.plan.cells[0].system])
    assert not hasattr(run, "test") and set(run.train) == set(run.valid) == {"x", "y", "level"}


def test_settle_uses_no_compiler(tmp_path: Path) -> None:
    """use_deterministic_algorithms loads torch's compiler: a second of CPU in every cell and visit."""
    import subprocess
    import sys

    code = (
        "import sys, torch; from benchmarks.execute import settle; settle()\n"
        "print(torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), 'torch._dynamo' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert child.stdout.split() == ["True", "1", "False"]
