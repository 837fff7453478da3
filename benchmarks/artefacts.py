"""Artefacts: tensors (safetensors) and a spec from which a finished model is built again.

The spec names who builds the model (a method's `build` with its knobs) and what differs from a fresh build: layers
that a method replaced or made narrower. No code is stored, so an artefact can be read without trust.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import parametrize

from benchmarks.models.layers import Layer, layer_entry, layer_from, set_module
from benchmarks.records import read_json, write_json
from benchmarks.run import MethodError

#: How plain torch layers are described; others must be a `Layer` or come from the builder.
PLAIN = {
    "Linear": lambda m: {
        "in_features": m.in_features,
        "out_features": m.out_features,
        "bias": m.bias is not None,
    },
    "Conv2d": lambda m: {
        "in_channels": m.in_channels,
        "out_channels": m.out_channels,
        "kernel_size": list(m.kernel_size),
        "stride": list(m.stride),
        "padding": m.padding if isinstance(m.padding, str) else list(m.padding),
        "dilation": list(m.dilation),
        "groups": m.groups,
        "bias": m.bias is not None,
        "padding_mode": m.padding_mode,
    },
    "BatchNorm2d": lambda m: {"num_features": m.num_features, "eps": m.eps, "affine": m.affine},
    "LayerNorm": lambda m: {
        "normalized_shape": list(m.normalized_shape),
        "eps": m.eps,
        "elementwise_affine": m.elementwise_affine,
        "bias": m.bias is not None,
    },
    "Embedding": lambda m: {"num_embeddings": m.num_embeddings, "embedding_dim": m.embedding_dim},
    "Identity": lambda m: {},
}


def describe(module: nn.Module) -> dict[str, Any] | None:
    """A leaf module as plain values, or None where only its builder can make it."""
    if isinstance(module, Layer):
        return layer_entry(module)
    kind = type(module).__name__
    if type(module) is getattr(nn, kind, None) and kind in PLAIN:
        return {"plain": kind, "args": PLAIN[kind](module)}
    return None


def differences(model: nn.Module, fresh: nn.Module) -> dict[str, Any]:
    """Path -> description of every module of `model` that a fresh build does not have in that form."""
    before = dict(fresh.named_modules())
    changed: dict[str, Any] = {}
    for path, module in model.named_modules():
        if any(path.startswith(f"{done}.") for done in changed):
            continue
        now, same = describe(module), path in before and type(before[path]) is type(module)
        if now is not None and not (same and now == describe(before[path])):
            changed[path] = now
        elif now is None and not same:
            raise MethodError(
                f"{path or 'the model'} ({type(module).__name__}) is neither in the built model nor a Layer: make it a "
                "subclass of benchmarks.models.layers.Layer, so that it can be stored"
            )
    return changed


def make_layer(entry: dict[str, Any]) -> nn.Module:
    """A module from its description; only torch's plain layers and registered Layers can be made."""
    if "plain" in entry:
        if entry["plain"] not in PLAIN:
            raise ValueError(f"artefact: {entry['plain']!r} is no plain layer")
        return getattr(nn, entry["plain"])(**entry["args"])
    return layer_from(entry)


@torch.no_grad()
def bake(model: nn.Module) -> nn.Module:
    """Make parametrisations (masks and the like) part of the weights, so that what is stored is what is served."""
    for module in list(model.modules()):
        if not parametrize.is_parametrized(module):
            continue
        values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
        # torch's remove_parametrizations edits the class, which a copy shares with the model that still trains
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
    return model.eval()


def save(
    folder: Path,
    model: Any,
    spec: dict[str, Any],
    training: dict[str, Any],
    fresh: Callable[[], nn.Module],
    kept: Mapping[str, nn.Module] | None = None,
) -> None:
    """Write an artefact whole or not at all.

    Args:
        folder: where it will lie.
        model: the trained model; None for a system that is no module, or one that only serves another's artefact.
        spec: who built it (`builder`), or `same_as`.
        training: the log of its training.
        fresh: makes a fresh build of the builder, to see what differs.
        kept: models kept on the way, by place (`round=7`).
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for place, module in (kept or {}).items():
        _write_model(temporary / "kept" / place, module, spec, fresh)
    write_json(temporary / "training.json", training)
    if model is None:
        write_json(temporary / "spec.json", spec)
    else:
        _write_model(temporary, model, spec, fresh)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _write_model(
    folder: Path, model: nn.Module, spec: dict[str, Any], fresh: Callable[[], nn.Module]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    built = fresh()
    layers = differences(model, built)
    try:
        _restore(built, layers, tensors)
    except (RuntimeError, AttributeError, IndexError) as error:
        raise MethodError(
            f"the model cannot be built again from its spec ({' '.join(str(error).split())[:300]}): what is added or "
            "taken away must be a Layer, or the work of the method's build"
        ) from None
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "spec.json", {**spec, "layers": layers, "sha256": _sha256(folder)})


def load_tensors(folder: Path, fresh: nn.Module, spec: dict[str, Any], device: torch.device) -> nn.Module:
    """A fresh build of the spec's builder -> the finished model.

    Raises:
        ValueError: the tensors are not those that were written.
    """
    if _sha256(folder) != spec["sha256"]:
        raise ValueError(f"{folder / 'model.safetensors'}: is not what its spec says (sha256 differs)")
    _restore(fresh, spec["layers"], load_file(folder / "model.safetensors"))
    return fresh.to(device).eval()


@torch.no_grad()
def _restore(fresh: nn.Module, layers: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    for path, entry in layers.items():
        set_module(fresh, path, make_layer(entry))
    for name, own in fresh.state_dict(keep_vars=True).items():
        if name in tensors:  # a copy into another type would silently undo a method that changed it
            own.data = own.data.to(tensors[name].dtype)
    fresh.load_state_dict(dict(tensors))


def read_spec(folder: Path) -> dict[str, Any]:
    """The spec of a finished artefact."""
    spec = read_json(folder / "spec.json")
    if spec is None:
        raise FileNotFoundError(f"{folder}: the artefact is missing; its chunk must be run again")
    return spec


def _sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
