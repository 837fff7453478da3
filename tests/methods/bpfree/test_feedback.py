"""Random feedback and targets: where each of them must equal backpropagation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.run import MethodError
from benchmarks.tasks.classification import Fashion
from benchmarks.tasks.fashion_cnn import FashionCnn
from benchmarks.tasks.text_gpt import TextGpt
from methods.bpfree.direct_feedback import DirectFeedback
from methods.bpfree.feedback import feedback_loss, random_feedback
from methods.bpfree.local import split
from methods.bpfree.networks import blocks_of, inputs, widths_of
from methods.bpfree.target_propagation import TargetPropagation
from methods.reference.baseline import Baseline


@pytest.fixture(autouse=True)
def _float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images as float64, so that identities can be read to the last digits."""
    monkeypatch.setattr(Fashion, "inputs", lambda self, x: (x.double() - 72.94) / 90.02)


def network(make_run: Any, **knobs: Any) -> tuple[Any, nn.Module]:
    run = make_run(Baseline(), **knobs)
    return run, run.task.model(run).double()


def by_backpropagation(run: Any, model: nn.Module, batch: Any) -> list[torch.Tensor]:
    return list(torch.autograd.grad(run.task.loss(model, batch), list(model.parameters())))


def given(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters()]


def with_feedback(run: Any, model: nn.Module, batch: Any, feedback: Any) -> list[torch.Tensor]:
    model.zero_grad(set_to_none=True)
    feedback_loss(run, blocks_of(model), split(model)[1], feedback)(model, batch).backward()
    return given(model)


# ---------------------------------------------------------------- direct feedback alignment


def test_one_hidden_layer_with_the_heads_weights_is_backpropagation(make_run, batch):
    run, model = network(make_run, depth=1)
    wanted = by_backpropagation(run, model, batch)
    found = with_feedback(run, model, batch, [model.layers[-1].weight.detach()])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-16)
    other = with_feedback(run, model, batch, [random_feedback(10, 12).double()])
    assert not torch.allclose(other[0], wanted[0]) and torch.equal(other[2], found[2])


def test_a_true_gradient_in_the_last_block_is_the_same(make_run, batch):
    """None in place of a matrix: the head's own gradient, as Cascaded-Forward trains its last block."""
    run, model = network(make_run, depth=1)
    wanted = by_backpropagation(run, model, batch)
    torch.testing.assert_close(with_feedback(run, model, batch, [None]), wanted, rtol=1e-12, atol=1e-16)


def test_linear_layers_with_transposed_products_are_backpropagation(make_run, batch):
    """B_i = W_out W_L .. W_(i+1): no unit is silent here, so that the layers above are linear."""
    run, model = network(make_run)
    with torch.no_grad():
        for layer in model.layers[:-1]:
            layer.bias += 100.0
    hidden, last = split(model)
    product, feedback = last.weight.detach(), []
    for layer in reversed(hidden):
        feedback.insert(0, product)
        product = product @ layer.weight.detach()
    wanted = by_backpropagation(run, model, batch)
    torch.testing.assert_close(with_feedback(run, model, batch, feedback), wanted, rtol=1e-9, atol=1e-13)


def test_the_papers_update_by_hand(make_run, batch):
    """dW_i = ((e B_i) * [z_i > 0])^T a_(i-1), e = (p - onehot) / n."""
    run, model = network(make_run)
    feedback = [random_feedback(10, 12).double() for _ in range(3)]
    found = with_feedback(run, model, batch, feedback)
    a, zs, inputs = run.task.inputs(batch["x"]), [], []
    for layer in model.layers[:-1]:
        inputs.append(a)
        zs.append(a @ layer.weight.T + layer.bias)
        a = zs[-1].clamp(min=0)
    logits = a @ model.layers[-1].weight.T + model.layers[-1].bias
    error = (logits.softmax(1) - torch.eye(10, dtype=a.dtype)[batch["y"]]) / 16
    for at, (matrix, z, below) in enumerate(zip(feedback, zs, inputs, strict=True)):
        delta = (error @ matrix) * (z > 0)
        torch.testing.assert_close(found[2 * at], delta.T @ below, rtol=1e-10, atol=1e-15)
        torch.testing.assert_close(found[2 * at + 1], delta.sum(0), rtol=1e-10, atol=1e-15)


def test_convolutions_have_blocks_too(make_run):
    run = make_run(Baseline(), task=FashionCnn(width=2, images=256, epochs=1))
    model = run.task.model(run).double()
    blocks = blocks_of(model)
    assert widths_of(blocks, run.task.inputs(run.train["x"][:2])) == [2 * 14 * 14, 4 * 7 * 7, 8 * 3 * 3]
    x = run.task.inputs(run.train["x"][:4])
    model.eval()
    seen = x
    for block in blocks:
        seen = block(seen)
    torch.testing.assert_close(model.head(seen.flatten(1)), model(x))
    assert model.norms[0].num_batches_tracked == 0  # measuring widths leaves no trace
    with pytest.raises(MethodError, match="needs a model with `layers`"):
        blocks_of(nn.Linear(3, 2))
    run.task = TextGpt()
    with pytest.raises(MethodError, match="TextGpt has no `inputs`"):
        inputs(run, x)


def test_every_layer_has_a_gradient_in_every_step(make_run):
    run = make_run(DirectFeedback())
    model = run.method.build(run).double()
    seen: list[Any] = []
    steps = run.steps

    def watched(part: nn.Module, **how: Any) -> Any:
        for step in steps(part, **how):
            seen.append([p.grad.clone() for p in part.parameters()])
            yield step

    run.steps = watched  # type: ignore[method-assign]
    run.method.fit(model, run)
    assert len(seen) == 6 and all(gradient.any() for gradients in seen for gradient in gradients)


def test_the_same_matrices_serve_all_steps(make_run, monkeypatch):
    drawn = []
    draw = random_feedback
    monkeypatch.setattr(
        "methods.bpfree.direct_feedback.random_feedback", lambda *size: drawn.append(size) or draw(*size)
    )
    run = make_run(DirectFeedback())
    run.method.fit(run.method.build(run).double(), run)
    assert drawn == [(10, 12)] * 3
    torch.testing.assert_close(draw(10, 300).norm(dim=1), torch.ones(10))


# ---------------------------------------------------------------- targets


def test_one_hidden_layer_of_targets_is_backpropagation(make_run, batch):
    """No inverse is needed: the target lies down the gradient, so that the layer's own loss has that gradient."""
    run, model = network(make_run, depth=1)
    wanted = by_backpropagation(run, model, batch)
    hidden, last = split(model)
    model.zero_grad(set_to_none=True)
    TargetPropagation(step=0.3).loss(run, hidden, last, [])(model, batch).backward()
    torch.testing.assert_close(given(model), wanted, rtol=1e-9, atol=1e-14)


def test_transposed_inverses_are_backpropagation_through_linear_layers(make_run, batch):
    run, model = network(make_run)
    with torch.no_grad():
        for layer in model.layers[:-1]:
            layer.bias += 100.0
    hidden, last = split(model)
    inverses = [nn.Linear(12, 12, bias=False).double() for _ in hidden[1:]]
    for inverse, layer in zip(inverses, hidden[1:], strict=True):
        inverse.weight.data = layer.weight.detach().T.clone()
    wanted = by_backpropagation(run, model, batch)
    model.zero_grad(set_to_none=True)
    TargetPropagation(step=1e-3).loss(run, hidden, last, inverses)(model, batch).backward()
    torch.testing.assert_close(given(model), wanted, rtol=1e-6, atol=1e-9)


def test_targets_by_hand(make_run, batch):
    """t_(i-1) = h_(i-1) + g(t_i) - g(h_i), and the gradient of ||f(h_(i-1)) - t||^2 / (2 eta n)."""
    run, model = network(make_run, depth=2)
    hidden, last = split(model)
    inverse, eta = nn.Linear(12, 12).double(), 0.7
    model.zero_grad(set_to_none=True)
    TargetPropagation(step=eta).loss(run, hidden, last, [inverse])(model, batch).backward()
    x = run.task.inputs(batch["x"])
    z1 = x @ hidden[0].weight.T + hidden[0].bias
    h1 = z1.clamp(min=0)
    h2 = (h1 @ hidden[1].weight.T + hidden[1].bias).clamp(min=0)
    logits = h2 @ last.weight.T + last.bias
    error = logits.softmax(1) - torch.eye(10, dtype=h1.dtype)[batch["y"]]
    t2 = h2 - eta * error @ last.weight
    t1 = h1 + (t2 - h2) @ inverse.weight.T
    delta = (h1 - t1) / eta / 16 * (z1 > 0)
    torch.testing.assert_close(hidden[0].weight.grad, delta.T @ x, rtol=1e-8, atol=1e-13)
    assert inverse.weight.grad.any()


def test_inverses_learn_but_do_not_stay(make_run):
    run = make_run(TargetPropagation())
    model = run.method.build(run).double()
    names = set(model.state_dict())
    assert set(run.method.fit(model, run).state_dict()) == names
