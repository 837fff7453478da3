"""The commands: one page, the front page, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.digests import ROOT
from tests.reports import golden, golden_scope


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "reports", *words]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def test_a_page_and_the_front_page(tmp_path: Path) -> None:
    table = tmp_path / "tour-abc.parquet"
    golden.rows().to_parquet(table, index=False)
    scope = golden_scope.scope(name="tour")
    scope["cards"] = scope["cards"][-1:]
    out = tmp_path / "report" / "golden" / "tour" / "index.html"
    done = run(
        "page", "--table", str(table), "--scope-json-on-stdin", "--out", str(out), text=json.dumps(scope)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = out.read_text()
    assert "Prefill and decode apart" in page and "tour-abc" in page
    assert run("front", "--results", str(tmp_path)).returncode == 0
    assert "The tour" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("table", "text", "said"),
    [
        ("rows.parquet", "{not json", "standard input is not the JSON"),
        ("absent.parquet", "{}", "there is no table"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, table: str, text: str, said: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"")
    out = tmp_path / "report" / "index.html"
    done = run(
        "page", "--table", str(tmp_path / table), "--scope-json-on-stdin", "--out", str(out), text=text
    )
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    assert not out.parent.exists()


def test_reports_never_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); import reports.write, reports.typesetting.latex, reports.site.pages; "
        "assert not {'torch', 'seaborn', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
