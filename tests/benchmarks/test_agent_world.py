"""The agents' world: vocabulary, questions, answers by another road, and the noise of the tools."""

from __future__ import annotations

import hashlib
import random

import pytest

from benchmarks.models import agent_world as w


def test_vocabulary_is_what_the_checkpoints_were_trained_on() -> None:
    assert len(w.VOCABULARY) == 985 == len(set(w.VOCABULARY))
    text = "\n".join(w.VOCABULARY) + str(w.ALIAS_OF)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "c716ff507405d380"


def test_tasks_are_the_same_on_every_python() -> None:
    tasks = w.make_tasks(30, 5)
    text = "|".join(w.render([*t.question, t.answer]) + str(t.pages) for t in tasks)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "1f2a43a45edfbbb8"
    assert w.make_task(tasks[7].level, tasks[7].key) == tasks[7]


def test_words_and_tokens() -> None:
    text = "Q max age boss a21 & price a7 ?"
    assert w.render(w.parse(text)) == text
    with pytest.raises(ValueError, match="'hello' is not one of the 985 words"):
        w.parse("S hello")


def answer_by_text(task: w.Task) -> str:
    """The answer worked out from the question's words and the pages' words alone."""
    pages = {}
    for name, page in task.pages.items():
        words = w.render(page).split()
        pages[w.VOCABULARY[name]] = dict(zip(words[::2], words[1::2], strict=True))
    words = w.render(task.question).removeprefix("Q ").removesuffix(" ?")
    head, _, rest = words.partition(" ")
    parts = (rest if "&" in words else words).split(" & ")
    values = []
    for part in parts:
        *relations, alias = part.split()
        at = w.VOCABULARY[w.ALIAS_OF[int(alias[1:])]]
        for relation in reversed(relations):
            at = pages[at][relation]
        values.append(at)
    if len(values) == 1:
        return values[0]
    a, b = (int(value[1:]) for value in values)
    return f"n{ {'plus': a + b, 'minus': abs(a - b), 'max': max(a, b)}[head] }"


def test_answers_and_forms() -> None:
    tasks = w.make_tasks(600, 1)
    forms = set()
    for task in tasks:
        assert w.VOCABULARY[task.answer] == answer_by_text(task)
        assert task.form in w.FORMS[task.level] and len(task.pages) == w.WORLD_SIZE
        assert w.is_number(task.answer) or (task.operation is None and w.is_name(task.answer))
        forms.add(task.form)
    assert forms == {form for options in w.FORMS.values() for form in options}
    assert [task.level for task in tasks[:4]] == [1, 2, 3, 1]
    assert len({task.key for task in tasks}) == len(tasks)


def test_nothing_leads_to_itself() -> None:
    for task in w.make_tasks(100, 2):
        for name, page in task.pages.items():
            assert set(page[::2]) == set(w.RELATIONS)
            assert name not in page[1::2]
            assert all(value in task.pages for value in page[1::2] if w.is_name(value))


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("plus n3 n4", "n7"),
        ("minus n3 n10", "n7"),
        ("minus n10 n3", "n7"),
        ("max n9 n4", "n9"),
        ("plus n49 n50", "n99"),
        ("plus n60 n60", "err"),
        ("plus e3 n4", "err"),
        ("owner n3 n4", "err"),
    ],
)
def test_calculator(words: str, result: str) -> None:
    assert w.VOCABULARY[w.calculate(*w.parse(words))] == result
    task = w.make_tasks(1, 0)[0]
    assert w.render(w.Tools().call(task, w.parse(f"C {words}"), 1, 0, 0)) == f"O {result} |"


def test_search_ranks() -> None:
    """The right page is at rank 1, 2, 3 in .75, .15, .08 of the calls, else nowhere: within four sigma."""
    tasks, tools, n = w.make_tasks(200, 3), w.Tools(11), 6000
    ranks = [0, 0, 0, 0]
    for i in range(n):
        task = tasks[i % len(tasks)]
        name = next(iter(task.pages))
        seen = w.pages_in(tools.call(task, [w.SEARCH, name], 3, 0, i))
        titles = [title for title, _ in seen]
        assert len(set(titles)) == 3
        ranks[titles.index(name) if name in titles else 3] += 1
        assert all(tuple(page) == task.pages[title] for title, page in seen)
    for count, share in zip(ranks, (0.75, 0.15, 0.08, 0.02), strict=True):
        assert abs(count / n - share) < 4 * (share * (1 - share) / n) ** 0.5


def test_search_noise_depends_on_the_call_and_on_nothing_else() -> None:
    tasks, tools = w.make_tasks(40, 4), w.Tools(1)
    action = [[w.SEARCH, next(iter(task.pages))] for task in tasks]
    calls = [(i, attempt, call) for i in range(40) for attempt in range(2) for call in range(3)]
    first = {key: tools.call(tasks[key[0]], action[key[0]], 1, *key[1:]) for key in calls}
    random.Random(0).shuffle(calls)
    for key in calls:
        assert tools.call(tasks[key[0]], action[key[0]], 1, *key[1:]) == first[key]
        three = tools.call(tasks[key[0]], action[key[0]], 3, *key[1:])
        assert three[:13] == first[key][:-1]
    again = {key: w.Tools(2).call(tasks[key[0]], action[key[0]], 1, *key[1:]) for key in calls}
    assert again != first
    assert any(first[i, 0, 0] != first[i, 0, 1] for i in range(40))
    assert any(first[i, 0, 0] != first[i, 1, 0] for i in range(40))


def test_marks() -> None:
    task = w.make_tasks(1, 6)[0]
    name = next(iter(task.pages))
    for mark, low, high in ((1.0, 1.0, 1.0), (0.8, 0.77, 0.83), (0.0, 0.0, 0.0)):
        heads = []
        for call in range(4000):
            seen = w.Tools(0, mark).call(task, [w.SEARCH, name], 1, 0, call)
            right = seen[2] == name
            assert right or seen[1] == w.OTHER
            heads += [seen[1] == w.RIGHT] * right
        assert low <= sum(heads) / len(heads) <= high


def test_searches_for_what_is_not_there() -> None:
    task = w.make_tasks(1, 7)[0]
    absent = next(w.FIRST_NAME + i for i in range(w.N_NAMES) if w.FIRST_NAME + i not in task.pages)
    for call in range(50):
        seen = w.pages_in(w.Tools().call(task, [w.SEARCH, absent], 2, 0, call))
        assert len(seen) == 2 and all(title != absent for title, _ in seen)
    assert w.render(w.Tools().call(task, w.parse("S n3"), 2, 0, 0)) == "O err |"
