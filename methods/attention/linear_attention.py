"""Linear attention: a state of fixed size in place of keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention, rotate
from benchmarks.models.caches import KeptCache
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Positions that are read at once in the parallel form.
CHUNK = 64


@dataclass(frozen=True)
class LinearAttention(Method):
    """Attention with a feature map phi = elu + 1, of which a head keeps one matrix and one vector.

    Paper: Katharopoulos et al. (2020), equations 9 to 20: S_t = S_{t-1} + phi(k) v^T, z_t = z_{t-1} + phi(k),
        o = phi(q) S / phi(q) z. Rotary positions turn phi(q) and phi(k) in the numerator only, as in Su et al.
        (2021), equation 19.
    Deviations: none; the paper has learnt positions, which say nothing beyond the trained length.
    """

    heads: int | None = knob(
        None, low=1, high=64, help="heads; fewer are wider and keep more; empty: the task's"
    )

    needs = ("attention",)
    small = {"heads": 1}

    def build(self, run: Run) -> nn.Module:
        heads = self.heads or run.task.heads  # type: ignore[attr-defined]
        return run.task.model(run, width=self.width, mixer=lambda layer, width: Linear(width, heads))


class Linear(Attention):
    """The parallel form in chunks for many positions, the recurrent one for a step."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._seen: tuple[Any, ...] = (None,)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention, of plain queries and keys."""
        if q.shape[2] > 1:
            return self.parallel(phi(q), phi(k), phi(q), phi(k), v)[0]
        if self._seen[0] is not k:  # an operator gets plain keys, where a cache would have their sums
            self._seen = k, *self._sums(phi(k)[:, :, :-1], phi(k)[:, :, :-1], v[:, :, :-1])
        last, features = k[:, :, -1:], phi(q)
        return self.parallel(features, phi(last), features, phi(last), v[:, :, -1:], *self._seen[1:])[0]

    def parallel(
        self,
        q: Tensor,
        k: Tensor,
        q_plain: Tensor,
        k_plain: Tensor,
        v: Tensor,
        state: Tensor | None = None,
        norm: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features [batch, heads, n, size] and what came before -> output, state and norm behind the last one.

        Rotated features q and k weigh the values, plain ones make the denominator.
        """
        length = q.shape[2]
        if length == 1 and state is not None and norm is not None:  # the recurrence itself
            state, norm = state + k.transpose(2, 3) @ v, norm + k_plain[:, :, 0]
            total = q_plain @ norm[..., None]
            return q @ state / total.clamp(min=1e-6), state, norm
        chunk = min(CHUNK, length)
        rest = -length % chunk
        q, k, q_plain, k_plain, v = (
            F.pad(x, (0, 0, 0, rest)).unflatten(2, (-1, chunk)) for x in (q, k, q_plain, k_plain, v)
        )
        states, norms = k.transpose(3, 4) @ v, k_plain.sum(3)
        before, sums = states.cumsum(2) - states, norms.cumsum(2) - norms
        if state is not None and norm is not None:
            before, sums = before + state[:, :, None], sums + norm[:, :, None]
        weights, plain = ((a @ b.transpose(3, 4)).tril() for a, b in ((q, k), (q_plain, k_plain)))
        out = q @ before + weights @ v
        total = (q_plain @ sums[..., None])[..., 0] + plain.sum(-1)
        out = (out / total[..., None].clamp(min=1e-6)).flatten(2, 3)[:, :, :length]
        return out, before[:, :, -1] + states[:, :, -1], sums[:, :, -1] + norms[:, :, -1]

    @staticmethod
    def _sums(k: Tensor, k_plain: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return k.transpose(2, 3) @ v, k_plain.sum(2)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Attention; a cache holds `state` and `norm`."""
        start = cache.length if cache is not None else 0
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        q, k = phi(q), phi(k)
        cos, sin = self._table(start, start + x.shape[1], x)
        before = (cache.state["state"], cache.state["norm"]) if cache is not None and start else ()
        mixed, state, norm = self.parallel(rotate(q, cos, sin), rotate(k, cos, sin), q, k, v, *before)
        if cache is not None:
            cache.replace(start + x.shape[1], state=state, norm=norm)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def new_cache(self) -> Any:
        return StateCache()


class StateCache(KeptCache):
    """Sums over what was read."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add plain keys and values, [batch, heads, n, size], as an operator has them."""
        state, norm = Linear._sums(phi(keys), phi(keys), values)
        if self.length:
            state, norm = state + self.state["state"], norm + self.state["norm"]
        self.replace(self.length + keys.shape[2], state=state, norm=norm)
        return keys, values


def phi(x: Tensor) -> Tensor:
    """The feature map of the paper, elu(x) + 1, above 0."""
    return F.elu(x) + 1
