(function () {
  "use strict";
  // The interactive front of a task: one cost of choice, bars on both axes, a point leads to its records.
  // Data: JOULEMARK.task, a list of settings; every text goes into the page as text, never as markup.
  var settings = (window.JOULEMARK || {}).task, box = document.querySelector(".chart");
  if (!settings || !box || !window.echarts) { return; }
  var plot = box.querySelector(".plot"), controls = box.querySelector(".controls"), told = box.querySelector(".told");
  var root = (document.querySelector("nav .home") || {}).getAttribute("href").replace("index.html", "");
  var state = { setting: 0, cost: 0, names: true }, chart = null, order = [], range = [0, 1], at = -1;

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(); }
  function element(tag, text, parent) {
    var made = document.createElement(tag);
    if (text !== undefined) { made.textContent = text; }
    if (parent) { parent.appendChild(made); }
    return made;
  }
  function cost() { return settings[state.setting].costs[state.cost]; }
  function log(value) { return Math.log(value) / Math.LN10; }
  function narrow() { return plot.clientWidth < 560; }

  // A choice of many things: a label with a select, or nothing where there is one thing only.
  function choice(word, texts, picked, change) {
    if (texts.length < 2) { return; }
    var label = element("label", word, controls), select = element("select", undefined, label);
    texts.forEach(function (text, number) {
      var option = element("option", text, select);
      option.value = String(number);
      option.selected = number === picked;
    });
    select.addEventListener("change", function () { change(Number(select.value)); });
  }
  function build() {
    controls.textContent = "";
    controls.hidden = false;
    choice("setting", settings.map(function (s) { return s.title; }), state.setting, function (number) {
      state.setting = number; state.cost = 0; build(); draw();
    });
    choice("cost", settings[state.setting].costs.map(function (c) { return c.name + " (" + c.basis + ")"; }), state.cost,
      function (number) { state.cost = number; draw(); });
    var label = element("label", undefined, controls), tick = element("input", undefined, label);
    tick.type = "checkbox"; tick.checked = state.names;
    label.appendChild(document.createTextNode("names on the front"));
    tick.addEventListener("change", function () { state.names = tick.checked; draw(); });
  }

  // Ticks of a logarithmic axis: round ratios, about six of them, whatever the range.
  function ticks(low, high) {
    var sets = [[1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]], found = [], most = narrow() ? 5 : 9;
    sets.concat([[1, 3], [1]]).forEach(function (steps) {
      var here = [], k, from = Math.floor(log(low)), to = Math.ceil(log(high));
      for (k = from; k <= to; k += 1) {
        steps.forEach(function (step) {
          var value = step * Math.pow(10, k);
          if (value >= low && value <= high) { here.push(value); }
        });
      }
      if (here.length <= most && here.length > found.length) { found = here; }
    });
    if (found.length >= 3 || high / low > 4) { return found; }
    // a narrow range: even steps
    var step = Math.pow(10, Math.floor(log(high - low))), values = [], value;
    if ((high - low) / step < 3) { step /= 4; } else if ((high - low) / step > 6) { step *= 2; }
    for (value = Math.ceil(low / step) * step; value <= high; value += step) { values.push(Number(value.toPrecision(6))); }
    return values;
  }
  function ratio(value) {
    var text = value >= 1000 ? value.toPrecision(2) : String(Number(value.toPrecision(3)));
    return text + "×";
  }

  function kind(point) {
    if (point.base) { return "base"; }
    if (point.member === "?") { return "open"; }
    if (point.member === "surely") { return "surely"; }
    return point.member === "possibly" ? "possibly" : "no";
  }
  function bars(points, floor) {
    var data = [], gap = ["-", "-"];
    points.forEach(function (point) {
      var x = point.x, y = point.y;
      if (y[0] < floor) { return; }
      if (x[1] !== null && x[2] !== null && x[1] > 0 && x[1] < x[2]) { data.push([log(x[1]), y[0]], [log(x[2]), y[0]], gap); }
      if (y[1] !== null && y[2] !== null && y[1] < y[2]) { data.push([log(x[0]), y[1]], [log(x[0]), y[2]], gap); }
    });
    return data;
  }
  function stairs(points, floor) {
    var best = points.filter(function (p) { return p.on && p.y[0] >= floor; }).sort(function (a, b) { return a.x[0] - b.x[0]; }), data = [];
    best.forEach(function (point, number) {
      if (number) { data.push([log(point.x[0]), best[number - 1].y[0]]); }
      data.push([log(point.x[0]), point.y[0]]);
    });
    return data;
  }

  function tip(point) {
    var made = element("div");
    made.className = "tip";
    element("b", point.name, made);
    var list = element("dl", undefined, made);
    [[cost().name, point.cost], [settings[state.setting].metric, point.quality], ["its change", point.change], ["on the front", member(point)]].forEach(function (pair) {
      if (pair[1]) { element("dt", pair[0], list); element("dd", pair[1], list); }
    });
    element("i", "click: its records", made);
    return made;
  }
  function member(point) {
    if (point.member === "?") { return (point.on ? "by estimate" : "no, by estimate") + "; no interval yet"; }
    return point.member === "no" ? "no (" + point.share + " of draws)" : point.member + ", " + point.share + " of draws";
  }

  // A name too long for a line is parted where its knobs begin.
  function lines(name) {
    var open = name.indexOf("(");
    return name.length > 26 && open > 0 ? name.slice(0, open) + "\n" + name.slice(open) : name;
  }
  function margins() { return { left: narrow() ? 44 : 62, right: 14, top: 14, bottom: narrow() ? 58 : 52 }; }
  function apart(a, b) { return a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]; }
  // Where names stand: beside their points, over no point and no other name; a name without room is left out.
  function spots(points, low, high) {
    var edge = margins(), wide = plot.clientWidth - 2, tall = plot.clientHeight - 2, found = {};
    function at(point) {
      var x = (log(point.x[0]) - range[0]) / (range[1] - range[0]), y = (high - Math.max(point.y[0], low)) / (high - low);
      return [edge.left + x * (wide - edge.left - edge.right), edge.top + y * (tall - edge.top - edge.bottom)];
    }
    var taken = points.map(function (point) { var p = at(point); return [p[0] - 5, p[1] - 5, p[0] + 5, p[1] + 5]; });
    function rank(point) { return point.base ? 0 : point.on ? 1 : 2; }
    points.filter(named).sort(function (a, b) { return rank(a) - rank(b) || a.x[0] - b.x[0]; }).forEach(function (point) {
      var p = at(point), rows = lines(point.label).split("\n");
      var w = 6.5 * Math.max.apply(null, rows.map(function (row) { return row.length; })) + 2, h = 13 * rows.length;
      [[8, -h - 1], [8, 2], [-w - 8, -h - 1], [-w - 8, 2], [-w / 2, -h - 8], [-w / 2, 8], [12, -h / 2], [-w - 12, -h / 2],
        [10, -h - 16], [10, 17], [-w - 10, -h - 16], [-w - 10, 17]].slice(0, narrow() ? 8 : 12).some(function (to) {
        var box = [p[0] + to[0], p[1] + to[1], p[0] + to[0] + w, p[1] + to[1] + h];
        var inside = box[0] >= edge.left && box[2] <= wide - 4 && box[1] >= 2 && box[3] <= tall - edge.bottom;
        if (!inside || !taken.every(function (other) { return apart(box, other); })) { return false; }
        taken.push(box);
        found[point.href] = to;
        return true;
      });
    });
    return found;
  }
  // Where there are few points all have names, else those on the front.
  function named(point) { return point.on || point.base || (order.length <= 12 && !narrow()); }

  function scatter(name, points, floor, look) {
    return {
      type: "scatter", name: name, cursor: "pointer", z: look.z || 5, symbol: look.symbol, symbolSize: look.size,
      itemStyle: look.style, emphasis: { scale: 1.5 },
      label: { show: false, formatter: function (each) { return lines(each.data.point.label); },
        fontSize: 11, lineHeight: 13, color: colour("ink"), align: "left", verticalAlign: "top", textBorderColor: colour("bg"), textBorderWidth: 3 },
      data: points.map(function (point) {
        var low = point.y[0] < floor, size = low ? 9 : look.size, to = state.names && look.spots[point.href];
        return { value: [log(point.x[0]), low ? floor : point.y[0]], point: point, symbol: low ? "path://M-5-4H5L0 5Z" : look.symbol, symbolSize: size,
          label: to ? { show: true, position: [to[0] + size / 2, to[1] + size / 2] } : { show: false },
          itemStyle: low ? { color: colour(point.on ? "holds" : "beaten"), borderWidth: 0 } : look.style };
      })
    };
  }

  function draw() {
    var now = cost(), points = now.points.filter(function (p) { return p.x[0] > 0; }), low = now.window[0], high = now.window[1];
    var xs = [];
    points.forEach(function (p) { p.x.forEach(function (v) { if (v > 0 && v / p.x[0] < 4 && p.x[0] / v < 4) { xs.push(v); } }); });
    xs.push(1);
    var left = Math.min.apply(null, xs), right = Math.max.apply(null, xs), span = Math.max(log(right / left), 0.02);
    left = left / Math.pow(10, 0.05 * span); right = right * Math.pow(10, (narrow() ? 0.12 : 0.10) * span);
    var marks = ticks(left, right).map(log), groups = { surely: [], possibly: [], open: [], no: [], base: [] }, band = settings[state.setting].band;
    points.forEach(function (p) { groups[kind(p)].push(p); });
    order = points.slice().sort(function (a, b) { return a.x[0] - b.x[0]; });
    at = -1;
    range = [log(left), log(right)];
    var where = spots(points, low, high);
    var star = "path://M0-6L1.6-1.9 5.9-1.8 2.5.8 3.7 5 0 2.6-3.7 5-2.5.8-5.9-1.8-1.6-1.9Z";
    var looks = {
      no: { symbol: "circle", size: 7, style: { color: colour("beaten") }, z: 3 },
      possibly: { symbol: "circle", size: 9, style: { color: colour("bg"), borderColor: colour("holds"), borderWidth: 2 }, z: 4 },
      open: { symbol: "diamond", size: 11, style: { color: colour("bg"), borderColor: colour("violet"), borderWidth: 2 }, z: 4 },
      surely: { symbol: "circle", size: 10, style: { color: colour("holds") }, z: 5 },
      base: { symbol: star, size: 17, style: { color: colour("ink") }, z: 6 }
    };
    var tones = { no: colour("beaten"), possibly: colour("holds"), open: colour("violet"), surely: colour("holds"), base: colour("ink") };
    var quiet = { type: "line", silent: true, symbol: "none", animation: false, tooltip: { show: false } }, series = [];
    series.push(Object.assign({}, quiet, { name: "front", data: stairs(points, low), z: 2, lineStyle: { color: colour("holds"), width: 1.4, opacity: 0.45 },
      markArea: { silent: true, itemStyle: { color: colour("zone"), opacity: 0.55 }, data: [[{ yAxis: Math.max(low, -band) }, { yAxis: Math.min(high, band) }]] },
      markLine: { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: colour("edge"), type: "solid", width: 1 }, data: [{ xAxis: 0 }] } }));
    ["no", "open", "possibly", "surely", "base"].forEach(function (name) {
      series.push(Object.assign({}, quiet, { name: name + " bars", data: bars(groups[name], low), z: 2, connectNulls: false,
        lineStyle: { color: tones[name], width: 1.3, opacity: name === "no" ? 0.55 : 0.9 } }));
    });
    ["no", "open", "possibly", "surely", "base"].forEach(function (name) { looks[name].spots = where; series.push(scatter(name, groups[name], low, looks[name])); });
    var text = { color: colour("soft"), fontSize: 12 }, family = getComputedStyle(document.body).fontFamily;
    chart.setOption({
      animation: false, textStyle: { fontFamily: family }, aria: { enabled: false },
      grid: margins(),
      tooltip: { trigger: "item", confine: true, enterable: false, backgroundColor: colour("bg"), borderColor: colour("edge"), padding: [8, 12],
        formatter: function (each) { return each.data && each.data.point ? tip(each.data.point) : ""; } },
      xAxis: { type: "value", min: log(left), max: log(right), name: now.name + (narrow() ? ", × baseline" : ", × baseline (" + now.basis + "; left is cheaper)"), nameLocation: "middle", nameGap: 30,
        nameTextStyle: text, axisLine: { lineStyle: { color: colour("edge") }, onZero: false }, axisTick: { customValues: marks },
        axisLabel: { color: colour("soft"), customValues: marks, formatter: function (value) { return ratio(Math.pow(10, value)); } }, splitLine: { show: false } },
      yAxis: { type: "value", min: low, max: high, name: settings[state.setting].axis, nameLocation: "middle", nameGap: narrow() ? 30 : 44, nameTextStyle: text,
        axisLine: { show: true, onZero: false, lineStyle: { color: colour("edge") } }, axisTick: { show: true },
        axisLabel: { color: colour("soft"), showMinLabel: false, showMaxLabel: false, formatter: function (value) { return String(Number(value.toPrecision(6))).replace("-", "−"); } },
        splitLine: { lineStyle: { color: colour("grid") } } },
      series: series
    }, { notMerge: true });
    say(now, points);
  }
  function say(now, points) {
    var best = points.filter(function (p) { return p.on; }).sort(function (a, b) { return a.x[0] - b.x[0]; });
    told.hidden = false;
    told.textContent = "On the front by estimate, cheapest first (cost, change of " + settings[state.setting].metric + "): ";
    best.forEach(function (point, number) {
      var link = element("a", point.short, told);
      link.title = point.name;
      link.href = root + point.href;
      told.appendChild(document.createTextNode(" " + point.cost + ", " + point.change + (number < best.length - 1 ? "; " : ".")));
    });
    if (now.absent) {
      told.appendChild(document.createTextNode(" " + now.absent + (now.absent === 1 ? " arm is" : " arms are") + " not shown: no number of this cost, or no quality; the table below says so."));
    }
  }

  function show(number) {
    at = (number + order.length) % order.length;
    chart.getOption().series.forEach(function (series, row) {
      if (series.type !== "scatter") { return; }
      series.data.forEach(function (each, spot) {
        if (each.point === order[at] || (each.point && each.point.href === order[at].href)) {
          chart.dispatchAction({ type: "showTip", seriesIndex: row, dataIndex: spot });
        }
      });
    });
  }
  function key(event) {
    var step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) { event.preventDefault(); show(at < 0 ? (step > 0 ? 0 : -1) : at + step); }
    if (event.key === "Enter" && at >= 0) { window.location.href = root + order[at].href; }
    if (event.key === "Escape") { at = -1; chart.dispatchAction({ type: "hideTip" }); }
  }

  plot.textContent = "";
  plot.classList.add("live");
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Quality against cost: arrow keys go from cell to cell, Enter opens its records. The tables below hold the same numbers.");
  var canvas = element("div", undefined, plot);
  canvas.style.width = "100%"; canvas.style.height = "100%";
  chart = window.echarts.init(canvas, null, { renderer: "canvas" });
  chart.on("click", function (each) {
    if (each.data && each.data.point) { window.location.href = root + each.data.point.href; }
  });
  plot.addEventListener("keydown", key);
  plot.addEventListener("blur", function () { chart.dispatchAction({ type: "hideTip" }); });
  window.addEventListener("resize", function () { chart.resize(); draw(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  build();
  draw();
  // for tests, and for whoever wants the picture: JOULEMARK.chart.getDataURL()
  window.JOULEMARK.chart = chart;
})();
