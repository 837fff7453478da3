"""Channels that are really removed, blocks, and peers: pruned equals masked, by hand and side by side."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.artefacts import bake
from benchmarks.models.cnn import Cnn
from benchmarks.models.mlp import Mlp
from benchmarks.models.transformer import Decoder
from methods.peers.torch_prune import TorchPrune
from methods.peers.torch_pruning import TorchPruning
from methods.pruning.block import BlockPruning, block_mask
from methods.pruning.l1_channels import L1Channels
from methods.pruning.magnitude import MagnitudePruning
from methods.pruning.masks import prunable
from methods.pruning.network_slimming import NetworkSlimming, kept_scales
from methods.pruning.structured import Channels, count_of, hidden, kept_of, remove
from tests.methods.test_pruning import net, run_with, zeros


def mlp() -> Mlp:
    torch.manual_seed(0)
    return Mlp(12, [10, 6], 4).eval()


def cnn() -> Cnn:
    torch.manual_seed(0)
    model = Cnn(16, 4, 5)
    with torch.no_grad():
        model(3.0 * torch.randn(8, 1, 16, 16) + 1.0)  # running statistics that are not those of the start
        for norm in model.norms:
            norm.weight.uniform_(0.5, 1.5), norm.bias.normal_()
    return model.eval()


def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(11, width=8, depth=2, heads=2).eval()


MODELS: dict[str, tuple[Any, Tensor]] = {
    "mlp": (mlp, torch.linspace(-1, 1, 36).view(3, 12)),
    "cnn": (cnn, torch.linspace(-2, 2, 3 * 256).view(3, 1, 16, 16)),
    "decoder": (decoder, torch.arange(22).view(2, 11) % 11),
}


@torch.no_grad()
def silence(model: nn.Module, channels: Channels, index: Tensor) -> None:
    """The masked counterpart: what makes a channel gives zero."""
    gone = torch.ones(count_of(model, channels), dtype=torch.bool)
    gone[index] = False
    for path in [*channels.producers, *([channels.norm] if channels.norm else [])]:
        layer: Any = model.get_submodule(path)
        layer.weight[gone] = 0.0
        if layer.bias is not None:
            layer.bias[gone] = 0.0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7])
def test_pruned_equals_masked(name: str, sparsity: float) -> None:
    make, x = MODELS[name]
    masked, model = make(), make()
    kept = []
    for place, channels in enumerate(hidden(model)):
        torch.manual_seed(place)
        kept.append((channels, kept_of(torch.rand(count_of(model, channels)), sparsity)))
        silence(masked, *kept[-1])
    pruned = remove(model, kept)
    with torch.no_grad():
        assert torch.allclose(pruned(x), masked(x), atol=1e-5)
        if not sparsity:
            assert torch.equal(pruned(x), make()(x))
    sizes = [count_of(pruned, channels) for channels in hidden(pruned)]
    assert sizes == [len(index) for _, index in kept]


def test_hidden_dimensions() -> None:
    assert [(c.consumer, c.spread) for c in hidden(cnn())] == [("convs.1", 1), ("convs.2", 1), ("head", 4)]
    assert [c.consumer for c in hidden(mlp())] == ["layers.1", "layers.2"]
    assert [c.producers for c in hidden(decoder())][0] == ("blocks.0.ffn.gate", "blocks.0.ffn.up")
    with pytest.raises(ValueError, match="Linear: no hidden channels"):
        hidden(nn.Linear(2, 2))


def test_kept_channels_are_exact_at_ties_and_never_none() -> None:
    assert kept_of(torch.tensor([1.0, 3.0, 2.0, 3.0]), 0.5).tolist() == [1, 3]
    assert kept_of(torch.ones(5), 0.4).tolist() == [0, 1, 2]
    assert kept_of(torch.ones(3), 0.99).tolist() == [0]


def test_l1_channels_by_hand() -> None:
    model = Mlp(2, [3], 1)
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.1, 0.2], [3.0, 0.0]]))
    run = run_with(L1Channels(sparsity=1 / 3))
    pruned = run.method.adapt(model, run)
    assert pruned.layers[0].weight.tolist() == [[1, -1], [3, 0]] and pruned.layers[1].in_features == 2


def test_l1_channels_are_ranked_before_anything_is_removed() -> None:
    """A layer's ranking does not depend on which of its inputs the layer before lost ("independent" pruning)."""
    model = mlp()
    with torch.no_grad():
        model.layers[0].weight[:5] *= 1e-3
        model.layers[1].weight[0, :5] = 100.0  # large on inputs that go
    run = run_with(L1Channels(sparsity=0.5))
    pruned = run.method.adapt(copy.deepcopy(model), run)
    assert torch.equal(pruned.layers[1].weight[0], model.layers[1].weight[0, 5:])


def test_one_threshold_over_all_scales_but_a_layer_keeps_one() -> None:
    scales = [torch.tensor([0.1, -0.2, 0.05]), torch.tensor([1.0, -3.0]), torch.tensor([0.01, 0.3])]
    assert [index.tolist() for index in kept_scales(scales, 3 / 7)] == [[1], [0, 1], [1]]
    assert [index.tolist() for index in kept_scales(scales, 0.99)] == [[1], [1], [1]]
    assert [len(index) for index in kept_scales([torch.ones(4), torch.ones(4)], 0.5)] == [1, 3]


class Images:
    """The loss of `Line` on pictures made of its numbers."""

    @staticmethod
    def loss(model: nn.Module, batch: Any) -> Tensor:
        x = batch["x"].repeat(1, 64).view(-1, 1, 16, 16)
        return (model(x)[:, 0] - batch["y"]).pow(2).mean()


def test_slimming_trains_prunes_and_tunes_within_its_budget() -> None:
    sizes = {}
    for strength in (0.0, 1.0):
        run = run_with(NetworkSlimming(sparsity=0.5, strength=strength))
        run.task.__class__.loss = lambda self, model, batch: Images.loss(model, batch)
        model = cnn().train()
        done = run.method.fit(model, run)
        assert run.log.steps == {"train": 24, "finetune": 16}
        assert sum(norm.num_features for norm in done.norms) == 14
        sizes[strength] = sum(float(norm.weight.detach().abs().sum()) for norm in done.norms)
    assert sizes[1.0] != sizes[0.0]


# -------------------------------------------------------------------- blocks


def test_blocks_by_hand_and_exact_at_ties() -> None:
    weight = torch.ones(4, 4)
    weight[2:, :2] = 5.0
    assert block_mask(weight, 0.5, 2).tolist() == [[0, 0, 0, 0]] * 2 + [[1, 1, 1, 1]] * 2
    assert block_mask(weight, 0.75, 2).sum() == 4
    assert int((block_mask(torch.randn(5, 4), 0.5, 2) == 0).sum()) == 10  # blocks do not divide it


def test_block_pruning_removes_whole_blocks() -> None:
    run = run_with(BlockPruning(sparsity=0.6, block=2))
    model = bake(run.method.adapt(net(), run))
    alive = (model[3].weight != 0).view(10, 2, 10, 2).sum((1, 3))
    assert set(alive.flatten().tolist()) == {0, 4} and int((alive == 0).sum()) == 60


# -------------------------------------------------------------------- peers


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("sparsity", [0.25, 0.6, 0.9])
def test_torch_prunes_the_same_weights(scope: str, sparsity: float) -> None:
    models = []
    for method in (MagnitudePruning, TorchPrune):
        run = run_with(method(sparsity=sparsity, scope=scope))
        models.append(bake(run.method.adapt(net(), run)))
    assert zeros(models[0]) == zeros(models[1])
    for (_, ours), (_, theirs) in zip(*map(prunable, models), strict=True):
        assert torch.equal(ours.weight, theirs.weight)


def test_torch_prune_trains_under_its_masks() -> None:
    run = run_with(TorchPrune(sparsity=0.6, finetune=0.5))
    assert zeros(run.method.adapt(net(), run)) == [0.6] * 3 and run.log.steps == {"train": 20}


@pytest.mark.skipif(find_spec("torch_pruning") is None, reason="needs the package torch-pruning")
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_torch_pruning_makes_the_same_sizes(name: str) -> None:
    make, x = MODELS[name]
    sizes = []
    for method in (L1Channels, TorchPruning):
        run = run_with(method(sparsity=0.5))
        run.task.__class__.inputs = lambda self, items: x
        model = run.method.adapt(make(), run)
        assert model(x).shape == make()(x).shape
        sizes.append([tuple(parameter.shape) for parameter in model.parameters()])
    assert sizes[0] == sizes[1]
