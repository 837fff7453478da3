"""The operator task: its reference, its counts, its data."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counting import count
from benchmarks.models.attention import Attention
from benchmarks.tasks.attention_op import AttentionOp, operands, reference

TASK = AttentionOp(length=2048)


@pytest.fixture(scope="module")
def split() -> dict[str, torch.Tensor]:
    splits = TASK.prepare()
    assert splits["train"] == splits["valid"] == {}
    return {name: torch.from_numpy(value) for name, value in splits["test"].items()}


def layer(heads: int, kv_heads: int, **more) -> Attention:
    return Attention(128, heads, kv_heads, head_width=16, **more)


def error(system, split) -> torch.Tensor:
    return torch.as_tensor(TASK.score(system, split, None)["output_error"].values)


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 8), (8, 2), (8, 1), (4, 2), (2, 2)])
def test_the_operator_agrees_with_float64(heads: int, kv_heads: int, split) -> None:
    errors = error(layer(heads, kv_heads), split)
    assert len(errors) == 1024
    assert errors.max() < 1e-5


def test_a_wrong_operator_is_seen(split) -> None:
    class Scaled(Attention):
        def attend(self, q, k, v):
            return super().attend(1.1 * q, k, v)

    class Blind(Attention):
        def attend(self, q, k, v):
            return super().attend(q, k, v) * 0.0

    assert error(Scaled(128, 8), split)[100:].min() > 1e-3
    assert torch.equal(error(Blind(128, 8), split), torch.ones(1024).double())


def test_the_mask_that_is_reported_is_the_one_that_counts(split) -> None:
    assert error(layer(8, 8, causal=False), split).max() < 1e-5

    class Liar(Attention):
        def mask(self, queries, keys):
            return torch.ones(queries, keys, dtype=torch.bool)

    assert error(Liar(128, 8), split)[:500].min() > 1e-3


def test_a_mask_a_head_is_understood() -> None:
    q, k, v = torch.randn(3, 2, 5, 4)
    masks = torch.stack((torch.ones(5, 5).tril(), torch.eye(5))).bool()
    out = reference(q, k, v, masks)
    assert torch.allclose(out[0], reference(q[:1], k[:1], v[:1], masks[0])[0])
    assert torch.allclose(out[1], v[1].double())


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 8), (8, 2), (4, 2), (4, 4), (2, 2), (2, 1)])
def test_flops_by_hand(heads: int, kv_heads: int, split) -> None:
    system, n = layer(heads, kv_heads), 512
    forward, train = (
        count(TASK.workload(f"{kind}@{n}", system, split, None).call) for kind in ("forward", "train")
    )
    pairs = n * (n + 1) // 2
    assert forward.flops == 4 * pairs * heads * 16
    assert train.flops == (4 + 10) * pairs * heads * 16  # backward: five products where forward has two
    assert count(TASK.workload(f"decode@{n}", system, split, None).call).flops == 4 * n * heads * 16


def test_decode_is_the_last_row_of_forward(split) -> None:
    system = layer(4, 2)
    whole = TASK.workload("forward@300", system, split, None).call()
    assert torch.allclose(
        TASK.workload("decode@300", system, split, None).call(), whole[:, :, -1:], atol=1e-5
    )


def test_train_gives_the_gradients(split) -> None:
    system = layer(4, 2)
    inputs = [tensor.double().requires_grad_() for tensor in operands(system, split, 40)]
    q, k, v = (tensor[0] for tensor in inputs)
    reference(q, k, v, system.mask(40, 40)).sum().backward()
    for got, leaf in zip(TASK.workload("train@40", system, split, None).call(), inputs, strict=True):
        assert torch.allclose(got.double(), leaf.grad, atol=1e-4)


def test_cache_bytes_by_hand(split) -> None:
    assert TASK.counted(layer(4, 2), split, None) == {"cache_bytes": 2 * 2 * 16 * 2048 * 4}


def test_a_few_keys_get_much_of_the_weight(split) -> None:
    q, k = split["q"][:, 0].double(), split["k"][:, 0].double()
    scores = (q @ k.T / 4.0).masked_fill(torch.ones(2048, 2048).triu(1).bool(), float("-inf"))
    weights = scores.softmax(-1)[1024:].sort(-1, descending=True).values
    assert 0.35 < weights[:, :16].sum(-1).mean() < 0.65


def test_data_are_the_same_each_time_and_shorter_ones_begin_alike(split) -> None:
    again = AttentionOp(length=2048).prepare()["test"]
    assert all((again[name] == split[name].numpy()).all() for name in split)
    assert split["q"].shape == split["v"].shape == (2048, 8, 16)


def test_more_than_there_is_is_refused(split) -> None:
    with pytest.raises(ValueError, match="2048 positions .knob length., 4096 are asked for"):
        TASK.workload("forward@4096", layer(8, 8), split, None)
    with pytest.raises(ValueError, match="there are 8 heads, 16 are asked for"):
        TASK.workload("forward@64", layer(16, 2), split, None)
