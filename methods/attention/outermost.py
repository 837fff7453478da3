"""Attention to key blocks that each query chooses, with the loop over keys outermost."""

from __future__ import annotations

import torch
from torch import Tensor


def pairs_of(chosen: Tensor, block: int, keys: int) -> Tensor:
    """The pairs that attend, bool [..., queries, keys]; the queries are the last of the keys.

    Args:
        chosen: key blocks of each query, [..., queries, count]; -1 is none.
        block: tokens of a block.
        keys: how many there are.
    """
    blocks, queries = -(-keys // block), chosen.shape[-2]
    marks = torch.zeros(*chosen.shape[:-1], blocks + 1, dtype=torch.bool, device=chosen.device)
    marks.scatter_(-1, torch.where(chosen < 0, blocks, chosen), True)
    causal = torch.ones(queries, keys, dtype=torch.bool, device=chosen.device).tril(keys - queries)
    return marks[..., :-1].repeat_interleave(block, -1)[..., :keys] & causal


def keys_outermost(q: Tensor, k: Tensor, v: Tensor, chosen: Tensor, block: int) -> Tensor:
    """Causal attention of q, k, v [batch, heads, n, size] over the blocks that each query chose -> like q.

    A block of keys is read once for all queries that chose it, as in Flash Sparse Attention (2025), and the parts of
    a query are merged by their log-sum-exp. Query by query the same choice is slower than dense attention here.

    Args:
        q: queries of a text from its start.
        k: its keys.
        v: its values.
        chosen: [batch, heads, n, count], different blocks of the query's past or its own; -1 is none.
        block: tokens of a block.
    """
    batch, heads, length, size = q.shape
    count, blocks = chosen.shape[-1], -(-length // block)
    rest = blocks * block - length
    k, v = (
        torch.nn.functional.pad(x, (0, 0, 0, rest)).unflatten(2, (blocks, block)).flatten(0, 2)
        for x in (k, v)
    )
    rows, chosen = q.flatten(0, 2), chosen.flatten()
    head = torch.arange(batch * heads, device=q.device).repeat_interleave(length * count)
    order = torch.where(chosen < 0, batch * heads * blocks, head * blocks + chosen).argsort(stable=True)
    order = order[: int((chosen >= 0).sum())]
    sizes = torch.bincount((head * blocks + chosen)[order], minlength=batch * heads * blocks).tolist()
    inside = torch.arange(block, device=q.device)
    outs, sums = [], []
    for place, mine in enumerate((order // count).split(sizes)):
        if len(mine) == 0:
            continue
        scores = rows[mine] @ k[place].T / size**0.5
        later = place % blocks * block + inside > (mine % length)[:, None]
        scores = scores.masked_fill(later, float("-inf"))
        sums.append(scores.logsumexp(1))
        outs.append((scores - sums[-1][:, None]).exp() @ v[place])
    # back from the order of blocks to that of queries: a slot that chose nothing has weight 0
    slots = torch.full((len(chosen),), len(order), device=q.device)
    slots[order] = torch.arange(len(order), device=q.device)
    lse = torch.cat((*sums, q.new_full((1,), float("-inf"))))[slots].view(-1, count)
    parts = torch.cat((*outs, q.new_zeros(1, size)))[slots].view(-1, count, size)
    return (lse.softmax(1)[:, None] @ parts).view(q.shape)
