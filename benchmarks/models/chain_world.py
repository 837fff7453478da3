"""The chain world: arithmetic modulo 100, written out step by step, with slips, re-checks and second passes.

A prompt is a start value and one to six operations, each with a one-digit operand:

    X 7 3 (#1 +8) (#2 *6) =                  start 37, then +8, then *6; digits stand units first

The answer goes through the operations one step at a time. A step is four tokens, `#i op u t`: its number, the
operation again, and the value after it. A step is *hard* where a carry or a borrow is needed. The first
attempt at a hard step forgets the carry with probability `slip`; a re-check `W op u t` may follow, which
writes the value of the step again: right, but on an easy step it does harm (adds 10) with probability `harm`.
After the last step the writer either answers (`A u t E`) or, in doubt, goes through the chain again (`X u t`
and all steps); it stops gladly as soon as two passes agree. The kind of the next thought thus depends on what
was just written (a carry invites a re-check), which is what methods that steer, shorten or reward thoughts
need.

Everything here is numpy and knows no model: the tokens, prompts and `verify`. `chain_traces` writes answers,
`chain_anatomy` takes them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Array = np.ndarray

MODULUS = 100
OPERATIONS = tuple(
    [f"+{k}" for k in range(1, 10)] + [f"-{k}" for k in range(1, 10)] + [f"*{k}" for k in range(2, 10)]
)
MAX_LEVEL = 8
OP = 10  # tokens 0-9 are digits, then the operations, the step numbers, the marks
STEP = OP + len(OPERATIONS)
EQUALS, RECHECK, START, ANSWER, END, PAD = range(STEP + MAX_LEVEL, STEP + MAX_LEVEL + 6)
VOCABULARY = PAD + 1
TOKENS = tuple(
    [str(d) for d in range(10)]
    + list(OPERATIONS)
    + [f"#{i}" for i in range(1, MAX_LEVEL + 1)]
    + ["=", "W", "X", "A", "E", "_"]
)
SPLITS = {"test": (0, 1), "validation": (1, 2), "train": (2, 16)}  # sixteenths of the hash of a prompt


def _tables() -> tuple[Array, Array, Array]:
    """Value after each operation, whether it is hard, value without the carry: each `[26, 100]`."""
    value = np.arange(MODULUS)
    units, tens = value % 10, value // 10
    after, hard, slipped = [], [], []
    for name in OPERATIONS:
        k = int(name[1:])
        if name[0] == "*":
            raw_units, raw_tens, result = units * k, tens * k, value * k
        else:
            step = k if name[0] == "+" else -k
            raw_units, raw_tens, result = units + step, tens, value + step
        after.append(result % MODULUS)
        hard.append((raw_units < 0) | (raw_units > 9))
        slipped.append(raw_tens % 10 * 10 + raw_units % 10)
    return np.array(after), np.array(hard), np.array(slipped)


AFTER, HARD, SLIPPED = _tables()


@dataclass(frozen=True)
class World:
    """What the written traces look like. Probabilities, except the three sizes.

    Attributes:
        levels: Highest number of operations in a prompt; level n has n operations.
        max_factor: Largest multiplier; 9 is the hardest table, 1 leaves multiplication out.
        room: Tokens that a trace may take; no pass is begun that might not fit.
        slip: First attempt at a hard step forgets the carry.
        recheck_hard: A hard step is re-checked.
        recheck_easy: An easy step is re-checked.
        harm: A re-check of a rightly done easy step adds 10.
        doubt: A second pass follows the first one, if the chain has less than four operations; half of it
        otherwise. restless: One more pass follows although the last two agree.
    """

    levels: int = 6
    max_factor: int = 9
    room: int = 112
    slip: float = 0.12
    recheck_hard: float = 0.9
    recheck_easy: float = 0.1
    harm: float = 0.2
    doubt: float = 0.75
    restless: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MAX_LEVEL:
            raise ValueError(f"levels={self.levels}: a prompt has 1 to {MAX_LEVEL} operations")
        if not 1 <= self.max_factor <= 9:
            raise ValueError(f"max_factor={self.max_factor}: multipliers have one digit, 1 to 9")
        if self.room < longest_pass(self.levels) + 1:
            raise ValueError(
                f"room={self.room}: one pass of {self.levels} operations may take "
                f"{longest_pass(self.levels) + 1} tokens"
            )
        for field in fields(self)[3:]:
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"{field.name}={getattr(self, field.name)}: a probability, 0 to 1")

    @classmethod
    def plain(cls, **knobs: Any) -> World:
        """Traces without slips, re-checks and second passes: always right, and as short as they can be."""
        return cls(
            **{
                "slip": 0.0,
                "recheck_hard": 0.0,
                "recheck_easy": 0.0,
                "harm": 0.0,
                "doubt": 0.0,
                "restless": 0.0,
                **knobs,
            }
        )


@dataclass(frozen=True)
class Prompts:
    """Chains to be worked out.

    Attributes:
        start: First value, `[n]`, 0 to 99.
        ops: Operations as indices into `OPERATIONS`, `[n, levels]`; those at and after `level` mean nothing.
        level: Number of operations, `[n]`.
    """

    start: Array
    ops: Array
    level: Array

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Array | slice) -> Prompts:
        return Prompts(self.start[rows], self.ops[rows], self.level[rows])

    @property
    def width(self) -> int:
        """Tokens of a prompt, padding included."""
        return prompt_width(self.ops.shape[1])

    def numbers(self) -> list[tuple[int, ...]]:
        """Each prompt as numbers: its value and its operations."""
        rows = zip(self.start.tolist(), self.ops.tolist(), self.level.tolist(), strict=True)
        return [(start, *ops[:level]) for start, ops, level in rows]

    def repeat(self, times: int) -> Prompts:
        """Every prompt `times` times in a row: the groups of a policy update."""
        return self[np.repeat(np.arange(len(self)), times)]

    def truth(self) -> Array:
        """Right value of each chain, `[n]`."""
        value = self.start.copy()
        for i in range(self.ops.shape[1]):
            value = np.where(i < self.level, AFTER[self.ops[:, i], value], value)
        return value

    def tokens(self) -> Array:
        """Prompt tokens, padded on the left, `[n, width]`."""
        n, levels = self.ops.shape
        out = np.full((n, self.width), PAD)
        first = self.width - prompt_width(self.level)
        rows = np.arange(n)
        for j, column in enumerate((np.full(n, START), self.start % 10, self.start // 10)):
            out[rows, first + j] = column
        for i in range(levels):
            on = np.flatnonzero(i < self.level)
            out[on, first[on] + 3 + 2 * i] = STEP + i
            out[on, first[on] + 4 + 2 * i] = OP + self.ops[on, i]
        out[:, -1] = EQUALS
        return out


def prompt_width(level: Any) -> Any:
    """Tokens of a prompt of `level` operations."""
    return 4 + 2 * level


def longest_pass(level: Any) -> Any:
    """Tokens of a pass in which each step is re-checked, with its opening or the answer after it."""
    return 3 + 8 * level + 3


def draw(
    n: int, world: World, rng: np.random.Generator, split: str = "train", level: int | None = None
) -> Prompts:
    """Draw `n` prompts of one split; levels are uniform, or all `level`.

    The splits share no prompt: a hash of the prompt decides to which one it belongs. Prompts of a split may
    repeat (level 1 has 2,600 in all).
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    low, high = SPLITS[split]
    choices = 18 + max(world.max_factor - 1, 0)
    parts: list[Prompts] = []
    missing = n
    while missing > 0:
        m = max(64, 2 * missing * 16 // (high - low))
        levels = rng.integers(1, world.levels + 1, m) if level is None else np.full(m, level)
        drawn = Prompts(rng.integers(0, MODULUS, m), rng.integers(0, choices, (m, world.levels)), levels)
        bucket = _bucket(drawn)
        parts.append(drawn[np.flatnonzero((low <= bucket) & (bucket < high))[:missing]])
        missing -= len(parts[-1])
    return _joined(parts)


def draw_per_level(each: int, world: World, rng: np.random.Generator, split: str) -> Prompts:
    """`each` prompts of every level, in order of the level; they differ as far as the split has so many."""
    parts = []
    for level in range(1, world.levels + 1):
        drawn = draw(8 * each, world, rng, split, level)
        first = np.unique(drawn.tokens(), axis=0, return_index=True)[1]
        again = np.setdiff1d(np.arange(len(drawn)), first)
        parts.append(drawn[np.concatenate((np.sort(first), again))[:each]])
    return _joined(parts)


def _joined(parts: list[Prompts]) -> Prompts:
    return Prompts(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Prompts)))


def _bucket(prompts: Prompts) -> Array:
    """A number from 0 to 15 that depends on nothing but the prompt itself."""
    key = prompts.start.astype(np.uint64)
    for i in range(prompts.ops.shape[1]):
        key = np.where(
            i < prompts.level, key * np.uint64(27) + prompts.ops[:, i].astype(np.uint64) + np.uint64(1), key
        )
    key = (key ^ (key >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return (key >> np.uint64(60)).astype(np.int64)


def spoken(tokens: Array) -> str:
    """Tokens as text, padding left out."""
    return " ".join(TOKENS[t] for t in tokens if t != PAD)


def ends(tokens: Array) -> Array:
    """Position of the first `END` of each row, or the row length where there is none, `[n]`."""
    hit = tokens == END
    return np.where(hit.any(1), hit.argmax(1), tokens.shape[1])


def verify(prompts: Prompts, tokens: Array) -> Array:
    """Whether each written answer ends, with `A u t E` and the right value just there, `[n]` of bool.

    What stands before does not count, nor does what follows the first `END`.
    """
    tokens = np.pad(tokens, ((0, 0), (3, 0)), constant_values=PAD)
    end = ends(tokens)
    found = end < tokens.shape[1]
    rows, end = np.arange(len(tokens)), np.where(found, end, 3)
    mark, units, tens = (tokens[rows, end - j] for j in (3, 2, 1))
    truth = prompts.truth()
    return found & (mark == ANSWER) & (units == truth % 10) & (tens == truth // 10)
