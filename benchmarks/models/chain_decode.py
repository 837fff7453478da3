"""Sampling many answers at once from a decoder with its cache.

The decoder is any module with `new_cache()`, `prefill(tokens [rows, t], cache)` and `step(token [rows],
cache)`, both of which give the logits of the next token, `[rows, vocabulary]`. All prompts of a call have one
width (they are padded on the left), so every row stands at the same position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.models.attention import Attention, KeyValueCache


class RowCache(KeyValueCache):
    """A cache from which finished rows can leave."""

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `[kept]` of the batch, in this order."""
        if self._room is not None:
            keys, values = self._room
            self._room = keys[rows], values[rows]


class AnsweringAttention(Attention):
    """Attention whose cache lets rows leave; nothing else differs."""

    def new_cache(self) -> RowCache:
        """An empty cache for one run of `forward` calls."""
        return RowCache()


@dataclass(frozen=True)
class Answers:
    """Sampled answers.

    Attributes:
        tokens: `[rows, longest]`, `pad` after the end of each.
        logp: log-probability of each token under the model at temperature 1, 0 where padded, same shape.
        length: tokens of each answer, its end mark included, `[rows]`.
    """

    tokens: Tensor
    logp: Tensor
    length: Tensor


@torch.no_grad()
def answer(
    model: nn.Module,
    prompts: Tensor,
    room: int,
    end: int,
    pad: int,
    uniforms: Tensor | None = None,
    temperature: float = 1.0,
) -> Answers:
    """Continue each of `prompts [rows, width]` until its `end` token or for `room` tokens.

    Args:
        model: the decoder.
        prompts: token numbers, all of one width.
        room: most tokens of an answer.
        end: token after which an answer is over.
        pad: token that fills the rest of its row.
        uniforms: numbers in [0, 1), `[rows, room]`: token t of a row is the one in whose share of the
            distribution its number falls, so a row's answer hangs on its own numbers and not on what else is
            in the batch. Without them the likeliest token is taken.
        temperature: divides the logits before sampling.
    """
    count = len(prompts)
    tokens = torch.full((count, room), pad, dtype=torch.long, device=prompts.device)
    rows = torch.arange(count, device=prompts.device)
    running = torch.ones(count, dtype=torch.bool, device=prompts.device)
    length = torch.zeros(count, dtype=torch.long, device=prompts.device)
    cache = model.new_cache()
    logits = model.prefill(prompts, cache)
    logp = logits.new_zeros(count, room)
    for t in range(room):
        chosen = pick(logits, None if uniforms is None else uniforms[rows, t], temperature)
        tokens[rows, t] = torch.where(running, chosen, pad)
        said = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
        logp[rows, t] = torch.where(running, said, 0.0)
        length[rows] += running
        running = running & (chosen != end)
        left = int(running.sum())
        if left == 0 or t + 1 == room:
            break
        # finished rows leave in lots: each leaving copies the cache
        if left < 0.85 * len(rows) and _leave(cache, running.nonzero()[:, 0]):
            rows, chosen, running = rows[running], chosen[running], running[running]
        logits = model.step(chosen, cache)
    longest = int(length.max())
    return Answers(tokens[:, :longest], logp[:, :longest], length)


def _leave(cache: Any, rows: Tensor) -> bool:
    """Let all rows but `rows` leave the cache; False where a layer's cache cannot do that."""
    layers = getattr(cache, "layers", [None])
    if not layers or not all(hasattr(layer, "keep") for layer in layers):
        return False
    for layer in layers:
        layer.keep(rows)
    return True


def pick(logits: Tensor, uniform: Tensor | None, temperature: float = 1.0) -> Tensor:
    """The token of each row of `logits [rows, vocabulary]`: the likeliest, or by inverse distribution."""
    if uniform is None:
        return logits.argmax(-1)
    share = (logits / temperature).double().softmax(-1).cumsum(-1)
    # the last share is 1 up to rounding; scaled by it, a number below 1 always falls inside
    return (share <= uniform[:, None].double() * share[:, -1:]).sum(-1)


def uniforms(keys: Iterable[Sequence[int]], room: int) -> Tensor:
    """Numbers for `answer`, `[rows, room]`: those of a row follow from its key alone."""
    drawn = [np.random.default_rng(list(key)).random(room, np.float32) for key in keys]
    return torch.from_numpy(np.stack(drawn))


def answer_logp(model: nn.Module, prompts: Tensor, answers: Tensor) -> Tensor:
    """Log-probability of each token of given answers, `[rows, t]`, in one pass and with gradients."""
    logits = model(torch.cat((prompts, answers[:, :-1]), 1))[:, prompts.shape[1] - 1 :]
    return logits.log_softmax(-1).gather(-1, answers[..., None])[..., 0]
