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
#: The shortest sequences that training cuts its rows into.
SHORTEST = 8
#: Seeds of the splits.
SEEDS = {"train": 11, "valid": 12, "test": 13}


@dataclass(frozen=True)
class RecallGpt(Task):
    """Multi-query associative recall (Arora et al., 2023) by a decoder of two layers of width 64.

    Data: synthetic. A sequence begins with `pairs` keys and their values; then the keys return in random order,
    each as often as the others, always with the value behind, which the model must say when it reads the key. An
    item is a question; `distance` is how far back the last place lies that tells its answer, to the next power
    of two (1, 4, 8 ... `length`). Deviations from the paper: keys return evenly, not by a power law, and nothing
    stands between the questions.
    Training: a step reads 8 rows of `length` tokens at each of several lengths: whole, cut in halves, quarters,
    ... down to 8 tokens; what is cut is sequences of their own with fewer pairs. With whole rows alone, or with the
    embeddings of GPT-2 (standard deviation 0.02 in place of 1), the same budget ends where every answer is one
    of the values present.
    Cost: `cache_bytes` is what must be kept of one sequence to say the next token.
    """

    length: int = knob(64, low=8, high=4096, help="tokens of a sequence, an even number")
    pairs: int = knob(8, low=1, high=64, help="key-value pairs of a sequence; at most a quarter of its length")
    width: int = knob(64, low=8, high=1024, help="width of the residual stream")
    depth: int = knob(2, low=1, high=16, help="blocks")
    heads: int = knob(4, low=1, high=16, help="attention heads; a head has width / heads")
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
    train_cpu_s = 18.0
    score_cpu_s = 1.0
    small = {"length": 16, "pairs": 2, "width": 16, "steps": 20}
    controls = {
        "positive": "two blocks of full attention answer 95 % of the questions",
        "negative": "a window of 8 answers less than a quarter of the questions from more than 32 tokens back",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        return Recipe(self.steps, batch=8, lr=3e-3, weight_decay=0.1, schedule="constant", warmup=0.05, clip=1.0)

    @property
    def lengths(self) -> list[int]:
        """The lengths that training mixes, from `length` down by halves, each of them even."""
        found = [self.length]
        while found[-1] % 4 == 0 and found[-1] // 2 >= SHORTEST:
            found.append(found[-1] // 2)
        return found

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        if self.length % 2 or self.length < 4 * self.pairs:
            raise ValueError(
                f"recall_gpt: length is {self.length}; it must be even and, for {self.pairs} pairs, {4 * self.pairs} or more"
            )
        rng = {name: np.random.default_rng(seed) for name, seed in SEEDS.items()}
        # items of training are [lengths, length]; no more than half a million rows of questions are kept
        items = 8 * min(self.steps, 1000)
        rows = [self._rows(rng["train"], items, length) for length in self.lengths]
        train = {name: np.stack([row[name] for row in rows], 1) for name in ("tokens", "answers")}
        return {
            "train": train,
            "valid": self._rows(rng["valid"], 256, self.length),
            "test": self._rows(rng["test"], 1000, self.length),
        }

    def _rows(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        """Rows of `self.length` tokens, each of them whole sequences of `length`."""
        made = sequences(rng, count * (self.length // length), length, min(self.pairs, length // 4))
        return {name: values.reshape(count, self.length) for name, values in made.items()}

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        from benchmarks.models.transformer import Decoder

        return Decoder(
            KEYS + VALUES, width or self.width, self.depth, self.heads, embedding_std=1.0, **slots
        )

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
        tokens = split["tokens"][:64] if kind == "batch64" else self._running(split, int(length) + 1)
        cache = None
        if kind == "decode":
            with torch.inference_mode():
                cache = system.new_cache()
                system.prefill(tokens[:, :-1], cache)

        @torch.inference_mode()
        def call() -> Tensor:
            if kind == "batch64":
                return system(tokens)
            if cache is None:
                return system.prefill(tokens[:, :-1], system.new_cache())
            cache.rewind(int(length))
            return system.step(tokens[:, -1], cache)

        items, unit = {"batch64": (64, "sequence"), "decode": (1, "token")}.get(kind, (int(length or 0), "token"))
        return Workload(call, items, unit)

    def _running(self, split: Split, length: int) -> Tensor:
        """The first `length` tokens of sequences in a row, [1, length]."""
        running = split["tokens"].flatten()
        if length > len(running):
            raise ValueError(f"recall_gpt: the split has {len(running)} tokens, {length} are asked for")
        return running[:length][None]

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
    """tokens uint8 [count, length], and answers int16 [count, length]: at a question, the value that follows it."""
    slots = length // 2
    keys = np.argsort(rng.random((count, KEYS)), axis=1)[:, :pairs]
    values = KEYS + rng.integers(0, VALUES, (count, pairs))
    asked = np.argsort(rng.random((count, slots - pairs)), axis=1) % pairs
    which = np.concatenate((np.broadcast_to(np.arange(pairs), (count, pairs)), asked), axis=1)
    tokens = np.stack([np.take_along_axis(part, which, 1) for part in (keys, values)], 2).reshape(count, length)
    answers = np.full((count, length), IGNORE, dtype=np.int16)
    answers[:, 2 * pairs :: 2] = tokens[:, 2 * pairs + 1 :: 2]
    return {"tokens": tokens.astype(np.uint8), "answers": answers}


def distances(tokens: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """From every question back to the last value of its key, rounded up to a power of two, int [questions]."""
    row, place = np.nonzero(answers != IGNORE)
    earlier = (tokens[row] == tokens[row, place][:, None]) & (np.arange(tokens.shape[1]) < place[:, None])
    last = tokens.shape[1] - 1 - earlier[:, ::-1].argmax(1)
    return 2 ** np.ceil(np.log2(place - last - 1)).astype(int)
