"""joulemark reproduce: the site of the reference runs first, then the tour, then what comes next."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.digests import ROOT
from joulemark.packs import agreement, reference_machines, reference_site


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    sub.add_argument("--cores", default="all", help="cores for Snakemake (default: all)")
    sub.add_argument("--plan", default="default")


def run(command: str, args: argparse.Namespace) -> int:
    """What `make reproduce` runs after the environment stands."""
    results = Path("results")
    machines = reference_machines()
    if machines and reference_site(results) == 0:
        print(
            f"[2/3] report of the reference runs ({', '.join(machines)}): results/report/index.html   <- open it now"
        )
    else:
        print("[2/3] there are no reference runs yet: the report is made from your own")
    sys.stdout.flush()
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    print("[3/3] tour", flush=True)
    status = subprocess.run(
        [*snakemake, "--cores", args.cores, "tour", "--config", f"plan={args.plan}"], env=dict(os.environ)
    ).returncode
    if status:
        print("the tour did not finish: see above; the same command goes on from here", file=sys.stderr)
        return status
    print(agreement(results))
    subprocess.run([sys.executable, "-m", "reports", "front", "--results", str(results)], check=False)
    print(f"report: {(results / 'report' / 'index.html').resolve().as_uri()}")
    print(
        "next: `.venv/bin/snakemake --cores 2` measures every core card; "
        "`.venv/bin/joulemark try gradual_pruning --task fashion_mlp` compares one method"
    )
    return 0
