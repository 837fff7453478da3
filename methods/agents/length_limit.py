"""A limit on written tokens: cut off, or made to answer there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models import chain_world as chain
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Tokens of `A u t E`.
ANSWER_TOKENS = 4
DIGITS = list(range(10))


@dataclass(frozen=True)
class LengthLimit(Method):
    """No answer has more than `limit` tokens: a longer one is cut off, or its thought is ended and it must answer.

    Paper: s1 (Muennighoff et al., 2025), section 3.1, budget forcing: the end of thinking is appended at the limit,
        and the model says its best answer.
    Deviations: after the forced `A` two digits are said and the end mark is set. An answer that is being said then
        is left alone, it ends in time. With `force` off, what is longer is cut and counts as wrong.
    """

    limit: int = knob(32, low=8, high=1024, serve=True, help="most tokens of an answer")
    force: bool = knob(True, serve=True, help="end the thought and answer, else cut off")

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.0
    small = {"limit": 12}

    def serve(self, model: nn.Module, run: Run) -> Limited:
        """The model under the limit."""
        return Limited(model, self.limit, self.force).eval()


class _Place:
    """Tokens written so far, of all rows alike, and where each row last began an answer, `[rows]`."""

    def __init__(self, inner: Any, rows: int, device: torch.device) -> None:
        self.inner, self.written = inner, 0
        self.answered = torch.full((rows,), -ANSWER_TOKENS - 1, device=device)

    def keep(self, rows: Tensor) -> None:
        self.answered = self.answered[rows]


class LimitedCache:
    """The inner decoder's cache with the place of each row beside it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.place: _Place | None = None

    @property
    def layers(self) -> list[Any]:
        """All that rows leave together."""
        own = [self.place] if self.place else []
        return [*getattr(self.inner, "layers", [None]), *own]


class Limited(nn.Module):
    """A decoder that is made to end; passes over given tokens are those of the decoder itself.

    Args:
        inner: the decoder.
        limit: most tokens of an answer.
        force: whether it must answer within them.
    """

    def __init__(self, inner: nn.Module, limit: int, force: bool) -> None:
        super().__init__()
        self.inner, self.limit, self.force = inner, limit, force

    def forward(self, tokens: Tensor) -> Any:
        """Logits `[rows, length, vocabulary]`."""
        return self.inner(tokens)

    def new_cache(self) -> LimitedCache:
        """An empty cache."""
        return LimitedCache(self.inner.new_cache())

    def prefill(self, tokens: Tensor, cache: LimitedCache) -> Tensor:
        """Read prompts `[rows, width]`; logits of the first token, `[rows, vocabulary]`."""
        logits = self.inner.prefill(tokens, cache.inner)
        cache.place = _Place(cache.inner, len(tokens), tokens.device)
        return self._bent(logits, cache.place)

    def step(self, token: Tensor, cache: LimitedCache) -> Tensor:
        """Read one token a row, `[rows]`; logits of the next one, `[rows, vocabulary]`."""
        place = cache.place
        assert place is not None
        place.answered = torch.where(token == chain.ANSWER, place.written, place.answered)
        place.written += 1
        return self._bent(self.inner.step(token, cache.inner), place)

    def _bent(self, logits: Tensor, place: _Place) -> Tensor:
        """The logits, with no other choice where the limit leaves none."""
        at, begin = place.written, self.limit - ANSWER_TOKENS
        if at == self.limit - 1:
            return _only(logits, [chain.END])
        if not self.force or at < begin:
            return logits
        # `A` in the last place where an answer still fits, then two digits; one that is being said is left alone
        forced = _only(logits, [chain.ANSWER] if at == begin else DIGITS)
        early = (place.answered > begin - ANSWER_TOKENS) & (place.answered < begin)
        return torch.where(early[:, None], logits, forced)


def _only(logits: Tensor, allowed: list[int]) -> Tensor:
    """The logits with all tokens but some made impossible; those that already were are all alike."""
    closed = torch.full_like(logits, -torch.inf)
    closed[:, allowed] = logits[:, allowed].clamp_min(-1e4)
    return closed
