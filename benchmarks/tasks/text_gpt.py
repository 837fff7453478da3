"""Characters of American speeches (or of novels), predicted one by one by a small decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Recipe, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.run import Run

#: Every character that occurs more than once in the training text of either source; token 0 is any other.
CHARACTERS = "\n !\"$%&'()*+,-./0123456789:;?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz°—£"
VOCABULARY = len(CHARACTERS) + 1
#: Predictions that are scored, in runs of connected text spread evenly over the split.
SCORED, RUN = 61_440, 4096
#: Austen has no validation text of its own: the end of the last training novel.
AUSTEN_VALID = 150_000


@dataclass(frozen=True)
class TextGpt(Task):
    """The next character of State of the Union addresses, a decoder of two layers of width 64.

    Data: the addresses before 1980 train, 1980-1999 validate, those from 2000 on test (real data, public
    domain); or Jane Austen: five novels train (the end of the last one validates), Persuasion tests.
    Training: non-overlapping windows of `context` characters in random order, each seen at most once (until
    `chars` exceeds the text). What a cheaper attention loses at a distance this text cannot show: in a pilot
    a window of 32 characters was better than full attention at this budget.
    Scored: 61,440 characters of the split in 15 runs of 4,096, cut into windows of `context`: the items.
    Cost: `cache_bytes` is what must be kept of one context to predict the next character.
    """

    width: int = knob(64, low=4, high=1024, help="width of the residual stream")
    depth: int = knob(2, low=1, high=16, help="blocks")
    heads: int = knob(4, low=1, high=64, help="attention heads; a head has width / heads")
    context: int = knob(256, low=8, high=4096, help="characters of a training and test window")
    chars: int = knob(800_000, low=1000, help="characters seen in training: the budget")
    batch: int = knob(4, low=1, high=1024, help="windows a step")
    text: str = knob("sotu", choices=("sotu", "austen"), help="State of the Union, or Jane Austen")

    metrics = (Metric("bits_per_char", "bits/char", "lower", chance=math.log2(VOCABULARY), band=0.01),)
    workloads = {
        "prefill@N": "N characters of text in one go, logits after the last one",
        "decode@N": "one more character behind a cache of N characters of text",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "prefill@256"
    offers = ("text", "attention")
    train_cpu_s = 19.0
    score_cpu_s = 1.2
    small = {"width": 16, "depth": 1, "heads": 2, "context": 32, "chars": 20_000}
    controls = {
        "positive": "half of the budget gives less than 3.4 bits a character (pairs of characters: 3.62)",
        "negative": "a window of one character (no attention) stays above 3.5",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        steps = max(1, self.chars // (self.batch * self.context))
        return Recipe(
            steps=steps,
            batch=self.batch,
            lr=8e-3 * min(1.0, 64 / self.width),
            weight_decay=0.1,
            warmup=min(0.2, 20 / steps),
            clip=1.0,
            betas=(0.9, 0.95),
        )

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        texts = _texts(self.text)
        ids = {name: encode(text) for name, text in texts.items()}
        return {
            "train": {"text": windows(ids["train"], self.context)},
            "valid": {"text": scored(ids["valid"], self.context)},
            "test": {"text": scored(ids["test"], self.context)},
        }

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        from benchmarks.models.transformer import Decoder

        return Decoder(VOCABULARY, width or self.width, self.depth, self.heads, **slots)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        from torch.nn.functional import cross_entropy

        text = batch["text"].long()
        return cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        import torch

        with torch.inference_mode():
            rows = max(1, 4096 // self.context)
            nats = torch.cat([_nats(system, text.long()) for text in split["text"].split(rows)])
        return {"bits_per_char": Scores(nats.cpu().numpy() / math.log(2.0))}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        import torch

        kind, _, length = name.partition("@")
        text = connected(split["text"], int(length) + 1)[None]

        def prefill() -> Tensor:
            with torch.inference_mode():
                return system.prefill(text[:, :-1], system.new_cache())

        if kind == "prefill":
            return Workload(prefill, int(length), "character")
        with torch.inference_mode():
            cache = system.new_cache()
            system.prefill(text[:, :-1], cache)

        def decode() -> Tensor:
            with torch.inference_mode():
                cache.rewind(int(length))
                return system.step(text[:, -1], cache)

        return Workload(decode, 1, "character")

    def counted(self, system: Any, split: Split, run: Run) -> dict[str, float | None]:
        """Bytes of the cache after one context."""
        import torch

        if not hasattr(system, "new_cache"):
            return {"cache_bytes": None}
        with torch.inference_mode():
            cache = system.new_cache()
            system.prefill(connected(split["text"], self.context)[None], cache)
        return {"cache_bytes": cache.bytes()}


def _texts(name: str) -> dict[str, str]:
    if name == "sotu":
        return datasets.state_of_the_union()
    novels = datasets.austen()
    cut = len(novels["train"]) - AUSTEN_VALID
    return {"train": novels["train"][:cut], "valid": novels["train"][cut:], "test": novels["test"]}


def encode(text: str) -> np.ndarray:
    """Characters -> tokens, uint8 [characters]."""
    table = np.zeros(0x10000, dtype=np.uint8)
    table[[ord(character) for character in CHARACTERS]] = np.arange(1, VOCABULARY)
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    return table[np.minimum(points, 0xFFFF)]


def windows(ids: np.ndarray, context: int) -> np.ndarray:
    """Windows of `context` characters and the next one, [windows, context + 1]; it begins the next window."""
    return np.lib.stride_tricks.sliding_window_view(ids, context + 1)[::context]


def scored(ids: np.ndarray, context: int) -> np.ndarray:
    """The windows that are scored: whole runs of connected text, evenly spaced over `ids`."""
    a_run = max(1, RUN // context)
    every = windows(ids, context)
    runs = min(math.ceil(SCORED / (a_run * context)), len(every) // a_run)
    starts = np.linspace(0, len(every) - a_run, runs).astype(int)
    return np.concatenate([every[start : start + a_run] for start in starts])


def connected(text: Tensor, length: int) -> Tensor:
    """The first `length` characters of windows [windows, context + 1] as one text (it jumps after RUN)."""
    running = text[:, :-1].flatten()
    if length > len(running):
        raise ValueError(f"text_gpt: the split has {len(running)} characters, {length} are asked for")
    return running[:length]


def _nats(system: Any, text: Tensor) -> Tensor:
    """Mean loss of each window [windows, context + 1], float64 [windows]."""
    from torch.nn.functional import cross_entropy

    logits = system(text[:, :-1]).double()
    return cross_entropy(logits.transpose(1, 2), text[:, 1:], reduction="none").mean(1)
