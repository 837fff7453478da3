"""Aggregation of many records: 100,000 in 30 CPU-seconds on one core, tested on a tenth of them.

Measured on one core of a 2-core EPYC: 7.6 s collect, 0.8 s read, 6.6 s for the 15,000 checks of 100,000 records; a
tenth takes a tenth. The ceiling is three times that, since CPU time too grows beside busy neighbours.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.collect import collect
from reports.judging.table import Table
from reports.judging.verdicts import HOLDS, judge
from tests.reports import bulk

RECORDS = 10_000
CEILING_CPU_S = 4.5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("bulk")
    return folder, bulk.write(folder, RECORDS)


def test_ten_thousand_records_aggregate_in_a_tenth_of_the_time(written: tuple[Path, list[str]]) -> None:
    folder, paths = written
    began = time.process_time()
    collect(paths, folder / "table.parquet")
    table = Table.read(folder / "table.parquet", bulk.scope(RECORDS))
    verdicts = judge(table)
    spent = time.process_time() - began
    records = len(table.status) + len(table.visits.drop_duplicates(["arm", "round"]))
    assert records == RECORDS // bulk.PER_ARM * bulk.PER_ARM
    assert len(verdicts) > RECORDS / 10 and (verdicts["verdict"] == HOLDS).all()
    assert spent < CEILING_CPU_S, f"{spent:.1f} CPU-s for {records} records"


def test_judging_grows_with_the_records_and_not_with_their_square(written: tuple[Path, list[str]]) -> None:
    folder, paths = written
    collect(paths, folder / "whole.parquet")
    rows = Table.read(folder / "whole.parquet", bulk.scope(RECORDS)).rows
    times = []
    for part in (RECORDS // 5, RECORDS):
        scope = bulk.scope(part)
        table = Table(rows[rows["task"].isin(list(scope["tasks"]))], scope)
        began = time.process_time()
        judge(table)
        times.append(time.process_time() - began)
    assert times[1] / times[0] < 12, f"five times the records took {times[1] / times[0]:.1f} times as long"
