"""Pages: one file each that opens from a disk, without network, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.content import Content
from reports.drawing import tracks
from reports.judging.footprint import duration, energy, grams
from reports.judging.measuring import rounds_of, seeds_of
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED
from reports.notation import slug
from reports.site.addresses import claim_spot
from reports.views import HOW_TO_READ

#: How a verdict is said of several claims.
PLURAL = {HOLDS: "hold", SHORT: "fall short"}
TEMPLATES = Path(__file__).with_name("templates")
#: Keys of summary.json: what the front page says of a page without opening it.
SUMMARY = (
    "plan",
    "scope",
    "title",
    "tally",
    "papers",
    "tasks",
    "arms",
    "cells",
    "seeds",
    "rounds",
    "machine",
    "digest",
    "findings",
    "counts",
    "reference",
    "stale",
)


def environment(nonce: str = "") -> Environment:
    """Jinja with autoescape, our filters, and the pages' style and script with their digests.

    Scripts beside a page are let in by the nonce: hashes of files that are loaded from a disk, and `self`
    there, mean something else in every browser. It is made from the content, so that whoever writes text into
    a record cannot know it.
    """
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (minify((TEMPLATES / name).read_text()) for name in ("style.css", "page.js"))
    beside = f" 'nonce-{nonce}'" if nonce else ""
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'{beside}; script-src '{_digest(script)}'{beside}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    found.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy,
        "nonce": nonce,
        "root": "",
        "links": {},
        "shorts": {},
        "how_to_read": HOW_TO_READ,
        "outcomes": (HOLDS, SHORT, UNCLEAR, UNTESTED),
        "track": lambda forest, row: Markup(tracks.track(forest, row)),
        "axis": lambda forest: Markup(tracks.axis(forest)),
    }
    found.filters |= {
        "slug": slug,
        "spot": claim_spot,
        "tone": lambda verdict: f"v-{slug(verdict.replace(' ', '-'))}",
        "soft": soft,
        "prose": prose,
        "tied": lambda text: str(text).replace(" %", "\u00a0%"),
        "outcome": lambda verdict, number: PLURAL.get(verdict, verdict) if number != 1 else verdict,
        "count": lambda number, noun: f"{number:,} {noun}{'' if number == 1 else 's'}",
    }
    found.tests["web"] = lambda text: re.fullmatch(r"https?://[^\s\"'<>]+", str(text)) is not None
    return found


def minify(text: str) -> str:
    """Lines without indentation, empty lines and comments that fill a line."""
    return "\n".join(
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith(("//", "/*"))
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def soft(text: str) -> Markup:
    """Escaped text that may break after the signs within a cell's name, but not between a knob and its number."""
    return Markup(re.sub(r"(?<=[(,_])(?=\w)|(?<==)(?=[^\W\d]\w*\()", "<wbr>", str(escape(text))))


def prose(text: str) -> Markup:
    """Escaped text of a docstring, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def span(pair: tuple[int, int]) -> str:
    """`5` or `3 to 5`."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


def facts(content: Content) -> list[tuple[str, str]]:
    """What was run, where, and what it cost: (word, value)."""
    table, foot = content.table, content.footprint
    statuses = [status for status, _ in table.status.values()]
    arms = len({arm.id for section in content.sections for arm in section.arms})
    machine = [env for env, _ in content.machines][:1]
    where = (
        ", ".join(machine[0].get(key, "") for key in ("cpu", "system") if machine[0].get(key))
        if machine
        else "unknown"
    )
    cores = f", {machine[0]['cores']} cores" if machine and machine[0].get("cores") else ""
    return [
        ("papers", str(len(content.papers))),
        ("tasks", _tasks(content)),
        ("arms", str(arms)),
        ("cells", f"{len(statuses):,}"),
        ("seeds", span(seeds_of(table))),
        ("rounds", span(rounds_of(table)) if rounds_of(table)[1] else "nothing timed"),
        ("machine", where + cores),
        ("CPU time", duration(foot.cpu_s)),
        ("energy, modelled", energy(foot.kwh[1])),
        *([("carbon, modelled", f"{grams(foot.grams[1])} CO2e")] if foot.grams else []),
    ]


def _tasks(content: Content) -> str:
    """How many tasks, and in how many settings where some have several."""
    names, settings = len({section.task for section in content.sections}), len(content.sections)
    return str(names) if names == settings else f"{names} in {settings} settings"


def states(content: Content) -> str:
    """One sentence on cells that are not `ok`; empty where all are."""
    statuses = [status for status, _ in content.table.status.values()]
    bad = [f"{statuses.count(status)} {status}" for status in sorted(set(statuses)) if status != "ok"]
    return f"Of {len(statuses):,} cells {', '.join(bad)}." if bad else ""


def stale(content: Content) -> set[str]:
    """Cell records of a reference run that today's code would make anew."""
    old = set((content.table.scope.get("reference") or {}).get("stale") or ())
    return old & set(content.table.cells["record"].dropna())


def summary(content: Content) -> dict[str, Any]:
    """What the front page says of this page."""
    from reports.judging.scoreboard import counts
    from reports.wording.sentences import plain

    told = dict(facts(content))
    return {
        "plan": content.plan,
        "scope": content.scope,
        "title": content.title,
        "tally": content.tally,
        "counts": counts(content.claims),
        "findings": [plain(finding.sentence) for finding in content.findings],
        "digest": content.digest,
        "reference": str((content.table.scope.get("reference") or {}).get("machine", "")),
        "stale": len(stale(content)),
        **{name: told[name] for name in ("papers", "tasks", "arms", "cells", "seeds", "rounds", "machine")},
    }


def front(results: Path) -> str:
    """results/report/index.html: every page that exists, the widest scopes first."""
    root = results / "report"
    pages = []
    for path in sorted(root.glob("*/*/index.html")):
        told = _read_summary(path.with_name("summary.json"))
        plan, scope = path.parent.parent.name, path.parent.name
        pages.append(
            {
                **{key: "" for key in SUMMARY},
                "counts": {},
                "findings": [],
                **told,
                "plan": plan,
                "scope": scope,
                "href": f"{plan}/{scope}/index.html",
            }
        )
    pages.sort(key=lambda entry: (str(entry["plan"]), _rank(str(entry["scope"])), str(entry["scope"])))
    lead = min(pages, key=lambda entry: (entry["plan"] != "default", _rank(entry["scope"])), default=None)
    drawn = root / lead["plan"] / lead["scope"] / "figures" / "realised.svg" if lead else None
    figure = None
    if drawn is not None and drawn.is_file():
        from reports.drawing.svg import inline

        figure = Markup(inline(drawn.read_text(), "realised"))
    return environment().get_template("front.html.j2").render(pages=pages, lead=lead, figure=figure)


def _rank(scope: str) -> int:
    kinds = ("all", "tour", "family", "task", "paper")
    kind = scope.partition("_")[0]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: told[key] for key in SUMMARY if key in told} if isinstance(told, dict) else {}
