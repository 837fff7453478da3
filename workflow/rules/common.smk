# What all rules share: the plan, and the get_* helpers that look things up in it.
import shutil
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)  # never the working directory: -s and -d
sys.path.insert(0, str(ROOT))

from benchmarks.host import claim, use_this_python
from benchmarks.plan import load_plan
from joulemark.progress import Progress, closing, hush, wanted_scope

use_this_python(ROOT)
PLAN = load_plan(
    config
)  # config holds only what the user typed; the base is config/<plan>.yaml


def get_data_spec(wildcards):
    return PLAN.data_text(wildcards.data)


def get_chunk_spec(wildcards):
    return PLAN.chunk_text(wildcards.chunk)


def get_chunk_data(wildcards):
    return f"results/data/{PLAN.chunks[wildcards.chunk].data}"


def get_starts(wildcards):
    return chunk_files(PLAN.chunks[wildcards.chunk].needs)


def get_round_spec(wildcards):
    return PLAN.round_text(wildcards.round)


def get_round_chunks(wildcards):
    return chunk_files(PLAN.rounds[wildcards.round].chunks)


def get_scope_bundles(wildcards):
    scope = PLAN.scopes[wildcards.scope]
    return chunk_files(scope.chunks) + [
        f"results/rounds/{name}.jsonl" for name in scope.rounds
    ]


def get_scope_text(wildcards):
    return PLAN.scope_text(wildcards.scope)


def get_study_chunks(key):
    # a function: a study's cells are planned only when its target is asked for
    return lambda wildcards: chunk_files(PLAN.tuning(key))


def get_table(wildcards):
    return f"results/tables/{PLAN.table(wildcards.scope)}.parquet"


def get_train_priority(wildcards):
    # in the tour, and then in the rest, all training runs before all measuring
    return 3 if PLAN.chunks[wildcards.chunk].tour else 1


def get_measure_priority(wildcards):
    return 2 if PLAN.rounds[wildcards.round].tour else 0


def chunk_files(names):
    return [f"results/chunks/{name}.jsonl" for name in sorted(names)]


def views(scope):
    # the digest-named table *and* the page: an up-to-date page would hide what is missing above it
    page = f"results/report/{PLAN.name}/{scope}/"
    files = [f"results/tables/{PLAN.table(scope)}.parquet", page + "index.html"]
    return files + ([page + "report.pdf"] if shutil.which("latexmk") else [])
