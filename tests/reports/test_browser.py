"""A real browser opens the pages from a disk: the script runs, tables sort and filter, a phone suffices."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = (
    shutil.which("chromium-headless-shell") or shutil.which("chromium") or shutil.which("chromium-browser")
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="neither chromium-headless-shell nor chromium is installed"),
]
HARNESS = """<!doctype html><meta charset="utf-8"><iframe id="f" src="%s" width="%d" height="900"></iframe>
<pre id="out"></pre><script>
document.getElementById("f").onload = function () {
  var page = this.contentDocument, out = {};
  try { out = (function () { %s })(); } catch (error) { out = {error: String(error)}; }
  document.getElementById("out").textContent = JSON.stringify(out);
};
</script>"""
SORT = """
  var table = Array.prototype.filter.call(page.querySelectorAll("table"), function (t) {
    return /every arm/.test(t.caption.textContent) && t.tBodies[0].rows.length > 8; })[0];
  var heads = table.tHead.rows[0].cells, at = 2;
  function column() {
    return Array.prototype.map.call(table.tBodies[0].rows, function (r) { return r.cells[at].dataset.sort; });
  }
  heads[at].querySelector("button").click(); var up = column();
  heads[at].querySelector("button").click(); var down = column();
  var input = table.parentNode.parentNode.querySelector("input"); input.value = "int8";
  input.dispatchEvent(new Event("input"));
  var seen = Array.prototype.filter.call(table.tBodies[0].rows, function (r) { return !r.hidden; })
    .map(function (r) { return r.cells[0].textContent; });
  return {up: up, down: down, seen: seen, sorted: heads[at].getAttribute("aria-sort")};
"""
PHONE = """
  var root = page.documentElement;
  var font = page.defaultView.getComputedStyle(page.body).fontSize;
  return {wide: root.scrollWidth, window: root.clientWidth, font: font};
"""


def visit(page: Path, folder: Path, script: str, width: int = 1280) -> tuple[Any, str]:
    """What the script returns inside the page, and what the console said."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS % (html.escape(page.as_uri()), width, script))
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        "--host-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=4000",
        f"--window-size={max(width, 500)},1000", "--dump-dom", harness.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
    assert found and found.group(1), done.stderr[-2000:]
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(found.group(1))), console


def test_tables_sort_and_filter_under_the_policy(pages: dict[str, Path], tmp_path: Path) -> None:
    told, console = visit(pages["golden"] / "index.html", tmp_path, SORT)
    assert console == ""
    assert "error" not in told
    up = [float(value) for value in told["up"] if value]
    assert up == sorted(up) and told["up"][-1] == "" and told["down"][-1] == ""
    assert [float(value) for value in told["down"] if value] == sorted(up, reverse=True)
    assert told["seen"] == ["int8"] and told["sorted"] == "descending"


@pytest.mark.parametrize("name", ["golden", "nasty", "front"])
def test_a_phone_needs_no_sideways_scrolling_and_hears_no_complaint(
    pages: dict[str, Path], tmp_path: Path, name: str
) -> None:
    told, console = visit(pages[name] / "index.html", tmp_path, PHONE, width=390)
    assert console == ""
    assert told["wide"] <= told["window"] <= 390 and float(told["font"].removesuffix("px")) >= 15
