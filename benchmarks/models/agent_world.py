"""A small closed world in which small language models act as agents: facts, pages, two tools, questions.

Every task has a fresh world of ten entities; each has one page with five facts in shuffled order:

    * e31 owner e5 price n17 friend e40 boss e2 age n33          (head, title, five relation-value pairs)

The head is the search tool's exact-title mark: ``*`` on the page asked for, ``-`` on any other. Facts are
new in every task, so they must be read; only the map from the 800 aliases of the questions to the 48 names
is fixed, and has to be learned. Questions read inside out: ``Q boss owner a21 ?`` asks for the boss of the
owner of a21, ``Q max age boss a21 & age owner a137 ?`` joins two chains with the calculator.

Tools: ``S name`` returns k pages, the right one at rank 1, 2, 3 with probability .75, .15, .08 (else not at
all), drawn anew at every call from a generator seeded by (seed, task, attempt, call): results depend neither
on the order nor on the size of a batch. ``C op a b`` returns one number, or ``err``. Standard library only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import accumulate

N_NAMES, N_NUMBERS, N_ALIASES = 48, 100, 800
WORLD_SIZE = 10
ALIAS_EXPONENT = 0.7  # an alias of rank r is asked about with weight r ** -0.7
MAX_VALUE = 49  # facts are 1..49, so that a sum of two is still one of the 100 numbers
RANK_PROBABILITIES = (0.75, 0.15, 0.08)
FORMS: dict[int, tuple[tuple[int, ...], ...]] = {  # level -> hops of each chain
    1: ((1,), (2,)),
    2: ((3,), (1, 1)),
    3: ((4,), (2, 1), (1, 2), (2, 2)),
}

_SPECIAL = (
    "pad Q ? & S C A O | P ; miss err * - v1 v2 v3 v4 v5 k1 k2 k3 R0 R1 R2 MF MS MN "
    "plus minus max owner boss friend price age"
)
VOCABULARY: tuple[str, ...] = (
    *_SPECIAL.split(),
    *(f"e{i}" for i in range(N_NAMES)),
    *(f"n{i}" for i in range(N_NUMBERS)),
    *(f"a{i}" for i in range(N_ALIASES)),
)
TOKEN: dict[str, int] = {word: index for index, word in enumerate(VOCABULARY)}

PAD, QUESTION, END_QUESTION, AND = (TOKEN[t] for t in ("pad", "Q", "?", "&"))
SEARCH, CALCULATE, ANSWER, OBSERVE, END_OBSERVATION = (TOKEN[t] for t in ("S", "C", "A", "O", "|"))
PLAN, END_PLAN, MISS, ERROR, RIGHT, OTHER = (TOKEN[t] for t in ("P", ";", "miss", "err", "*", "-"))
VARIABLES = tuple(TOKEN[f"v{i}"] for i in range(1, 6))
PAGES = {k: TOKEN[f"k{k}"] for k in (1, 2, 3)}
REASONING = {"none": TOKEN["R0"], "notes": TOKEN["R1"], "plan": TOKEN["R2"]}
MEMORY = {"full": TOKEN["MF"], "masked": TOKEN["MS"], "none": TOKEN["MN"]}
OPERATIONS = tuple(TOKEN[t] for t in ("plus", "minus", "max"))
ENTITY_RELATIONS = tuple(TOKEN[t] for t in ("owner", "boss", "friend"))
NUMBER_RELATIONS = tuple(TOKEN[t] for t in ("price", "age"))
RELATIONS = ENTITY_RELATIONS + NUMBER_RELATIONS
FIRST_NAME, FIRST_NUMBER, FIRST_ALIAS = TOKEN["e0"], TOKEN["n0"], TOKEN["a0"]
ARITY = {SEARCH: 1, ANSWER: 1, CALCULATE: 3}  # arguments of each action


def is_name(token: int) -> bool:
    """Whether a token is one of the 48 entity names."""
    return FIRST_NAME <= token < FIRST_NUMBER


def is_number(token: int) -> bool:
    """Whether a token is one of the 100 numbers."""
    return FIRST_NUMBER <= token < FIRST_ALIAS


def render(tokens: list[int] | tuple[int, ...]) -> str:
    """Tokens as text, words separated by spaces."""
    return " ".join(VOCABULARY[t] for t in tokens)


def parse(text: str) -> list[int]:
    """Text as tokens; an unknown word is an error that names it."""
    try:
        return [TOKEN[word] for word in text.split()]
    except KeyError as error:
        raise ValueError(
            f"{error.args[0]!r} is not one of the {len(VOCABULARY)} words of the agents' world"
        ) from None


def mix(*parts: int) -> int:
    """One 64-bit integer from several (splitmix64 steps), to seed what must not depend on order."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


def _alias_map() -> tuple[int, ...]:
    rng = random.Random(mix(48, 800))
    return tuple(FIRST_NAME + int(rng.random() * N_NAMES) for _ in range(N_ALIASES))


ALIAS_OF: tuple[int, ...] = _alias_map()  # alias number -> name token, the same in every world
_ALIAS_WEIGHTS = list(accumulate((rank + 1) ** -ALIAS_EXPONENT for rank in range(N_ALIASES)))


@dataclass(frozen=True)
class Task:
    """One question with its world.

    Attributes:
        key: integer that seeds the tools; unique in a set of tasks.
        level: 1 to 3.
        form: hops of each chain.
        question: tokens from ``Q`` to ``?``.
        operation: token that joins two chains, or None.
        chains: for each chain the start name and its relations in the order in which they are followed.
        pages: name -> the ten tokens ``relation value ...`` of its page.
        answer: the right answer's token.
    """

    key: int
    level: int
    form: tuple[int, ...]
    question: tuple[int, ...]
    operation: int | None
    chains: tuple[tuple[int, tuple[int, ...]], ...]
    pages: dict[int, tuple[int, ...]]
    answer: int

    def fact(self, name: int, relation: int) -> int:
        """The value of a relation on the page of a name."""
        page = self.pages[name]
        return page[page.index(relation) + 1]


def make_task(level: int, key: int) -> Task:
    """The question of a level and key, with a world in which it has an answer."""
    rng = random.Random(mix(level, key))
    form = rng.choice(FORMS[level])
    aliases = rng.choices(range(N_ALIASES), cum_weights=_ALIAS_WEIGHTS, k=len(form))
    starts = [ALIAS_OF[a] for a in aliases]
    others = [FIRST_NAME + i for i in range(N_NAMES) if FIRST_NAME + i not in starts]
    names = list(dict.fromkeys(starts))
    names += rng.sample(others, WORLD_SIZE - len(names))
    pages = {name: _page(rng, name, names) for name in names}
    joined = len(form) > 1
    chains = tuple((start, _relations(rng, hops, joined)) for start, hops in zip(starts, form, strict=True))
    operation = rng.choice(OPERATIONS) if joined else None
    question = [QUESTION] + ([operation] if operation is not None else [])
    for index, (alias, (_, relations)) in enumerate(zip(aliases, chains, strict=True)):
        question += [AND] * (index > 0) + [*reversed(relations), FIRST_ALIAS + alias]
    task = Task(key, level, form, (*question, END_QUESTION), operation, chains, pages, answer=PAD)
    return replace(task, answer=solution(task)[-1].value)


def make_tasks(count: int, seed: int) -> list[Task]:
    """`count` tasks of levels 1, 2, 3 in turn, with keys (63 bits) drawn from the seed."""
    return [make_task(1 + i % 3, mix(seed, i) >> 1) for i in range(count)]


def _page(rng: random.Random, name: int, names: list[int]) -> tuple[int, ...]:
    others = [n for n in names if n != name]
    page: list[int] = []
    for relation in rng.sample(RELATIONS, len(RELATIONS)):
        numeric = relation in NUMBER_RELATIONS
        page += [relation, FIRST_NUMBER + rng.randint(1, MAX_VALUE) if numeric else rng.choice(others)]
    return tuple(page)


def _relations(rng: random.Random, hops: int, joined: bool) -> tuple[int, ...]:
    """Relations in the order in which they are followed; a joined chain must end in a number."""
    last = rng.choice(NUMBER_RELATIONS if joined else RELATIONS)
    return (*(rng.choice(ENTITY_RELATIONS) for _ in range(hops - 1)), last)


@dataclass(frozen=True)
class Look:
    """One step of a solution: ``variable = relation of source``; the page to read is that of ``name``."""

    variable: int
    relation: int
    source: int  # a name, or the variable that holds it
    name: int
    value: int


@dataclass(frozen=True)
class Join:
    """The last step of a joined question: ``variable = operation(left, right)``."""

    variable: int
    operation: int
    sources: tuple[int, int]
    arguments: tuple[int, int]
    value: int


def solution(task: Task) -> list[Look | Join]:
    """The steps that answer a task, in execution order."""
    steps: list[Look | Join] = []
    ends: list[Look] = []
    for start, relations in task.chains:
        source = name = start
        for relation in relations:
            look = Look(VARIABLES[len(steps)], relation, source, name, task.fact(name, relation))
            steps.append(look)
            source, name = look.variable, look.value
        ends.append(look)
    if task.operation is not None:
        left, right = ends
        value = calculate(task.operation, left.value, right.value)
        variables, values = (left.variable, right.variable), (left.value, right.value)
        steps.append(Join(VARIABLES[len(steps)], task.operation, variables, values, value))
    return steps


def calculate(operation: int, left: int, right: int) -> int:
    """The calculator: sum, absolute difference or maximum of two number tokens; ``err`` on anything else."""
    if operation not in OPERATIONS or not (is_number(left) and is_number(right)):
        return ERROR
    a, b = left - FIRST_NUMBER, right - FIRST_NUMBER
    result = (a + b, abs(a - b), max(a, b))[OPERATIONS.index(operation)]
    return FIRST_NUMBER + result if result < N_NUMBERS else ERROR


@dataclass(frozen=True)
class Tools:
    """The search tool and the calculator.

    Attributes:
        seed: enters the noise of every search.
        mark: share of right pages that carry the exact-title mark.
    """

    seed: int = 0
    mark: float = 1.0

    def call(self, task: Task, action: list[int], pages: int, attempt: int, call: int) -> list[int]:
        """Observation tokens, ``O`` to ``|``; a search has the noise of (seed, task, attempt, call)."""
        if action[0] == CALCULATE:
            return [OBSERVE, calculate(action[1], action[2], action[3]), END_OBSERVATION]
        if not is_name(action[1]):
            return [OBSERVE, ERROR, END_OBSERVATION]
        rng = random.Random(mix(self.seed, task.key, attempt, call))
        return [OBSERVE, *self._search(task, action[1], pages, rng), END_OBSERVATION]

    def _search(self, task: Task, name: int, pages: int, rng: random.Random) -> list[int]:
        draw, marked = rng.random(), rng.random() < self.mark
        rank = sum(draw >= bound for bound in accumulate(RANK_PROBABILITIES))  # 0, 1, 2; 3 is never shown
        titles = rng.sample([n for n in task.pages if n != name], 3)
        if name in task.pages and rank < 3:
            titles[rank] = name
        tokens: list[int] = []
        for title in titles[:pages]:
            tokens += [RIGHT if title == name and marked else OTHER, title, *task.pages[title]]
        return tokens


def pages_in(observation: list[int]) -> list[tuple[int, list[int]]]:
    """Title and relation-value tokens of every page in an observation; none for a number or an error."""
    body = observation[1:-1]
    width = 2 + 2 * len(RELATIONS)
    return [(body[i + 1], body[i + 2 : i + width]) for i in range(0, len(body) - width + 1, width)]
