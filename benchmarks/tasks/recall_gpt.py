"""Associative recall: what a cheaper attention or a smaller cache forgets, told by distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tasks.base import Metric, Recipe, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.run import Run

#: Tokens: the keys, then the values.
KEYS, VALUES = 64, 64
#: What is not asked for: no loss, no score.
IGNORE = -1


@dataclass(frozen=True)
class RecallGpt(Task):
    """Multi-query associative recall (Arora et al., 2023) by a decoder of two layers of width 64.

    Data: synthetic. A sequence begins with `pairs` keys and their values; then the keys return in random
    order, each as often as the others and with its value behind: the model must say it when it reads the key.
    An item is a question; `distance` is how far back the nearest place lies that tells its value, to the next
    power of two (1, 4, 8 ...). Unlike in the paper keys return evenly, with nothing between the questions.
    Training: a step reads 8 rows at each of several lengths: whole ones, and rows that are cut into halves,
    quarters ... down to 8 tokens, which are sequences of their own with fewer pairs. Whole rows alone do not
    teach this model to tell the values present apart within the budget; nor is it enough for 4 heads of 16.
    Cost: `cache_bytes` is what must be kept of one sequence to say the next token.
    """

    length: int = knob(64, low=8, high=1024, help="tokens of a sequence, an even number")
    pairs: int = knob(8, low=1, high=64, help="key-value pairs of a sequence; length / 4 at most")
    width: int = knob(64, low=8, high=1024, help="width of the residual stream")
    depth: int = knob(2, low=1, high=16, help="blocks")
    heads: int = knob(2, low=1, high=16, help="attention heads; a head has width / heads")
    steps: int = knob(400, low=1, high=100_000, help="training steps of 8 rows a length")

    metrics = (Metric("accuracy", "share", "higher", chance=1 / VALUES, band=0.005),)
    workloads = {
        "batch64": "64 sequences",
        "prefill@N": "N tokens of sequences in a row, logits after the last one",
        "decode@N": "one more token behind a cache of N",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "batch64"
    offers = ("text", "attention")
    train_cpu_s = 16.0
    score_cpu_s = 1.0
    small = {"length": 16, "pairs": 2, "width": 16, "steps": 20}
    controls = {
        "positive": "two blocks of full attention answer 95 % of the questions",
        "negative": "a window of 8 answers less than 5 % of what lies more than 16 tokens back",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        return Recipe(self.steps, 8, 3e-3, weight_decay=0.1, schedule="constant", warmup=0.05, clip=1.0)

    @property
    def lengths(self) -> list[int]:
        """The lengths that training mixes, from `length` down by halves to 8, each of them even."""
        found = [self.length]
        while found[-1] % 4 == 0 and found[-1] >= 16:
            found.append(found[-1] // 2)
        return found

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        if self.length % 2 or self.length < 4 * self.pairs:
            raise ValueError(f"recall_gpt: length {self.length} must be even and 4 x pairs or more")
        train, valid, test = (np.random.default_rng(seed) for seed in (11, 12, 13))
        # no row is met twice in the first thousand steps; an item of training is [lengths, length]
        rows = [self._rows(train, 8 * min(self.steps, 1000), length) for length in self.lengths]
        return {
            "train": {name: np.stack([row[name] for row in rows], 1) for name in ("tokens", "answers")},
            "valid": self._rows(valid, 256, self.length),
            "test": self._rows(test, 1000, self.length),
        }

    def _rows(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        """Rows of `self.length` tokens, each of them whole sequences of `length`."""
        made = sequences(rng, count * (self.length // length), length, min(self.pairs, length // 4))
        return {name: values.reshape(count, self.length) for name, values in made.items()}

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        from benchmarks.models.transformer import Decoder

        return Decoder(KEYS + VALUES, width or self.width, self.depth, self.heads, embedding_std=1.0, **slots)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        logits, wanted = [], []
        for place, length in enumerate(self.lengths):
            answers = batch["answers"][:, place].reshape(-1, length)
            logits.append(model(batch["tokens"][:, place].reshape(-1, length))[answers != IGNORE])
            wanted.append(answers[answers != IGNORE])
        return cross_entropy(torch.cat(logits), torch.cat(wanted).long())

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        import torch

        asked = split["answers"] != IGNORE
        with torch.inference_mode():
            said = torch.cat([system(tokens).argmax(-1) for tokens in split["tokens"].split(200)])
        right = (said == split["answers"])[asked].cpu().numpy()
        back = distances(split["tokens"].cpu().numpy(), split["answers"].cpu().numpy())
        return {"accuracy": Scores(right.astype(float), {"distance": back})}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        import torch

        kind, _, length = name.partition("@")
        if kind == "batch64":
            return Workload(torch.inference_mode()(lambda: system(split["tokens"][:64])), 64, "sequence")
        tokens, cache = split["tokens"].flatten()[: int(length) + 1][None], system.new_cache()
        if tokens.shape[1] <= int(length):
            raise ValueError(f"recall_gpt: the split has {tokens.shape[1]} tokens, {name} needs one more")

        @torch.inference_mode()
        def prefill() -> Tensor:
            return system.prefill(tokens[:, :-1], cache if kind == "decode" else system.new_cache())

        @torch.inference_mode()
        def decode() -> Tensor:
            cache.rewind(int(length))
            return system.step(tokens[:, -1], cache)

        if kind == "decode":
            prefill()
        return Workload(decode, 1, "token") if kind == "decode" else Workload(prefill, int(length), "token")

    def counted(self, system: Any, split: Split, run: Run) -> dict[str, float | None]:
        """Bytes of the cache after one sequence."""
        import torch

        if not hasattr(system, "new_cache"):
            return {"cache_bytes": None}
        with torch.inference_mode():
            cache = system.new_cache()
            system.prefill(split["tokens"][:1], cache)
        return {"cache_bytes": cache.bytes()}


def sequences(rng: np.random.Generator, count: int, length: int, pairs: int) -> dict[str, np.ndarray]:
    """Tokens uint8 [count, length]; answers int16 [count, length]: at a question, the value behind it."""
    keys = np.argsort(rng.random((count, KEYS)), axis=1)[:, :pairs]
    values = KEYS + rng.integers(0, VALUES, (count, pairs))
    asked = np.argsort(rng.random((count, length // 2 - pairs)), axis=1) % pairs
    which = np.concatenate((np.tile(np.arange(pairs), (count, 1)), asked), axis=1)
    tokens = np.stack([np.take_along_axis(part, which, 1) for part in (keys, values)], 2)
    answers = np.full(tokens.shape, IGNORE, dtype=np.int16)
    answers[:, pairs:, 0] = tokens[:, pairs:, 1]
    return {"tokens": tokens.astype(np.uint8).reshape(count, -1), "answers": answers.reshape(count, -1)}


def distances(tokens: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """From every question back to the last value of its key, up to a power of two, int [questions]."""
    # sorted by key, a place stands behind the place where its key was met before
    order = np.argsort(tokens[:, ::2], axis=1, kind="stable")
    back = np.zeros_like(order)
    np.put_along_axis(back, order, np.diff(order, axis=1, prepend=0), axis=1)
    return 2 ** np.ceil(np.log2(2 * back[answers[:, ::2] != IGNORE] - 1)).astype(int)
