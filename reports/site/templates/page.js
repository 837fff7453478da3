(function () {
  "use strict";
  // Tables sort by a column's button and filter by a word; without this script they are plain tables.
  function value(row, at) {
    var cell = row.cells[at], key = cell.getAttribute("data-sort");
    if (key === null) { return cell.textContent.trim().toLowerCase(); }
    return key === "" ? null : Number(key);
  }
  function compare(a, b) {
    if (a === null || b === null) { return a === b ? 0 : a === null ? 1 : -1; }
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }
  function sort(table, at, head) {
    var down = head.getAttribute("aria-sort") === "ascending";
    var body = table.tBodies[0], rows = Array.prototype.slice.call(body.rows);
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell) { cell.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort(function (a, b) {
      var x = value(a, at), y = value(b, at);
      return x === null || y === null ? compare(x, y) : down ? compare(y, x) : compare(x, y);
    });
    rows.forEach(function (row) { body.appendChild(row); });
  }
  function ready(table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, at) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () { sort(table, at, head); });
    });
    if (table.tBodies[0].rows.length < 8) { return; }
    var input = document.createElement("input");
    input.type = "search"; input.className = "filter"; input.placeholder = "filter rows";
    input.setAttribute("aria-label", "filter rows of this table");
    var shown = document.createElement("span");
    shown.className = "shown"; shown.setAttribute("aria-live", "polite");
    table.parentNode.parentNode.insertBefore(input, table.parentNode);
    table.parentNode.parentNode.insertBefore(shown, table.parentNode);
    input.addEventListener("input", function () {
      // every word must occur somewhere in the row, in whatever order
      var words = input.value.toLowerCase().split(/\s+/), rows = table.tBodies[0].rows, left = 0;
      Array.prototype.forEach.call(rows, function (row) {
        var text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
        left += row.hidden ? 0 : 1;
      });
      shown.textContent = left === rows.length ? "" : left + " of " + rows.length + " rows";
    });
  }
  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), ready);
  document.addEventListener("keydown", function (event) {
    var link = document.querySelector("[data-search]"), at = document.activeElement;
    if (event.key !== "/" || !link || /INPUT|SELECT|TEXTAREA/.test(at ? at.tagName : "")) { return; }
    event.preventDefault();
    window.location.href = link.href;
  });
  window.addEventListener("beforeprint", function () {
    Array.prototype.forEach.call(document.querySelectorAll("details"), function (part) { part.open = true; });
  });
})();
