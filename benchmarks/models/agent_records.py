"""What an agent run is told and what it leaves: settings, costs, attempts and outcomes. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchmarks.models import agent_world as w
from benchmarks.models.agent_traces import Step


@dataclass(frozen=True)
class AgentConfig:
    """How an agent works: everything but its model.

    Attributes:
        reasoning: none, notes or plan.
        memory: full, masked (past observations hidden) or none (last step only).
        pages: pages that a search returns, 1 to 3.
        max_calls: tool calls after which an attempt fails, 1 to 12.
        tries: attempts at a question, each with its own luck.
        temperature: 0 writes the likeliest word.
        checker: stop at the first attempt whose notes are borne out by what was read (needs notes or a plan).
        vote: take the commonest answer; else that of the attempt with the highest mean log-probability.
    """

    reasoning: str = "plan"
    memory: str = "full"
    pages: int = 1
    max_calls: int = 12
    tries: int = 1
    temperature: float = 0.0
    checker: bool = False
    vote: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("reasoning", self.reasoning, w.REASONING),
            ("memory", self.memory, w.MEMORY),
            ("pages", self.pages, w.PAGES),
        ):
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(map(str, allowed))}")
        if self.max_calls < 1 or self.tries < 1 or self.temperature < 0:
            raise ValueError("max_calls and tries must be at least 1, temperature at least 0")
        if self.checker and self.reasoning == "none":
            raise ValueError("the checker reads notes: reasoning must be notes or plan")


@dataclass(frozen=True)
class Cost:
    """What an attempt has cost so far; sums of them are costs too.

    Attributes:
        calls: tool calls.
        processed: tokens through the model, with cache reuse.
        generated: tokens written.
        billed: input tokens as an API bills them: the whole context again at every step.
        flops: floating-point operations, with cache reuse, output layer only where a word was chosen.
    """

    calls: int = 0
    processed: int = 0
    generated: int = 0
    billed: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        pairs = zip(self.__dict__.values(), other.__dict__.values(), strict=True)
        return Cost(*(a + b for a, b in pairs))

    @property
    def api_tokens(self) -> int:
        """Input re-billed at every step, plus output."""
        return self.billed + self.generated


@dataclass
class Attempt:
    """One attempt at one task.

    Attributes:
        task: position of the task in the list that was run.
        attempt: 0, 1, ... the number of the try.
        status: answered, limit, stuck or full.
        answer: token, or None.
        success: whether it is the right one.
        verdict: of the checker; None where there is nothing to check.
        cost: at the end.
        ladder: cost when call 1, 2, ... was asked for, before the tool answered.
        mean_logprob, min_logprob: of the words written, at temperature 1 (`limited` leaves them as they are).
        steps: what was written and read.
    """

    task: int
    attempt: int
    status: str
    answer: int | None
    success: bool
    verdict: bool | None
    cost: Cost
    ladder: list[Cost]
    mean_logprob: float
    min_logprob: float
    steps: list[Step] = field(repr=False)

    def limited(self, max_calls: int) -> Attempt:
        """This attempt as it would have been under a lower limit of tool calls."""
        if len(self.ladder) <= max_calls:
            return self
        return replace(
            self,
            status="limit",
            answer=None,
            success=False,
            verdict=None if self.verdict is None else False,
            cost=self.ladder[max_calls],
            ladder=self.ladder[: max_calls + 1],
            steps=self.steps[: max_calls + 1],
        )


@dataclass(frozen=True)
class Outcome:
    """What an agent says to one task in the end, and the cost of all its attempts."""

    answer: int | None
    success: bool
    cost: Cost
    attempts: int
    checked: bool


def resolve(attempts: list[Attempt], config: AgentConfig) -> list[Outcome]:
    """One outcome a task, from attempts ordered by task and try.

    An attempt that the checker accepts is taken; else the commonest answer (`vote`, ties to the higher mean
    log-probability) or the answer of the attempt with the highest mean log-probability.
    """
    groups: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.task, []).append(attempt)
    return [_outcome(groups[task], config) for task in sorted(groups)]


def _outcome(group: list[Attempt], config: AgentConfig) -> Outcome:
    cost = sum((attempt.cost for attempt in group), Cost())
    accepted = [a for a in group if config.checker and a.verdict]
    answered = [a for a in group if a.answer is not None]
    if accepted:
        best = accepted[0]
    elif answered:
        said = [a.answer for a in answered]
        best = max(answered, key=lambda a: (said.count(a.answer) if config.vote else 0, a.mean_logprob))
    else:
        best = group[0]
    return Outcome(best.answer, best.success, cost, len(group), bool(accepted))
