"""Needles in prose: the sequences, the questions, distances, scores as served, workloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.run import Run
from benchmarks.tasks.needle_gpt import (
    KEYS,
    PROSE,
    VALUES,
    NeedleGpt,
    distances,
    haystacks,
    letters,
    questions,
    recall,
)
from methods.attention.random_keys import RandomKeys
from methods.attention.sinks_window import SinksWindow
from methods.attention.snap_kv import SnapKv
from methods.base import Method
from methods.reference.baseline import Baseline

TEXT = letters("the state of the union is strong, and it will be. " * 40)


def rows(announced: bool = True, count: int = 30, length: int = 96, needles: int = 4) -> np.ndarray:
    return haystacks(np.random.default_rng(0), count, TEXT, length, needles, announced)


def make_run(method: Method | None = None, **knobs: Any) -> tuple[Run, dict[str, Tensor]]:
    """A run on the small task, and its test split."""
    task = NeedleGpt(**{**NeedleGpt.small, **knobs})
    splits = {
        name: {key: torch.from_numpy(values) for key, values in split.items()}
        for name, split in task.prepare().items()
    }
    torch.manual_seed(0)
    run = Run(task, method or Baseline(), 0, torch.device("cpu"), splits["train"], splits["valid"])
    return run, splits["test"]


class Reader:
    """Writes down every value that it meets behind a key, and says the one behind the last key."""

    class Notes:
        def __init__(self) -> None:
            self.seen = torch.zeros(0, 0)
            self.length = 0

        def bytes(self) -> int:
            return self.seen.numel()

        def rewind(self, length: int) -> None:
            self.seen = self.seen[:, :length]

    def __init__(self, forgets: int = 0) -> None:
        self.forgets = forgets

    def new_cache(self) -> Notes:
        return self.Notes()

    def prefill(self, tokens: Tensor, cache: Notes) -> Tensor:
        cache.seen = torch.cat((cache.seen, tokens.float()), 1) if cache.seen.numel() else tokens.float()
        said = torch.zeros(len(tokens), PROSE + KEYS + VALUES)
        for row, seen in enumerate(cache.seen.long().tolist()):
            found = [
                b for a, b in zip(seen[:-1], seen[1:], strict=True) if a == seen[-1] and b >= PROSE + KEYS
            ]
            if found and seen.index(seen[-1]) >= self.forgets:
                said[row, found[0]] = 1.0
        return said

    def step(self, token: Tensor, cache: Notes) -> Tensor:
        return self.prefill(token[:, None], cache)


def test_prose_is_in_small_letters() -> None:
    assert letters("aZ .,\n").tolist() == [4, 29, 1, 3, 2, 1]
    assert letters("é5\u2019").tolist() == [0, 0, 0]


@pytest.mark.parametrize("announced", [True, False])
def test_a_row_is_prose_with_needles_and_then_its_questions(announced: bool) -> None:
    text = "".join(map(chr, TEXT))
    for row in rows(announced).tolist():
        start = len(row) - 8
        told = row[start - 4 : start] if announced else []
        body = row[: start - len(told)]
        keys = [at for at, token in enumerate(body) if PROSE <= token < PROSE + KEYS]
        needles = {body[at]: body[at + 1] for at in keys}
        assert len(needles) == 4 and all(value >= PROSE + KEYS for value in needles.values())
        prose = [token for token in body if token < PROSE]
        assert "".join(map(chr, prose)) in text and len(prose) == len(body) - 8
        assert dict(zip(row[start::2], row[start + 1 :: 2], strict=True)) == needles
        assert sorted(told) == (sorted(needles) if announced else [])


def test_needles_lie_anywhere() -> None:
    made = rows(count=400)
    at = ((made[:, :80] >= PROSE) & (made[:, :80] < PROSE + KEYS)).nonzero()[1]
    assert at.min() == 0 and at.max() > 75
    assert 0.2 < np.mean(at < 20) < 0.35


def test_questions_are_keys_met_before_with_a_value_behind() -> None:
    k, v = PROSE, PROSE + KEYS
    #                0      1      2  3      4      5      6      7      8      9
    row = torch.tensor([[k + 1, v + 5, 7, k + 2, v + 6, k + 2, k + 1, v + 5, k + 2, v + 6]])
    assert questions(row)[0].nonzero().flatten().tolist() == [6, 8]
    assert distances(row[:, :].numpy(), 2).tolist() == [[32, 32]]
    made = torch.from_numpy(rows())
    assert questions(made).sum(1).tolist() == [4] * 30
    assert questions(made)[:, -8::2].all()


def test_distances_are_those_to_the_value() -> None:
    made = rows(length=256, count=10)
    for row, found in zip(made.tolist(), distances(made, 4).tolist(), strict=True):
        for question, power in zip(range(248, 256, 2), found, strict=True):
            back = question - (row.index(row[question]) + 1)
            assert power in (32, 64, 128, 256) and (power / 2 < back <= power or (power == 32 and back < 32))


@pytest.mark.parametrize(("length", "pairs"), [(8, 2), (16, 4), (32, 8), (64, 8)])
def test_pure_recall_asks_each_key_again(length: int, pairs: int) -> None:
    made = recall(np.random.default_rng(0), 6, length, 8).reshape(-1, length)
    for row in made.tolist():
        book = dict(zip(row[: 2 * pairs : 2], row[1 : 2 * pairs : 2], strict=True))
        assert len(book) == pairs
        assert all(book[key] == value for key, value in zip(row[::2], row[1::2], strict=True))
    assert questions(torch.from_numpy(made)).sum(1).tolist() == [length // 2 - pairs] * len(made)


@pytest.mark.parametrize("knobs", [{"length": 30, "needles": 1}, {"length": 64, "needles": 5}])
def test_lengths_without_room_are_refused(knobs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="divide by 4 and be 16 x needles"):
        NeedleGpt(**knobs).prepare()


def test_splits_have_their_own_text_and_draws() -> None:
    splits = NeedleGpt(steps=5).prepare()
    assert splits["train"]["needles2"].shape == (40, 256)
    assert [splits["train"][f"needles{place}"].shape[1] for place in range(3)] == [64, 128, 256]
    assert splits["valid"]["tokens"].shape == (150, 256) and splits["test"]["tokens"].shape == (300, 256)
    every = [row.tobytes() for split in ("valid", "test") for row in splits[split]["tokens"]]
    assert len(set(every)) == 450


def test_scores_are_of_what_is_said() -> None:
    run, test = make_run(length=96, needles=4, steps=1)
    few = {"tokens": test["tokens"][:12]}
    whole = run.task.score(Reader(), few, run)["accuracy"]
    assert (whole.values == 1).all() and len(whole.values) == 48
    part = run.task.score(Reader(forgets=40), few, run)["accuracy"]
    first = [row.index(row[at]) >= 40 for row in few["tokens"].tolist() for at in range(88, 96, 2)]
    assert part.values.astype(bool).tolist() == first and 0 < part.values.mean() < 1


def test_a_model_is_scored_as_it_answers_whole_sequences() -> None:
    run, test = make_run()
    model = run.task.model(run).eval()
    said = model(test["tokens"]).argmax(-1)[:, -4:-1:2]
    right = (said == test["tokens"][:, -3::2]).flatten()
    assert run.task.score(model, test, run)["accuracy"].values.astype(bool).tolist() == right.tolist()


def test_the_loss_is_that_of_questions_and_some_of_prose() -> None:
    run, _ = make_run(steps=2)
    task, model = run.task, run.task.model(run).double()
    batch = next(iter(task.batches(run, 1)))
    nats: dict[bool, list[Tensor]] = {True: [], False: []}
    parts = [
        *(
            part.reshape(-1, size)
            for part, size in zip(batch["recall"].unbind(1), (8, 16, 32, 64), strict=True)
        ),
        *(batch[f"needles{place}"] for place in range(3)),
    ]
    for tokens in parts:
        asked, said = questions(tokens), model(tokens).log_softmax(-1)
        for row, at in np.ndindex(tokens.shape[0], tokens.shape[1] - 1):
            if asked[row, at]:
                nats[True].append(-said[row, at, tokens[row, at + 1].long()])
            elif tokens[row, at] < PROSE and tokens[row, at + 1] < PROSE:
                nats[False].append(-said[row, at, tokens[row, at + 1].long()])
    wanted = torch.stack(nats[True]).mean() + 0.1 * torch.stack(nats[False]).mean()
    torch.testing.assert_close(task.loss(model, batch), wanted)


@pytest.mark.parametrize("name", ["prefill@100", "decode@100"])
def test_workloads_answer_what_the_model_answers(name: str) -> None:
    run, test = make_run()
    model = run.task.model(run).eval()
    made = run.task.workload(name, model, test, run)
    running = test["tokens"].flatten()[None]
    wanted = model(running[:, : 100 + (name[0] == "d")])[:, -1].detach()
    for _ in range(2):  # every call stands behind the same tokens
        torch.testing.assert_close(made.call(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "method", [SinksWindow(sinks=2, window=9), RandomKeys(budget=9), SnapKv(budget=9, window=4)]
)
def test_a_small_cache_can_be_timed_and_counted(method: Method) -> None:
    run, test = make_run(method)
    model = method.serve(run.task.model(run).eval(), run)
    decode = run.task.workload("decode@60", model, test, run).call
    torch.testing.assert_close(decode(), decode(), atol=0, rtol=0)
    assert run.task.workload("batch16", model, test, run).call().shape == (16, 2)
    kept = run.task.counted(model, test, run)["cache_bytes"]
    assert (
        0 < kept <= 2 * 4 * 2 * 10 * (16 + 2)
    )  # layers, bytes, heads x tokens x (k, v of width 8, and a worth)
    assert kept < run.task.counted(run.task.model(run), test, run)["cache_bytes"]


def test_more_tokens_than_there_are_are_refused() -> None:
    run, test = make_run()
    with pytest.raises(ValueError, match="9600 tokens, prefill@16000 needs one more"):
        run.task.workload("prefill@16000", run.task.model(run), test, run)


@pytest.mark.slow
def test_full_attention_finds_needles_and_a_short_cache_does_not() -> None:
    run, test = make_run(length=64, needles=4, width=64, steps=300)
    model = run.method.fit(run.method.build(run), run).eval()
    assert run.task.score(model, test, run)["accuracy"].values.mean() > 0.9
    short = SinksWindow(sinks=2, window=10).serve(model, run)
    assert run.task.score(short, test, run)["accuracy"].values.mean() < 0.5
