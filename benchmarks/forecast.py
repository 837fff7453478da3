"""What a part of a plan will cost if nothing of it is done yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.cells import Cell, Chunk, Round
    from benchmarks.plan import Plan

#: CPU seconds of a round's start (import of torch, loading), and of one cell and workload in it.
ROUND_START_S, VISIT_S = 2.0, 0.45
#: CPU seconds of one training job's start.
JOB_START_S = 3.0
#: Megabytes that a cell leaves, on average.
CELL_MB = 2.0
#: Minutes of planning, collecting and reporting.
REST_MINUTES = 0.3


def chunk_cpu_s(chunk: Chunk) -> float:
    """CPU seconds of a training job."""
    return JOB_START_S + sum(cell.cpu_s for cell in chunk.cells)


def round_s(made: Round) -> float:
    """Seconds of a round, which has the machine to itself."""
    return ROUND_START_S + VISIT_S * (1 + len(made.visits))


def forecast(plan: Plan, scope: str, cores: int) -> dict[str, float]:
    """Forecast of a scope.

    Returns:
        cells, jobs, train_cpu_s, measure_s (wall, all cores), minutes (wall), disk_mb.
    """
    part = plan.scopes[scope]
    chunks = [plan.chunks[name] for name in part.chunks]
    train = sum(chunk_cpu_s(chunk) for chunk in chunks)
    measure = sum(round_s(plan.rounds[name]) for name in part.rounds)
    cells = sum(len(chunk.cells) for chunk in chunks)
    return {
        "cells": cells,
        "jobs": len(part.chunks) + len(part.rounds),
        "train_cpu_s": round(train, 1),
        "measure_s": round(measure, 1),
        "minutes": round((train / max(cores, 1) + measure) / 60 + REST_MINUTES, 1),
        "disk_mb": round(CELL_MB * cells, 1),
    }


def cpu_s(cells: Iterable[Cell]) -> float:
    """CPU seconds of cells with all that they start from."""
    seen: dict[str, Cell] = {}
    todo = list(cells)
    while todo:
        cell = todo.pop()
        if cell.system not in seen:
            seen[cell.system] = cell
            todo += cell.refs.values()
    return sum(cell.cpu_s for cell in seen.values())
