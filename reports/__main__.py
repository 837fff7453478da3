"""The report as commands.

python -m reports page --table T.parquet --scope-json-on-stdin --out results/report/PLAN/SCOPE/index.html
python -m reports pdf --out results/report/PLAN/SCOPE/report.pdf
python -m reports front --results results
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Build one page, one PDF, or the front page."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="build the report")
    jobs = parser.add_subparsers(dest="job", required=True)
    page = jobs.add_parser("page", help="the whole folder of one scope")
    page.add_argument("--table", type=Path, required=True, help="what collect wrote")
    page.add_argument(
        "--scope-json-on-stdin", action="store_true", required=True, help="what the plan says about the scope"
    )
    page.add_argument("--out", type=Path, required=True, help="index.html of the folder")
    pdf = jobs.add_parser("pdf", help="report.pdf from the report.tex beside it; needs latexmk")
    pdf.add_argument("--out", type=Path, required=True)
    front = jobs.add_parser("front", help="the page that lists all pages")
    front.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    if args.job == "pdf":
        from reports.typesetting.latex import pdf as make

        make(args.out)
        return 0
    from reports import write

    if args.job == "front":
        write.front(args.results)
        return 0
    try:
        scope = json.load(sys.stdin)
    except json.JSONDecodeError as error:
        raise SystemExit(f"page: standard input is not the JSON of a scope: {error}") from None
    if not args.table.is_file():
        raise SystemExit(f"page: there is no table {args.table}")
    write.page(args.table, scope, args.out)
    folder = args.out.resolve().parent.parent.parent
    if folder.name == "report":  # the page that lists all pages knows of this one at once
        write.front(folder.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
