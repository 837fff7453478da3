"""The agent loop: scripted models with costs by hand, real ones against slow recounts; tries and votes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.models import agent_world as w
from benchmarks.models.agent_engine import MAX_WRITTEN, AgentConfig, Attempt, Cost, Engine, resolve
from benchmarks.models.agent_model import SIZES, Cache, load, step_cost
from benchmarks.models.agent_traces import context, expert, prompt

DATA = Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "tool_agents"
TASKS = w.make_tasks(24, 31)
CONFIGS = [
    AgentConfig(reasoning="notes"),
    AgentConfig(reasoning="plan", memory="masked", pages=2),
    AgentConfig(reasoning="none", memory="none", temperature=1.0, pages=3),
    AgentConfig(reasoning="plan", temperature=1.0),
]


class Scripted:
    """A stand-in for a model that knows only which word follows which."""

    def __init__(self, **follows: str) -> None:
        self.size = SIZES["xs"]
        self.table = torch.full((985, 985), -20.0)
        self.table[:, w.MISS] = -5.0
        for word, after in follows.items():
            self.table[w.TOKEN[{"ask": "?", "end": "|"}.get(word, word)], w.TOKEN[after]] = 20.0
        self.embedding = torch.nn.Embedding(1, 1)

    def eval(self) -> Scripted:
        return self

    def step(self, tokens: torch.Tensor, cache: Cache) -> torch.Tensor:
        cache.position = cache.position + 1
        return tokens

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.table[hidden]


def run_scripted(config: AgentConfig, **follows: str) -> list[Attempt]:
    return Engine(Scripted(**follows)).run(TASKS, config)  # type: ignore[arg-type]


def test_an_answer_at_once() -> None:
    price = step_cost(SIZES["xs"])
    for attempt in run_scripted(AgentConfig(), ask="A", A="n7"):
        task = TASKS[attempt.task]
        n = len(prompt(task, "plan", "full", 1))
        read = n + 1
        flops = read * price.body + price.per_position * read * (read + 1) // 2 + 2 * price.logits
        assert attempt.cost == Cost(0, read, 2, n, flops) and attempt.cost.api_tokens == n + 2
        assert attempt.status == "answered" and attempt.answer == w.TOKEN["n7"]
        assert attempt.success == (task.answer == w.TOKEN["n7"])
        assert attempt.mean_logprob == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("limit", [1, 5, 12])
def test_a_search_without_end(limit: int) -> None:
    follows = {"ask": "S", "end": "S", "S": "e5"}
    for attempt in run_scripted(AgentConfig(max_calls=limit, pages=2), **follows):
        n = len(prompt(TASKS[attempt.task], "plan", "full", 2))
        turn = 2 + 2 + 2 * 12  # S e5, O ... |, two pages
        assert attempt.status == "limit" and attempt.answer is None and not attempt.success
        assert [cost.calls for cost in attempt.ladder] == list(range(limit + 1))
        assert [cost.processed for cost in attempt.ladder] == [n + 1 + turn * i for i in range(limit + 1)]
        assert [cost.generated for cost in attempt.ladder] == [2 * (i + 1) for i in range(limit + 1)]
        billed = [sum(n + turn * j for j in range(i + 1)) for i in range(limit + 1)]
        assert [cost.billed for cost in attempt.ladder] == billed
        assert attempt.cost == attempt.ladder[-1]


def test_words_without_an_action() -> None:
    for attempt in run_scripted(AgentConfig()):
        assert attempt.status == "stuck" and attempt.cost.generated == MAX_WRITTEN + 1
        assert attempt.cost.calls == 0 and attempt.answer is None


def test_a_full_context() -> None:
    follows = {"ask": "S", "end": "S", "S": "e5"}
    config = AgentConfig(max_calls=40, pages=3)
    assert {attempt.status for attempt in run_scripted(config, **follows)} == {"full"}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load(DATA / "xs-0.safetensors"))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_batch_of_one_and_of_many(engine: Engine, config: AgentConfig) -> None:
    together = engine.run(TASKS, config, seed=4)[:6]
    alone = [engine.run([task], config, seed=4)[0] for task in TASKS[:6]]
    backwards = Engine(engine.model, batch=7).run(TASKS[8::-1], config, seed=4)[::-1]
    for a, b, c in zip(together, alone, backwards[:6], strict=True):
        assert a.steps == b.steps == c.steps and a.answer == b.answer == c.answer
        assert a.cost == b.cost == c.cost and a.ladder == b.ladder
        assert a.mean_logprob == pytest.approx(b.mean_logprob, abs=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_costs_recounted_from_the_steps(engine: Engine, config: AgentConfig) -> None:
    price = step_cost(engine.model.size)
    for attempt in engine.run(TASKS, config, seed=5):
        if attempt.status != "answered":
            continue
        task = TASKS[attempt.task]
        head = prompt(task, config.reasoning, config.memory, config.pages)
        reads = [context(head, attempt.steps[:i], config.memory) for i in range(len(attempt.steps))]
        written = [step.written for step in attempt.steps]
        assert attempt.cost.billed == sum(map(len, reads))
        assert attempt.cost.generated == sum(map(len, written))
        assert attempt.cost.calls == len(attempt.steps) - 1 == len(attempt.ladder)
        if config.memory == "full":  # one growing context; the last word is never read
            lengths = [len(reads[-1]) + len(written[-1]) - 1]
        else:
            lengths = [len(read) + len(own) - 1 for read, own in zip(reads, written, strict=True)]
        assert attempt.cost.processed == sum(lengths)
        attended = sum(n * (n + 1) // 2 for n in lengths)
        generated = price.logits * attempt.cost.generated
        assert attempt.cost.flops == price.body * sum(lengths) + price.per_position * attended + generated


@pytest.mark.parametrize("config", CONFIGS[:3], ids=str)
@pytest.mark.parametrize("limit", [1, 3, 6])
def test_limits_can_be_derived(engine: Engine, config: AgentConfig, limit: int) -> None:
    lower = AgentConfig(**{**config.__dict__, "max_calls": limit})
    whole, cut = engine.run(TASKS, config, seed=6), engine.run(TASKS, lower, seed=6)
    for a, b in zip(whole, cut, strict=True):
        derived = a.limited(limit)
        assert (derived.status, derived.answer, derived.success) == (b.status, b.answer, b.success)
        assert (
            derived.cost == b.cost and derived.ladder == b.ladder and bool(derived.verdict) == bool(b.verdict)
        )
    assert (
        any(a.status == "answered" and b.status == "limit" for a, b in zip(whole, cut, strict=True))
        or limit == 6
    )


def test_seeds_move_tools_and_words(engine: Engine) -> None:
    config = AgentConfig(reasoning="plan", temperature=1.0)
    first, again, other = (engine.run(TASKS, config, seed=s) for s in (1, 1, 2))
    assert [a.steps for a in first] == [a.steps for a in again] != [a.steps for a in other]


def test_sampling_follows_the_distribution() -> None:
    """A word with a quarter of the mass is drawn in a quarter of the tasks, within four sigma."""
    model = Scripted(ask="A")
    model.table[w.ANSWER] = -50.0
    model.table[w.ANSWER, w.TOKEN["n1"]] = 0.0
    model.table[w.ANSWER, w.TOKEN["n2"]] = torch.log(torch.tensor(3.0))
    tasks = w.make_tasks(1000, 8)
    attempts = Engine(model).run(tasks, AgentConfig(temperature=1.0))  # type: ignore[arg-type]
    share = sum(a.answer == w.TOKEN["n1"] for a in attempts) / len(tasks)
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / len(tasks)) ** 0.5
    greedy = Engine(model).run(tasks[:50], AgentConfig())  # type: ignore[arg-type]
    assert {a.answer for a in greedy} == {w.TOKEN["n2"]}
    assert greedy[0].min_logprob == pytest.approx(torch.log(torch.tensor(0.75)).item(), abs=1e-3)


def test_checker_stops_tries(engine: Engine) -> None:
    config = AgentConfig(reasoning="plan", tries=3, checker=True, temperature=1.0)
    attempts = engine.run(TASKS, config, seed=3)
    for i in range(len(TASKS)):
        verdicts = [a.verdict for a in attempts if a.task == i]
        assert not any(verdicts[:-1]) and (verdicts[-1] or len(verdicts) == 3)
    every = engine.run(TASKS, AgentConfig(reasoning="plan", tries=3, temperature=1.0), seed=3)
    assert len(every) == 3 * len(TASKS) > len(attempts)
    assert [(a.task, a.attempt) for a in every] == [(t, i) for t in range(len(TASKS)) for i in range(3)]


def made(task: int, attempt: int, answer: int | None, logprob: float, verdict: bool | None = None) -> Attempt:
    cost = Cost(1, 10, 5, 20, 1000)
    return Attempt(
        task, attempt, "answered", answer, answer == 9, verdict, cost, [cost], logprob, logprob, []
    )


def test_resolve() -> None:
    group = [made(0, 0, 9, -0.5), made(0, 1, 9, -0.4, False), made(0, 2, 7, -0.1), made(0, 3, None, 0.0)]
    assert resolve(group, AgentConfig(tries=4))[0].answer == 7
    voted = resolve(group, AgentConfig(tries=4, vote=True))[0]
    assert voted.answer == 9 and voted.success and not voted.checked
    assert voted.cost == Cost(4, 40, 20, 80, 4000) and voted.attempts == 4
    checked = [*group[:3], made(0, 3, 5, -3.0, True)]
    assert resolve(checked, AgentConfig(tries=4, checker=True))[0].answer == 5
    assert resolve(checked, AgentConfig(tries=4))[0].answer == 7
    nothing = resolve([made(1, 0, None, 0.0)], AgentConfig())[0]
    assert nothing.answer is None and not nothing.success
    two = resolve([*group, made(1, 0, 9, 0.0)], AgentConfig())
    assert [o.attempts for o in two] == [4, 1]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="reasoning 'long' is not one of none, notes, plan"):
        AgentConfig(reasoning="long")
    with pytest.raises(ValueError, match="pages 4 is not one of 1, 2, 3"):
        AgentConfig(pages=4)
    with pytest.raises(ValueError, match="at least 1"):
        AgentConfig(tries=0)
    with pytest.raises(ValueError, match="the checker reads notes"):
        AgentConfig(reasoning="none", checker=True)


def test_an_expert_behind_the_loop() -> None:
    """A model that copies the expert word for word succeeds everywhere: the loop itself loses nothing."""
    config = AgentConfig(reasoning="plan")
    for task in TASKS[:6]:
        steps = expert(task, "plan", 1, w.Tools(0))
        if len(steps) > 12:
            continue
        words = [token for step in steps for token in step.written]

        class Copy(Scripted):
            def __init__(self, words: list[int]) -> None:
                super().__init__()
                self.rest = list(words)

            def logits(self, hidden: torch.Tensor) -> torch.Tensor:
                scores = torch.zeros(len(hidden), 985)
                scores[:, self.rest.pop(0)] = 30.0
                return scores

        (attempt,) = Engine(Copy(words)).run([task], config)  # type: ignore[arg-type]
        assert attempt.success and attempt.verdict and attempt.steps == steps
