"""A Llama-like decoder whose parts are slots: RMS norm, rotary attention, SwiGLU, an untied head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention

#: (layer, width) -> the module of that layer.
Slot = Callable[[int, int], nn.Module]


class SwiGlu(nn.Module):
    """y = W_down (silu(W_gate x) * W_up x) (Shazeer, 2020, equation 6)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + ffn(norm(x)).

    A mixer is a module `forward(x, cache=None)` with a method `new_cache()`; what it keeps there is its own
    affair as long as it has `length`, `bytes()` and `rewind(length)`.
    """

    def __init__(self, mixer: nn.Module, ffn: nn.Module, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.mixer, self.ffn = mixer, ffn
        self.mixer_norm, self.ffn_norm = norms

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """[batch, length, width] -> the same."""
        x = x + self.mixer(self.mixer_norm(x), cache)
        return x + self.ffn(self.ffn_norm(x))

    def new_cache(self) -> Any:
        """An empty cache of the mixer."""
        return self.mixer.new_cache()


class Cache:
    """What a decoder remembers of the tokens so far: one cache a block."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    @property
    def length(self) -> int:
        """Tokens that were seen."""
        return self.layers[0].length

    def bytes(self) -> int:
        """Bytes that must be kept for the next token, over all layers."""
        return sum(layer.bytes() for layer in self.layers)

    def rewind(self, length: int) -> None:
        """Go back to the first `length` tokens, so that a step can be repeated."""
        for layer in self.layers:
            layer.rewind(length)


class Decoder(nn.Module):
    """Tokens -> logits of the next token.

    Args:
        vocabulary: how many kinds of tokens.
        width, depth, heads: of the residual stream, in blocks, query heads of the default mixer.
        causal: False lets the default mixer see all positions (an encoder; it has no use for a cache).
        mixer, ffn, norm, block: slots, each a function of layer and width. `norm` makes two modules a block
            and the last one before the head (layer == depth); `block` stands in for the other three.
        embedding_std: standard deviation of the embedding's first weights; linear layers start as in torch.

    Rotary positions need no largest length: the model runs at any.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        *,
        causal: bool = True,
        mixer: Slot | None = None,
        ffn: Slot | None = None,
        norm: Slot | None = None,
        block: Slot | None = None,
        embedding_std: float = 0.1,
    ) -> None:
        super().__init__()
        if block is not None and (mixer is not None or ffn is not None):
            raise ValueError(
                "decoder: a block brings its own mixer and ffn; give either `block` or these slots"
            )
        mixer = mixer or (lambda layer, width: Attention(width, heads, causal=causal))
        ffn = ffn or (lambda layer, width: SwiGlu(width, 3 * width))
        norm = norm or (lambda layer, width: nn.RMSNorm(width, eps=1e-6))
        block = block or _default_block(mixer, ffn, norm)
        self.vocabulary, self.width = vocabulary, width
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=embedding_std)
        self.blocks = nn.ModuleList(block(layer, width) for layer in range(depth))
        self.norm = norm(depth, width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def features(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """What the head reads: [batch, length] -> [batch, length, width]."""
        x = self.embed(tokens.long())
        for layer, block in enumerate(self.blocks):
            x = block(x, cache.layers[layer] if cache is not None else None)
        return self.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, length] of any integer type -> logits [batch, length, vocabulary]."""
        return self.head(self.features(tokens))

    def prefill(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read tokens [batch, length] behind what the cache holds; the last logits, [batch, vocabulary]."""
        return self.head(self.features(tokens, cache)[:, -1])

    def step(self, token: Tensor, cache: Cache) -> Tensor:
        """Read one token a row, [batch] -> logits of the next one, [batch, vocabulary]."""
        return self.prefill(token[:, None], cache)

    def new_cache(self) -> Cache:
        """An empty cache; its tensors are made by the first tokens."""
        return Cache([block.new_cache() for block in self.blocks])


def _default_block(mixer: Slot, ffn: Slot, norm: Slot) -> Slot:
    def block(layer: int, width: int) -> nn.Module:
        return Block(mixer(layer, width), ffn(layer, width), (norm(layer, width), norm(layer, width)))

    return block
