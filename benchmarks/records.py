"""Records: files written by rename; a final one is never changed. Packing of item scores."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = "1.0"
#: Visits: 1.1 added nullable fields (energy by form, the device's own clock, what a round costs before it times).
VISIT_SCHEMA = "1.1"
FINAL = ("ok", "diverged")
STATUSES = ("ok", "skipped", "failed", "timeout", "oom", "diverged")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def dump(value: Any) -> str:
    """One line of JSON, keys sorted; NaN is refused, since JSON has none and null says it better."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write one record by rename."""
    write_text(path, dump(value) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none (or a torn one, which rename does not leave behind)."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def pack(values: np.ndarray) -> str:
    """Scores per item as text: bits where all are 0 or 1, else float32; compressed, base64."""
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"scores are one number an item, not an array of shape {values.shape}")
    if np.isin(values, (0, 1)).all():
        kind, raw = "b", np.packbits(values.astype(bool)).tobytes()
    else:
        kind, raw = "f", values.astype("<f4").tobytes()
    return f"{kind}{len(values)}:" + base64.b64encode(zlib.compress(raw, 9)).decode()


def unpack(text: str) -> np.ndarray:
    """The inverse of `pack`, as float64 (float32 precision where the scores are not bits)."""
    head, body = text.split(":", 1)
    raw = zlib.decompress(base64.b64decode(body))
    if head[0] == "b":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=int(head[1:])).astype(float)
    return np.frombuffer(raw, "<f4").astype(float)


class Store:
    """Where artefacts and records lie, all of them named by content.

    artefacts/<hash>/   model.safetensors and spec.json (spec last: it is the commit mark), training.json
    cells/<hash>.json   cell records
    visits/<hash>.json  visit records
    samples/<hash>.npz  every sample of a visit
    """

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)

    def artefact(self, hash: str) -> Path:
        """The folder of an artefact."""
        return self.root / "artefacts" / hash

    def cell(self, hash: str) -> Path:
        """The file of a cell record."""
        return self.root / "cells" / f"{hash}.json"

    def visit(self, hash: str) -> Path:
        """The file of a visit record."""
        return self.root / "visits" / f"{hash}.json"

    def samples(self, hash: str) -> Path:
        """The samples behind a visit, form by form; no verdict reads them."""
        return self.root / "samples" / f"{hash}.npz"

    def has_artefact(self, hash: str) -> bool:
        """True once the artefact is whole."""
        return (self.artefact(hash) / "spec.json").is_file()

    def final(self, hash: str) -> dict[str, Any] | None:
        """The cell record, if it is final."""
        record = read_json(self.cell(hash))
        return record if record and record["status"] in FINAL else None
