"""arith_gpt: its splits, batches, loss, scores and workloads, on the small knobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.models import chain_world as chain
from benchmarks.models.transformer import Cache
from benchmarks.run import Run
from benchmarks.tasks.arith_gpt import ArithGpt
from methods.base import Method
from methods.reference.baseline import Baseline


def make_run(method: Method | None = None, **knobs: Any) -> tuple[Run, dict[str, Tensor]]:
    """A run on the small task, and its test split."""
    task = ArithGpt(**{**ArithGpt.small, **knobs})
    splits = {
        name: {key: torch.from_numpy(np.ascontiguousarray(values)) for key, values in split.items()}
        for name, split in task.prepare().items()
    }
    torch.manual_seed(0)
    run = Run(task, method or Baseline(), 0, torch.device("cpu"), splits["train"], splits["valid"])
    return run, splits["test"]


class Reader(nn.Module):
    """Answers every prompt that it knows by the trace that it was given."""

    def __init__(self, items: dict[str, Tensor], width: int, wrong: bool = False) -> None:
        super().__init__()
        self.width = width
        self.book = {tuple(row[:width].tolist()): row[width:].long() for row in items["tokens"]}
        self.wrong = wrong

    def new_cache(self) -> Cache:
        self.at = 0
        return Cache([self])

    def keep(self, rows: Tensor) -> None:
        self.rows = self.rows[rows]

    def prefill(self, tokens: Tensor, cache: Cache) -> Tensor:
        self.rows = torch.stack([self.book[tuple(row.tolist())] for row in tokens])
        return self.step(tokens[:, 0], cache)

    def step(self, token: Tensor, cache: Cache) -> Tensor:
        said = self.rows[:, min(self.at, self.rows.shape[1] - 1)]
        if self.wrong:  # every digit is one too large
            said = torch.where(said < 10, (said + 1) % 10, said)
        self.at += 1
        return torch.nn.functional.one_hot(said, chain.VOCABULARY) * 1e4


def test_the_splits_are_what_they_say():
    run, test = make_run(levels=3, room=64, each=9)
    task = run.task
    assert test["level"].tolist() == [1] * 9 + [2] * 9 + [3] * 9
    assert run.valid["level"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert set(run.train["level"].tolist()) == {1, 2, 3}
    prompts = {name: {row.numpy().tobytes() for row in task.prompts(split)}
               for name, split in (("train", run.train), ("valid", run.valid), ("test", test))}  # fmt: skip
    assert (
        not prompts["train"] & (prompts["valid"] | prompts["test"]) and not prompts["valid"] & prompts["test"]
    )
    assert torch.equal(task.prompts(test), torch.from_numpy(task.chains(test).tokens()))
    written = test["tokens"][:, task.prompt_width :]
    assert ((written != chain.PAD).sum(1) == test["length"]).all()


def test_each_trace_is_met_once_in_batches_of_like_length():
    run, _ = make_run(items=600)
    width, seen, spreads = run.task.prompt_width, [], []
    for batch in run.task.batches(run, 600 // 12):
        length = (batch["tokens"][:, width:] != chain.PAD).sum(1)
        assert len(batch["tokens"]) == 12 and length.max() == batch["tokens"].shape[1] - width
        spreads.append(float(length.max() - length.min()))
        seen += [row[: width + n].numpy().tobytes() for row, n in zip(batch["tokens"], length, strict=True)]
    whole = [
        row[: width + n].numpy().tobytes()
        for row, n in zip(run.train["tokens"], run.train["length"], strict=True)
    ]
    assert sorted(seen) == sorted(whole)
    assert np.mean(spreads) < 4
    again = [batch["tokens"] for batch in run.task.batches(run, 5)]
    assert all(torch.equal(a, b["tokens"]) for a, b in zip(again, run.task.batches(run, 5), strict=True))


def test_more_steps_than_traces_begin_a_new_epoch():
    run, _ = make_run(items=64, batch=12)
    assert len(list(run.task.batches(run, 14))) == 14


def test_the_loss_is_that_of_the_written_tokens():
    run, _ = make_run()
    task, model = run.task, run.task.model(run).double()
    batch = next(iter(task.batches(run, 1)))
    tokens, width = batch["tokens"].long(), task.prompt_width
    said = model(tokens).log_softmax(-1)
    wanted = [
        -said[row, at - 1, tokens[row, at]]
        for row in range(len(tokens))
        for at in range(width, tokens.shape[1])
        if tokens[row, at] != chain.PAD
    ]
    torch.testing.assert_close(task.loss(model, batch), torch.stack(wanted).mean())


def test_training_learns_the_form():
    run, _ = make_run(steps=60)
    model = run.task.model(run)
    batch = next(iter(run.task.batches(run, 1)))
    before = float(run.task.loss(model, batch).detach())
    run.task.fit(model, run)
    assert run.log.steps == {"train": 60}
    assert float(run.task.loss(model, batch).detach()) < before - 1.0


@pytest.mark.parametrize("wrong", [False, True])
def test_scores_are_those_of_what_is_answered(wrong):
    run, test = make_run(traces="plain")
    task = run.task
    scores = task.score(Reader(test, task.prompt_width, wrong), test, run)
    assert set(scores) == {metric.name for metric in task.metrics}
    for name in ("accuracy", "greedy", "any"):
        assert (scores[name].values == (0 if wrong else 1)).all()
    for name in ("tokens", "greedy_tokens"):
        assert (scores[name].values == test["length"].numpy()).all()
    assert (scores["tokens"].axes["level"] == test["level"].numpy()).all()


def test_verbose_traces_score_as_verified():
    run, test = make_run(each=40, harm=1.0)
    scores = run.task.score(Reader(test, run.task.prompt_width), test, run)
    wanted = run.task.verify(test, test["tokens"][:, run.task.prompt_width :].long())
    assert 0 < wanted.mean() < 1
    assert (scores["greedy"].values == wanted).all()
    found = run.task.anatomy(Reader(test, run.task.prompt_width), test, 0)
    assert found["broken"] == 0 and found["harmed"] > 0


def test_scores_repeat_for_a_seed():
    run, test = make_run()
    model = run.task.model(run)
    first, second = (run.task.score(model, test, run)["tokens"].values for _ in range(2))
    assert (first == second).all()
    run.seed = 1
    assert (run.task.score(model, test, run)["tokens"].values != first).any()


@pytest.mark.parametrize("name", ["read48", "batch1", "batch48"])
def test_workloads_take_prompts_of_all_levels(name):
    run, test = make_run(levels=3, room=64, each=20)
    model = run.task.model(run)
    made = run.task.workload(name, model, test, run)
    assert made.items == (1 if name == "batch1" else 48)
    found = made.call()
    assert len(found if name == "read48" else found.tokens) == made.items
    if name != "read48":
        assert torch.equal(found.tokens, made.call().tokens)


def test_a_model_trains_after_it_was_scored():
    run, test = make_run(steps=2)
    model = run.task.model(run)
    with torch.inference_mode():
        run.task.score(model, test, run)
    run.task.fit(model, run)


def test_every_weight_has_one_optimiser():
    run, _ = make_run()
    model = run.task.model(run)
    joint = run.task.optimizer(model, run.recipe)
    held = [parameter for group in joint.param_groups for parameter in group["params"]]
    assert len(held) == len(list(model.parameters())) == len({id(parameter) for parameter in held})
    inside = {id(p) for p in joint.parts[0].param_groups[0]["params"]}
    assert id(model.head.weight) not in inside and id(model.blocks[0].mixer.q.weight) in inside
