"""A cascade of decoders: the small one works a chain out first, the large one only where the small one is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.models import chain_world as chain
from methods.agents.composed import Composed, Try, check_room, keys_of, laid_out, most_tokens, sample
from methods.base import Method, cell, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class ChainCascade(Method):
    """Ask the weak model once; keep its answer where its signal reaches the threshold, else ask the strong one too.

    Paper: FrugalGPT (Chen et al., 2023), section 3, and AutoMix (Aggarwal et al., 2023): the first answer whose
        score reaches tau is taken, cost = c_weak + P(defer) c_strong.
    Deviations: two models; the score is no model of its own: the probability that the weak model gives its own
        words (mean or lowest log-probability), or a checker that asks whether two passes agree. Without a
        `threshold` it is learned on validation prompts: the largest share of kept answers with at least the
        strong model's accuracy less `tolerance`. Both write with the luck that they have alone (a vote has
        its own, and its own temperature), and all that is written counts. A vote has no probability of its
        own: it can only be the strong one.
    """

    weak: str = cell("baseline", help="the model that is cheap")
    strong: str = cell("baseline", help="the model that is good, or a way to ask it that is dear: a vote")
    by: str = knob(
        "min_logprob", choices=("checker", "mean_logprob", "min_logprob"), help="what speaks for an answer"
    )
    threshold: float | None = knob(
        None, low=0.0, high=1.0, help="0 is the weak model alone, 1 the strong one's answers; empty: learned"
    )
    tolerance: float = knob(
        0.0, low=0.0, high=1.0, help="fall of accuracy against the strong model when learning"
    )
    temperature: float = knob(0.0, low=0.0, high=4.0, help="of both models' draws; 0 is greedy")
    draws: int = knob(4, low=1, high=64, help="answers to each validation prompt when learning; greedy: one")
    limit: int = knob(128, low=8, high=1024, help="most tokens of a try")

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.1
    small = {"limit": 24}

    def build(self, run: Run) -> ChainPair:
        """Both finished models."""
        threshold = 0.5 if self.threshold is None else self.threshold
        return ChainPair(
            run.load(self.weak), run.load(self.strong), torch.tensor(threshold, dtype=torch.float64)
        )

    def fit(self, model: ChainPair, run: Run) -> ChainPair:
        """Nothing: both were trained in cells of their own."""
        return model

    def adapt(self, model: ChainPair, run: Run) -> ChainPair:
        """Learn the threshold, unless it is given or there is nothing to learn."""
        if self.threshold is not None or self.by == "checker":
            return model
        task: Any = run.task
        draws = self.draws if self.temperature else 1
        items = {name: values.repeat_interleave(draws, 0) for name, values in run.valid.items()}
        prompts = task.prompts(items)
        # other luck than the answers by which the cell is judged on validation data
        keys = [(key[0] + 1_000_003, *key[1:]) for key in keys_of(prompts, run.seed, 1)]
        right, signals = [], []
        for part in (model.weak, model.strong):
            room = most_tokens(part, self.limit)
            tries = sample(part, prompts, keys, 0, room, self.temperature)
            texts = [[*one.tokens, *[chain.PAD] * (room - len(one.tokens))] for one in tries]
            right.append(np.asarray(task.verify(items, torch.tensor(texts)), dtype=float))
            signals.append(np.array([one.signals[self.by] for one in tries]))
            run.log.spend(tokens=sum(len(one.tokens) for one in tries))
        model.threshold.fill_(boldest(signals[0], right[0], right[1], self.tolerance))
        run.log.note(threshold=round(float(model.threshold), 6))
        return model

    def serve(self, model: ChainPair, run: Run) -> ChainRun:
        """The cascade at its threshold."""
        task: Any = run.task
        longest = sum(most_tokens(part, self.limit) for part in (model.weak, model.strong))
        check_room(longest, task.room, f"an answer of each model, limit={self.limit}")
        return ChainRun(model, longest, self, run.seed).eval()


class ChainPair(nn.Module):
    """Two decoders and the threshold of the cascade that they make."""

    threshold: Tensor

    def __init__(self, weak: nn.Module, strong: nn.Module, threshold: Tensor) -> None:
        super().__init__()
        self.weak, self.strong = weak, strong
        self.register_buffer("threshold", threshold)


def boldest(signal: np.ndarray, weak: np.ndarray, strong: np.ndarray, tolerance: float) -> float:
    """The lowest threshold at which the cascade is right as often as the strong model, less `tolerance`.

    Args:
        signal: of the weak model's answers, [answers].
        weak: 1 where the weak model is right, [answers].
        strong: 1 where the strong model is right, [answers].
        tolerance: by which accuracy may fall below that of the strong model.
    """
    for threshold in (0.0, *np.unique(signal).tolist()):
        accuracy = np.where(signal < threshold, strong, weak).mean()
        if accuracy >= strong.mean() - tolerance - 1e-12:
            return float(threshold)
    return 1.0


class ChainRun(Composed):
    """Two models in order of size; passes over given tokens are the strong one's."""

    def __init__(self, pair: ChainPair, longest: int, method: ChainCascade, seed: int) -> None:
        super().__init__(pair.strong, longest)
        self.pair, self.method, self.seed = pair, method, seed

    def compose(self, prompts: Tensor) -> list[list[int]]:
        """The weak model's answer, and behind it the strong one's where that is asked."""
        keys = keys_of(prompts, self.seed, 1)
        first = self._said(self.pair.weak, prompts, keys)
        texts: list[list[Try]] = [[one] for one in first]
        threshold = float(self.pair.threshold)
        doubted = [i for i, one in enumerate(first) if one.signals[self.method.by] < threshold]
        if doubted:
            rows = torch.tensor(doubted, device=prompts.device)
            second = self._said(self.pair.strong, prompts[rows], [keys[i] for i in doubted])
            for i, one in zip(doubted, second, strict=True):
                texts[i].append(one)
        return [laid_out(tries, len(tries) - 1) for tries in texts]

    def _said(self, model: nn.Module, prompts: Tensor, keys: list[tuple[int, ...]]) -> list[Try]:
        room = most_tokens(model, self.method.limit)
        return sample(model, prompts, keys, 0, room, self.method.temperature)
