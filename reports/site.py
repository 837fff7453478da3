"""Pages: one file each that opens from a disk, without network, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports import tracks
from reports.footprint import duration
from reports.measuring import rounds_of, seeds_of, sensors
from reports.notation import slug
from reports.page import Content
from reports.tables import realised_grid
from reports.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED
from reports.views import HOW_TO_READ

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
)


def environment() -> Environment:
    """Jinja with autoescape, our filters, and the page's own style and script with their digests."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (_minify((TEMPLATES / name).read_text()) for name in ("style.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    found.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy,
        "how_to_read": HOW_TO_READ,
        "outcomes": (HOLDS, SHORT, UNCLEAR, UNTESTED),
        "track": lambda forest, row: Markup(tracks.track(forest, row)),
        "axis": lambda forest: Markup(tracks.axis(forest)),
    }
    found.filters |= {
        "slug": slug,
        "tone": lambda verdict: f"v-{slug(verdict.replace(' ', '-'))}",
        "soft": soft,
    }
    found.tests["web"] = lambda text: re.fullmatch(r"https?://[^\s\"'<>]+", str(text)) is not None
    return found


def _minify(text: str) -> str:
    return "\n".join(
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith(("//", "/*"))
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def soft(text: str) -> Markup:
    """Escaped text that may break after the signs within a cell's name."""
    return Markup(re.sub(r"(?<=[(,=])(?=\w)", "<wbr>", str(escape(text))))


def span(pair: tuple[int, int]) -> str:
    """`5` or `3 to 5`."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


def page(content: Content, drawn: Mapping[str, str], files: list[str]) -> str:
    """index.html of one scope; `drawn` are figures as SVG by name, `files` what lies beside the page."""
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            page=content,
            drawn={name: Markup(text) for name, text in drawn.items()},
            facts=facts(content),
            sensors=sensors(content.table),
            states=states(content),
            files=files,
            realised=realised_grid(content.realised),
        )
    )


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
        ("tasks", str(len(content.sections))),
        ("arms", str(arms)),
        ("cells", f"{len(statuses):,}"),
        ("seeds", span(seeds_of(table))),
        ("rounds", span(rounds_of(table)) if rounds_of(table)[1] else "nothing timed"),
        ("machine", where + cores),
        ("CPU time", duration(foot.cpu_s)),
    ]


def states(content: Content) -> str:
    """One sentence on cells that are not `ok`; empty where all are."""
    statuses = [status for status, _ in content.table.status.values()]
    bad = [f"{statuses.count(status)} {status}" for status in sorted(set(statuses)) if status != "ok"]
    return f"Of {len(statuses):,} cells {', '.join(bad)}." if bad else ""


def summary(content: Content) -> dict[str, Any]:
    """What the front page says of this page."""
    from reports.scoreboard import counts
    from reports.sentences import plain

    told = dict(facts(content))
    return {
        "plan": content.plan,
        "scope": content.scope,
        "title": content.title,
        "tally": content.tally,
        "counts": counts(content.claims),
        "findings": [plain(finding.sentence) for finding in content.findings],
        "digest": content.digest,
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
        from reports.svg import inline

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
