"""The attention family: one class serves the text and the operator."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.models.attention import Attention
from benchmarks.run import Run
from benchmarks.tasks.attention_op import AttentionOp
from benchmarks.tasks.text_gpt import TextGpt
from methods.attention.grouped_query import GroupedQuery
from methods.attention.multi_query import MultiQuery
from methods.attention.sliding_window import SlidingWindow, Window
from methods.attention.sqa import Sqa
from methods.base import Method
from methods.reference.baseline import Baseline

TASKS = [TextGpt(heads=8), AttentionOp()]
SHAPES = [
    (Baseline(), 8, 8),
    (GroupedQuery(kv_heads=2), 8, 2),
    (MultiQuery(), 8, 1),
    (Sqa(), 4, 2),
    (Sqa(query_heads=4, kv_heads=4), 4, 4),
    (Sqa(query_heads=2, kv_heads=2), 2, 2),
    (SlidingWindow(), 8, 8),
]


def build(task: Any, method: Method) -> torch.nn.Module:
    torch.manual_seed(0)
    return method.build(Run(task, method, 0, torch.device("cpu"), {}, {}))


def mixers(model: torch.nn.Module) -> list[Attention]:
    return [module for module in model.modules() if isinstance(module, Attention)]


@pytest.mark.parametrize("task", TASKS, ids=["text", "operator"])
@pytest.mark.parametrize(("method", "heads", "kv_heads"), SHAPES)
def test_heads(task: Any, method: Method, heads: int, kv_heads: int) -> None:
    found = mixers(build(task, method))
    assert len(found) == (2 if isinstance(task, TextGpt) else 1)
    for mixer in found:
        size = 8 if isinstance(task, TextGpt) else 16  # whatever the number of heads, they keep their width
        assert (mixer.heads, mixer.kv_heads, mixer.head_width) == (heads, kv_heads, size)
        assert mixer.q.weight.shape == (heads * size, task.heads * size)
        assert mixer.v.weight.shape == (kv_heads * size, task.heads * size)
        assert mixer.out.weight.shape == (task.heads * size, heads * size)


def test_all_key_heads_is_the_baseline_bit_for_bit() -> None:
    text = torch.randint(80, (2, 30))
    assert torch.equal(build(TASKS[0], Baseline())(text), build(TASKS[0], GroupedQuery(kv_heads=8))(text))


def test_key_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="3 key heads do not divide 8"):
        build(TASKS[0], GroupedQuery(kv_heads=3))


@pytest.mark.parametrize("window", [1, 2, 5, 16, 33, 100, 300])
@pytest.mark.parametrize("queries", [100, 7, 1])
def test_blocks_of_a_window_are_the_mask(window: int, queries: int) -> None:
    layer = Window(16, 2, window)
    q, k, v = torch.randn(3, 2, 2, 100, 8).double()
    q = q[:, :, -queries:]
    mask = layer.mask(queries, 100)
    assert mask.sum(1).max() == min(window, 100)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(layer.attend(q, k, v), wanted, atol=1e-12)


def test_a_window_as_long_as_the_text_is_full_attention() -> None:
    text = torch.randint(80, (2, 30))
    full, window = build(TASKS[0], Baseline()), build(TASKS[0], SlidingWindow(window=30))
    assert torch.allclose(full(text), window(text), atol=1e-5)


def test_a_window_of_one_lets_no_position_see_another() -> None:
    model, text = build(TASKS[0], SlidingWindow(window=1)), torch.randint(80, (2, 30))
    changed = text.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 80
    same = (model(text) - model(changed)).abs().amax((0, 2)) < 1e-6
    assert same.tolist() == [at != 3 for at in range(30)]


def test_a_window_with_a_cache() -> None:
    model, text = build(TASKS[0], SlidingWindow(window=6)).double(), torch.randint(80, (2, 30))
    cache = model.new_cache()
    last = [model.prefill(text[:, :10], cache), *(model.step(text[:, at], cache) for at in range(10, 30))]
    assert torch.allclose(torch.stack(last, 1), model(text)[:, 9:], atol=1e-12)
