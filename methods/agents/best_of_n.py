"""Best of n sampled chains, by a checker or by the model's own confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.agents.composed import Composed, Try, check_room, keys_of, laid_out, sample
from methods.agents.self_consistency import commonest
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class BestOfN(Method):
    """Answer up to `tries` times at temperature 1 and take the answer that a score prefers.

    Paper: Cobbe et al. (2021), "Training Verifiers to Solve Math Word Problems", section 4: sample, score each
        completion, take the best; Brown et al. (2024), "Large Language Monkeys", for the limits of a verifier.
    Deviations: the verifier is not trained. `checker` accepts an answer whose last two passes agree, without
        working anything out (`methods.agents.composed.agrees`), and stops at the first one; where none is
        accepted the likeliest try is taken, or with `vote` the commonest answer. `mean_logprob` and `min_logprob`
        draw all tries and take the one whose words the model finds likeliest, in the mean or at the worst.
    """

    tries: int = knob(4, low=1, high=64, serve=True, help="most answers to a prompt")
    by: str = knob(
        "checker",
        choices=("checker", "mean_logprob", "min_logprob"),
        serve=True,
        help="what scores an answer",
    )
    vote: bool = knob(False, serve=True, help="checker: the commonest answer where none is accepted")
    limit: int = knob(128, low=8, high=1024, serve=True, help="most tokens of a try")

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.0
    small = {"limit": 12}

    def serve(self, model: nn.Module, run: Run) -> Best:
        """The model behind a score."""
        task: Any = run.task
        check_room(self.tries * self.limit, task.room, f"tries={self.tries} of limit={self.limit}")
        return Best(model, self, run.seed).eval()


class Best(Composed):
    """Tries of one model, of which the best is taken."""

    def __init__(self, model: nn.Module, method: BestOfN, seed: int) -> None:
        super().__init__(model, method.tries * method.limit)
        self.method, self.seed = method, seed

    def compose(self, prompts: Tensor) -> list[list[int]]:
        """All tries at each prompt that were needed, the best last."""
        keys = keys_of(prompts, self.seed, self.method.tries)
        tries: list[list[Try]] = [[] for _ in keys]
        pending = list(range(len(keys)))
        for number in range(self.method.tries):
            rows = torch.tensor(pending, dtype=torch.long, device=prompts.device)
            some = [keys[row] for row in pending]
            for row, attempt in zip(
                pending, sample(self.reader, prompts[rows], some, number, self.method.limit), strict=True
            ):
                tries[row].append(attempt)
            if self.method.by == "checker":
                pending = [row for row in pending if not tries[row][-1].accepted]
            if not pending:
                break
        return [laid_out(some, self._best(some)) for some in tries]

    def _best(self, tries: list[Try]) -> int:
        if self.method.by != "checker":
            return max(range(len(tries)), key=lambda i: tries[i].signals[self.method.by])
        if tries[-1].accepted:
            return len(tries) - 1
        if self.method.vote:
            return commonest(tries)
        return max(range(len(tries)), key=lambda i: (tries[i].value is not None, tries[i].mean_logprob))
