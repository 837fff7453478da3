"""Collect: the bundles of a scope -> one tidy table, one row a number."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.digests import digest
from benchmarks.records import dump

#: Columns of the table, in order; docs/data-dictionary.md explains them.
COLUMNS = (
    "kind", "task", "task_id", "task_knobs", "method", "knobs", "arm", "seed", "system", "record", "status", "reason",
    "metric", "basis", "value", "valid", "n", "items", "workload", "form", "round", "baseline", "log_ratio", "clock",
    "flags", "device", "protocol", "env", "cpu_s", "sensor",
)  # fmt: skip
#: Metrics of a visit's form that become rows, with the name of their log ratio.
VISIT_METRICS = {
    "latency_s": "log_ratio",
    "latency_observed_s": None,
    "cpu_s": None,
    "high_water_bytes": None,
    "first_call_s": None,
    "train_s": "train_log_ratio",
    "energy_j": "energy_log_ratio",
    "net_energy_j": None,
    "modelled_energy_j": None,
}
#: Sensor of what was computed and not read; it enters no front and no claim.
MODEL = "tdp_load_model"


def rows_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one record; a cell without results still has its status row."""
    yield from _cell_rows(record) if record["kind"] == "cell" else _visit_rows(record)


def _common(record: Mapping[str, Any]) -> dict[str, Any]:
    key = record["key"]
    return {
        "kind": record["kind"],
        "task": key["task"],
        "task_id": digest([key["task"], key["task_knobs"]]),
        "task_knobs": dump(key["task_knobs"]),
        "method": key["method"],
        "knobs": dump(key["knobs"]),
        "arm": key["arm"],
        "seed": key["seed"],
        "system": key["system"],
        "env": dump(record["env"]),
    }


def _cell_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    training = record["training"] or {}
    common = _common(record) | {
        "record": record["key"]["record"],
        "status": record["status"],
        "reason": record["reason"],
        "cpu_s": training.get("cpu_s"),
    }
    yield common | {"metric": "status", "basis": "counted"}
    basis = record.get("basis", "counted")
    for metric, entry in record["quality"].items():
        yield common | {
            "metric": metric,
            "basis": basis,
            "value": entry["mean"],
            "valid": entry.get("valid"),
            "n": entry["n"],
            "items": entry["items"],
        }
    for metric, value in record["cost"].items():
        name, _, workload = metric.partition("@")
        reason = record["cost_reasons"].get(metric, "")
        yield common | {
            "metric": metric,
            "basis": basis,
            "value": value,
            "workload": workload,
            "reason": reason,
        }
    stages = training.get("stage_cpu_s", {})
    for name, seconds in {**stages, "stages": sum(stages.values())}.items() if stages else ():
        yield common | {"metric": f"{name}_cpu_s", "basis": "measured", "value": seconds}
    for name, value in record["probes"].items():
        yield common | {"metric": f"probe_{name}", "basis": "counted", "value": value}


def _visit_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    key = record["key"]
    common = _common(record) | {
        "status": "ok",
        "reason": record["reason"],
        "workload": key["workload"],
        "round": key["round"],
        "baseline": key["baseline"],
        "device": key["device"],
        "protocol": key["protocol"],
        "flags": ",".join(record["flags"]),
        "basis": "measured",
    }
    if not record["forms"]:
        yield common | {"metric": f"latency_s@{key['workload']}"}
    for form, entry in record["forms"].items():
        for metric, ratio in VISIT_METRICS.items():
            if entry.get(metric) is not None:
                yield common | _form_row(entry, metric, ratio, key["workload"], common) | {"form": form}
    yield from _energy_null(record, common)


def _form_row(
    entry: Mapping[str, Any], metric: str, ratio: str | None, workload: str, common: Mapping[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": metric if metric == "train_s" else f"{metric}@{workload}",
        "value": float(entry[metric]),
        "n": entry["samples"],
        "log_ratio": entry.get(ratio) if ratio else None,
    }
    if metric == "modelled_energy_j":
        return row | {"basis": "modelled", "sensor": MODEL}
    if metric.endswith("energy_j"):  # what disturbed the clocks did not disturb the sensor
        return row | {"sensor": entry["energy_sensor"], "flags": ",".join(entry["energy_flags"])}
    return row | {"clock": entry["clock"], "flags": ",".join(entry["flags"]) or common["flags"]}


def _energy_null(record: Mapping[str, Any], common: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Energy that no sensor told: one row with the reason, never a 0."""
    for form, entry in record["forms"].items():
        if form != "aa" and entry.get("energy_j") is None and entry.get("energy_reason"):
            yield common | {
                "metric": f"energy_j@{record['key']['workload']}",
                "form": form,
                "sensor": entry["energy_sensor"],
                "reason": entry["energy_reason"],
            }
            return


def collect(bundles: Iterable[str], out: Path) -> None:
    """Write the table of some bundles as parquet, whole or not at all."""
    rows = [row for path in bundles if path for record in read_bundle(Path(path)) for row in rows_of(record)]
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(f".{os.getpid()}.tmp")
    as_table(rows).to_parquet(temporary, index=False)
    os.replace(temporary, out)


def as_table(rows: list[dict[str, Any]]) -> Any:
    """Rows as a data frame with the columns and types of the data dictionary."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("value", "valid", "log_ratio", "cpu_s"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    for name in ("seed", "n", "round", "protocol"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("Int64")
    return table


def read_bundle(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a bundle, one a line; a bundle that is missing has none."""
    if path.is_file():
        with path.open() as lines:
            for line in lines:
                yield json.loads(line)
