"""What a run tells about itself: what was asked for, what it cost, what it found, what comes next."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.collect import read_bundle

#: When this process began, for the share of a run that is neither training nor measuring nor evaluating.
BEGAN = time.time()


def wanted_scope(argv: list[str] | None = None) -> str:
    """The scope that a Snakemake command line asks for; `all` where it names none."""
    known = ("tour", "paper_", "study_", "family_", "task_")
    words = argv if argv is not None else sys.argv[1:]
    for before, word in zip(["", *words], words, strict=False):
        if before in ("--cores", "-c", "--jobs", "-j"):  # `--cores all` names no scope
            continue
        if word.startswith(known) or word == "all":
            return word
    return "all"


def spent(results: Path, since: float) -> dict[str, float]:
    """Seconds of cells trained and scored, and of rounds, whose records were written since then."""
    seconds = {"training": 0.0, "evaluating": 0.0, "measuring": 0.0}
    for path in (results / "cells").glob("*.json"):
        record = _recent(path, since)
        if record:
            took = record["timing"]["end"] - record["timing"]["start"]
            trained = min((record["training"] or {}).get("cpu_s", 0.0), took)
            seconds["training"] += trained
            seconds["evaluating"] += took - trained
    stretches = []
    for path in (results / "visits").glob("*.json"):
        record = _recent(path, since)
        if record:
            when = record["timing"]  # loading what is timed is part of measuring
            stretches.append((when["start"] - (when.get("fixed_s") or 0.0), when["end"]))
    reached = 0.0
    for begin, end in sorted(stretches):  # visits of one workload share their time
        seconds["measuring"] += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return seconds


def _recent(path: Path, since: float) -> dict[str, Any] | None:
    if path.stat().st_mtime < since:
        return None
    record = json.loads(path.read_text())
    return record if record.get("timing", {}).get("end", 0) >= since else None


def closing(scope: str, results: Path = Path("results"), cores: int = 2) -> str:
    """The last words of a run: minutes and shares, claims, where the report is, what comes next."""
    wall = time.time() - BEGAN
    used = spent(results, BEGAN)
    lines = []
    if sum(used.values()) > 1:
        total = wall * cores
        share = {name: value * (cores if name == "measuring" else 1) / total for name, value in used.items()}
        rest = max(0.0, 1 - sum(share.values()))
        told = ", ".join(f"{name} {value:.0%}" for name, value in share.items())
        lines.append(f"{wall / 60:.1f} min: {told}, everything else {rest:.0%}")
    page = next(
        iter(sorted((results / "report").glob(f"*/{scope}/index.html"), key=lambda p: -p.stat().st_mtime)),
        None,
    )
    if page:
        lines.append(claims(page.parent / "verdicts.csv"))
        lines.append(f"report: {page}")
    lines.append("next: `snakemake --cores N` measures every core card; `joulemark list` shows what there is")
    return "\n".join(line for line in lines if line)


def claims(path: Path) -> str:
    """Counts of verdicts from a page's verdicts.csv."""
    import csv

    if not path.is_file():
        return ""
    with path.open(newline="") as file:
        rows = {(row["paper"], row["claim"]): row for row in csv.DictReader(file)}
    told = []
    for own, what in (("False", "claims of papers"), ("True", "questions of our own")):
        mine = [row for row in rows.values() if row["own"] == own and row["by_construction"] != "True"]
        verdicts = Counter(row["claim_verdict"] for row in mine)
        if mine:
            told.append(
                f"{len(mine)} {what}: {verdicts['holds']} hold here, {verdicts['falls short']} fall short here, "
                f"{verdicts['unclear']} unclear, {verdicts['not tested']} not tested"
            )
    grades = Counter(row["grade"] for row in rows.values())
    return "\n".join(
        [*told, "grades " + ", ".join(f"{grade} {count}" for grade, count in sorted(grades.items()))]
    )


def statuses(bundles: list[Path]) -> Counter[str]:
    """How many cell records have which status."""
    return Counter(
        record["status"] for path in bundles for record in read_bundle(path) if record["kind"] == "cell"
    )


class Progress(threading.Thread):
    """Says every now and then how far a run is, by the forecast of what is done; ends with the process."""

    def __init__(self, plan: Any, scope: str, cores: int, every_s: float = 20.0) -> None:
        super().__init__(daemon=True)
        self.plan, self.cores, self.every_s = plan, cores, every_s
        self.part = plan.scopes.get(scope, plan.scopes["all"])
        self.began, self.first = time.time(), self.done()

    def done(self) -> float:
        """Forecast seconds of the jobs whose output is there, over all."""
        from benchmarks.forecast import chunk_cpu_s, round_s

        total = ready = 0.0
        for name in self.part.chunks:
            seconds = chunk_cpu_s(self.plan.chunks[name]) / self.cores
            total += seconds
            ready += seconds * (self.plan.results / "chunks" / f"{name}.jsonl").exists()
        for name in self.part.rounds:
            seconds = round_s(self.plan.rounds[name])
            total += seconds
            ready += seconds * (self.plan.results / "rounds" / f"{name}.jsonl").exists()
        return ready / total if total else 1.0

    def line(self) -> str:
        """Percent done, and the time that is left at this speed."""
        share, spent_s = self.done(), time.time() - self.began
        moved = share - self.first
        left = f", about {spent_s * (1 - share) / moved / 60:.0f} min left" if moved > 0.02 else ""
        return f"{share:4.0%}{left}"

    def run(self) -> None:
        """Print a line whenever it says something new."""
        said = ""
        while True:
            time.sleep(self.every_s)
            now = self.line()
            if now.split(",")[0] != said:
                said = now.split(",")[0]
                print(now, file=sys.stderr, flush=True)


def hush() -> None:
    """Keep Snakemake's word a job out of the terminal (its log file has them); errors and failed logs stay."""
    import logging

    from snakemake.logging import logger

    chatter = {"JOB_INFO", "JOB_STARTED", "JOB_FINISHED", "SHELLCMD", "PROGRESS", "GROUP_INFO"}

    def said(record: logging.LogRecord) -> bool:
        event = str(getattr(getattr(record, "event", None), "name", ""))
        return event not in chatter and not record.getMessage().startswith(("Select jobs", "Execute "))

    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(said)
