"""Writes answers in the chain world: the traces that models learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_world import Array, Prompts, World, longest_pass


@dataclass(frozen=True)
class Traces:
    """Written answers.

    Attributes:
        tokens: `[n, longest]`, padded with `PAD` on the right, the prompt not included.
        length: Tokens of each, `[n]`, its `END` included.
        answer: Value that each of them ends with, `[n]`.
    """

    tokens: Array
    length: Array
    answer: Array


def write(prompts: Prompts, world: World, rng: np.random.Generator) -> Traces:
    """Write one trace for each prompt; a turn of the loop is one step of every unfinished trace."""
    pen = _Pen(len(prompts), world.room)
    value, at, passes = prompts.start.copy(), np.zeros_like(prompts.start), np.zeros_like(prompts.start)
    last = np.full(len(prompts), -1)
    rows = np.arange(len(prompts))
    pen.put(rows, chain.START, value % 10, value // 10)
    while len(rows):
        value[rows] = _step(pen, rows, prompts.ops[rows, at[rows]], at[rows], value[rows], world, rng)
        at[rows] += 1
        ended = rows[at[rows] == prompts.level[rows]]
        if not len(ended):
            continue
        passes[ended] += 1
        again = _doubts(prompts.level[ended], passes[ended], value[ended] == last[ended], world, rng)
        again &= pen.length[ended] + longest_pass(prompts.level[ended]) + 1 <= world.room
        more, done = ended[again], ended[~again]
        last[more], value[more], at[more] = value[more], prompts.start[more], 0
        pen.put(more, chain.START, value[more] % 10, value[more] // 10)
        pen.put(done, chain.ANSWER, value[done] % 10, value[done] // 10, chain.END)
        rows = np.setdiff1d(rows, done, assume_unique=True)
    return Traces(pen.tokens[:, : pen.length.max()], pen.length, value)


def _step(
    pen: _Pen, rows: Array, op: Array, at: Array, value: Array, world: World, rng: np.random.Generator
) -> Array:
    """Write one step and perhaps its re-check; the value that stands in the end."""
    right, hard = chain.AFTER[op, value], chain.HARD[op, value]
    written = np.where(hard & (rng.random(len(rows)) < world.slip), chain.SLIPPED[op, value], right)
    pen.put(rows, chain.STEP + at, chain.OP + op, written % 10, written // 10)
    check = rng.random(len(rows)) < np.where(hard, world.recheck_hard, world.recheck_easy)
    harmed = ~hard & (rng.random(len(rows)) < world.harm)
    second = np.where(harmed, (right + 10) % chain.MODULUS, right)
    pen.put(rows[check], chain.RECHECK, chain.OP + op[check], second[check] % 10, second[check] // 10)
    return np.where(check, second, written)


def _doubts(level: Array, passes: Array, agrees: Array, world: World, rng: np.random.Generator) -> Array:
    """Whether one more pass is begun: by chance after the first, until two agree after that."""
    first = np.where(level < 4, world.doubt, world.doubt / 2)
    later = np.where(agrees, world.restless, 1.0)
    return rng.random(len(level)) < np.where(passes == 1, first, later)


class _Pen:
    """Writes tokens to the end of some rows."""

    def __init__(self, n: int, room: int) -> None:
        self.tokens = np.full((n, room), chain.PAD)
        self.length = np.zeros(n, np.int64)

    def put(self, rows: Array, *columns: Array | int) -> None:
        for column in columns:
            self.tokens[rows, self.length[rows]] = column
            self.length[rows] += 1
