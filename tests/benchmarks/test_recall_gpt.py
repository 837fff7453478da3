"""The recall task: its sequences, distances, scores and workloads, and that a short window cannot do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.run import Run
from benchmarks.tasks.recall_gpt import IGNORE, KEYS, VALUES, RecallGpt, distances, sequences
from methods.attention.grouped_query import GroupedQuery
from methods.attention.sliding_window import SlidingWindow
from methods.attention.sqa import Sqa
from methods.base import Method
from methods.reference.baseline import Baseline


def make_run(method: Method | None = None, **knobs: Any) -> tuple[Run, dict[str, Tensor]]:
    """A run on the small task, and its test split."""
    task = RecallGpt(**{**RecallGpt.small, **knobs})
    splits = {
        name: {key: torch.from_numpy(values) for key, values in split.items()}
        for name, split in task.prepare().items()
    }
    torch.manual_seed(0)
    run = Run(task, method or Baseline(), 0, torch.device("cpu"), splits["train"], splits["valid"])
    return run, splits["test"]


class Reader:
    """Looks the key up in what it has read, no further back than `window` tokens."""

    def __init__(self, window: int) -> None:
        self.window = window

    def __call__(self, tokens: Tensor) -> Tensor:
        said = torch.zeros(*tokens.shape, KEYS + VALUES)
        for row, sequence in enumerate(tokens.tolist()):
            for place, key in enumerate(sequence):
                for back in range(1, min(self.window, place - 1) + 1):
                    if sequence[place - back - 1] == key < KEYS:
                        said[row, place, sequence[place - back]] = 1.0
                        break
        return said


def recount(sequence: list[int]) -> tuple[list[int], list[int]]:
    """Answers and distances of one sequence, worked out by reading it pair by pair."""
    book: dict[int, tuple[int, int]] = {}
    answers, back = [IGNORE] * len(sequence), []
    for place in range(0, len(sequence), 2):
        key, value = sequence[place : place + 2]
        if key in book:
            answers[place] = book[key][0]
            power = 1
            while power < place - book[key][1]:
                power *= 2
            back.append(power)
        book[key] = (value, place + 1)
    return answers, back


@pytest.mark.parametrize(("length", "pairs"), [(64, 8), (32, 8), (16, 4), (8, 2), (30, 7), (8, 1)])
def test_every_answer_is_the_value_that_was_given(length: int, pairs: int) -> None:
    made = sequences(np.random.default_rng(0), 50, length, pairs)
    tokens, answers = made["tokens"], made["answers"]
    assert (tokens.dtype, answers.dtype, tokens.shape) == (np.uint8, np.int16, (50, length))
    counted = [recount(row) for row in tokens.tolist()]
    assert answers.tolist() == [row for row, _ in counted]
    assert distances(tokens, answers).tolist() == [power for _, row in counted for power in row]
    assert (tokens[:, ::2] < KEYS).all() and (tokens[:, 1::2] >= KEYS).all()
    assert (tokens < KEYS + VALUES).all()
    for row in tokens[:, ::2]:
        often = np.unique(row, return_counts=True)[1]
        assert len(often) == pairs == len(set(row[:pairs]))
        assert often.max() - often.min() <= 1 and often.min() >= 2


def test_distances_by_hand() -> None:
    #          0  1   2  3   4  5   6  7   8  9   10 11
    tokens = [[5, 70, 9, 71, 9, 71, 5, 70, 5, 70, 9, 71]]
    answers = np.full((1, 12), IGNORE)
    answers[0, 4::2] = [71, 70, 70, 71]
    assert distances(np.array(tokens), answers).tolist() == [1, 8, 1, 8]  # 4 - 3, 6 - 1, 8 - 7, 10 - 5


def test_rows_of_training_are_cut_into_whole_sequences() -> None:
    task = RecallGpt(steps=10)
    assert task.lengths == [64, 32, 16, 8]
    assert RecallGpt(length=16, pairs=2).lengths == [16, 8]
    assert RecallGpt(length=30, pairs=2).lengths == [30]
    train = task.prepare()["train"]
    assert train["tokens"].shape == train["answers"].shape == (80, 4, 64)
    for place, (length, pairs) in enumerate([(64, 8), (32, 8), (16, 4), (8, 2)]):
        tokens = train["tokens"][:, place].reshape(-1, length)
        assert train["answers"][:, place].reshape(-1, length).tolist() == [
            recount(row)[0] for row in tokens.tolist()
        ]
        assert all(len(set(row[::2])) == pairs for row in tokens)


def test_splits_share_no_sequence() -> None:
    splits = RecallGpt(steps=50).prepare()
    whole = {"train": splits["train"]["tokens"][:, 0]} | {n: splits[n]["tokens"] for n in ("valid", "test")}
    rows = [row.tobytes() for part in whole.values() for row in part]
    assert len(rows) == 400 + 256 + 1000 == len(set(rows))


def test_every_distance_is_asked_for() -> None:
    test = RecallGpt(steps=1).prepare()["test"]
    found, often = np.unique(distances(test["tokens"], test["answers"]), return_counts=True)
    assert found.tolist() == [1, 4, 8, 16, 32, 64]
    assert often.sum() == 24_000 and often.min() > 1000


@pytest.mark.parametrize("knobs", [{"length": 31, "pairs": 2}, {"length": 30, "pairs": 8}])
def test_lengths_without_room_are_refused(knobs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be even and 4 x pairs or more"):
        RecallGpt(**knobs).prepare()


def test_scores_are_those_of_what_is_said() -> None:
    run, test = make_run(length=64, pairs=8, steps=1)
    few = {name: values[:20] for name, values in test.items()}
    whole = run.task.score(Reader(64), few, run)["accuracy"]
    assert (whole.values == 1).all() and len(whole.values) == 20 * 24
    short = run.task.score(Reader(16), few, run)["accuracy"]
    assert (short.values == (short.axes["distance"] <= 16)).all() and 0 < short.values.mean() < 1


def test_the_loss_is_that_of_the_questions_at_every_length() -> None:
    run, _ = make_run(length=32, pairs=4, steps=2)
    task, model = run.task, run.task.model(run).double()
    batch = next(iter(task.batches(run, 1)))
    nats = []
    for row in batch["tokens"].tolist():
        for place, length in enumerate([32, 16, 8]):
            for start in range(0, 32, length):
                sequence = row[place][start : start + length]
                said = model(torch.tensor([sequence]))[0].log_softmax(-1)
                nats += [-said[i, v] for i, v in enumerate(recount(sequence)[0]) if v != IGNORE]
    assert len(nats) == 8 * (12 + 2 * 4 + 4 * 2)
    torch.testing.assert_close(task.loss(model, batch), torch.stack(nats).mean())


@pytest.mark.parametrize("name", ["batch64", "prefill@100", "decode@100"])
def test_workloads_answer_what_the_model_answers(name: str) -> None:
    run, test = make_run()
    model = run.task.model(run).eval()
    made = run.task.workload(name, model, test, run)
    running = test["tokens"].flatten()[None]
    wanted = {
        "batch64": lambda: model(test["tokens"][:64]),
        "prefill@100": lambda: model(running[:, :100])[:, -1],
        "decode@100": lambda: model(running[:, :101])[:, -1],
    }[name]()
    assert (made.items, made.unit) == {"b": (64, "sequence"), "p": (100, "token"), "d": (1, "token")}[name[0]]
    for _ in range(2):  # every call stands behind the same tokens
        torch.testing.assert_close(made.call(), wanted.detach(), atol=1e-5, rtol=1e-5)


def test_more_tokens_than_there_are_are_refused() -> None:
    run, test = make_run()
    with pytest.raises(ValueError, match="16000 tokens, prefill@16000 needs one more"):
        run.task.workload("prefill@16000", run.task.model(run), test, run)


@pytest.mark.parametrize(
    ("method", "heads"), [(Baseline(), 2), (GroupedQuery(kv_heads=1), 1), (Sqa(query_heads=1, kv_heads=1), 1)]
)
def test_attention_with_fewer_heads_trains_on_it(method: Method, heads: int) -> None:
    run, test = make_run(method, steps=3)
    model = method.fit(method.build(run), run)
    assert run.log.steps == {"train": 3}
    values = run.task.score(model, test, run)["accuracy"].values
    assert len(values) == 6000 and np.isin(values, (0, 1)).all()
    assert run.task.counted(model, test, run) == {"cache_bytes": 2 * 2 * 16 * heads * 8 * 4}


def learnt(method: Method, steps: int) -> dict[int, float]:
    """Accuracy by distance after training on 4 pairs in 32 tokens."""
    run, test = make_run(method, length=32, pairs=4, width=64, steps=steps)
    model: nn.Module = method.fit(method.build(run), run)
    scores = run.task.score(model, test, run)["accuracy"]
    back = scores.axes["distance"]
    return {int(power): float(scores.values[back == power].mean()) for power in np.unique(back)}


def test_full_attention_learns_to_recall() -> None:
    found = learnt(Baseline(), 350)
    assert list(found) == [1, 4, 8, 16, 32]
    assert min(found.values()) > 0.9


@pytest.mark.slow
def test_a_window_shorter_than_the_distance_fails() -> None:
    found = learnt(SlidingWindow(window=4), 200)
    # two layers of four positions reach six tokens back; whoever knew the four values would guess one in four
    assert found[1] > 0.25
    assert max(found[16], found[32]) < 0.1
