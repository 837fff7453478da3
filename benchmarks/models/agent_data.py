"""Training text for the agents' model: expert traces and reading drills, in batches of similar length.

An example is a list of tokens and, for each, whether the loss counts it (only what the agent itself writes).
A trace is drawn with a fresh mode each time: reasoning uniform, memory full, masked, none with .60, .28,
.12, pages 1, 2, 3 with .50, .35, .15. With a full memory the whole trace is one example, else one random
step with the context that this memory shows. A drill shows pages and asks for the five facts one by one: the
dense look-up signal that traces lack. Its share of the examples falls linearly from .7 to .25 over the first
60 % of the run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.models import agent_world as w
from benchmarks.models.agent_traces import context, expert, prompt

Example = tuple[list[int], list[bool]]

N_TASKS = 20_000
BATCH = 24
POOL = 50  # batches that are sorted by length together
MEMORY_SHARES = (("full", 0.60), ("masked", 0.28), ("none", 0.12))
PAGE_SHARES = ((1, 0.50), (2, 0.35), (3, 0.15))
PLANNED_DRILLS = 0.25  # share of the drills that are noted as under a plan
DRILL_START, DRILL_END, DRILL_FALL = 0.70, 0.25, 0.60


def _draw(rng: random.Random, shares: tuple[tuple[Any, float], ...]) -> Any:
    return rng.choices([name for name, _ in shares], [share for _, share in shares])[0]


def trace_example(rng: random.Random, task: w.Task, tools: w.Tools) -> Example:
    """A trace of the expert in a random mode."""
    reasoning = rng.choice(tuple(w.REASONING))
    memory, pages = _draw(rng, MEMORY_SHARES), _draw(rng, PAGE_SHARES)
    steps = expert(task, reasoning, pages, tools, attempt=rng.getrandbits(30))
    head = prompt(task, reasoning, memory, pages)
    if memory == "full":
        tokens, own = list(head), [False] * len(head)
        for step in steps:
            tokens += step.written + step.observation
            own += [True] * len(step.written) + [False] * len(step.observation)
        return tokens, own
    at = rng.randrange(len(steps))
    read, written = context(head, steps[:at], memory), steps[at].written
    return read + written, [False] * len(read) + [True] * len(written)


def drill_example(rng: random.Random, task: w.Task, tools: w.Tools) -> Example:
    """``S e O pages | relation value ...`` five times, ``miss`` (and another search) after a wrong page.

    A quarter of the drills put a variable before each relation, as the notes of a plan do.
    """
    name, pages = rng.choice(list(task.pages)), _draw(rng, PAGE_SHARES)
    tokens: list[int] = []
    own: list[bool] = []

    def add(part: list[int], count: bool) -> None:
        tokens.extend(part)
        own.extend([count] * len(part))

    for call in range(12):
        seen = tools.call(task, [w.SEARCH, name], pages, rng.getrandbits(30), call)
        add([w.SEARCH, name, *seen], False)
        if any(title == name for title, _ in w.pages_in(seen)):
            break
        add([w.MISS], True)
    planned = rng.random() < PLANNED_DRILLS
    for relation in rng.sample(w.RELATIONS, len(w.RELATIONS)):
        add([rng.choice(w.VARIABLES), relation] if planned else [relation], False)
        add([task.fact(name, relation)], True)
    return tokens, own


def drill_share(progress: float) -> float:
    """Share of drills among the examples at a point of the run (0 to 1)."""
    return DRILL_START + (DRILL_END - DRILL_START) * min(progress / DRILL_FALL, 1.0)


def batches(
    seed: int, steps: int, mark: float = 1.0, n_tasks: int = N_TASKS
) -> Iterator[tuple[np.ndarray, ...]]:
    """`steps` batches of 24: inputs and targets `[24, length]`, and whether the loss counts them."""
    rng = random.Random(w.mix(seed, 2))
    tasks = w.make_tasks(n_tasks, w.mix(seed, 3))
    tools = w.Tools(seed, mark)
    for start in range(0, steps, POOL):
        count = min(POOL, steps - start)
        pool = []
        for index in range(count * BATCH):
            progress = (start + index / BATCH) / steps
            make = drill_example if rng.random() < drill_share(progress) else trace_example
            pool.append(make(rng, rng.choice(tasks), tools))
        pool.sort(key=lambda example: len(example[0]))
        groups = [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
        rng.shuffle(groups)
        yield from map(_pad, groups)


def _pad(group: list[Example]) -> tuple[np.ndarray, ...]:
    length = max(len(tokens) for tokens, _ in group)
    tokens = np.full((len(group), length), w.PAD)
    own = np.zeros((len(group), length), dtype=bool)
    for row, (words, counts) in enumerate(group):
        tokens[row, : len(words)] = words
        own[row, : len(words)] = counts
    return tokens[:, :-1], tokens[:, 1:], own[:, 1:]
