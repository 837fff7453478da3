"""What agents write: formats by hand, what memories show, the expert, and a checker that can be fooled."""

from __future__ import annotations

import copy
import random

import pytest

from benchmarks.models import agent_world as w
from benchmarks.models.agent_traces import Step, check, context, expert, prompt

TASKS = w.make_tasks(600, 21)


def joined(hops: tuple[int, int]) -> w.Task:
    return next(task for task in TASKS if task.form == hops)


def distinct(task: w.Task) -> bool:
    """Whether the three pages that a task of form 2+1 needs are different ones."""
    (start, (first, _)), (other, _) = task.chains
    return len({start, task.fact(start, first), other}) == 3


def test_formats_of_one_task() -> None:
    task = next(t for t in TASKS if t.form == (2, 1) and distinct(t))
    (start, (first, second)), (other, (third,)) = task.chains
    middle = task.fact(start, first)
    x, y = task.fact(middle, second), task.fact(other, third)
    names = {key: w.VOCABULARY[value] for key, value in locals().items() if isinstance(value, int)}
    operation = w.VOCABULARY[task.operation or 0]
    wanted = {
        "none": ["S {start}", "S {middle}", "S {other}", f"C {operation} {{x}} {{y}}", "A {end}"],
        "notes": [
            "S {start}",
            "{first} {middle} S {middle}",
            "{second} {x} S {other}",
            f"{{third}} {{y}} C {operation} {{x}} {{y}}",
            f"{operation} {{end}} A {{end}}",
        ],
        "plan": [
            f"P v1 {{first}} {{start}} v2 {{second}} v1 v3 {{third}} {{other}} v4 {operation} v2 v3 ; "
            "S {start}",
            "v1 {first} {middle} S {middle}",
            "v2 {second} {x} S {other}",
            f"v3 {{third}} {{y}} C {operation} {{x}} {{y}}",
            f"v4 {operation} {{end}} A {{end}}",
        ],
    }
    for reasoning, lines in wanted.items():
        steps = [s for s in expert(task, reasoning, 1, w.Tools(0)) if s.thought != [w.MISS]]
        if reasoning == "none":  # a miss leaves no thought, only the same action again
            steps = [s for i, s in enumerate(steps) if i == 0 or s.action != steps[i - 1].action]
        said = [w.render(s.written) for s in steps]
        assert said == [line.format(end=w.VOCABULARY[task.answer], **names) for line in lines]


def test_prompt_and_memories() -> None:
    task = TASKS[0]
    head = prompt(task, "plan", "masked", 2)
    assert w.render(head) == "R2 MS k2 " + w.render(task.question)
    steps = [Step([1, 2], [3, 4], [5, 6]), Step([7], [8, 9], [10, 11])]
    assert context([0], steps, "full") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert context([0], steps, "masked") == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert context([0], steps, "none") == [0, 8, 9, 10, 11]
    assert all(context([0], [], memory) == [0] for memory in w.MEMORY)
    with pytest.raises(ValueError, match="memory 'all' is not one of full, masked, none"):
        context([0], steps, "all")


@pytest.mark.parametrize("reasoning", ["none", "notes", "plan"])
@pytest.mark.parametrize("pages", [1, 3])
def test_expert_answers_everything(reasoning: str, pages: int) -> None:
    for task in TASKS[:200]:
        steps = expert(task, reasoning, pages, w.Tools(3))
        assert steps[-1].action == [w.ANSWER, task.answer]
        assert len(steps) - 1 >= len(w.solution(task))


def test_expert_needs_as_many_calls_as_the_tool_misses() -> None:
    """With one page, on average: hops / .75 searches plus a calculation; within four sigma, never over 14."""
    calls = {level: [] for level in w.FORMS}
    for task in TASKS:
        calls[task.level].append(len(expert(task, "none", 1, w.Tools(4))) - 1)
    for level, wanted in ((1, 2.0), (2, 3.83), (3, 5.42)):
        mean = sum(calls[level]) / len(calls[level])
        assert abs(mean - wanted) < 4 * 1.4 / len(calls[level]) ** 0.5
        assert max(calls[level]) <= 14


@pytest.mark.parametrize("reasoning", ["notes", "plan"])
@pytest.mark.parametrize("pages", [1, 2])
def test_checker_accepts_experts_and_rejects_an_altered_note(reasoning: str, pages: int) -> None:
    rng = random.Random(0)
    for task in TASKS[:300]:
        steps = expert(task, reasoning, pages, w.Tools(5))
        assert check(steps, reasoning)
        worse = copy.deepcopy(steps)
        notes = [i for i, s in enumerate(worse) if i and s.thought and s.thought != [w.MISS]]
        note = worse[rng.choice(notes)].thought
        first = w.FIRST_NAME if w.is_name(note[-1]) else w.FIRST_NUMBER
        note[-1] = rng.choice([t for t in range(first, first + 48) if t != note[-1]])
        assert check(worse, reasoning) is False
    assert check(steps, "none") is None


def test_checker_rejects_what_does_not_hang_together() -> None:
    task = joined((1, 1))
    steps = expert(task, "plan", 1, w.Tools(9))
    assert check(steps[:-1], "plan") is False and check([], "plan") is False
    for change in ("answer", "argument", "note", "plan", "order"):
        worse = copy.deepcopy(steps)
        join = next(s for s in worse if s.action[0] == w.CALCULATE)
        if change == "answer":
            worse[-1].action[1] = task.answer - 1
        elif change == "argument":
            join.action[2] = w.FIRST_NUMBER + 50
        elif change == "note":
            worse[-1].thought = []
        elif change == "plan":
            worse[0].thought = worse[0].thought[:-1]
        else:
            join.thought[0], worse[-1].thought[0] = worse[-1].thought[0], join.thought[0]
        assert check(worse, "plan") is False, change
    wrong = copy.deepcopy(steps)
    wrong[0].thought[3] = next(name for name in task.pages if name != wrong[0].thought[3])
    assert check(wrong, "plan") is False


def test_checker_is_not_the_key() -> None:
    """A plan for another question, carried out without a slip, passes: the question is not read."""
    task = next(t for t in TASKS if t.form == (1,) and w.is_name(t.answer))
    name = next(n for n in task.pages if n != task.chains[0][0])
    other = copy.copy(task)
    object.__setattr__(other, "chains", ((name, task.chains[0][1]),))
    object.__setattr__(other, "answer", w.solution(other)[-1].value)
    steps = expert(other, "plan", 1, w.Tools(2))
    assert other.answer != task.answer or steps[0].thought != expert(task, "plan", 1, w.Tools(2))[0].thought
    assert check(steps, "plan")
