"""What the search of a site finds: papers, claims, methods, tasks and cells, each with its address."""

from __future__ import annotations

from reports.content import Content
from reports.site.addresses import Addresses, claim_spot
from reports.site.methodviews import MethodView

#: One entry: kind, name, what is said of it, address from the root of the scope's folder.
Entry = tuple[str, str, str, str]


def entries(content: Content, methods: list[MethodView], addresses: Addresses) -> list[Entry]:
    """Every entry, papers first; the cells, of which there are most, last."""
    found: list[Entry] = []
    for paper in content.papers:
        home = addresses.papers[paper.key]
        about = f"{paper.key}, {paper.card['family']}, grade {paper.card['grade']}"
        found.append(("paper", str(paper.about["title"]), about, home))
        for claim in paper.claims:
            told = f"{claim.verdict}; {paper.key}"
            found.append(("claim", claim.says, told, f"{home}#{claim_spot(claim.id)}"))
    for method in methods:
        found.append(
            ("method", method.name, f"{method.family}: {method.lead}", addresses.methods[method.name])
        )
    for name, home in addresses.tasks.items():
        doc = str(content.table.scope["tasks"].get(name, {}).get("doc", ""))
        found.append(("task", name, " ".join(doc.split("\n\n")[0].split()), home))
    for arm, home in addresses.cells.items():
        known = content.table.arms[arm]
        found.append(("cell", str(known["label"]), f"{known['task']}, {arm}", home))
    return found
