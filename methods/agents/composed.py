"""Decoders that work out a text before they say it: several answers to one prompt, one after the other.

A task that samples from a decoder counts every token that is written, so a method that asks a model several times
writes all of its tries, the one that is taken last, where the task looks for the answer. Nothing is free: tokens are
those of all tries, and operations and time are those of the models behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_decode import answer, uniforms


@dataclass(frozen=True)
class Try:
    """One answer of a model to one prompt.

    Attributes:
        tokens: what it wrote, its end mark included; where it is cut off the last token becomes one.
        value: what it answers, 0 to 99; None where it does not end with `A u t E`.
        mean_logprob, min_logprob: of its tokens, at temperature 1.
        accepted: by the checker, see `agrees`.
    """

    tokens: tuple[int, ...]
    value: int | None
    mean_logprob: float
    min_logprob: float
    accepted: bool

    @property
    def signals(self) -> dict[str, float]:
        """What speaks for the answer, each from 0 to just below 1; 0 where there is none."""
        if self.value is None:
            return {"checker": 0.0, "mean_logprob": 0.0, "min_logprob": 0.0}
        found = {
            "checker": float(self.accepted),
            "mean_logprob": float(np.exp(self.mean_logprob)),
            "min_logprob": float(np.exp(self.min_logprob)),
        }
        below = float(np.nextafter(1.0, 0.0))  # so that a threshold of 1 keeps nothing
        return {name: min(value, below) for name, value in found.items()}


def value_of(tokens: Sequence[int]) -> int | None:
    """The value that a written answer ends with, or None."""
    if len(tokens) < 4 or tokens[-1] != chain.END or tokens[-4] != chain.ANSWER:
        return None
    units, tens = tokens[-3], tokens[-2]
    return units + 10 * tens if units < 10 and tens < 10 else None


def agrees(tokens: Sequence[int], prompt: Sequence[int]) -> bool:
    """Whether an answer bears itself out: its last two passes end in its value, and no pass leaves the prompt.

    A checker without arithmetic and without the key: it works nothing out, so an answer whose two passes make the same
    mistake is accepted, and a right one with a single pass is not.

    Args:
        tokens: the answer.
        prompt: start value and operations, as numbers.
    """
    start, *operations = prompt
    ends: list[int] = []
    value, at, i = -1, len(operations), 0
    while i < len(tokens):
        mark, size = tokens[i], 3 if tokens[i] in (chain.START, chain.ANSWER) else 4
        part = tokens[i + 1 : i + size]
        if len(part) < size - 1 or max(part[-2:]) > 9 or (i == 0 and mark != chain.START):
            return False
        new = part[-2] + 10 * part[-1]
        if mark in (chain.START, chain.ANSWER):
            if at != len(operations):
                return False
            ends += [value] if i else []
            if mark == chain.ANSWER:
                return tuple(tokens[i + 3 :]) == (chain.END,) and len(ends) > 1 and ends[-2:] == [new] * 2
            at = 0
            if new != start:
                return False
        elif at < len(operations) and mark == chain.STEP + at and part[0] == chain.OP + operations[at]:
            at += 1
        elif mark != chain.RECHECK or not at or part[0] != chain.OP + operations[at - 1]:
            return False
        value = new
        i += size
    return False


def keys_of(prompts: Tensor, seed: int, tries: int) -> list[tuple[int, ...]]:
    """What the luck of each row's first try follows from, so that a single try has the luck that the task gives it.

    A task samples a prompt several times in one call: the n-th row of a prompt has the luck of its tries from
    n x `tries` on.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    keys = []
    for row in prompts.tolist():
        words = [token for token in row if token != chain.PAD]
        numbers = (words[1] + 10 * words[2], *(token - chain.OP for token in words[4:-1:2]))
        keys.append((seed, seen[numbers] * tries, *numbers))
        seen[numbers] += 1
    return keys


def sample(
    model: nn.Module,
    prompts: Tensor,
    keys: Sequence[tuple[int, ...]],
    number: int,
    room: int,
    temperature: float = 1.0,
) -> list[Try]:
    """Try `number` (from 0) of a model at some prompts `[rows, width]`, with `room` tokens; 0 degrees is greedy."""
    luck = None
    if temperature > 0:
        luck = uniforms([(seed, first + number, *rest) for seed, first, *rest in keys], room).to(
            prompts.device
        )
    said = answer(model, prompts, room, chain.END, chain.PAD, luck, temperature or 1.0)
    found = []
    for key, tokens, logp, length in zip(
        keys, said.tokens.tolist(), said.logp.tolist(), said.length.tolist(), strict=True
    ):
        # what is cut off ends there: a decoder that is never done would be paid for all of the task's room
        written = (*tokens[: length - 1], chain.END)
        own = logp[:length]
        found.append(Try(written, value_of(written), float(np.mean(own)), min(own), agrees(written, key[2:])))
    return found


def laid_out(tries: Sequence[Try], taken: int) -> list[int]:
    """All tokens of some tries, the one that is taken last; the end mark of the others is written as `=`."""
    others = [attempt for i, attempt in enumerate(tries) if i != taken]
    before = [chain.EQUALS if token == chain.END else token for one in others for token in one.tokens]
    return [*before, *tries[taken].tokens]


class Script:
    """The texts of a batch and the place where they are read; rows may leave, as from any cache of a decoder."""

    def __init__(self) -> None:
        self.texts = torch.zeros(0, 0, dtype=torch.long)
        self.at = -1
        self.layers = [self]

    def begin(self, texts: Sequence[Sequence[int]], device: torch.device) -> None:
        """Take the texts, padded to one length."""
        longest = max(map(len, texts))
        padded = [[*text, *[chain.PAD] * (longest - len(text))] for text in texts]
        self.texts, self.at = torch.tensor(padded, device=device), -1

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `[kept]` of the batch, in this order."""
        self.texts = self.texts[rows]

    def next(self) -> Tensor:
        """The next token of each row as logits `[rows, vocabulary]` that leave no choice."""
        self.at += 1
        inside = self.at < self.texts.shape[1]
        tokens = self.texts[:, self.at] if inside else torch.full_like(self.texts[:, 0], chain.PAD)
        logits = torch.full((len(tokens), chain.VOCABULARY), -torch.inf, device=tokens.device)
        return logits.scatter(1, tokens[:, None], 0.0)


class Composed(nn.Module):
    """A decoder whose text is composed when it has read the prompt, and then said token by token.

    Call: `model(tokens)` are the logits of `reader`, as for a decoder.

    Args:
        reader: the model that a single pass over given tokens is one of.
        longest: most tokens that it writes.
    """

    def __init__(self, reader: nn.Module, longest: int) -> None:
        super().__init__()
        self.reader, self.longest = reader, longest

    def compose(self, prompts: Tensor) -> list[list[int]]:
        """The text for each of `prompts [rows, width]`."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Any:
        """Logits `[rows, length, vocabulary]` of the reader."""
        return self.reader(tokens)

    def new_cache(self) -> Script:
        """An empty script."""
        return Script()

    def prefill(self, tokens: Tensor, cache: Script) -> Tensor:
        """Read prompts `[rows, width]` and compose; the first token as logits."""
        cache.begin(self.compose(tokens), tokens.device)
        return cache.next()

    def step(self, token: Tensor, cache: Script) -> Tensor:
        """The next token as logits, whatever was read."""
        return cache.next()


def most_tokens(model: nn.Module, limit: int) -> int:
    """Most tokens that a model writes: a composed text has its own length, a try of a plain decoder the limit."""
    return model.longest if isinstance(model, Composed) else limit


def check_room(tokens: int, room: int, what: str) -> None:
    """Refuse what might not fit.

    Raises:
        ValueError: one line that names the knobs and the task's room.
    """
    if tokens > room:
        raise ValueError(f"{what}: up to {tokens} tokens do not fit room={room} of the task")
