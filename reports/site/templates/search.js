(function () {
  "use strict";
  // Entries are [kind, name, what is said, address]; a hit has every word in name, kind or what is said.
  var entries = (window.JOULEMARK || {}).search, box = document.querySelector(".search");
  if (!entries || !box) { return; }
  var input = box.querySelector("input"), list = box.querySelector(".hits"), found = box.querySelector(".found");
  var everything = document.querySelector(".everything"), MOST = 80;
  var texts = entries.map(function (entry) { return entry.slice(0, 3).join(" ").toLowerCase(); });

  function rank(entry, words) {
    var name = entry[1].toLowerCase();
    return words.every(function (word) { return name.indexOf(word) >= 0; }) ? (name.indexOf(words[0]) === 0 ? 0 : 1) : 2;
  }
  function show() {
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean), hits = [];
    everything.hidden = words.length > 0;
    list.textContent = "";
    if (!words.length) { found.textContent = ""; return; }
    entries.forEach(function (entry, number) {
      if (words.every(function (word) { return texts[number].indexOf(word) >= 0; })) { hits.push([rank(entry, words), number]); }
    });
    hits.sort(function (a, b) { return a[0] - b[0] || a[1] - b[1]; });
    found.textContent = hits.length ? hits.length + (hits.length === 1 ? " hit" : " hits") + (hits.length > MOST ? ", the first " + MOST : "") : "nothing has all of these words";
    hits.slice(0, MOST).forEach(function (hit) {
      var entry = entries[hit[1]], line = document.createElement("li"), kind = document.createElement("span");
      var what = document.createElement("div"), link = document.createElement("a"), more = document.createElement("small");
      kind.className = "kind"; kind.textContent = entry[0];
      link.href = entry[3]; link.textContent = entry[1]; more.textContent = entry[2];
      what.appendChild(link); what.appendChild(more); line.appendChild(kind); line.appendChild(what); list.appendChild(line);
    });
  }
  box.hidden = false;
  input.value = decodeURIComponent((/[#&]q=([^&]*)/.exec(window.location.hash) || ["", ""])[1].replace(/\+/g, " "));
  input.addEventListener("input", function () {
    show();
    history.replaceState(null, "", "#" + (input.value ? "q=" + encodeURIComponent(input.value) : ""));
  });
  show();
  input.focus();
})();
