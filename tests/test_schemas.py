"""The records' schema 1.0: what jobs write is what the schema says."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / f"{kind}.schema.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_schemas_are_schemas() -> None:
    for kind in ("plan", "card", "cell", "visit"):
        validator(kind)


def test_a_blank_record_is_valid() -> None:
    from benchmarks.scoring import blank

    hashes = {name: "0" * 12 for name in ("arm", "artefact", "system", "record")}
    cell = {"task": "t", "task_knobs": {}, "method": "m", "knobs": {}, "seed": 0, "workloads": [], **hashes}
    validator("cell").validate(json.loads(json.dumps(blank(cell, "failed", "why"))))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results" / "reference").glob("*/*.jsonl.xz")), ids=lambda p: p.name
)
def test_reference_packs_hold_valid_records(path: Path) -> None:
    check = {kind: validator(kind) for kind in ("cell", "visit")}
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    assert lines
    for line in lines:
        record = json.loads(line)
        check[record["kind"]].validate(record)
