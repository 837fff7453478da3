"""The agents' language model: a small pre-norm decoder with a token shift at its input, and its cache.

Input: ``h_t = E[x_t] + A E[x_(t-1)] + B E[x_(t-2)]`` with dense d x d maps A and B, so that even one layer
can match and copy. Then pre-LayerNorm blocks (rotary attention, base 1000; GELU MLP of width 4 d), a last
LayerNorm and the tied embedding as output layer. `forward` is for training, `step` for generation: one token
a row, every row at a position of its own, which can be set back to 0 when its context is rebuilt.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.agent_world import VOCABULARY

ROPE_BASE = 1000.0
GROWTH = 64  # positions by which a cache grows


@dataclass(frozen=True)
class Size:
    """Layers, model width and attention heads of an agent model."""

    layers: int
    width: int
    heads: int


SIZES = {"xxs": Size(1, 24, 2), "xs": Size(2, 32, 2), "s": Size(3, 64, 4), "m": Size(4, 128, 4)}


def size_of(name: str) -> Size:
    """The size of a name; an unknown name is an error that lists the known ones."""
    if name not in SIZES:
        raise ValueError(f"size {name!r} is not one of {', '.join(SIZES)}")
    return SIZES[name]


def rotation(positions: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles: `[..., head_width / 2]` for positions `[...]`."""
    frequency = ROPE_BASE ** (-torch.arange(0, head_width, 2, device=positions.device) / head_width)
    angle = positions[..., None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of the last axis of `x` by the given angles."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Cache:
    """Keys and values of every layer `[rows, heads, capacity, head_width]`, and where each row stands.

    Attributes:
        position: `[rows]`, number of tokens that a row has read.
        recent: `[rows, 2]`, the last two tokens of a row (latest first), -1 where there is none.
    """

    def __init__(self, size: Size, rows: int, device: torch.device | str = "cpu") -> None:
        shape = (rows, size.heads, GROWTH, size.width // size.heads)
        self.keys = [torch.zeros(shape, device=device) for _ in range(size.layers)]
        self.values = [torch.zeros(shape, device=device) for _ in range(size.layers)]
        self.position = torch.zeros(rows, dtype=torch.long, device=device)
        self.recent = torch.full((rows, 2), -1, device=device)

    def reset(self, rows: Tensor) -> None:
        """Forget what the given rows have read."""
        self.position[rows] = 0
        self.recent[rows] = -1

    def keep(self, rows: Tensor) -> None:
        """Drop all but the given rows."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
        self.position, self.recent = self.position[rows], self.recent[rows]

    def begin(self, tokens: Tensor) -> None:
        """Note that every row has read `tokens` `[rows, length]`, from its first position on."""
        self.reserve(tokens.shape[1])
        self.position[:] = tokens.shape[1]
        self.recent = F.pad(tokens, (2, 0), value=-1)[:, -2:].flip(1)

    def reserve(self, length: int) -> None:
        """Make room for `length` positions in every row."""
        missing = length - self.keys[0].shape[2]
        if missing > 0:
            extra = (0, 0, 0, -(-missing // GROWTH) * GROWTH)
            self.keys = [F.pad(k, extra) for k in self.keys]
            self.values = [F.pad(v, extra) for v in self.values]


class Block(nn.Module):
    """Pre-norm rotary attention and a GELU MLP of width 4 d."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        d = size.width
        self.heads = size.heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)  # tokens attend to their like at the start
            for projection in (self.out, self.down):
                projection.weight.mul_(1 / math.sqrt(2 * size.layers))

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[rows, heads, length, head_width]` of `x` `[rows, length, d]`."""
        x = self.norm1(x)
        parts = (layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.query, self.key, self.value))
        q, k, v = (part.transpose(1, 2) for part in parts)
        return q, k, v

    def rest(self, x: Tensor, attended: Tensor) -> Tensor:
        """Output projection, residuals and MLP, after attention `[rows, heads, length, head_width]`."""
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class AgentModel(nn.Module):
    """A decoder over the 985 words of the agents' world.

    Call: `model(tokens)` gives logits `[rows, length, 985]`.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        d = size.width
        self.embedding = nn.Embedding(len(VOCABULARY), d)
        nn.init.normal_(self.embedding.weight, std=0.5 / math.sqrt(d))
        self.shift1, self.shift2 = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(d)

    def hidden(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Last hidden states `[rows, length, d]` of tokens `[rows, length]`, causal; fills a `cache`."""
        e = self.embedding(tokens)
        before = F.pad(e, (0, 0, 2, 0))
        x = e + self.shift1(before[:, 1:-1]) + self.shift2(before[:, :-2])
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        cos, sin = rotation(positions, self.size.width // self.size.heads)
        if cache is not None:
            cache.begin(tokens)
        for layer, block in enumerate(self.blocks):
            q, k, v = block.heads_of(x)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            if cache is not None:
                cache.keys[layer][:, :, : tokens.shape[1]] = k
                cache.values[layer][:, :, : tokens.shape[1]] = v
            x = block.rest(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next word, from hidden states `[..., d]`."""
        return hidden @ self.embedding.weight.T

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next word at every position, `[rows, length, 985]`."""
        return self.logits(self.hidden(tokens))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one more token a row, `[rows]`; gives the hidden state `[rows, d]` and moves the cache on."""
        before = self.embedding(cache.recent.clamp_min(0)) * (cache.recent >= 0).unsqueeze(-1)
        x = self.embedding(tokens) + self.shift1(before[:, 0]) + self.shift2(before[:, 1])
        x = x.unsqueeze(1)
        rows, at = torch.arange(len(tokens), device=tokens.device), cache.position
        length = int(at.max()) + 1
        cache.reserve(length)
        cos, sin = (part[:, None, None] for part in rotation(at, self.size.width // self.size.heads))
        unseen = torch.arange(length, device=tokens.device) > at[:, None]
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            q, k, v = block.heads_of(x)
            keys[rows, :, at] = rotate(k, cos, sin)[:, :, 0]
            values[rows, :, at] = v[:, :, 0]
            scores = rotate(q, cos, sin) @ keys[:, :, :length].transpose(2, 3) / math.sqrt(q.shape[-1])
            weights = scores.masked_fill(unseen[:, None, None], -math.inf).softmax(-1)
            x = block.rest(x, weights @ values[:, :, :length])
        cache.position = at + 1
        cache.recent = torch.stack((tokens, cache.recent[:, 0]), dim=1)
        return self.norm(x)[:, 0]


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations of generation (a multiply-add counts two).

    Attributes:
        body: of one token through the maps of the token shift and the blocks (without biases and norms).
        per_position: attention, for each position attended to.
        logits: of the output layer, only needed where a word is chosen.
    """

    body: int
    per_position: int
    logits: int


def step_cost(size: Size) -> StepCost:
    """Cost of `AgentModel.step` with dense weights: 2 x weights, 4 L d a position, 2 d V for a word."""
    d, layers = size.width, size.layers
    maps = 2 * d * d + layers * 12 * d * d
    return StepCost(2 * maps, 4 * layers * d, 2 * d * len(VOCABULARY))


def save(model: AgentModel, path: Path, note: dict[str, str] | None = None, half: bool = True) -> None:
    """Write the weights (float16 unless `half` is False) with the size in the header."""
    kind = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().to(kind).contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"size": json.dumps(asdict(model.size)), **(note or {})})


def load(path: Path) -> AgentModel:
    """Read a model written by `save`; its weights are float32 afterwards."""
    with safe_open(path, framework="pt") as file:
        size = Size(**json.loads(file.metadata()["size"]))
        model = AgentModel(size)
        model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    return model.eval()
