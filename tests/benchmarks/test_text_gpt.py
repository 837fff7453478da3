"""The text task: its windows, its metric, and that it learns."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks import datasets
from benchmarks.run import Run
from benchmarks.tasks.text_gpt import CHARACTERS, VOCABULARY, TextGpt, connected, encode, scored, windows
from methods.reference.baseline import Baseline


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return datasets.state_of_the_union()


@pytest.fixture(scope="module")
def tiny() -> tuple[TextGpt, dict]:
    task = TextGpt(**TextGpt.small)
    splits = task.prepare()
    return task, {name: {"text": torch.from_numpy(part["text"].copy())} for name, part in splits.items()}


def run_of(task: TextGpt, data: dict, method: Baseline, seed: int = 0) -> Run:
    return Run(task, method, seed, torch.device("cpu"), data["train"], data["valid"])


def test_every_character_of_the_training_texts_has_a_token(texts: dict[str, str]) -> None:
    assert len(set(CHARACTERS)) == len(CHARACTERS) == VOCABULARY - 1 < 256
    for text in (texts["train"], datasets.austen()["train"]):
        assert {character for character, n in Counter(text).items() if n > 1} <= set(CHARACTERS)


def test_tokens_by_hand() -> None:
    ids = encode("a\n’£\U0001f600")
    assert ids.dtype == np.uint8
    assert ids.tolist() == [CHARACTERS.index("a") + 1, 1, 0, CHARACTERS.index("£") + 1, 0]


def test_windows_share_one_character() -> None:
    assert windows(np.arange(10), 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]


@pytest.mark.parametrize("context", [32, 64, 256, 300, 4096])
def test_what_is_scored(context: int) -> None:
    ids = np.arange(400_000)
    rows = scored(ids, context)
    assert rows.shape[1] == context + 1
    assert 61_440 <= len(rows) * context < 61_440 + 4096
    if context == 256:
        assert len(rows) == 240
    jumps = np.flatnonzero(rows[1:, 0] != rows[:-1, -1])
    assert len(jumps) == len(rows) // (4096 // context) - 1  # runs of 4,096 connected characters
    assert rows[0, 0] == 0
    assert rows[-1, -1] > 0.98 * len(ids)  # the whole text is covered
    assert len(np.unique(rows[:, 1:])) == rows[:, 1:].size  # nothing is scored twice


def test_splits_are_uint8_and_apart_in_time(texts: dict[str, str]) -> None:
    splits = TextGpt().prepare()
    assert {part["text"].dtype for part in splits.values()} == {np.dtype(np.uint8)}
    assert len(splits["train"]["text"]) == (len(texts["train"]) - 1) // 256
    assert len(splits["valid"]["text"]) == len(splits["test"]["text"]) == 240
    assert splits["test"]["text"][0].tolist() == encode(texts["test"][:257]).tolist()
    assert TextGpt().recipe.steps * 4 <= len(splits["train"]["text"])  # no window is seen twice by default


def test_austen_has_three_splits() -> None:
    task = TextGpt(text="austen", context=64)
    novels, splits = datasets.austen(), task.prepare()
    assert len(splits["train"]["text"]) == (len(novels["train"]) - 150_001) // 64
    assert splits["valid"]["text"][0].tolist() == encode(novels["train"][-150_000:][:65]).tolist()
    assert splits["test"]["text"][0].tolist() == encode(novels["test"][:65]).tolist()


def test_bits_by_hand(tiny) -> None:
    task, data = tiny
    run = run_of(task, data, Baseline())
    torch.manual_seed(0)
    model = task.model(run).eval()
    few = {"text": data["test"]["text"][:7]}
    got = task.score(model, few, run)["bits_per_char"].values
    for row, bits in zip(few["text"].long(), got, strict=True):
        logits = model(row[None, :-1])[0].detach().double()
        wanted = [-logits[i].log_softmax(0)[row[i + 1]].item() / math.log(2) for i in range(task.context)]
        assert bits == pytest.approx(np.mean(wanted), rel=1e-12)


def test_a_model_that_knows_nothing_scores_the_chance_level(tiny) -> None:
    task, data = tiny
    flat = lambda text: torch.zeros(*text.shape, VOCABULARY)  # noqa: E731
    values = task.score(flat, data["test"], None)["bits_per_char"].values
    assert values == pytest.approx(task.metrics[0].chance)


def test_it_learns_more_than_how_often_characters_are(tiny, texts: dict[str, str]) -> None:
    task, data = tiny
    run = run_of(task, data, Baseline())
    torch.manual_seed(0)
    model = task.fit(task.model(run), run)
    share = np.bincount(encode(texts["train"]), minlength=VOCABULARY) + 1.0
    unigram = -np.log2((share / share.sum())[data["test"]["text"][:, 1:].numpy()]).mean()
    assert 4.3 < unigram < 4.6
    assert task.score(model, data["test"], run)["bits_per_char"].values.mean() < unigram - 0.1
    assert run.log.steps == {"train": 156}


def test_the_order_of_batches_is_the_seeds_alone(tiny) -> None:
    task, data = tiny
    first = [batch["text"] for batch in task.batches(run_of(task, data, Baseline()), 5)]
    again = [batch["text"] for batch in task.batches(run_of(task, data, Baseline(lr_factor=2.0)), 5)]
    other = [batch["text"] for batch in task.batches(run_of(task, data, Baseline(), seed=1), 5)]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


def test_workloads_answer_what_the_model_answers(tiny) -> None:
    task, data = tiny
    run = run_of(task, data, Baseline())
    model = task.model(run).eval()
    text = connected(data["test"]["text"], 101)[None]
    whole = model(text).detach()
    prefill = task.workload("prefill@100", model, data["test"], run)
    decode = task.workload("decode@100", model, data["test"], run)
    assert (prefill.items, decode.items) == (100, 1)
    assert torch.allclose(prefill.call(), whole[:, 99], atol=1e-5)
    for _ in range(3):  # every call stands behind the same 100 characters
        assert torch.allclose(decode.call(), whole[:, 100], atol=1e-5)
    assert task.counted(model, data["test"], run) == {
        "cache_bytes": 2 * task.depth * task.context * task.width * 4
    }


def test_more_text_than_there_is_is_refused(tiny) -> None:
    task, data = tiny
    with pytest.raises(ValueError, match="61440 characters, 70001 are asked for"):
        task.workload("prefill@70000", None, data["test"], None)
