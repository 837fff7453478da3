"""Matplotlib's SVG made small and safe for a page: no style attributes, which its policy forbids."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

#: What a page can do without.
_DROP = (
    re.compile(r"<\?xml.*?\?>\s*", re.S),
    re.compile(r"<!DOCTYPE.*?>\s*", re.S),
    re.compile(r"<!--.*?-->\s*", re.S),
    re.compile(r"<metadata>.*?</metadata>\s*", re.S),
    re.compile(r"<style.*?</style>\s*", re.S),
)
_STYLE = re.compile(r' style="([^"]*)"')
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_ID = re.compile(r'\bid="([^"]+)"')
_GROUP = re.compile(
    r'<g id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.axis|legend|[A-Za-z]+Collection)_?\d*">'
)
#: Font shorthands that matplotlib writes: `font: 7px 'DejaVu Sans'; text-anchor: middle`.
_FONT = re.compile(r"^(?:(bold|\d{3}) )?([\d.]+)px (.+)$")


def save(figure: Any, folder: Path, name: str) -> str:
    """Write folder/name.svg and .pdf, close the figure, and return the SVG for a page.

    Both files come out the same, byte for byte, for the same figure: no dates, salted ids.
    """
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    (folder / f"{name}.svg").write_text(text)
    return inline(text, name)


def inline(text: str, prefix: str) -> str:
    """The same drawing as an element of a page."""
    for pattern in _DROP:
        text = pattern.sub("", text)
    text = _GROUP.sub("<g>", text)
    text = _STYLE.sub(lambda match: _attributes(match.group(1)), text)
    text = _NUMBER.sub(lambda match: f"{float(match.group()):.2f}".rstrip("0").rstrip("."), text)
    prefix = re.sub(r"\W", "-", prefix)
    for name in set(_ID.findall(text)):
        used = f"#{name}" in text
        text = text.replace(f' id="{name}"', f' id="{prefix}-{name}"' if used else "")
        text = text.replace(f'"#{name}"', f'"#{prefix}-{name}"').replace(
            f"url(#{name})", f"url(#{prefix}-{name})"
        )
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace(
        "<svg ", '<svg class="drawn" role="img" stroke-linejoin="round" stroke-linecap="butt" ', 1
    )
    return re.sub(r">\s+<", "><", re.sub(r"\n\s*", " ", text)).strip()


def _attributes(style: str) -> str:
    """`fill: #fff; stroke: none` -> ` fill="#fff" stroke="none"`: the page's policy allows these."""
    found = []
    for part in style.split(";"):
        name, _, value = part.partition(":")
        name, value = name.strip(), value.strip()
        if not name:
            continue
        font = _FONT.match(value) if name == "font" else None
        if font:
            found += [f'font-size="{font.group(2)}"'] + (
                [f'font-weight="{font.group(1)}"'] if font.group(1) else []
            )
        elif name not in ("font-family", "font-style", "font-variant", "font-stretch", "transform-origin"):
            found.append(f'{name}="{value}"')
    return " " + " ".join(found) if found else ""
