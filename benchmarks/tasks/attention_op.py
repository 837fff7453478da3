"""The attention operator alone, at lengths that a small trained model never sees. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.models.transformer import Slot
    from benchmarks.run import Run

#: Positions whose output is held against the reference.
SCORED = 1024
#: Scale of the scores q k / sqrt(d), so that half of a late query's weight lies on 16 of some 1,500 keys.
SHARPNESS = 4.0


@dataclass(frozen=True)
class AttentionOp(Task):
    """Queries, keys and values of one causal layer -> its output, for up to `length` positions.

    Data: no trained model's. The characters of State of the Union addresses (test split) get random vectors;
    a position is its own, its predecessor's and a slow average (a decay of 0.98); random maps, alike for
    queries and keys of a head, make it heads, which are rotated. So neighbours are alike, text that comes
    again is found again, and a few keys get much of the weight, as in trained layers. Synthetic on real
    text, seed 0.
    A method that has fewer heads than the baseline gets the first ones. An item is a position.

    Quality: `output_error` is |o - r| / |r| of a position; r is softmax attention in float64 with the heads
    and the mask that the operator reports. It tells of approximations and of wrong kernels, not of what
    fewer heads lose.
    Cost: the operator without its projections; `cache_bytes` of `length` positions.
    """

    heads: int = knob(8, low=1, high=64, help="query heads of the baseline")
    kv_heads: int | None = knob(
        None, low=1, high=64, help="key heads of the baseline; empty: as many as query heads"
    )
    head_width: int = knob(16, low=2, high=256, help="numbers in a head")
    length: int = knob(16384, low=16, high=65536, help="positions there are")

    metrics = (Metric("output_error", "share", "lower", chance=1.0, band=0.001),)
    workloads = {
        "forward@N": "the operator over N positions",
        "train@N": "forward and backward over N positions",
        "decode@N": "one query with N keys",
    }
    main_workload = "forward@1024"
    trains = False
    offers = ("operator", "attention")
    train_cpu_s = 0.01
    score_cpu_s = 2.5
    small = {"head_width": 4}  # as long as by default: cards name lengths
    controls = {
        "positive": "twice the query heads cost twice the FLOPs",
        "negative": "fewer key heads alone save no FLOPs",
    }

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        text = datasets.state_of_the_union()["test"][: self.length]
        return {"train": {}, "valid": {}, "test": heads_from(text, self.heads, self.head_width)}

    def model(self, run: Run, width: int | None = None, mixer: Slot | None = None, **slots: Any) -> nn.Module:
        from benchmarks.models.attention import Attention

        width = width or self.heads * self.head_width
        if mixer is not None:
            return mixer(0, width)
        return Attention(width, self.heads, self.kv_heads, head_width=width // self.heads)

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        import torch

        count = min(SCORED, len(split["q"]))
        with torch.inference_mode():
            q, k, v = operands(system, split, count)
            out = system.attend(q, k, v)[0].transpose(0, 1).flatten(1).double()
            exact = reference(q[0], k[0], v[0], system.mask(count, count)).transpose(0, 1).flatten(1)
            error = (out - exact).norm(dim=1) / exact.norm(dim=1)
        return {"output_error": Scores(error.cpu().numpy())}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        import torch

        kind, _, length = name.partition("@")
        q, k, v = operands(system, split, int(length))

        def forward() -> Tensor:
            with torch.inference_mode():
                return system.attend(q, k, v)

        if kind == "decode":
            q = q[:, :, -1:].contiguous()
            return Workload(forward, 1, "query")
        if kind == "forward":
            return Workload(forward, int(length), "position")
        inputs = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
        seed = torch.ones_like(q)

        def train() -> tuple[Tensor, ...]:
            return torch.autograd.grad(system.attend(*inputs), inputs, seed)

        return Workload(train, int(length), "position")

    def counted(self, system: Any, split: Split, run: Run) -> dict[str, float | None]:
        """Bytes of the cache that `length` positions need."""
        cache = system.new_cache()
        cache.append(*operands(system, split, len(split["q"]))[1:])
        return {"cache_bytes": cache.bytes()}


def operands(system: Any, split: Split, length: int) -> list[Tensor]:
    """q, k, v of the first `length` positions, [1, heads, length, head_width], with the system's heads."""
    if length > len(split["q"]):
        raise ValueError(
            f"attention_op: there are {len(split['q'])} positions (knob length), {length} are asked for"
        )
    counts = {"q": system.heads, "k": system.kv_heads, "v": system.kv_heads}
    if max(counts.values()) > split["q"].shape[1]:
        raise ValueError(
            f"attention_op: there are {split['q'].shape[1]} heads, {max(counts.values())} are asked for"
        )
    return [split[name][:length, :count].transpose(0, 1)[None].contiguous() for name, count in counts.items()]


def reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention in float64, head by head: q [heads, n, d], k and v [kv_heads, n, d] -> like q."""
    import torch

    share = len(q) // len(k)
    rows = []
    for head in range(len(q)):
        scores = q[head].double() @ k[head // share].double().T / q.shape[-1] ** 0.5
        allowed = mask[head] if mask.ndim == 3 else mask
        weights = scores.masked_fill(~allowed.to(scores.device), float("-inf")).softmax(-1)
        rows.append(weights @ v[head // share].double())
    return torch.stack(rows)


def heads_from(text: str, heads: int, size: int) -> dict[str, np.ndarray]:
    """q, k, v float32 [positions, heads, size] made from text as the task's docstring says."""
    rng = np.random.default_rng(0)
    ids = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)
    width = heads * size
    own, before, topic = rng.standard_normal((3, 256, width))
    x = own[ids] + before[np.roll(ids, 1)] + _slow(topic[ids] + own[ids])
    x /= np.sqrt((x**2).mean(1, keepdims=True))
    keys, queries, values = rng.standard_normal((3, heads, width, size)) / width**0.5
    queries = 0.6 * keys + 0.8 * queries  # a query looks for what is like itself, and for something else
    made = {"q": x @ queries, "k": x @ keys, "v": x @ values}  # each [heads, positions, size]
    made["q"], made["k"] = _rotated(made["q"]), _rotated(made["k"])
    # a product of independent vectors of unit variance has the deviation sqrt(size), by which it is divided
    made["q"] *= SHARPNESS / (made["q"].std() * made["k"].std())
    return {
        name: np.ascontiguousarray(value.swapaxes(0, 1), dtype=np.float32) for name, value in made.items()
    }


def _slow(x: np.ndarray, decay: float = 0.98) -> np.ndarray:
    """Exponential average over positions, scaled to the variance of x."""
    state, out = np.zeros(x.shape[1]), np.empty_like(x)
    for position, row in enumerate(x):
        state = decay * state + (1.0 - decay) * row
        out[position] = state
    return out * np.sqrt((1.0 + decay) / (1.0 - decay))


def _rotated(x: np.ndarray) -> np.ndarray:
    """Rotary positions as in benchmarks/models/attention.py, which imports torch: x [heads, n, size]."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * 1e4 ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1)
