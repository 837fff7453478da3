"""A batched agent loop: many questions at once, one token a row a step, real tools, every cost counted.

Each row has a queue of tokens to read (prompt, observations, or a rebuilt context) and writes when the queue
is empty. A complete action calls the tool, whose observation is queued; with a memory other than ``full``
the row's cache is cleared and the context that this memory shows is read anew. A row ends with an answer, at
the limit of tool calls (it fails when it asks for one more), after `MAX_WRITTEN` tokens without an action
(``stuck``), or when its context is full.

Draws are seeded: tools by (seed, task, attempt, call), sampled words by (seed, task, attempt, word). So an
attempt is the same in a batch of one and of four hundred, and settings are compared on the same luck.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.models import agent_world as w
from benchmarks.models.agent_model import AgentModel, Cache, step_cost
from benchmarks.models.agent_records import AgentConfig, Attempt, Cost, Outcome, resolve
from benchmarks.models.agent_traces import Step, check, context, prompt

__all__ = ["AgentConfig", "Attempt", "Cost", "Engine", "Outcome", "resolve"]

MAX_WRITTEN = 32
MAX_CONTEXT = 768


class _Row:
    """One attempt in progress: its text, its queue and its counts."""

    def __init__(self, index: int, task: w.Task, attempt: int, config: AgentConfig) -> None:
        self.index, self.task, self.attempt, self.config = index, task, attempt, config
        self.head = prompt(task, config.reasoning, config.memory, config.pages)
        self.queue = list(self.head)
        self.steps: list[Step] = []
        self.words: list[int] = []  # written since the last observation
        self.start = 0  # where the action begins in `words`
        self.arity = -1  # arguments of that action; -1: none begun
        self.logprobs: list[float] = []
        self.ladder: list[Cost] = []
        self.calls = self.processed = self.flops = 0
        self.billed = len(self.head)
        self.status = ""
        self.answer: int | None = None

    def cost(self) -> Cost:
        return Cost(self.calls, self.processed, len(self.logprobs), self.billed, self.flops)

    def write(self, word: int, logprob: float, tools: w.Tools) -> bool:
        """Take a word that the model wrote; True when the row's cache must be cleared."""
        self.words.append(word)
        self.logprobs.append(logprob)
        if self.arity < 0 and word in w.ARITY:
            self.start, self.arity = len(self.words) - 1, w.ARITY[word]
        if self.arity < 0 or len(self.words) - self.start <= self.arity:
            self.queue = [word]
            self.status = "stuck" if len(self.words) > MAX_WRITTEN else ""
            return False
        return self._act(self.words[self.start :], word, tools)

    def _act(self, action: list[int], word: int, tools: w.Tools) -> bool:
        step = Step(self.words[: self.start], action)
        self.steps.append(step)
        if action[0] == w.ANSWER:
            self.status, self.answer = "answered", action[1]
            return False
        self.ladder.append(self.cost())
        if self.calls == self.config.max_calls:
            self.status = "limit"
            return False
        step.observation = tools.call(self.task, action, self.config.pages, self.attempt, self.calls)
        self.calls += 1
        self.words, self.arity = [], -1
        read = context(self.head, self.steps, self.config.memory)
        self.billed += len(read)
        self.status = "full" if len(read) + MAX_WRITTEN > MAX_CONTEXT else ""
        clear = self.config.memory != "full"
        self.queue = read if clear else [word, *step.observation]
        return clear

    def finish(self) -> Attempt:
        logprobs = self.logprobs or [0.0]
        answered = self.status == "answered"
        return Attempt(
            self.index, self.attempt, self.status, self.answer,
            success=answered and self.answer == self.task.answer,
            verdict=check(self.steps, self.config.reasoning),
            cost=self.cost(), ladder=self.ladder,
            mean_logprob=float(np.mean(logprobs)), min_logprob=min(logprobs), steps=self.steps,
        )  # fmt: skip


class Engine:
    """Runs an agent model on tasks.

    Args:
        model: the language model.
        mark: share of right pages that carry the search tool's title mark.
        batch: rows at once.
    """

    def __init__(self, model: AgentModel, mark: float = 1.0, batch: int = 400) -> None:
        self.model, self.mark, self.batch = model.eval(), mark, batch
        self.price = step_cost(model.size)

    def run(self, tasks: list[w.Task], config: AgentConfig, seed: int = 0) -> list[Attempt]:
        """Attempts at all tasks, ordered by task and try; with a checker none follows an accepted one."""
        tools = w.Tools(seed, self.mark)
        attempts: list[Attempt] = []
        pending = list(range(len(tasks)))
        for attempt in range(config.tries):
            rows = [_Row(i, tasks[i], attempt, config) for i in pending]
            done = [
                a for i in range(0, len(rows), self.batch) for a in self._run(rows[i : i + self.batch], tools)
            ]
            attempts += done
            if config.checker:
                pending = [a.task for a in done if not a.verdict]
        return sorted(attempts, key=lambda a: (a.task, a.attempt))

    @torch.inference_mode()
    def _run(self, rows: list[_Row], tools: w.Tools) -> list[Attempt]:
        live = list(rows)
        cache = Cache(self.model.size, len(live), self.model.embedding.weight.device)
        while live:
            self._step(live, cache, tools)
            kept = [i for i, row in enumerate(live) if not row.status]
            if len(kept) < len(live):
                live = [live[i] for i in kept]
                cache.keep(torch.tensor(kept, dtype=torch.long))
        return [row.finish() for row in rows]

    def _step(self, live: list[_Row], cache: Cache, tools: w.Tools) -> None:
        tokens = torch.tensor([row.queue.pop(0) for row in live])
        positions = cache.position.tolist()
        hidden = self.model.step(tokens, cache)
        writers = [i for i, row in enumerate(live) if not row.queue]
        for row, position in zip(live, positions, strict=True):
            row.processed += 1
            row.flops += self.price.body + self.price.per_position * (position + 1)
        if not writers:
            return
        words, logprobs = self._choose(
            self.model.logits(hidden[writers]), [live[i] for i in writers], tools.seed
        )
        cleared = []
        for i, word, logprob in zip(writers, words, logprobs, strict=True):
            live[i].flops += self.price.logits
            if live[i].write(word, logprob, tools):
                cleared.append(i)
        if cleared:
            cache.reset(torch.tensor(cleared))

    def _choose(self, logits: torch.Tensor, rows: list[_Row], seed: int) -> tuple[list[int], list[float]]:
        """A word for each row and its log-probability at temperature 1."""
        scores = logits.log_softmax(-1)
        temperature = rows[0].config.temperature
        if temperature == 0:
            words = scores.argmax(-1)
        else:
            keys = [w.mix(seed, row.task.key, row.attempt, len(row.logprobs), 7) for row in rows]
            draw = torch.tensor([key / 2**64 for key in keys], dtype=torch.float64)
            mass = (scores.double() / temperature).softmax(-1).cumsum(-1)
            words = torch.searchsorted(mass, (draw * mass[:, -1])[:, None], right=True).squeeze(-1)
            words = words.clamp_max(scores.shape[-1] - 1)
        return words.tolist(), scores.gather(-1, words[:, None]).squeeze(-1).tolist()
