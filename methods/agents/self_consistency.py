"""Self-consistency: a majority vote over sampled chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from methods.agents.composed import Composed, Try, check_room, keys_of, laid_out, sample
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class SelfConsistency(Method):
    """Answer `tries` times by drawing each word and take the commonest answer.

    Paper: Wang et al. (2022), "Self-Consistency Improves Chain of Thought Reasoning in Language Models", the
        unweighted majority: argmax_a sum_i 1(a_i = a).
    Deviations: ties go to the answer whose likeliest try has the higher mean log-probability (the paper does not
        say); a try without an answer has no vote. All tries are written one after the other and paid. Where the
        task asks for a greedy answer it gets a vote as well. One try at temperature 0 is the greedy answer.
    """

    tries: int = knob(4, low=1, high=64, serve=True, help="answers that vote")
    temperature: float = knob(1.0, low=0.0, high=4.0, serve=True, help="of the draws; 0 is greedy")
    limit: int = knob(128, low=8, high=1024, serve=True, help="most tokens of a try")

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.0
    small = {"limit": 12}

    def serve(self, model: nn.Module, run: Run) -> Vote:
        """The model behind a vote."""
        task: Any = run.task
        check_room(self.tries * self.limit, task.room, f"tries={self.tries} of limit={self.limit}")
        return Vote(model, self.tries, self.temperature, self.limit, run.seed).eval()


class Vote(Composed):
    """Tries of one model, of which the commonest answer is taken."""

    def __init__(self, model: nn.Module, tries: int, temperature: float, limit: int, seed: int) -> None:
        super().__init__(model, tries * limit)
        self.tries, self.temperature, self.limit, self.seed = tries, temperature, limit, seed

    def compose(self, prompts: Tensor) -> list[list[int]]:
        """All tries at each prompt, one with the commonest answer last."""
        keys = keys_of(prompts, self.seed, self.tries)
        drawn = [
            sample(self.reader, prompts, keys, number, self.limit, self.temperature)
            for number in range(self.tries)
        ]
        return [laid_out(tries, commonest(tries)) for tries in zip(*drawn, strict=True)]


def commonest(tries: Sequence[Try]) -> int:
    """Place of the likeliest try with the commonest answer; of the likeliest one where none has an answer."""
    said = [attempt.value for attempt in tries if attempt.value is not None]

    def votes(i: int) -> tuple[int, float]:
        value = tries[i].value
        return (said.count(value) if value is not None else 0, tries[i].mean_logprob)

    return max(range(len(tries)), key=votes)
