"""A router: learned from validation questions, it says before anybody is asked which agent to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from methods.agents.pair import Pair, PairKnobs, on_validation, successes
from methods.agents.routing import N_FEATURES, Routed, features, logistic
from methods.base import Method, knob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchmarks.models.agent_world import Task as Question
    from benchmarks.run import Run


@dataclass(frozen=True)
class AgentRouter(PairKnobs, Method):
    """Ask the strong agent where the weak one is expected to be right much less often than it.

    Paper: RouteLLM (Ong et al., 2024), section 3.1: a win model P(strong better | q), and a threshold on it that
        sends a wanted share of questions to the strong model, set on a calibration set; Hybrid LLM (Ding et al.,
        2024) for labels from the models' own answers instead of people's preferences.
    Deviations: one logistic regression an agent on `features` of the question (RouteLLM: similarity-weighted
        ranking, matrix factorisation, BERT, a causal model), whose difference is the score; learned on the
        validation questions, and the threshold set on the same ones. `share` 0 asks the weak agent alone, 1 the
        strong one alone; questions with equal scores go the same way, so the share on others differs a little.
    """

    share: float = knob(
        0.5, low=0.0, high=1.0, help="share of validation questions that go to the strong agent"
    )
    decay: float = knob(1.0, low=0.0, help="ridge of the regressions, on standardised features")

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 2.0

    def build(self, run: Run) -> Pair:
        """Both agents; weights of both regressions, mean and scale of the features, the threshold."""
        return self.pair(run, torch.zeros(2, N_FEATURES), torch.zeros(2, N_FEATURES), torch.zeros(()))

    def adapt(self, model: Pair, run: Run) -> Pair:
        """Learn who is right where."""
        asked, weak, strong = on_validation(model, run)
        learn(model, asked, successes(weak), successes(strong), self.share, self.decay)
        run.log.note(threshold=round(float(model.learnt[2]), 6))
        return model

    def serve(self, model: Pair, run: Run) -> Routed:
        """The router in front of both agents."""
        task: Any = run.task
        threshold = float(model.learnt[2])
        return Routed(
            model,
            lambda questions, seed: (scores(model, questions) > threshold).tolist(),
            model.ratio(task.size_exponent),
            4 * N_FEATURES,
        ).eval()


def learn(model: Pair, asked: Sequence[Question], weak: Any, strong: Any, share: float, decay: float) -> None:
    """Fit both regressions to who was right ([questions] each), and the threshold to the share."""
    x = torch.tensor([features(question) for question in asked], dtype=torch.float64)
    mean, scale = x.mean(0), x.std(0, unbiased=False).clamp_min(1e-6)
    mean[0], scale[0] = 0.0, 1.0
    found = [logistic((x - mean) / scale, torch.as_tensor(right), decay) for right in (weak, strong)]
    model.learnt[0].data.copy_(torch.stack(found))
    model.learnt[1].data.copy_(torch.stack((mean, scale)))
    gains = scores(model, asked).sort().values
    model.learnt[2].data.fill_(_threshold(gains, share))


def _threshold(gains: Tensor, share: float) -> float:
    """A number that `share` of the sorted gains lie above; beyond all of them at the ends."""
    kept = len(gains) - round(share * len(gains))
    if kept == 0:
        return -2.0
    return 2.0 if kept == len(gains) else float(gains[kept - 1])


def scores(model: Pair, asked: Sequence[Question]) -> Tensor:
    """P(strong right) - P(weak right) of each question, by the regressions, [questions]."""
    x = torch.tensor([features(question) for question in asked], dtype=torch.float64)
    mean, scale = model.learnt[1].double()
    weak, strong = (((x - mean) / scale) @ model.learnt[0].double().T).sigmoid().T
    # the threshold is stored with 32 bits
    return (strong - weak).float()
