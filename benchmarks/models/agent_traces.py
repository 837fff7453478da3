"""What an agent writes: steps, three reasoning formats, what each memory shows; the expert and the checker.

A step is an optional thought, one action and its observation. Reasoning formats (one model serves all of
them, a prompt token selects):

* ``none``: the action only.
* ``notes``: ``relation value`` (or ``miss``) before the next action.
* ``plan``: first ``P v1 boss e31 v2 age v1 ;``, then notes ``v1 boss e7``, each repeating its relation.

Memories: ``full`` history; ``masked`` observations (question, all that the agent wrote itself, last
observation); ``none`` (question, last action, last observation). Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.models import agent_world as w


@dataclass
class Step:
    """One step of an agent: tokens it wrote as a thought, its action, and the tokens that came back."""

    thought: list[int] = field(default_factory=list)
    action: list[int] = field(default_factory=list)
    observation: list[int] = field(default_factory=list)

    @property
    def written(self) -> list[int]:
        """The tokens of the agent's own."""
        return self.thought + self.action


def prompt(task: w.Task, reasoning: str, memory: str, pages: int) -> list[int]:
    """Tokens before the first step: the three switches and the question."""
    return [w.REASONING[reasoning], w.MEMORY[memory], w.PAGES[pages], *task.question]


def context(head: list[int], steps: list[Step], memory: str) -> list[int]:
    """What the model reads before it writes the next step: the prompt and what its memory shows."""
    if memory == "full":
        return head + [token for step in steps for token in step.written + step.observation]
    last = steps[-1].observation if steps else []
    if memory == "masked":
        return head + [token for step in steps for token in step.written] + last
    if memory == "none":
        return head + (steps[-1].action if steps else []) + last
    raise ValueError(f"memory {memory!r} is not one of {', '.join(w.MEMORY)}")


def _plan(solution: list[w.Look | w.Join]) -> list[int]:
    tokens = [w.PLAN]
    for step in solution:
        if isinstance(step, w.Look):
            tokens += [step.variable, step.relation, step.source]
        else:
            tokens += [step.variable, step.operation, *step.sources]
    return [*tokens, w.END_PLAN]


def _note(step: w.Look | w.Join, reasoning: str) -> list[int]:
    if reasoning == "none":
        return []
    pair = [step.relation if isinstance(step, w.Look) else step.operation, step.value]
    return [step.variable, *pair] if reasoning == "plan" else pair


def _action(step: w.Look | w.Join) -> list[int]:
    if isinstance(step, w.Join):
        return [w.CALCULATE, step.operation, *step.arguments]
    return [w.SEARCH, step.name]


def expert(task: w.Task, reasoning: str, pages: int, tools: w.Tools, attempt: int = 0) -> list[Step]:
    """The steps of a flawless agent, which asks again until the right page is shown."""
    solution = w.solution(task)
    thought = _plan(solution) if reasoning == "plan" else []
    steps: list[Step] = []
    for part in solution:
        while True:
            action = _action(part)
            seen = tools.call(task, action, pages, attempt, len(steps))
            steps.append(Step(thought, action, seen))
            if isinstance(part, w.Join) or part.name in dict(w.pages_in(seen)):
                break
            thought = [] if reasoning == "none" else [w.MISS]
        thought = _note(part, reasoning)
    return [*steps, Step(thought, [w.ANSWER, task.answer])]


def check(steps: list[Step], reasoning: str) -> bool | None:
    """Whether what an agent noted is borne out by what it read; None where it writes no notes.

    ``plan``: every note must stand, under its relation, on a seen page titled by the entity that the written
    plan names for that variable; calculator arguments must be the noted values; all variables of the plan
    must be resolved; the answer must be the last note. ``notes``: every note must stand on the page titled by
    the entity searched just before. Neither question nor answer key is read, so a wrong plan can pass.
    """
    if reasoning == "none":
        return None
    if not steps or steps[-1].action[:1] != [w.ANSWER]:
        return False
    plan = _read_plan(steps[0].thought) if reasoning == "plan" else None
    if reasoning == "plan" and not plan:
        return False
    values: dict[int, int] = {}
    pages: dict[int, list[int]] = {}
    last = None
    for before, step in zip(steps, steps[1:], strict=False):
        pages.update(w.pages_in(before.observation))
        if step.thought == [w.MISS]:
            continue
        last = _noted(step.thought, before, plan, pages, values)
        if last is None:
            return False
    resolved = plan is None or set(values) == set(plan)
    return resolved and last is not None and steps[-1].action[1] == last


def _read_plan(tokens: list[int]) -> dict[int, tuple[int, ...]]:
    """Variable -> (relation, source) or (operation, left, right); empty when it is no plan."""
    if len(tokens) < 5 or tokens[0] != w.PLAN or tokens[-1] != w.END_PLAN:
        return {}
    plan: dict[int, tuple[int, ...]] = {}
    rest = tokens[1:-1]
    while rest:
        size = 4 if len(rest) > 1 and rest[1] in w.OPERATIONS else 3
        part, rest = rest[:size], rest[size:]
        known = part[0] in w.VARIABLES and part[0] not in plan and len(part) == size
        if not known or part[1] not in w.RELATIONS + w.OPERATIONS:
            return {}
        plan[part[0]] = tuple(part[1:])
    return plan


def _noted(
    note: list[int],
    before: Step,
    plan: dict[int, tuple[int, ...]] | None,
    pages: dict[int, list[int]],
    values: dict[int, int],
) -> int | None:
    """The value of a note that is borne out, and its entry in `values`; None when it is not."""
    if len(note) != (2 if plan is None else 3):
        return None
    kind, value = note[-2:]
    key = note[0] if plan is not None else len(values)
    part = (kind, before.action[1]) if plan is None else plan.get(key, ())
    if not part or part[0] != kind or key in values:
        return None
    if kind in w.OPERATIONS:
        arguments = before.action[2:]
        wanted = arguments if plan is None else [values.get(source) for source in part[1:]]
        held = (
            before.action[:2] == [w.CALCULATE, kind]
            and arguments == wanted
            and before.observation[1] == value
        )
        held = held and all(argument in values.values() for argument in arguments)
    else:
        page = pages.get(values.get(part[1], part[1]), [])
        held = (kind, value) in zip(page[::2], page[1::2], strict=True)
    if not held:
        return None
    values[key] = value
    return value
