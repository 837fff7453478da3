# ruff: noqa: E501 - messages to authors
"""Every method on a small task, every task with the baseline: does it keep the contract?

The messages speak to the author of the method. Each method runs on the task of its cards that trains fastest, or else
on the cheapest task that offers what it needs; JOULEMARK_PAIRS=all runs every pair of the cards instead.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import children, datasets, execute, scoring
from benchmarks.cards import read_yaml
from benchmarks.index import STAGES
from benchmarks.knobs import InputError, check_value
from benchmarks.models.layers import Layer
from benchmarks.plan import Plan
from benchmarks.records import Store, dump, unpack
from benchmarks.resolver import Resolver
from benchmarks.run import seed_all
from tests.conftest import House, index_folder, load_index_once

ROOT = Path(__file__).resolve().parents[2]
#: CPU seconds that a pair with small knobs may take; most take one.
LIMIT_CPU_S = 15.0
#: Items of the slice on which batches are cut in two.
ITEMS = 64


# -------------------------------------------------------------------- which pairs


@cache
def pairs_of_cards() -> dict[str, set[str]]:
    """Method -> the tasks on which cards run it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "benchmarks" / "papers").glob("*.yaml")):
        try:
            card = read_yaml(path)
        except InputError:
            continue
        for run in card.get("runs", []) if isinstance(card.get("runs"), list) else []:
            for method in [*run.get("methods", {}), *run.get("baseline", {})]:
                found.setdefault(str(method), set()).update(map(str, run.get("task", {})))
    return found


def pairs(index: Any) -> list[tuple[str, str]]:
    """(task, method) that the suite runs."""
    tasks, found = index["tasks"], {(task, "baseline") for task in index["tasks"]}
    for name, entry in index["methods"].items():
        fits = [task for task in tasks if set(entry["needs"]) <= set(tasks[task]["offers"])]
        carded = [task for task in fits if task in pairs_of_cards().get(name, set())]
        fits.sort(key=lambda task: (not tasks[task]["trains"], tasks[task]["train_cpu_s"], task))
        carded.sort(key=fits.index)
        chosen = carded if os.environ.get("JOULEMARK_PAIRS") == "all" else (carded or fits)[:1]
        found |= {(task, name) for task in chosen}
    broken = {("-", name) for name in index["errors"]}
    return sorted(found | broken)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        known = pairs(load_index_once(index_folder(metafunc.config), ""))
        metafunc.parametrize("pair", known, ids=[f"{method}-{task}" for task, method in known])


# -------------------------------------------------------------------- one small run, looked at by every test


@dataclass
class Done:
    """A pair that was trained and scored, or why it was not."""

    entry: Any
    task: Any
    spec: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    held: Any = None
    world: Any = None
    skipped: str = ""
    failed: str = ""

    @property
    def budget(self) -> int:
        """Training steps that the task grants this cell."""
        recipe = self.world.run(self.spec).recipe if self.task["trains"] else None
        return recipe.steps if recipe else 0

    @property
    def where(self) -> str:
        return f"{self.entry['file']}: {self.entry['class']}"

    def system(self) -> Any:
        return self.world.system(self.spec)[0]


def drawn_images() -> dict[str, np.ndarray]:
    """What `datasets.cifar10` returns, at random."""
    random = np.random.default_rng(0)
    sizes = {"train": 50_000, "test": 10_000}
    images = {f"{name}_x": random.integers(0, 256, (n, 3, 32, 32), np.uint8) for name, n in sizes.items()}
    return images | {f"{name}_y": random.integers(0, 10, n, np.uint8) for name, n in sizes.items()}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[House]:
    """A folder for all pairs, so that each baseline is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JOULEMARK_PLUGINS", raising=False)
        house = House(tmp_path_factory.mktemp("conformance"), index_folder(pytestconfig))
        for module in ("benchmarks.plan", "benchmarks.cards"):
            patch.setattr(f"{module}.ROOT", house.root)
        patch.setattr(datasets, "cifar10", drawn_images)  # the user's own data is not here
        threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        execute.settle()
        yield house
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


@pytest.fixture
def done(pair: tuple[str, str], workshop: House, index: Any) -> Done:
    """The pair's run; tests that need its results are skipped where test_it_runs fails."""
    task, method = pair
    if task == "-":
        reason = index["errors"][method]["reason"]
        pytest.fail(f"{method} cannot be imported: {reason}")
    key = f"{task}/{method}"
    if key not in RUNS:
        RUNS[key] = attempt(task, method, workshop, index)
    if RUNS[key].skipped:
        pytest.skip(RUNS[key].skipped)
    return RUNS[key]


RUNS: dict[str, Done] = {}


@pytest.fixture
def ran(done: Done) -> Done:
    if done.failed:
        pytest.skip("it does not run: see test_it_runs_on_a_small_task")
    return done


class TooSlowError(Exception):
    """A small run is not small."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Ends what takes more CPU time of this process."""

    def stop(*_: Any) -> None:
        raise TooSlowError(
            f"takes more than {seconds:.0f} CPU-s: say smaller knobs in `small` of the method or its task"
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def attempt(task: str, method: str, house: House, index: Any) -> Done:
    """Train and score a pair with small knobs, in this process."""
    result = Done(index["methods"][method], index["tasks"][task])
    missing = [name for name in result.entry["requires"] if find_spec(name.replace("-", "_")) is None]
    if missing:
        result.skipped = f"needs the package {', '.join(missing)}"
        return result
    house.write_plan(cards=["pair"], small=True)
    house.write_card("pair", runs=[{"task": {task: {}}, "methods": {method: {}}}])
    try:
        with cpu_limit(LIMIT_CPU_S):
            plan = house.plan()
            house.prepare(plan)
            run_plan(plan, result, house)
    except ImportError as error:
        result.skipped = f"{error.name or error} is not installed"
    except Exception as error:  # told by test_it_runs_on_a_small_task
        result.failed = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
        result.failed += f" (small knobs: {result.spec.get('knobs')}, {result.spec.get('task_knobs')})"
    return result


def run_plan(plan: Plan, result: Done, house: House) -> None:
    store = Store(house.results)
    data = {cell.system: chunk.data for chunk in plan.chunks.values() for cell in chunk.cells}
    arm = plan.cards[0].runs[0].arms[-1].id
    for cell in plan.cells:  # starts stand first
        spec = json.loads(json.dumps(cell.spec()))
        world = execute.World(store, plan.index, house.results / "data" / data[cell.system])
        wanted = cell.arm.id == arm
        if wanted:
            result.spec, result.world = spec, world
        if wanted or not store.has_artefact(cell.artefact):
            with pytest.MonkeyPatch.context() as patch:
                real = execute._check_model

                def keep(model: Any, *rest: Any, real: Any = real, wanted: bool = wanted) -> None:
                    real(model, *rest)
                    if wanted:  # a baseline may stand behind it
                        result.held = copy.deepcopy(model) if isinstance(model, nn.Module) else None

                patch.setattr(execute, "_check_model", keep)
                training = execute.train(world, spec)
        if wanted:
            result.training, result.found = training, scoring.score(world, spec)


def scores(done: Done, system: Any, split: Any) -> dict[str, np.ndarray]:
    """Every metric's scores per item, as the task gives them."""
    seed_all(done.spec["seed"] + 2_000_003)
    run = done.world.run(done.spec)
    found = run.task.score(system, split, run)
    return {name: np.asarray(one.values, dtype=float) for name, one in found.items()}


# -------------------------------------------------------------------- what every method keeps


def test_it_runs_on_a_small_task(done: Done) -> None:
    if done.failed:
        pytest.fail(
            f"{done.where} does not run on {done.spec.get('task', 'its task')}: {done.failed}. If its defaults are out "
            "of range there, say others in `small`; if it cannot work there, say in `needs` what it needs of a task.",
            pytrace=False,
        )


def test_a_loaded_cell_answers_as_it_did(ran: Done) -> None:
    split = ran.world.split("test")
    loaded = scores(ran, ran.system(), split)
    if ran.held is not None:
        run = ran.world.run(ran.spec)
        seed_all(ran.spec["seed"] + 2_000_003)
        held = scores(ran, run.method.serve(ran.held.eval(), run), split)
        wrong = [name for name in held if not np.array_equal(held[name], loaded[name])]
        assert not wrong, (
            f"{ran.where}: {', '.join(wrong)} of the loaded model differ from those of the trained one: what it learnt must lie in "
            "parameters or (persistent) buffers, and what it changed in modules must be a Layer with `args()`."
        )
    again = scores(ran, ran.system(), split)
    wrong = [name for name in again if not np.array_equal(again[name], loaded[name])]
    assert not wrong, (
        f"{ran.where}: {', '.join(wrong)} differ when the same cell is loaded twice: draw from torch's generator only"
    )


def test_every_number_is_finite(ran: Done) -> None:
    if ran.spec["knobs"].get("budget", 1.0) > 0 or not ran.task["trains"]:
        assert {metric["name"] for metric in ran.task["metrics"]} <= set(ran.found["quality"])
    for name, entry in ran.found["quality"].items():
        items = unpack(entry["items"])
        assert len(items) == entry["n"] > 0 and np.isfinite(items).all(), (
            f"{ran.where}: {name} has scores that are no numbers"
        )
    record = {**scoring.blank(ran.spec, "ok"), **ran.found, "training": ran.training}
    json.loads(dump(record), parse_constant=pytest.fail)  # dump raises where a record could not be written


def test_costs_come_from_the_tensors(ran: Done) -> None:
    cost, reasons, system = ran.found["cost"], ran.found["cost_reasons"], ran.system()
    for name, value in cost.items():
        assert value is None or (math.isfinite(value) and value >= 0), f"{ran.where}: {name} is {value}"
        assert value is not None or name in reasons or "@" not in name, (
            f"{ran.where}: {name} is null without a reason"
        )
    if not isinstance(system, nn.Module):
        return
    held = sum(t.numel() * t.element_size() for t in {id(t): t for t in unique_tensors(system)}.values())
    assert 0 <= cost["nonzero"] <= cost["params"], (
        f"{ran.where}: {cost['nonzero']} of {cost['params']} parameters are not zero"
    )
    assert 0 < cost["stored_bytes"] <= held, (
        f"{ran.where}: stored_bytes is {cost['stored_bytes']}, its tensors have {held}: stored_bytes() counts packed tensors, "
        "so whatever is stored must be a parameter or a buffer"
    )
    if not any(isinstance(module, Layer) for module in system.modules()):
        params = {id(p): p for p in system.parameters()}.values()
        by_hand = sum(p.numel() - int((p == 0).sum()) if p.ndim > 1 else p.numel() for p in params)
        assert (cost["params"], cost["nonzero"]) == (sum(p.numel() for p in params), by_hand)
    for module in system.modules():
        if isinstance(module, Layer):
            json.dumps(module.args())  # plain values
            assert module.stored_params() > 0, (
                f"{type(module).__name__}.stored_params(): for how many weights does it stand?"
            )


def unique_tensors(system: nn.Module) -> Iterator[torch.Tensor]:
    yield from system.state_dict(keep_vars=True).values()
    yield from system.parameters()


def test_training_is_counted_and_within_its_budget(ran: Done) -> None:
    steps = ran.training["steps"]
    assert sum(steps.values()) <= ran.budget + len(steps), (
        f"{ran.where}: {steps} are more than the budget of {ran.budget} steps"
    )
    trained = scoring.training_costs(ran.training)
    assert trained["train_flops"] is None or trained["train_flops"] >= 0
    assert set(ran.training["flops"]) >= {phase for phase, count in steps.items() if count}, (
        f"{ran.where}: a phase without a count"
    )


def test_an_item_is_answered_alone_as_in_company(ran: Done) -> None:
    """A model that looks at its batch (a norm in training mode, a leak) scores otherwise when the batch is cut."""
    system, split = ran.system(), ran.world.split("test")
    if not isinstance(system, nn.Module) or not ran.task["trains"] or not split:
        pytest.skip("no model that was trained")
    assert not system.training, f"{ran.where}: serve must give a model in eval mode"
    whole = {name: values[:ITEMS] for name, values in split.items()}
    count = len(next(iter(whole.values())))
    parts = [
        {name: values[a:b] for name, values in whole.items()}
        for a, b in ((0, count // 3), (count // 3, count))
    ]
    together, apart = scores(ran, system, whole), [scores(ran, system, part) for part in parts]
    for name, values in together.items():
        cut = np.concatenate([part[name] for part in apart])
        if len(cut) != len(values):
            continue
        # an activation that is rounded with a range a call moves a little with its company, and only a little
        assert np.abs(cut - values).mean() <= 0.05 * values.std() + 1e-3, (
            f"{ran.where}: {name} of an item depends on the items beside it (mean change {np.abs(cut - values).mean():.4f}): "
            "no statistics of the batch at test time"
        )


def test_training_again_is_the_same_training(ran: Done) -> None:
    if ran.training.get("cpu_s", 0.0) > 1.0 and os.environ.get("JOULEMARK_PAIRS") != "all":
        pytest.skip("takes a second and more: JOULEMARK_PAIRS=all trains it twice")
    before = {name: file.read_bytes() for name, file in tensors_of(ran)}
    training = execute.train(ran.world, ran.spec)
    assert training["curve"] == ran.training["curve"], (
        f"{ran.where}: two trainings of one seed have other losses: draw from run.rng"
    )
    wrong = [name for name, file in tensors_of(ran) if file.read_bytes() != before[name]]
    assert not wrong, (
        f"{ran.where}: two trainings of one seed end in other weights: draw from run.rng or torch's generator"
    )


def tensors_of(ran: Done) -> list[tuple[str, Path]]:
    folder = ran.world.store.artefact(ran.spec["artefact"])
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*.safetensors"))]


# -------------------------------------------------------------------- what needs no run


def method_class(name: str, index: Any) -> Any:
    if name in index["errors"]:
        reason = index["errors"][name]["reason"]
        pytest.fail(f"{name} cannot be imported: {reason}")
    world = execute.World(Store(Path("nowhere")), index, Path("nowhere"))
    return type(world.instance("methods", name, {}))


def test_stages_have_the_contracts_signatures(method_name: str, index: Any) -> None:
    cls = method_class(method_name, index)
    for stage in (*STAGES, "probe"):
        if stage in vars(cls):
            names = list(inspect.signature(vars(cls)[stage]).parameters)
            expected = ["self", "run"] if stage == "build" else ["self", "model", "run"]
            assert names == expected, (
                f"{cls.__name__}.{stage}({', '.join(names)}): the contract is ({', '.join(expected)})"
            )


def test_a_method_is_a_frozen_dataclass_of_knobs(method_name: str, index: Any) -> None:
    cls = method_class(method_name, index)
    assert cls.__dataclass_params__.frozen, (
        f"{cls.__name__}: write @dataclass(frozen=True), cells are named by their knobs"
    )
    for entry in index["methods"][method_name]["knobs"]:
        where = f"{cls.__name__}.{entry['name']}"
        if entry["kind"] != "cell":
            check_value(
                entry, entry["default"], f"{where}: its default"
            )  # raises where the default is out of bounds
            for bound, step in (("low", -1), ("high", 1)):
                if entry.get(bound) is not None:
                    with pytest.raises(InputError, match=where):
                        check_value(entry, entry[bound] + step, where)
    assert set(cls.small) <= {entry["name"] for entry in index["methods"][method_name]["knobs"]}, (
        f"{cls.__name__}.small names no knob"
    )
    Resolver(index, small=True).method(method_name, {}, cls.__name__)  # raises where `small` is out of bounds


def test_a_method_overrides_something(method_name: str, index: Any) -> None:
    entry = index["methods"].get(method_name)
    if entry and method_name != "baseline":
        method_class(method_name, index)
        assert entry["stages"], (
            f"{entry['file']}: {entry['class']} overrides no stage: it is the baseline under another name"
        )


def test_every_method_has_a_task(index: Any) -> None:
    offers = [set(task["offers"]) for task in index["tasks"].values()]
    alone = [
        name
        for name, entry in index["methods"].items()
        if not any(set(entry["needs"]) <= offer for offer in offers)
    ]
    assert not alone, f"no task offers what these need: {', '.join(alone)}"


def test_the_suite_is_strict_about_what_it_knows(index: Any) -> None:
    """Nothing is left out silently: every method of the index is in a pair, once."""
    known = pairs(index)
    methods = {method for _, method in known}
    tasked = {name for name, entry in index["methods"].items()
              if any(set(entry["needs"]) <= set(task["offers"]) for task in index["tasks"].values())}  # fmt: skip
    assert tasked <= methods and {task for task, _ in known} - {"-"} == set(index["tasks"])
    assert children.HARNESS_BUG == 70
