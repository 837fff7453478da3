"""The command line `joulemark`. Each command is a function in a module of its own, imported when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from benchmarks.knobs import InputError

#: Command -> (module, one line, adds its arguments).
COMMANDS = {
    "list": ("joulemark.listing", "tasks, methods with knobs, cards with claims, plans"),
    "cells": ("joulemark.listing", "what a plan runs, with the forecast"),
    "show": ("joulemark.tracing", "a card, cell, task or method by its name or hash"),
    "why": ("joulemark.tracing", "what a cell's hash is made of"),
    "diff": ("joulemark.tracing", "what differs between two cells"),
    "try": ("joulemark.trial", "compare one method with the baseline in about a minute, without a card"),
    "new": ("joulemark.scaffold", "begin a method, task or paper from a template"),
    "doctor": ("joulemark.doctor", "what this machine can measure and what not, with reason and remedy"),
    "pack": ("joulemark.packs", "pack finished records for results/reference/<machine>/"),
    "train": ("joulemark.bare", "train a plan's cells without Snakemake"),
    "measure": ("joulemark.bare", "train and time a plan's cells without Snakemake"),
    "report": ("joulemark.reporting", "pages of what exists, or of the reference runs"),
    "strict": ("joulemark.reporting", "fail on any cell that is missing or not final"),
    "retry": ("joulemark.reporting", "the command that tries again what is not final"),
    "extend": ("joulemark.extend", "more seeds or rounds of one card, without repeating what exists"),
    "tune": ("joulemark.reporting", "write the result of a card's finished tuning study"),
    "reproduce": ("joulemark.reproduce", "the reference report, then the tour: what `make reproduce` runs"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line; modules add their own arguments when they are asked for."""
    top = argparse.ArgumentParser(
        prog="joulemark", description="Re-measure the claims of efficient deep learning.", allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        sub = commands.add_parser(name, help=line, description=line, allow_abbrev=False)
        sub.set_defaults(module=module)
        if name in sys.argv[1:2]:
            importlib.import_module(module).arguments(name, sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; a mistake of the user is one line and exit status 1."""
    if argv is not None:
        sys.argv = ["joulemark", *argv]
    try:
        args, rest = parser().parse_known_args()
        module = importlib.import_module(args.module)
        if rest and args.command != "try":
            raise InputError(
                f"joulemark {args.command}: unknown argument {rest[0]!r}; see joulemark {args.command} -h"
            )
        args.rest = rest
        return int(module.run(args.command, args) or 0)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("stopped; what is done is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
