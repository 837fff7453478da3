"""The jobs as commands: python -m benchmarks data | train | measure | collect --out FILE < SPEC.

The spec is JSON; that of collect is a list of files, one a line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run one job."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("job", choices=("data", "train", "measure", "collect"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    from benchmarks import jobs

    if args.job == "collect":
        from benchmarks.collect import collect

        collect(sys.stdin.read().split("\n"), args.out)
        return 0
    spec = jobs.read_spec()
    if args.job == "data":
        from benchmarks.data.archives import DataError

        try:
            jobs.prepare_data(spec, args.out)
        except DataError as error:  # the user's to mend, not a programmer's: one line
            print(error, file=sys.stderr)
            return 1
        return 0
    if args.job == "train":
        return jobs.train_chunk(spec, args.out)
    return jobs.measure_round(spec, args.out)


if __name__ == "__main__":
    sys.exit(main())
