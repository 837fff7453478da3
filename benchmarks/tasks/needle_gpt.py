"""Needles in prose: keys and values hidden in real text, asked for at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Recipe, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.run import Run

#: Prose in small letters; token 0 is any other character. Keys come after the letters, values after the keys.
LETTERS = " ,.abcdefghijklmnopqrstuvwxyz"
PROSE, KEYS, VALUES = len(LETTERS) + 1, 64, 64
#: What is not asked for: no loss, no score.
IGNORE = -1
#: Tokens of a row of training: whole sequences of one of the lengths.
ROW = 64


@dataclass(frozen=True)
class NeedleGpt(Task):
    """Keys with values at random places of a speech; at its end the keys return, and each value must be said.

    Data: State of the Union addresses (real, public domain) in small letters, split by time as everywhere; in
    each sequence `needles` pairs of a key and a value (tokens of their own, synthetic) at random places; behind
    the text the keys alone, if `announced`; then the keys in random order, each with its value behind. An item
    is a question; `distance` is how far back its value lies, to the next power of two (32 at least).
    Training: a step reads 8 rows at each of several lengths of pure recall as in recall_gpt (8 to 64 tokens: a
    curriculum; needles alone do not teach the binding of key and value) and 8 rows of needles at a quarter,
    half and whole length. The loss is that of the questions, and `prose` times that of the next letter.
    Scored as it is served: the text is read by `prefill`, then each question is a `step`. A cache that keeps
    less has chosen before the first question; where keys are announced it could know what will be asked, as
    when a prompt ends with a question and an answer follows.
    Cost: `cache_bytes` is what is kept of one sequence when its first question comes.
    """

    length: int = knob(256, low=32, high=4096, help="tokens of a sequence, a multiple of 4")
    needles: int = knob(8, low=1, high=32, help="key-value pairs; length / 16 at most")
    announced: bool = knob(True, help="the text ends with all keys, before they are asked for")
    width: int = knob(64, low=8, high=1024, help="width of the residual stream")
    depth: int = knob(2, low=1, high=16, help="blocks")
    heads: int = knob(2, low=1, high=16, help="attention heads; a head has width / heads")
    steps: int = knob(400, low=1, high=100_000, help="training steps of 8 rows a length")
    prose: float = knob(0.1, low=0.0, high=10.0, help="weight of the next letter's loss")

    metrics = (Metric("accuracy", "share", "higher", chance=1 / VALUES, band=0.005),)
    workloads = {
        "batch16": "16 sequences read by prefill, with all their questions",
        "prefill@N": "N tokens of sequences in a row, logits after the last one",
        "decode@N": "one more token behind a cache of N",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "batch16"
    offers = ("text", "attention", "prompt")
    train_cpu_s = 38.0
    score_cpu_s = 1.5
    small = {"length": 32, "needles": 2, "width": 16, "steps": 10}
    controls = {
        "positive": "two blocks of full attention answer 95 % of the questions",
        "negative": "a cache of as many keys drawn at random answers less than half of them",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        return Recipe(self.steps, 8, 3e-3, weight_decay=0.1, schedule="constant", warmup=0.05, clip=1.0)

    @property
    def cuts(self) -> list[int]:
        """Lengths of the sequences with needles that training mixes."""
        return [self.length // part for part in (4, 2, 1)]

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        if self.length % 4 or self.length < 16 * self.needles:
            raise ValueError(f"needle_gpt: length {self.length} must divide by 4 and be 16 x needles or more")
        texts = {name: letters(text) for name, text in datasets.state_of_the_union().items()}
        train, valid, test = (np.random.default_rng(seed) for seed in (21, 22, 23))
        count = 8 * min(self.steps, 1000)
        rows = {
            "recall": np.stack([recall(train, count, size, self.needles) for size in (8, 16, 32, 64)], 1),
            **{f"needles{place}": self._rows(train, count, texts["train"], cut)
               for place, cut in enumerate(self.cuts)},
        }  # fmt: skip
        return {
            "train": rows,
            "valid": {"tokens": self._rows(valid, 150, texts["valid"], self.length)},
            "test": {"tokens": self._rows(test, 300, texts["test"], self.length)},
        }

    def _rows(self, rng: np.random.Generator, count: int, text: np.ndarray, length: int) -> np.ndarray:
        return haystacks(rng, count, text, length, min(self.needles, length // 16), self.announced)

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        from benchmarks.models.transformer import Decoder

        vocabulary = PROSE + KEYS + VALUES
        return Decoder(vocabulary, width or self.width, self.depth, self.heads, embedding_std=1.0, **slots)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        asked, prose = [], []
        parts = [
            rows.reshape(-1, size)
            for rows, size in zip(batch["recall"].unbind(1), (8, 16, 32, 64), strict=True)
        ]
        for tokens in [*parts, *(batch[f"needles{place}"] for place in range(len(self.cuts)))]:
            logits, wanted = model(tokens)[:, :-1], tokens[:, 1:].long()
            asked.append((logits, wanted, questions(tokens)[:, :-1]))
            prose.append((logits, wanted, (tokens[:, :-1] < PROSE) & (wanted < PROSE)))

        def mean(parts: list[Any]) -> Tensor:
            logits = torch.cat([logits[mask] for logits, _, mask in parts])
            return cross_entropy(logits, torch.cat([wanted[mask] for _, wanted, mask in parts]))

        return mean(asked) + (self.prose * mean(prose) if self.prose else 0.0)

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        import torch

        with torch.inference_mode():
            right = torch.cat([self._answer(system, rows) for rows in split["tokens"].split(100)])
        back = distances(split["tokens"].cpu().numpy(), self.needles)
        return {"accuracy": Scores(right.flatten().cpu().numpy().astype(float), {"distance": back.ravel()})}

    def _answer(self, system: Any, tokens: Tensor) -> Tensor:
        """Which questions are answered, bool [rows, needles]: read the text, then one step a token."""
        import torch

        start, cache = tokens.shape[1] - 2 * self.needles, system.new_cache()
        system.prefill(tokens[:, :start], cache)
        said = [
            system.step(tokens[:, place], cache).argmax(-1) for place in range(start, tokens.shape[1] - 1)
        ]
        return torch.stack(said[::2], 1) == tokens[:, start + 1 :: 2]

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        import torch

        kind, _, length = name.partition("@")
        if kind == "batch16":
            few = split["tokens"][:16]
            return Workload(torch.inference_mode()(lambda: self._answer(system, few)), 16, "sequence")
        tokens, cache = split["tokens"].flatten()[: int(length) + 1][None], system.new_cache()
        if tokens.shape[1] <= int(length):
            raise ValueError(f"needle_gpt: the split has {tokens.shape[1]} tokens, {name} needs one more")

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
        """Bytes of the cache when the first question comes."""
        import torch

        with torch.inference_mode():
            cache = system.new_cache()
            system.prefill(split["tokens"][:1, : self.length - 2 * self.needles], cache)
        return {"cache_bytes": cache.bytes()}


def letters(text: str) -> np.ndarray:
    """Prose as tokens, uint8 [characters]; line feeds are blanks."""
    table = np.zeros(0x10000, dtype=np.uint8)
    for place, letter in enumerate(LETTERS, 1):
        table[[ord(letter), ord(letter.upper())]] = place
    table[ord("\n")] = table[ord(" ")]
    return table[np.minimum(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), 0xFFFF)]


def haystacks(
    rng: np.random.Generator, count: int, text: np.ndarray, length: int, needles: int, announced: bool
) -> np.ndarray:
    """Prose with needles, the keys if announced, then the questions, uint8 [count, length]."""
    keys, values = _pairs(rng, count, needles)
    told = rng.permuted(keys, axis=1) if announced else keys[:, :0]
    order = np.argsort(rng.random((count, needles)), axis=1)
    asked = np.stack([np.take_along_axis(part, order, 1) for part in (keys, values)], 2).reshape(count, -1)
    prose = length - 4 * needles - told.shape[1]
    start = rng.integers(0, len(text) - prose, count)
    rows = np.empty((count, length), dtype=np.uint8)
    for row in range(count):
        said = text[start[row] : start[row] + prose]
        # needles stand before `at`: places in the prose, so no needle is cut by another
        at = np.sort(rng.integers(0, prose + 1, needles)).repeat(2)
        pairs = np.stack((keys[row], values[row]), 1).ravel()
        rows[row] = np.concatenate((np.insert(said, at, pairs), told[row], asked[row]))
    return rows


def recall(rng: np.random.Generator, count: int, length: int, pairs: int) -> np.ndarray:
    """Rows of pure recall, uint8 [count, ROW]: in sequences of `length`, pairs and then the same keys again."""
    pairs, several = min(pairs, length // 4), count * (ROW // length)
    keys, values = _pairs(rng, several, pairs)
    asked = np.argsort(rng.random((several, length // 2 - pairs)), axis=1) % pairs
    which = np.concatenate((np.tile(np.arange(pairs), (several, 1)), asked), axis=1)
    parts = [np.take_along_axis(part, which, 1) for part in (keys, values)]
    return np.stack(parts, 2).astype(np.uint8).reshape(count, ROW)


def _pairs(rng: np.random.Generator, count: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys, all different within a row, and values, each [count, pairs]."""
    keys = PROSE + np.argsort(rng.random((count, KEYS)), axis=1)[:, :pairs]
    return keys, PROSE + KEYS + rng.integers(0, VALUES, (count, pairs))


def questions(tokens: Tensor) -> Tensor:
    """Where a key stands that stood before in its row, with a value behind it, bool like tokens."""
    import torch

    key = (tokens >= PROSE) & (tokens < PROSE + KEYS)
    key[:, :-1] &= tokens[:, 1:] >= PROSE + KEYS
    seen = torch.zeros(len(tokens), PROSE + KEYS + VALUES, dtype=torch.long, device=tokens.device)
    place = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
    first = seen.fill_(tokens.shape[1]).scatter_reduce(1, tokens.long(), place, "amin")
    return key & (place > first.gather(1, tokens.long()))


def distances(tokens: np.ndarray, needles: int) -> np.ndarray:
    """From every question back to its value in the text, up to a power of two, int [rows, needles]."""
    start = tokens.shape[1] - 2 * needles
    at = start + 2 * np.arange(needles)
    found = (tokens[:, None, :start] == tokens[:, at, None]).argmax(2) + 1  # the value stands behind the key
    return np.maximum(32, 2 ** np.ceil(np.log2(at - found)).astype(int))
