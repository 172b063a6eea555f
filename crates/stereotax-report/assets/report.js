// Draw the figures of the page from the data inside it. Nothing is computed but places on paper.
// Names come from files: they reach the page as text nodes, or through `esc` in tooltips.
(function () {
  "use strict";
  const root = document.documentElement;
  const problems = [];
  function report(where, error) {
    problems.push(where + ": " + (error && error.message ? error.message : error));
    root.dataset.errors = String(problems.length);
    const box = document.createElement("p");
    box.className = "script-error";
    box.textContent = "This figure could not be drawn (" + problems[problems.length - 1] + "). The tables hold its numbers.";
    (document.querySelector('[data-figure="' + where + '"] .plot') || document.querySelector("main")).append(box);
  }
  root.dataset.errors = "0";
  window.addEventListener("error", (e) => report("page", e.error || e.message));

  // ---- data -------------------------------------------------------------------------------------
  const data = JSON.parse(document.getElementById("stereotax-data").textContent);
  const cache = new Map();
  /** The rows of a table as objects; an undefined value is null. */
  function rows(name) {
    if (cache.has(name)) return cache.get(name);
    const table = Object.hasOwn(data.tables, name) ? data.tables[name] : null;
    const out = [];
    if (table) {
      const columns = table.columns.map((c) => {
        if (c.type === "text") return [c.name, (i) => (c.codes[i] < 0 ? null : c.levels[c.codes[i]])];
        return [c.name, (i) => (c.values[i] === "inf" ? Infinity : c.values[i] === "-inf" ? -Infinity : c.values[i])];
      });
      for (let i = 0; i < table.n_rows; i++) {
        const row = {};
        for (const [key, get] of columns) row[key] = get(i);
        out.push(row);
      }
    }
    cache.set(name, out);
    return out;
  }
  const distinct = (list) => [...new Set(list.filter((x) => x !== null && x !== undefined && x !== ""))];
  const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
  const esc = (s) => String(s).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
  const show = (x, digits = 3) => (isNumber(x) ? x.toFixed(digits).replace("-", "−") : x === Infinity ? "∞" : x === -Infinity ? "−∞" : "–");
  const clip = (s, n) => (s.length > n ? s.slice(0, n - 1) + "…" : s);
  const NAMES = {
    stable_mode: "stable mode", adaptive: "adaptive", layer_mean: "layer mean", first_layer: "first layer", last_layer: "last layer",
    best_layer: "best single layer", pod: "first POD mode", shuffled_order: "shuffled layer order", untrained_twin: "untrained twin",
    untrained: "untrained twin", layer: "single layers", noise_ceiling: "noise ceiling", ceiling: "noise ceiling",
  };
  const nice = (s) => (Object.hasOwn(NAMES, s) ? NAMES[s] : s.startsWith("nuisance:") ? "low-level: " + s.slice(9) : s.startsWith("best_other:") ? "best other (" + nice(s.slice(11)) + ")" : s.replace(/_/g, " "));

  const models = rows("models").filter((m) => m.model !== null);
  const modelOf = new Map(models.map((m) => [m.model, m]));
  const noStable = (name) => modelOf.has(name) && modelOf.get(name).verdict !== null && modelOf.get(name).verdict !== "stable";
  /** A model's name on an axis: marked where it has no stable mode or is an untrained control. */
  const axisName = (name, n) => {
    const m = modelOf.get(name), words = m && m.trained === false && !/untrained|random/i.test(name) ? name + " (untrained)" : name;
    return (noStable(name) ? "✕ " : "") + clip(words, n);
  };
  const modalities = data.modalities;
  const modalityIndex = (m) => Math.max(0, modalities.indexOf(m));
  const SYMBOLS = ["circle", "triangle", "rect", "diamond", "arrow", "pin", "roundRect"];
  const symbolOf = (m) => SYMBOLS[modalityIndex(m) % SYMBOLS.length];
  const modelOrder = [...models].sort((a, b) => modalityIndex(a.modality) - modalityIndex(b.modality));

  // ---- colours and charts -----------------------------------------------------------------------
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colourOf = (m) => css("--m" + (modalityIndex(m) % 7));
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  // Networks: the colours of their authors where all are of the seven of Yeo et al. (2011), else those of this page.
  const YEO7 = { vis: "#781286", sommot: "#4682b4", dorsattn: "#00760e", salventattn: "#c43afa", limbic: "#dcf8a4", cont: "#e69422", default: "#cd3e4e" };
  const YEO7_NAMES = { visual: "vis", somatomotor: "sommot", dorsalattention: "dorsattn", ventralattention: "salventattn", ventattn: "salventattn", salienceventralattention: "salventattn", control: "cont", frontoparietal: "cont", defaultmode: "default" };
  const networkNames = distinct(rows("rois").map((r) => r.network));
  const yeo7Of = (name) => { const word = name.toLowerCase().replace(/[^a-z]/g, ""), key = Object.hasOwn(YEO7_NAMES, word) ? YEO7_NAMES[word] : word; return Object.hasOwn(YEO7, key) ? YEO7[key] : null; };
  const isYeo7 = networkNames.length > 0 && networkNames.every(yeo7Of);
  const networkColour = (name) => (isYeo7 ? yeo7Of(name) : css("--m" + (Math.max(0, networkNames.indexOf(name)) % 7)));
  const charts = [];
  function text(size) {
    return { color: css("--ink"), fontFamily: css("--sans"), fontSize: size || 12 };
  }
  function axis(extra) {
    return Object.assign({
      axisLine: { show: true, lineStyle: { color: css("--zero") } }, axisTick: { show: false },
      splitLine: { show: true, lineStyle: { color: css("--line"), width: 0.6 } },
      axisLabel: { color: css("--soft"), fontFamily: css("--sans"), fontSize: 11 },
      nameTextStyle: { color: css("--soft"), fontFamily: css("--sans"), fontSize: 12 },
    }, extra);
  }
  function tooltip(formatter) {
    return {
      confine: true, backgroundColor: css("--paper"), borderColor: css("--line"),
      textStyle: { color: css("--ink"), fontFamily: css("--sans"), fontSize: 12 }, formatter,
    };
  }
  function chart(plot, height, option, many) {
    const box = document.createElement("div");
    box.style.height = height + "px";
    plot.append(box);
    const instance = echarts.init(box, null, { renderer: many ? "canvas" : "svg" });
    instance.setOption(Object.assign({ animation: false, textStyle: text(), aria: { enabled: false } }, option));
    charts.push(instance);
    return instance;
  }
  function absent(plot, message) {
    const p = document.createElement("p");
    p.className = "absent";
    p.textContent = message;
    plot.append(p);
  }

  // ---- own small drawings -----------------------------------------------------------------------
  const NS = "http://www.w3.org/2000/svg";
  function svg(tag, attributes, parent, content) {
    const node = document.createElementNS(NS, tag);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (content !== undefined) node.textContent = content;
    if (parent) parent.append(node);
    return node;
  }
  function titled(node, words) {
    svg("title", {}, node, words);
    return node;
  }
  /** A symbol around (x, y): the same shapes as in the charts. */
  function mark(parent, shape, x, y, r, attributes) {
    const paths = {
      triangle: `M${x} ${y - r}L${x + r} ${y + r * 0.8}L${x - r} ${y + r * 0.8}Z`,
      rect: `M${x - r * 0.85} ${y - r * 0.85}h${1.7 * r}v${1.7 * r}h${-1.7 * r}Z`,
      diamond: `M${x} ${y - r * 1.15}L${x + r} ${y}L${x} ${y + r * 1.15}L${x - r} ${y}Z`,
      arrow: `M${x} ${y - r}L${x + r * 0.8} ${y + r}L${x} ${y + r * 0.4}L${x - r * 0.8} ${y + r}Z`,
      pin: `M${x} ${y + r}L${x + r} ${y - r}L${x - r} ${y - r}Z`,
      cross: `M${x - r} ${y - r}L${x + r} ${y + r}M${x + r} ${y - r}L${x - r} ${y + r}`,
      plus: `M${x - r} ${y}H${x + r}M${x} ${y - r}V${y + r}`,
    };
    if (paths[shape]) return svg("path", Object.assign({ d: paths[shape], fill: "currentColor" }, attributes), parent);
    return svg("circle", Object.assign({ cx: x, cy: y, r: r, fill: "currentColor" }, attributes), parent);
  }
  function multiples(plot) {
    const grid = document.createElement("div");
    grid.className = "multiples";
    plot.append(grid);
    return (title, sub, fails) => {
      const cell = document.createElement("div");
      const head = document.createElement("div");
      head.className = "title";
      head.textContent = clip(title, 34);
      head.title = title;
      const line = document.createElement("div");
      line.className = fails ? "sub fails" : "sub";
      line.textContent = sub;
      cell.append(head, line);
      grid.append(cell);
      return cell;
    };
  }
  const lambdaText = (m) => !isNumber(m.lambda_re) ? "λ unknown" : m.lambda_im ? `λ ${show(m.lambda_re, 2)} ± ${show(Math.abs(m.lambda_im), 2)}i` : `λ ${show(m.lambda_re, 3)}`;
  function verdictText(m) {
    if (m.verdict === "stable") return "● stable · " + lambdaText(m);
    if (m.verdict === "no_stable_mode") return "✕ NO stable mode · " + lambdaText(m);
    if (m.verdict === "too_shallow") return "○ too shallow";
    return "○ not known";
  }
  function modalityLegend(legend, extra) {
    for (const m of modalities) legendItem(legend, symbolOf(m), "c" + (modalityIndex(m) % 7), m);
    for (const [shape, colour, words, attributes] of extra || []) legendItem(legend, shape, colour, words, attributes);
  }
  function legendItem(legend, shape, colour, words, attributes) {
    const item = document.createElement("span");
    const icon = svg("svg", { viewBox: "0 0 14 14", class: colour, "aria-hidden": "true" }, item);
    if (shape === "line") svg("path", Object.assign({ d: "M0 7H14", stroke: "currentColor", "stroke-width": 2 }, attributes), icon);
    else mark(icon, shape, 7, 7, 5, attributes);
    item.append(words);
    legend.append(item);
  }

  // ---- figures ----------------------------------------------------------------------------------
  const figures = {};
  /** Remembered choices per figure, so that redrawing for print keeps them. */
  const chosen = {};
  /** A select element; returns the current value. Not shown where there is nothing to choose. */
  function choose(figure, key, label, options, preferred, name) {
    const state = (chosen[figure.id] = chosen[figure.id] || {});
    if (!options.includes(state[key])) state[key] = options.includes(preferred) ? preferred : options[0];
    if (options.length > 1) {
      const wrap = document.createElement("label");
      wrap.append(label + " ");
      const select = document.createElement("select");
      for (const option of options) select.add(new Option(name ? name(option) : option, option, false, option === state[key]));
      select.addEventListener("change", () => { state[key] = select.value; draw(figure.dataset.figure); });
      // On paper a choice is its value.
      const printed = document.createElement("b");
      printed.className = "printed";
      printed.textContent = name ? name(state[key]) : state[key];
      wrap.append(select, printed);
      figure.querySelector(".choices").append(wrap);
    }
    return state[key];
  }
  /** Narrow rows down by the columns that hold more than one value. */
  function narrow(figure, list, keys, preferred) {
    for (const [key, label] of keys) {
      const options = distinct(list.map((r) => r[key]));
      if (!options.length) continue;
      const value = choose(figure, key, label, options, preferred && preferred[key], nice);
      list = list.filter((r) => r[key] === value);
    }
    return list;
  }

  figures["model-space"] = (figure, plot, legend) => {
    let list = rows("coordinates");
    if (!list.length) return absent(plot, "No coordinates are among these results.");
    list = narrow(figure, list, [["space", "Space"], ["representation", "Representation"], ["embedding", "Embedding"]], { representation: "stable_mode" });
    const points = list.filter((r) => isNumber(r.x) && isNumber(r.y));
    if (!points.length) return absent(plot, "No model has a point here.");
    modalityLegend(legend);
    const K = Math.sqrt(5.991); // radius that holds 95 % of a bivariate normal
    const ellipse = (p) => {
      if (!isNumber(p.sd_x) || !isNumber(p.sd_y)) return null;
      const out = [], rho = isNumber(p.cov_xy) && p.sd_x > 0 && p.sd_y > 0 ? Math.max(-1, Math.min(1, p.cov_xy / (p.sd_x * p.sd_y))) : 0;
      for (let i = 0; i <= 48; i++) {
        const u = Math.cos((i * Math.PI) / 24), v = Math.sin((i * Math.PI) / 24);
        out.push([p.x + K * p.sd_x * u, p.y + K * p.sd_y * (rho * u + Math.sqrt(1 - rho * rho) * v)]);
      }
      return out;
    };
    const outlines = points.map(ellipse);
    const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
    for (const o of outlines) if (o) for (const [x, y] of o) { xs.push(x); ys.push(y); }
    // One unit is as long on both axes: the plane is a map.
    const width = plot.clientWidth || 900, height = 520, w = width - 90, h = height - 80;
    const cx = (Math.min(...xs) + Math.max(...xs)) / 2, cy = (Math.min(...ys) + Math.max(...ys)) / 2;
    const sideOf = () => {
      // Greedy: the first place of four where a name meets neither a point nor a name that is placed.
      const at = points.map((p) => [60 + (p.x - cx) / unit + w / 2, 16 + h / 2 - (p.y - cy) / unit]);
      const boxes = at.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7]);
      const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
      return points.map((p, i) => {
        const long = 6.6 * clip(p.model, 26).length, [x, y] = at[i];
        const places = { right: [x + 8, y - 7, x + 8 + long, y + 7], left: [x - 8 - long, y - 7, x - 8, y + 7], top: [x - long / 2, y - 22, x + long / 2, y - 8], bottom: [x - long / 2, y + 8, x + long / 2, y + 22] };
        const free = Object.keys(places).find((side) => !boxes.some((b, k) => k !== i && meets(places[side], b))) || "right";
        boxes.push(places[free]);
        return free;
      });
    };
    const unit = 1.08 * Math.max((Math.max(...xs) - Math.min(...xs)) / w, (Math.max(...ys) - Math.min(...ys)) / h, 1e-12);
    const sides = sideOf();
    const share = (v) => (isNumber(v) ? ` (${(100 * v).toFixed(0)} % of variance)` : "");
    const round = (v) => Number(v.toPrecision(6));
    chart(plot, height, {
      grid: { left: 60, right: 30, top: 16, bottom: 56 },
      xAxis: axis({ type: "value", min: round(cx - (unit * w) / 2), max: round(cx + (unit * w) / 2), name: "axis 1" + share(points[0].explained_x), nameLocation: "middle", nameGap: 30, axisLabel: { show: true, color: css("--soft"), showMinLabel: false, showMaxLabel: false } }),
      yAxis: axis({ type: "value", min: round(cy - (unit * h) / 2), max: round(cy + (unit * h) / 2), name: "axis 2" + share(points[0].explained_y), nameLocation: "middle", nameGap: 40, axisLabel: { show: true, color: css("--soft"), showMinLabel: false, showMaxLabel: false } }),
      tooltip: tooltip((t) => { const p = t.data.row || points[t.dataIndex]; return `<b>${esc(p.model)}</b><br>${esc(p.modality)}${p.family ? " · family " + esc(p.family) : ""}<br>x ${show(p.x)} ± ${show(p.sd_x)}, y ${show(p.y)} ± ${show(p.sd_y)}`; }),
      series: [{
        type: "custom", silent: true, clip: true, data: points.map((p, i) => [p.x, p.y, i]),
        renderItem: (_, api) => {
          const i = api.value(2), outline = outlines[i];
          if (!outline) return null;
          return { type: "polygon", shape: { points: outline.map((q) => api.coord(q)) }, style: { fill: colourOf(points[i].modality), fillOpacity: 0.1, stroke: colourOf(points[i].modality), lineWidth: 1, opacity: 0.8 } };
        },
      }, {
        type: "scatter", z: 3, data: points.map((p, i) => ({ value: [p.x, p.y], row: p, label: { position: sides[i] }, symbol: symbolOf(p.modality), symbolSize: 12, itemStyle: { opacity: 1, color: colourOf(p.modality), borderColor: css("--paper"), borderWidth: 1 } })),
        label: { show: true, position: "right", distance: 7, formatter: (t) => clip(t.data.row.model, 26), color: css("--ink"), fontSize: 12, fontFamily: css("--sans") },
        labelLayout: { hideOverlap: points.length > 40 },
      }],
    });
  };

  const DOTS = {
    stable_mode: ["circle", 13, "--ink"], adaptive: ["emptyCircle", 9, "--ink"], layer_mean: ["rect", 9, "--m4"], first_layer: ["emptyTriangle", 9, "--m5"],
    last_layer: ["triangle", 10, "--m0"], best_layer: ["diamond", 12, "--m2"], pod: ["emptyDiamond", 10, "--m3"], shuffled_order: ["path://M-1,-8L1,-8L1,8L-1,8Z", [4, 16], "--m1"],
    untrained_twin: ["emptyRect", 9, "--m6"], untrained: ["emptyRect", 9, "--m6"],
  };
  const CROSS = "path://M0,2L2,0L5,3L8,0L10,2L7,5L10,8L8,10L5,7L2,10L0,8L3,5Z";
  figures.dots = (figure, plot, legend) => {
    const controls = rows("controls").filter((c) => !c.claim_representation || c.claim_representation === "stable_mode");
    if (!controls.length) return absent(plot, "No control is among these results.");
    const shown = modelOrder.map((m) => m.model).filter((m) => controls.some((c) => c.model === m));
    const series = [];
    const at = (name) => shown.indexOf(name);
    const claims = new Map();
    for (const c of controls) if (isNumber(c.claim)) claims.set(c.model, c.claim);
    const means = rows("scores").filter((s) => s.roi === "(mean)" && (s.subject === "(mean)" || s.subject === null));
    // The range of the shuffles, where the results hold each one's mean.
    const ranges = new Map();
    for (const s of means) {
      if (s.representation && s.representation.startsWith("shuffled_") && isNumber(s.score)) {
        const range = ranges.get(s.model) || [Infinity, -Infinity];
        ranges.set(s.model, [Math.min(range[0], s.score), Math.max(range[1], s.score)]);
      }
    }
    if (ranges.size) series.push({
      type: "custom", name: "range of shuffles", silent: true, itemStyle: { color: css("--m1") },
      data: [...ranges].filter(([m]) => at(m) >= 0).map(([m, r]) => [r[0], at(m), r[1]]),
      renderItem: (_, api) => {
        const a = api.coord([api.value(0), api.value(1)]), b = api.coord([api.value(2), api.value(1)]);
        return { type: "rect", shape: { x: a[0], y: a[1] - 5, width: Math.max(1, b[0] - a[0]), height: 10 }, style: { fill: css("--m1"), opacity: 0.28 } };
      },
      encode: { x: [0, 2], y: 1 },
    });
    for (const control of distinct(controls.map((c) => c.control))) {
      const style = DOTS[control] || (control.startsWith("nuisance:") ? [CROSS, 8, "--zero"] : control.includes("ceiling") ? ["path://M-1,-9L1,-9L1,9L-1,9Z", [2, 20], "--ink"] : ["pin", 10, "--m3"]);
      series.push({
        type: "scatter", name: nice(control), symbol: style[0], symbolSize: style[1], itemStyle: { color: css(style[2]), opacity: 1 },
        data: controls.filter((c) => c.control === control && isNumber(c.value) && at(c.model) >= 0).map((c) => ({ value: [c.value, at(c.model)], row: c })),
      });
    }
    const ceilings = means.filter((s) => s.representation === "stable_mode" && isNumber(s.ceiling) && at(s.model) >= 0);
    const ceilingOf = (s) => (data.unit.startsWith("r²") && !data.unit.includes("ceiling") && s.ceiling_kind !== "r2" ? s.ceiling * s.ceiling : s.ceiling);
    // Where the ceiling lies far above every score, an axis that reaches it hides what is compared.
    const reached = [...controls.flatMap((c) => [c.claim, c.value]), ...[...ranges.values()].flat()].filter(isNumber);
    const far = ceilings.length > 0 && Math.min(...ceilings.map(ceilingOf)) > 1.3 * Math.max(...reached);
    const axisTo = far ? choose(figure, "axis", "Axis", ["the scores", "the noise ceiling"], "the scores") : "the noise ceiling";
    if (far && axisTo === "the scores") {
      const span = ceilings.map(ceilingOf), low = show(Math.min(...span), 2), high = show(Math.max(...span), 2);
      const words = document.createElement("span");
      words.textContent = `The noise ceiling lies outside this axis, at ${low === high ? low : low + " to " + high} (mean ceiling, squared).`;
      legend.append(words);
    }
    if (ceilings.length && !(far && axisTo === "the scores")) series.push({ type: "scatter", name: "noise ceiling", symbol: "path://M-1,-9L1,-9L1,9L-1,9Z", symbolSize: [2, 20], itemStyle: { color: css("--ink") },
      data: ceilings.map((s) => ({ value: [ceilingOf(s), at(s.model)], row: { control: "noise_ceiling", model: s.model, value: s.ceiling } })) });
    series.push({ type: "scatter", name: "stable mode (the claim)", symbol: "circle", symbolSize: 13, z: 5, itemStyle: { color: css("--ink"), opacity: 1 },
      data: [...claims].filter(([m]) => at(m) >= 0 && !noStable(m)).map(([m, v]) => ({ value: [v, at(m)], row: { control: "stable_mode", model: m, value: v } })) });
    const failing = [...claims].filter(([m]) => at(m) >= 0 && noStable(m));
    if (failing.length) series.push(
      { type: "scatter", name: "mode that is NOT stable", symbol: "emptyCircle", symbolSize: 13, z: 5, itemStyle: { color: css("--bad"), borderWidth: 2, opacity: 1 }, data: failing.map(([m, v]) => ({ value: [v, at(m)], row: { control: "not stable", model: m, value: v } })) },
      { type: "scatter", symbol: CROSS, symbolSize: 7, z: 6, silent: true, itemStyle: { color: css("--bad") }, data: failing.map(([m, v]) => [v, at(m)]) });
    const first = ["stable mode (the claim)", "mode that is NOT stable", "layer mean"];
    const rank = (n) => (first.includes(n) ? first.indexOf(n) : first.length);
    const named = series.map((s) => s.name).filter(Boolean).sort((a, b) => rank(a) - rank(b));
    const lines = Math.ceil(named.length / Math.max(1, Math.floor((plot.clientWidth || 1000) / 170)));
    chart(plot, 84 + 30 * shown.length + 22 * lines, {
      legend: { top: 0, left: 0, right: 0, data: named, textStyle: text(12), itemWidth: 16, itemHeight: 11, itemGap: 14, icon: undefined },
      grid: { left: 190, right: 24, top: 16 + 24 * lines, bottom: 40 },
      xAxis: axis({ type: "value", name: "mean score, " + data.unit, nameLocation: "middle", nameGap: 26, boundaryGap: ["2%", "4%"], scale: far && axisTo === "the scores" }),
      yAxis: axis({ type: "category", data: shown, inverse: true, axisLabel: { color: css("--ink"), fontSize: 12, interval: 0, formatter: (n) => axisName(n, 24) }, splitLine: { show: true, lineStyle: { color: css("--line"), width: 0.6 } } }),
      tooltip: tooltip((t) => { const c = t.data.row; if (!c) return ""; return `<b>${esc(c.model)}</b><br>${esc(nice(c.control))}: ${show(c.value)}` + (isNumber(c.difference) ? `<br>claim − control ${show(c.difference)} [${show(c.lower)}, ${show(c.upper)}]` : ""); }),
      series,
    });
  };

  /** ROIs in order of network, masked ones kept. */
  function roiOrder(names) {
    const info = new Map(rows("rois").map((r) => [r.roi, r]));
    const networks = distinct(rows("rois").map((r) => r.network));
    const place = (n) => { const r = info.get(n); return r && r.network !== null ? networks.indexOf(r.network) : networks.length; };
    const order = [...names].map((n, i) => [n, place(n), i]).sort((a, b) => a[1] - b[1] || a[2] - b[2]).map((x) => x[0]);
    return { order, networkOf: (n) => (info.get(n) && info.get(n).network) || "", info };
  }
  /** Short rules and names of networks under an axis of ROIs. */
  function networkBands(order, networkOf) {
    const bands = [];
    order.forEach((roi, i) => {
      const network = networkOf(roi), last = bands[bands.length - 1];
      if (last && last.network === network) last.to = i;
      else bands.push({ network, from: i, to: i });
    });
    return bands.filter((b) => b.network);
  }
  function bandSeries(bands, axisIndex) {
    return {
      type: "custom", silent: true, xAxisIndex: axisIndex || 0, yAxisIndex: axisIndex || 0, clip: false, z: 4, data: bands.map((b) => [b.from, 0, b.to]),
      renderItem: (params, api) => {
        const band = bands[params.dataIndex], box = params.coordSys;
        const half = box.width / Math.max(1, params.context.n || (params.context.n = bandCount(bands))) / 2;
        const a = api.coord([band.from, 0])[0] - half + 1.5, b = api.coord([band.to, 0])[0] + half - 1.5, y = box.y + box.height + 5;
        const room = Math.floor((b - a) / 6.2);
        return { type: "group", children: [
          { type: "rect", shape: { x: a, y: y - 2, width: Math.max(1, b - a), height: 4 }, style: { fill: networkColour(band.network), stroke: css("--zero"), lineWidth: 0.5 } },
          { type: "text", style: { x: (a + b) / 2, y: y + 5, text: room >= 2 ? clip(band.network, room) : "", textAlign: "center", fill: css("--soft"), font: "11px " + css("--sans") } },
        ] };
      },
    };
  }
  const bandCount = (bands) => bands.reduce((n, b) => Math.max(n, b.to + 1), 0);

  figures.heatmap = (figure, plot) => {
    let list = rows("scores").filter((s) => s.roi !== null && !s.roi.startsWith("("));
    if (!list.length) return absent(plot, "No scores are among these results.");
    const subjects = distinct(list.map((s) => s.subject));
    if (subjects.length) {
      const subject = choose(figure, "subject", "Subject", subjects, "(mean)");
      list = list.filter((s) => s.subject === subject);
    }
    if (distinct(list.map((s) => s.measure)).length > 1) list = narrow(figure, list, [["measure", "Measure"]]);
    const representations = distinct(list.map((s) => s.representation)).filter((r) => r !== "layer");
    const claim = representations.includes("stable_mode") ? "stable_mode" : representations[0];
    const others = representations.filter((r) => r !== claim);
    const control = others.length ? choose(figure, "control", "Control below", others, "layer_mean", nice) : null;
    const panels = [claim, control].filter((r) => r !== null && r !== undefined);
    const { order, networkOf, info } = roiOrder(distinct(list.map((s) => s.roi)));
    const shown = modelOrder.map((m) => m.model).filter((m) => list.some((s) => s.model === m));
    const column = new Map(order.map((r, i) => [r, i])), line = new Map(shown.map((m, i) => [m, i]));
    const cells = panels.map(() => []), holes = panels.map(() => []);
    let top = 0, bottom = 0;
    for (const s of list) {
      const p = panels.indexOf(s.representation);
      if (p < 0 || !line.has(s.model)) continue;
      const roi = info.get(s.roi), masked = roi && roi.masked === true;
      if (isNumber(s.score) && !masked) {
        cells[p].push({ value: [column.get(s.roi), line.get(s.model), s.score], row: s });
        top = Math.max(top, s.score); bottom = Math.min(bottom, s.score);
      } else holes[p].push({ value: [column.get(s.roi), line.get(s.model)], row: s, why: masked ? "masked: " + (roi.status && roi.status !== "ok" ? roi.status : "noise ceiling too low") : s.status || "undefined" });
    }
    // A model without rows of a representation is undefined there as a whole.
    panels.forEach((representation, p) => {
      const there = new Set(list.filter((s) => s.representation === representation).map((s) => s.model));
      for (const model of shown) {
        if (there.has(model)) continue;
        const about = modelOf.get(model), why = about && about.verdict !== "stable" && about.reason ? about.reason : "not among these results";
        for (const roi of order) holes[p].push({ value: [column.get(roi), line.get(model)], row: { model, roi, representation }, why });
      }
    });
    const rowHeight = shown.length > 30 ? 13 : 20, panel = rowHeight * shown.length, gap = 66, head = plot.clientWidth && plot.clientWidth < 640 ? 60 : 34;
    const bands = networkBands(order, networkOf);
    const option = { grid: [], xAxis: [], yAxis: [], series: [], title: [],
      tooltip: tooltip((t) => { const s = t.data && t.data.row; if (!s) return ""; return `<b>${esc(s.model)}</b> · ${esc(s.roi)}${networkOf(s.roi) ? " (" + esc(networkOf(s.roi)) + ")" : ""}<br>${esc(nice(s.representation))}: ` + (t.data.why ? "– " + esc(t.data.why) : `${show(s.score)} (r ${show(s.r)})` + (isNumber(s.ceiling) ? `<br>ceiling ${show(s.ceiling)}` : "") + (isNumber(s.p_adj) ? `<br>p adj. ${show(s.p_adj, 4)}` : isNumber(s.p) ? `<br>p ${show(s.p, 4)}` : "")); }),
      visualMap: { type: "continuous", min: bottom, max: top || 1, seriesIndex: panels.map((_, i) => 3 * i), calculable: false, orient: "horizontal", right: 20, top: 0, itemWidth: 12, itemHeight: 150, text: [show(top, 2) + " " + data.unit, show(bottom, 2)], textStyle: text(11), inRange: { color: CIVIDIS } } };
    panels.forEach((representation, i) => {
      const y = head + i * (panel + gap);
      option.title.push({ text: nice(representation) + (i === 0 ? " (the claim)" : " (control)"), left: 0, top: y - 24, textStyle: Object.assign(text(12), { fontWeight: 600 }) });
      option.grid.push({ left: 150, right: 20, top: y, height: panel });
      option.xAxis.push({ type: "category", gridIndex: i, data: order, axisLabel: { show: false }, axisTick: { show: false }, axisLine: { show: false } });
      option.yAxis.push({ type: "category", gridIndex: i, data: shown, inverse: true, axisTick: { show: false }, axisLine: { show: false }, axisLabel: { interval: 0, fontSize: shown.length > 30 ? 10 : 12, color: css("--ink"), fontFamily: css("--sans"), formatter: (n) => axisName(n, 24) } });
      option.series.push({ type: "heatmap", xAxisIndex: i, yAxisIndex: i, data: cells[i], itemStyle: { borderWidth: order.length > 120 ? 0 : 0.5, borderColor: css("--paper") } });
      option.series.push({ type: "custom", xAxisIndex: i, yAxisIndex: i, data: holes[i], renderItem: (_, api) => {
        const c = api.coord([api.value(0), api.value(1)]), s = api.size([1, 1]), x = c[0] - s[0] / 2, yy = c[1] - s[1] / 2;
        return { type: "group", children: [
          { type: "rect", shape: { x: x, y: yy, width: s[0], height: s[1] }, style: { fill: css("--undefined") } },
          { type: "line", shape: { x1: x + 2, y1: yy + s[1] - 2, x2: x + s[0] - 2, y2: yy + 2 }, style: { stroke: css("--zero"), lineWidth: 0.8 } } ] };
      } });
      option.series.push(bandSeries(bands, i));
    });
    chart(plot, head + panels.length * (panel + gap) - 26, option, panels.length * order.length * shown.length > 6000);
  };

  const SNCI_KEYS = [["space", "Space"], ["representation", "Representation"], ["kind", "Kind"]];
  figures.networks = (figure, plot, legend) => {
    const list = narrow(figure, rows("snci"), SNCI_KEYS, { representation: "stable_mode" });
    if (!list.length) return absent(plot, "No SNCI is among these results.");
    const infos = rows("rois");
    const networkOf = new Map(infos.map((r) => [r.roi, r.network || "(no network)"]));
    const networks = distinct(infos.map((r) => r.network)).concat(infos.some((r) => r.network) ? [] : ["(no network)"]);
    modalityLegend(legend, [["line", "cink", "SNCI of the network’s mean scores, with interval"]]);
    const step = 1 / (modalities.length + 1), series = [];
    const y = (network, m) => networks.indexOf(network) + step * (modalityIndex(m) + 1) - 0.5;
    modalities.forEach((m) => {
      series.push({ type: "scatter", symbol: symbolOf(m), symbolSize: 7, itemStyle: { color: colourOf(m), opacity: 0.55 },
        data: list.filter((r) => r.modality === m && isNumber(r.value) && networks.includes(networkOf.get(r.roi))).map((r) => ({ value: [r.value, y(networkOf.get(r.roi), m)], row: r })) });
    });
    const whole = list.filter((r) => r.roi && r.roi.startsWith("(network) ") && isNumber(r.value) && networks.includes(r.roi.slice(10)));
    series.push({ type: "custom", data: whole.map((r) => ({ value: [r.value, y(r.roi.slice(10), r.modality), isNumber(r.lower) ? r.lower : r.value, isNumber(r.upper) ? r.upper : r.value], row: r })), z: 4, encode: { x: [0, 2, 3], y: 1 },
      renderItem: (params, api) => {
        const c = api.coord([api.value(0), api.value(1)]), a = api.coord([api.value(2), api.value(1)]), b = api.coord([api.value(3), api.value(1)]);
        return { type: "group", children: [
          { type: "line", shape: { x1: a[0], x2: b[0], y1: c[1], y2: c[1] }, style: { stroke: css("--ink"), lineWidth: 1.2 } },
          { type: "line", shape: { x1: c[0], x2: c[0], y1: c[1] - 6, y2: c[1] + 6 }, style: { stroke: css("--ink"), lineWidth: 2.5 } } ] };
      } });
    chart(plot, 70 + networks.length * Math.max(36, 17 * modalities.length), {
      grid: { left: 150, right: 20, top: 8, bottom: 44 },
      xAxis: axis({ type: "value", name: "SNCI" + (list[0].kind ? ` (${nice(list[0].kind)})` : ""), nameLocation: "middle", nameGap: 28, axisLine: { show: true, onZero: false, lineStyle: { color: css("--zero") } } }),
      yAxis: axis({ type: "value", min: -0.5, max: networks.length - 0.5, interval: 0.5, inverse: true, axisLabel: { color: css("--ink"), fontSize: 12, formatter: (v) => (Number.isInteger(v) ? clip(String(networks[v] || ""), 20) : "") }, splitLine: { show: false }, axisLine: { show: false } }),
      tooltip: tooltip((t) => { const r = t.data.row; return `<b>${esc(r.roi)}</b><br>${esc(r.modality)}: ${show(r.value, 2)}` + (isNumber(r.lower) ? ` [${show(r.lower, 2)}, ${show(r.upper, 2)}]` : "") + (r.n_models !== null && r.n_models !== undefined ? `<br>${r.n_models} models, ${r.n_families} families` : ""); }),
      series: series.concat({ type: "scatter", silent: true, data: [], markLine: { silent: true, symbol: "none", lineStyle: { color: css("--line"), type: "solid", width: 1 }, label: { show: false }, data: networks.slice(1).map((_, i) => ({ yAxis: i + 0.5 })) } }),
    }, list.length > 3000);
  };

  /** An interval in brackets, where there is one. */
  const interval = (r) => (isNumber(r.lower) || isNumber(r.upper) ? ` [${show(r.lower, 2)}, ${show(r.upper, 2)}]` : "");
  /** Of how many models and families an index is, and why it has no interval. */
  function countWords(list, withInterval = true) {
    const least = (key) => { const v = list.map((r) => r[key]).filter(isNumber); return v.length ? [Math.min(...v), Math.max(...v)] : null; };
    const range = (v, one, many) => (v ? (v[0] === v[1] ? v[0] : v[0] + " to " + v[1]) + " " + (v[1] === 1 ? one : many) : "");
    const models = range(least("n_models"), "model", "models"), families = range(least("n_families"), "family", "families");
    const bare = withInterval && list.length && list.every((r) => !isNumber(r.lower)) ? list.map((r) => r.status).find((s) => s && s.startsWith("no interval")) : null;
    return [models, families, bare].filter(Boolean).join(" · ");
  }
  figures.snci = (figure, plot) => {
    const list = narrow(figure, rows("snci"), SNCI_KEYS, { representation: "stable_mode" });
    const single = list.filter((r) => r.roi && !r.roi.startsWith("("));
    if (!single.length) return absent(plot, "No SNCI by ROI is among these results.");
    const { order, networkOf } = roiOrder(distinct(single.map((r) => r.roi)));
    const column = new Map(order.map((r, i) => [r, i]));
    const shown = modalities.filter((m) => list.some((r) => r.modality === m));
    const bands = networkBands(order, networkOf);
    const option = { grid: [], xAxis: [], yAxis: [], series: [], title: [], tooltip: tooltip((t) => { const r = t.data && t.data.row; return r ? `<b>${esc(r.roi)}</b> · ${esc(r.modality)}<br>${show(r.value, 2)}${interval(r) || "<br>" + esc(r.status || "no interval")}` : ""; }) };
    const height = 120, gap = 62;
    shown.forEach((m, i) => {
      const mine = single.filter((r) => r.modality === m && isNumber(r.value));
      const undefinedCount = order.length - mine.length;
      const median = list.find((r) => r.modality === m && r.roi === "(median)");
      option.title.push({ text: m + (median && isNumber(median.value) ? `   median over ROIs ${show(median.value, 2)}${interval(median)}` : "") + "   " + countWords(mine) + (undefinedCount ? `   ${undefinedCount} of ${order.length} ROIs undefined` : ""), left: 0, top: i * (height + gap), textStyle: Object.assign(text(12), { fontWeight: 600 }) });
      option.grid.push({ left: 56, right: 10, top: 24 + i * (height + gap), height });
      option.xAxis.push({ type: "category", gridIndex: i, data: order, axisLabel: { show: false }, axisTick: { show: false }, axisLine: { lineStyle: { color: css("--zero") }, onZero: false } });
      option.yAxis.push(axis({ type: "value", gridIndex: i, splitNumber: 3, name: "SNCI", nameLocation: "middle", nameGap: 34 }));
      option.series.push({ type: "custom", silent: true, xAxisIndex: i, yAxisIndex: i, data: mine.filter((r) => isNumber(r.lower) && isNumber(r.upper)).map((r) => [column.get(r.roi), r.lower, r.upper]), encode: { x: 0, y: [1, 2] },
        renderItem: (_, api) => { const a = api.coord([api.value(0), api.value(1)]), b = api.coord([api.value(0), api.value(2)]); return { type: "line", shape: { x1: a[0], y1: a[1], x2: b[0], y2: b[1] }, style: { stroke: colourOf(m), lineWidth: 1, opacity: 0.7 } }; } });
      option.series.push({ type: "scatter", xAxisIndex: i, yAxisIndex: i, symbol: symbolOf(m), symbolSize: order.length > 120 ? 4 : 7, itemStyle: { color: colourOf(m), opacity: 1 }, data: mine.map((r) => ({ value: [column.get(r.roi), r.value], row: r })) });
      option.series.push(bandSeries(bands, i));
    });
    chart(plot, shown.length * (height + gap), option, single.length > 1500);
  };

  figures.convergence = (figure, plot, legend) => {
    const list = narrow(figure, rows("convergence"), [["space", "Space"], ["representation", "Representation"]], { representation: "stable_mode" });
    const defined = list.filter((r) => isNumber(r.convergence)).sort((a, b) => b.convergence - a.convergence);
    if (!defined.length) return absent(plot, list.length ? "Convergence is undefined in every ROI: " + (list[0].status || "no reason given") + "." : "No convergence map is among these results.");
    const few = defined.length <= 60;
    const threshold = defined.find((r) => isNumber(r.threshold));
    const { space, representation } = defined[0];
    const column = new Map(defined.map((r, i) => [r.roi, i]));
    const behind = rows("snci").filter((r) => r.space === space && r.representation === representation && column.has(r.roi) && isNumber(r.mean));
    const kind = behind.length ? behind[0].kind : null;
    const scored = behind.filter((r) => r.kind === kind);
    if (scored.length) modalityLegend(legend);
    const upper = 180, lower = scored.length ? 110 : 0, gap = scored.length ? 26 : 0;
    const names = { show: few, rotate: 60, interval: 0, fontSize: 10, color: css("--soft"), formatter: (s) => clip(s, 18) };
    const category = (grid, last) => axis({ type: "category", gridIndex: grid, data: defined.map((r) => r.roi), splitLine: { show: false }, name: last && !few ? "ROIs, ranked" : "", nameLocation: "middle", nameGap: 14, axisLabel: last ? names : { show: false } });
    const tip = (t) => { const r = t.data && t.data.row; if (!r) return ""; return r.convergence === undefined ? `<b>${esc(r.roi)}</b><br>${esc(r.modality)}: mean score ${show(r.mean)}` + (isNumber(r.sd) ? `, standard deviation over models ${show(r.sd)}` : "") : `<b>${esc(r.roi)}</b>${r.network ? " · " + esc(r.network) : ""}<br>${show(r.convergence, 2)}${interval(r)}<br>${r.all_above ? "all modalities above the threshold" : "not all modalities above the threshold"}`; };
    chart(plot, 12 + upper + gap + lower + (few ? 104 : 34), {
      grid: [{ left: 62, right: 14, top: 12, height: upper }].concat(scored.length ? [{ left: 62, right: 14, top: 12 + upper + gap, height: lower }] : []),
      xAxis: [category(0, !scored.length)].concat(scored.length ? [category(1, true)] : []),
      yAxis: [axis({ type: "value", gridIndex: 0, name: "least SNCI", nameLocation: "middle", nameGap: 42 })].concat(scored.length ? [axis({ type: "value", gridIndex: 1, splitNumber: 3, name: "mean score", nameLocation: "middle", nameGap: 42 })] : []),
      tooltip: tooltip(tip),
      series: [
        { type: "custom", silent: true, data: defined.map((r, i) => [i, isNumber(r.lower) ? r.lower : r.convergence, isNumber(r.upper) ? r.upper : r.convergence]), encode: { x: 0, y: [1, 2] },
          renderItem: (_, api) => { const a = api.coord([api.value(0), api.value(1)]), b = api.coord([api.value(0), api.value(2)]); return { type: "line", shape: { x1: a[0], y1: a[1], x2: b[0], y2: b[1] }, style: { stroke: css("--zero"), lineWidth: 1 } }; } },
        { type: "scatter", data: defined.map((r, i) => ({ value: [i, r.convergence], row: r, symbol: r.all_above ? "circle" : "emptyCircle" })), symbolSize: few ? 8 : 5, itemStyle: { color: css("--ink") },
          markLine: threshold ? { silent: true, symbol: "none", lineStyle: { color: css("--bad"), type: "dashed" }, label: { formatter: "threshold " + show(threshold.threshold, 2), position: "insideEndTop", color: css("--bad"), fontSize: 11 }, data: [{ yAxis: threshold.threshold }] } : undefined },
      ].concat(scored.length ? modalities.map((m) => ({ type: "scatter", xAxisIndex: 1, yAxisIndex: 1, symbol: symbolOf(m), symbolSize: few ? 6 : 4, itemStyle: { color: colourOf(m), opacity: 0.85 }, data: scored.filter((r) => r.modality === m).map((r) => ({ value: [column.get(r.roi), r.mean], row: r })) })) : []),
    }, defined.length > 1500);
  };

  // ---- cortical surfaces ------------------------------------------------------------------------
  /** Bytes of base64 text. */
  function bytesOf(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }
  /** ROI number of every point of a picture, from runs (number, length) in groups of seven bits. */
  function pointsOf(view) {
    const out = new Uint32Array(view.width * view.height), numbers = numbersOf(view.codes);
    for (let i = 0, place = 0; i < numbers.length; i += 2) { out.fill(numbers[i], place, place + numbers[i + 1]); place += numbers[i + 1]; }
    return out;
  }
  /** Numbers in groups of seven bits, lowest first. */
  function numbersOf(text) {
    const bytes = bytesOf(text), out = [];
    for (let i = 0; i < bytes.length;) { let x = 0, shift = 0, b; do { b = bytes[i++]; x += (b & 127) * 2 ** shift; shift += 7; } while (b > 127); out.push(x); }
    return out;
  }
  /** The ROIs behind each point of a glass brain: how many, the first, and the steps to the others. */
  function setsOf(view) {
    const numbers = numbersOf(view.sets), out = [];
    for (let i = 0; i < numbers.length;) { const set = []; for (let n = numbers[i++], roi = 0; n > 0; n--) set.push((roi += numbers[i++])); out.push(set); }
    return out;
  }
  const rgb = (hex) => { const h = hex.replace("#", ""); return [0, 2, 4].map((k) => parseInt(h.slice(k, k + 2), 16)); };
  /** A colour of the scale of all maps, t from 0 to 1. */
  function cividis(t) {
    const at = Math.min(1, Math.max(0, t)) * (CIVIDIS.length - 1), low = Math.min(CIVIDIS.length - 2, Math.floor(at));
    const a = rgb(CIVIDIS[low]), b = rgb(CIVIDIS[low + 1]);
    return a.map((x, k) => Math.round(x + (b[k] - x) * (at - low)));
  }
  /** Each ROI in the colour of its network. */
  function networkMap(space) {
    const list = rows("rois").filter((r) => r.space === space);
    return { map: "networks", unit: "", networks: true, rows: [{ name: "networks", values: new Map(list.map((r) => [r.roi, { value: null, colour: r.network ? networkColour(r.network) : null, why: r.network ? "" : "of no network" }])) }] };
  }
  /** The maps that a surface can show: rows of pictures, each with a value (or a reason) per ROI. */
  function surfaceMaps(figure, space) {
    const here = (r) => r.space === space;
    const bounded = rows("snci").some((r) => here(r) && isNumber(r.lower));
    const maps = ["SNCI", ...(bounded ? ["SNCI, lower end"] : []), "mean score", "convergence", "noise ceiling"].filter((m) => m === "convergence" ? rows("convergence").some(here) : m === "noise ceiling" ? rows("rois").some((r) => here(r) && isNumber(r.ceiling)) : rows("snci").some(here));
    if (networkNames.length > 1 && rows("rois").some((r) => here(r) && r.network)) maps.push("networks");
    if (!maps.length) return null;
    const map = choose(figure, "map", "Map", maps, "SNCI");
    if (map === "networks") return networkMap(space);
    if (map === "noise ceiling") {
      const list = rows("rois").filter(here);
      const benchmarks = distinct(list.map((r) => r.benchmark));
      return { map, unit: "noise ceiling (correlation)", rows: benchmarks.map((b) => ({ name: b, values: new Map(list.filter((r) => r.benchmark === b).map((r) => [r.roi, { value: r.masked === true ? null : r.ceiling, why: r.masked === true ? `masked: ceiling ${show(r.ceiling, 2)} is too low` : r.status }])) })) };
    }
    if (map === "convergence") {
      const list = narrow(figure, rows("convergence").filter(here), [["representation", "Representation"]], { representation: "stable_mode" });
      const threshold = list.find((r) => isNumber(r.threshold));
      return { map, unit: "least SNCI over modalities" + (threshold ? `; threshold ${show(threshold.threshold, 2)}` : ""), rows: [{ name: "all modalities", sub: list.length ? `${list.filter((r) => r.all_above === true).length} of ${list.filter((r) => isNumber(r.convergence)).length} ROIs lie above the threshold in every modality` : "", values: new Map(list.map((r) => [r.roi, { value: r.convergence, why: r.status, lower: r.lower, upper: r.upper, note: r.all_above === true ? "every modality above the threshold" : "not every modality above the threshold" }])) }] };
    }
    const keys = [["representation", "Representation"]].concat(map !== "mean score" ? [["kind", "Kind"]] : []);
    let list = narrow(figure, rows("snci").filter((r) => here(r) && r.roi && !r.roi.startsWith("(")), keys, { representation: "stable_mode" });
    if (map === "mean score") { const kind = list.length ? list[0].kind : null; list = list.filter((r) => r.kind === kind); }
    const unit = map === "mean score" ? "mean score over models, " + data.unit : (map === "SNCI" ? "SNCI" : "lower end of the interval of SNCI") + (list.length && list[0].kind ? ` (${nice(list[0].kind)})` : "");
    const of = map === "SNCI, lower end" ? (r) => ({ value: r.lower, why: r.status, note: "SNCI " + show(r.value, 2) }) : map === "SNCI" ? (r) => ({ value: r.value, why: r.status, lower: r.lower, upper: r.upper }) : (r) => ({ value: r.mean, why: r.status, note: isNumber(r.sd) ? `standard deviation over models ${show(r.sd)}` : "" });
    return { map, unit, rows: modalities.filter((m) => list.some((r) => r.modality === m)).map((m) => {
      const mine = list.filter((r) => r.modality === m);
      return { name: m, modality: m, sub: countWords(mine, map !== "mean score"), values: new Map(mine.map((r) => [r.roi, of(r)])) };
    }) };
  }
  figures.surface = (figure, plot, legend) => drawSurface(figure, plot, legend, surfaceMaps);
  /** Cortex with the maps that `mapsOf` offers. */
  function drawSurface(figure, plot, legend, mapsOf) {
    const spaces = data.surfaces || [];
    if (!spaces.length) return absent(plot, "No surface is among these results.");
    const space = choose(figure, "space", "Space", spaces.map((s) => s.space));
    const surface = spaces.find((s) => s.space === space);
    const shown = mapsOf(figure, space);
    if (!shown) return absent(plot, "No map is among the results of this space.");
    // A line of sight may meet several networks: which one to show is no question of size.
    const offered = shown.networks ? surface.views.filter((v) => !v.sets) : surface.views;
    const group = choose(figure, "group", "Seen", distinct(offered.map((v) => v.group)));
    const views = offered.filter((v) => v.group === group);
    const network = new Map(rows("rois").map((r) => [r.roi, r.network]));
    const lines = networkNames.length > 1 && views.some((v) => !v.sets) ? choose(figure, "outline", "Outlined", ["ROIs", "networks"], shown.networks ? "networks" : "ROIs") : "ROIs";
    const ink = rgb(css("--ink"));
    let low = Infinity, high = -Infinity;
    for (const row of shown.rows) for (const { value } of row.values.values()) if (isNumber(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low > high && !shown.networks) return absent(plot, "This map is undefined in every ROI.");
    low = Math.min(0, low);
    // Ratios have long tails: where the largest value would leave one colour to all others, the scale ends
    // where 19 of 20 values have ended, and says so.
    const sorted = shown.rows.flatMap((row) => [...row.values.values()].map((v) => v.value).filter(isNumber)).sort((a, b) => a - b);
    const most = sorted[Math.min(sorted.length - 1, Math.floor(0.95 * sorted.length))], largest = high;
    const cut = most > low && largest - low > 1.5 * (most - low);
    if (cut) high = most;
    const above = sorted.filter((v) => v > high).length;
    const span = high - low || 1;
    const bar = document.createElement("span");
    bar.className = "colourbar";
    const ends = [document.createElement("span"), document.createElement("span"), document.createElement("span")];
    ends[0].textContent = show(low, 2);
    ends[1].textContent = (cut ? "≥ " : "") + show(high, 2);
    ends[2].textContent = shown.unit + (cut ? `; ${above} values are larger, up to ${show(largest, 2)}` : "");
    const ramp = svg("svg", { class: "bar", viewBox: "0 0 90 10", preserveAspectRatio: "none", role: "img", "aria-label": `colours from ${show(low, 2)} (dark blue) to ${show(high, 2)} (yellow)` });
    for (let i = 0; i < 90; i++) svg("rect", { x: i, y: 0, width: 1.2, height: 10, fill: `rgb(${cividis(i / 89).join(",")})` }, ramp);
    bar.append(ends[0], ramp, ends[1], ends[2]);
    if (shown.networks) for (const name of networkNames) {
      const item = document.createElement("span"), icon = svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, item);
      svg("rect", { x: 1, y: 1, width: 12, height: 12, fill: networkColour(name), stroke: css("--zero"), "stroke-width": 0.7 }, icon);
      item.append(name);
      legend.append(item);
    } else legend.append(bar);
    const widest = Math.max(...views.map((v) => v.width)), columns = Math.min(6, views.length);
    const hole = rgb(css("--undefined")), stroke = rgb(css("--zero")), bare = rgb(css("--bare"));
    let tip = figure.querySelector(".tip");
    if (!tip) { tip = document.createElement("div"); tip.className = "tip"; tip.setAttribute("aria-hidden", "true"); figure.append(tip); }
    tip.hidden = true;
    for (const row of shown.rows) {
      const line = document.createElement("div"), title = document.createElement("div"), strip = document.createElement("div");
      line.className = "surface-row"; title.className = "title"; strip.className = "surface-views";
      title.textContent = row.name;
      if (row.sub) { const sub = document.createElement("span"); sub.className = "sub"; sub.textContent = "   " + row.sub; title.append(sub); }
      line.append(title, strip);
      plot.append(line);
      const values = surface.rois.map((roi) => row.values.get(roi) || { value: null, why: "not among the ROIs of this map" });
      const colours = values.map(({ value, colour }) => (colour ? rgb(colour) : isNumber(value) ? cividis((value - low) / span) : value === Infinity ? cividis(1) : null));
      for (const view of views) {
        const points = view.points || (view.points = pointsOf(view));
        // Of several ROIs on a line of sight, the one with the largest value is shown.
        const sets = view.sets ? view.rois || (view.rois = setsOf(view)) : null;
        const largest = sets && sets.map((set) => set.reduce((best, roi) => (values[roi].value !== null && values[roi].value !== undefined && (best < 0 || values[roi].value > values[best].value) ? roi : best), -1));
        const roiAt = (code) => (sets ? largest[code - 2] : code - 2);
        const cell = document.createElement("div"), picture = document.createElement("div"), canvas = document.createElement("canvas"), shadow = document.createElement("img"), words = document.createElement("div");
        cell.className = "surface-view"; picture.className = "picture";
        cell.style.width = `calc((100% - ${10 * (columns - 1)}px) / ${columns} * ${view.width / widest})`;
        if (columns < 3) cell.style.maxWidth = Math.round(view.width * 0.45) + "px";
        canvas.width = view.width; canvas.height = view.height;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `${shown.map}, ${row.name}, ${view.title}`);
        const context = canvas.getContext("2d"), image = context.createImageData(view.width, view.height);
        for (let i = 0; i < points.length; i++) {
          const code = points[i];
          if (code === 0) continue;
          const x = i % view.width, y = (i - x) / view.width;
          const colour = code === 1 ? bare : colours[roiAt(code)] || ((x + y) % 9 < 2 ? stroke : hole);
          image.data.set(colour, 4 * i);
          image.data[4 * i + 3] = 255;
        }
        if (lines === "networks" && !sets) {
          const groupOf = surface.rois.map((roi) => { const name = network.get(roi); return name ? networkNames.indexOf(name) : -1; });
          const at = (i) => (points[i] < 2 ? -2 : groupOf[points[i] - 2]);
          for (let i = 0; i + view.width + 1 < points.length; i++) {
            if (points[i] === 0) continue;
            for (const j of [i + 1, i + view.width, i + view.width + 1]) if (points[j] !== 0 && at(i) !== at(j)) for (const k of [i, j]) image.data.set(ink, 4 * k);
          }
        }
        context.putImageData(image, 0, 0);
        shadow.src = view.shadow; shadow.alt = "";
        words.textContent = view.title;
        picture.append(canvas, shadow);
        cell.append(picture, words);
        strip.append(cell);
        picture.addEventListener("pointermove", (e) => {
          const box = canvas.getBoundingClientRect();
          const x = Math.floor(((e.clientX - box.left) / box.width) * view.width), y = Math.floor(((e.clientY - box.top) / box.height) * view.height);
          const code = x >= 0 && y >= 0 && x < view.width && y < view.height ? points[y * view.width + x] : 0;
          tip.hidden = code === 0;
          if (code === 0) return;
          const at = figure.getBoundingClientRect();
          tip.style.left = Math.min(e.clientX - at.left + 14, at.width - 240) + "px";
          tip.style.top = e.clientY - at.top + 14 + "px";
          if (code === 1) { tip.textContent = "outside every ROI"; return; }
          const index = roiAt(code);
          if (index < 0) { const set = sets[code - 2]; tip.textContent = `– no value: ${clip(surface.rois[set[0]], 30)}` + (set.length > 1 ? ` and ${set.length - 1} more` : ""); return; }
          const roi = surface.rois[index], v = values[index];
          tip.innerHTML = `<b>${esc(roi)}</b>${network.get(roi) ? " (" + esc(network.get(roi)) + ")" : ""}<br>` + (isNumber(v.value) || v.value === Infinity ? `${esc(row.name)}: ${show(v.value, 2)}` + (isNumber(v.lower) ? ` [${show(v.lower, 2)}, ${show(v.upper, 2)}]` : "") + (v.note ? "<br>" + esc(v.note) : "") : shown.networks ? esc(v.why) : "– " + esc(v.why || "undefined"));
        });
        picture.addEventListener("pointerleave", () => { tip.hidden = true; });
      }
    }
  }

  figures.differences = (figure, plot, legend) => {
    const list = rows("controls").filter((c) => (!c.claim_representation || c.claim_representation === "stable_mode") && isNumber(c.difference));
    if (!list.length) return absent(plot, "No control has a difference from the claim.");
    const shown = modelOrder.map((m) => m.model).filter((m) => list.some((c) => c.model === m));
    modalityLegend(legend, [["cross", "csoft", "model without a stable mode: supports no claim", { fill: "none", stroke: "currentColor", "stroke-width": 1.6 }]]);
    const reach = Math.max(...list.flatMap((c) => [c.difference, c.lower, c.upper]).filter(isNumber).map(Math.abs)) || 1;
    const ends = (reach < 0.1 ? 3 : 2);
    const first = 118, width = 150, rowHeight = 13, top = 18;
    const grid = document.createElement("div");
    grid.className = "multiples wide";
    plot.append(grid);
    for (const control of distinct(list.map((c) => c.control))) {
      const mine = list.filter((c) => c.control === control);
      const cell = document.createElement("div"), head = document.createElement("div");
      head.className = "title";
      head.textContent = "claim − " + nice(control);
      cell.append(head);
      grid.append(cell);
      const height = top + rowHeight * shown.length;
      const box = svg("svg", { viewBox: `0 0 ${first + width + 12} ${height + 18}`, role: "img", "aria-label": "difference between the stable mode and " + nice(control) }, cell);
      const x = (v) => first + (width / 2) * (1 + v / reach);
      svg("path", { d: `M${x(0)} ${top - 8}V${height}`, class: "axis", style: "stroke:var(--zero)" }, box);
      svg("path", { d: `M${first} ${height}H${first + width}`, class: "axis" }, box);
      for (const v of [-reach, 0, reach]) svg("text", { x: x(v), y: height + 12, "text-anchor": "middle" }, box, v === 0 ? "0" : show(v, ends));
      shown.forEach((model, i) => {
        const y = top + rowHeight * (i + 0.35), c = mine.find((r) => r.model === model), about = modelOf.get(model);
        svg("text", { x: first - 6, y: y + 3, "text-anchor": "end", style: "font-size:9px" }, box, (noStable(model) ? "✕ " : "") + clip(model, 20));
        if (!c) return;
        const g = svg("g", { class: "c" + (modalityIndex(about && about.modality) % 7) }, box);
        const bounds = isNumber(c.lower) && isNumber(c.upper);
        if (bounds) svg("path", { d: `M${x(c.lower)} ${y}H${x(c.upper)}`, stroke: "currentColor", "stroke-width": 1.4, opacity: noStable(model) ? 0.45 : 0.9 }, g);
        const words = `${model}: ${show(c.difference, 4)}` + (bounds ? ` [${show(c.lower, 4)}, ${show(c.upper, 4)}]` : " (no interval)") + (isNumber(c.p) ? `, p ${show(c.p, 3)}` : "");
        titled(noStable(model) ? mark(g, "cross", x(c.difference), y, 2.6, { fill: "none", stroke: "currentColor", "stroke-width": 1.3 }) : mark(g, symbolOf(about && about.modality), x(c.difference), y, 3.2), words);
      });
    }
  };

  figures.spectra = (figure, plot) => {
    const list = rows("spectra").filter((r) => isNumber(r.re) && isNumber(r.im));
    if (!list.length) return absent(plot, "No spectra are among these results.");
    const cell = multiples(plot);
    for (const m of modelOrder) {
      const mine = list.filter((r) => r.model === m.model);
      if (!mine.length) continue;
      const box = svg("svg", { viewBox: "-1.32 -1.2 2.64 2.4", role: "img", "aria-label": "eigenvalues of " + m.model }, cell(m.model, verdictText(m), m.verdict === "no_stable_mode"));
      const scale = Math.min(1, 1.15 / Math.max(1, ...mine.map((r) => Math.hypot(r.re, r.im))));
      svg("path", { d: "M-1.25 0H1.25M0 -1.15V1.15", class: "axis", "stroke-width": 0.008 }, box);
      svg("circle", { cx: 0, cy: 0, r: scale, class: "axis", style: "stroke:var(--zero)", "stroke-width": 0.012 }, box);
      svg("path", { d: `M${scale - 0.07} 0h.14M${scale} -.07v.14`, class: "one", "stroke-width": 0.02, style: "stroke-width:.02" }, box);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, box);
      for (const r of mine) {
        const average = r.fold === null || r.fold === "(all)" || r.fold === "all" || r.fold === "(mean)";
        const x = r.re * scale, y = -r.im * scale;
        titled(mark(g, "circle", x, y, average ? 0.05 : 0.034, { opacity: average ? 1 : r.selected ? 0.8 : 0.4 }), `fold ${r.fold === null ? "all" : r.fold}: ${show(r.re)} ${r.im < 0 ? "−" : "+"} ${show(Math.abs(r.im))}i, energy ${show(r.energy, 2)}, residual ${show(r.residual, 2)}${r.selected ? ", selected" : ""}`);
        if (r.selected) svg("circle", { cx: x, cy: y, r: 0.085, fill: "none", stroke: "currentColor", "stroke-width": 0.016, opacity: 0.8 }, g);
      }
      if (scale < 1) svg("text", { x: -1.28, y: 1.16, style: "font-size:.1px" }, box, "scaled by " + scale.toFixed(2));
    }
  };

  /** Axes of a small panel of lines: returns the two mappings. */
  function panel(parent, label, low, high, words, digits = 2) {
    const box = svg("svg", { viewBox: "0 0 200 124", role: "img", "aria-label": label }, parent);
    const span = high - low || 1;
    const x = (t) => 30 + 164 * t, y = (v) => 104 - 96 * ((v - low) / span);
    svg("path", { d: "M30 8V104H194", class: "axis" }, box);
    for (const v of [low, high]) svg("text", { x: 26, y: y(v) + 3, "text-anchor": "end" }, box, show(v, digits));
    svg("text", { x: 30, y: 118 }, box, words[0]);
    svg("text", { x: 194, y: 118, "text-anchor": "end" }, box, words[1]);
    return { box, x, y };
  }
  const line = (points) => points.map((p, i) => (i ? "L" : "M") + p[0].toFixed(2) + " " + p[1].toFixed(2)).join("");
  function groupBy(list, key) {
    const out = new Map();
    for (const r of list) { const k = key(r); if (!out.has(k)) out.set(k, []); out.get(k).push(r); }
    return out;
  }

  figures.weights = (figure, plot) => {
    const list = rows("weights").filter((r) => isNumber(r.weight));
    if (!list.length) return absent(plot, "No layer weights are among these results.");
    const cell = multiples(plot);
    for (const m of modelOrder) {
      const mine = list.filter((r) => r.model === m.model);
      if (!mine.length) continue;
      const low = Math.min(0, ...mine.map((r) => r.weight)), high = Math.max(0, ...mine.map((r) => r.weight));
      const layers = [...groupBy(mine, (r) => r.layer)].map(([name, rs]) => [name, rs[0].position]).sort((a, b) => a[1] - b[1]);
      const place = new Map(layers.map(([name], i) => [name, layers.length > 1 ? i / (layers.length - 1) : 0]));
      const p = panel(cell(m.model, isNumber(m.weight_stability) ? "agreement of folds " + show(m.weight_stability, 2) : verdictText(m), m.verdict === "no_stable_mode"), "layer weights of " + m.model, low, high, ["shallow", "deep"]);
      svg("path", { d: `M30 ${p.y(0)}H194`, class: "axis" }, p.box);
      if (1 / layers.length < high) svg("path", { d: `M30 ${p.y(1 / layers.length)}H194`, class: "zero" }, p.box);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, p.box);
      for (const [fold, rs] of groupBy(mine, (r) => r.fold)) {
        rs.sort((a, b) => a.position - b.position);
        svg("path", { d: line(rs.map((r) => [p.x(place.get(r.layer)), p.y(r.weight)])), fill: "none", stroke: "currentColor", "stroke-width": 1.3, opacity: 0.6 }, g);
        for (const r of rs) titled(mark(g, symbolOf(m.modality), p.x(place.get(r.layer)), p.y(r.weight), 1.8, { opacity: 0.7 }), `${r.layer}, fold ${fold === null ? "all" : fold}: ${show(r.weight)}`);
      }
    }
  };

  figures.profiles = (figure, plot) => {
    let list = rows("scores").filter((s) => s.representation === "layer" && s.layer !== null && isNumber(s.score));
    if (!list.length) return absent(plot, "No scores of single layers are among these results.");
    const subjects = distinct(list.map((s) => s.subject));
    const subject = subjects.length ? choose(figure, "subject", "Subject", subjects, "(mean)") : null;
    if (subject !== null) list = list.filter((s) => s.subject === subject);
    const networkOf = new Map(rows("rois").map((r) => [r.roi, r.network]));
    const masked = new Set(rows("rois").filter((r) => r.masked === true).map((r) => r.roi));
    const networks = distinct(rows("rois").map((r) => r.network));
    const network = networks.length ? choose(figure, "network", "ROIs of", ["all networks", ...networks], "all networks") : "all networks";
    const wanted = (roi) => roi === "(mean)" ? network === "all networks" : roi === "(network) " + network || (!roi.startsWith("(") && !masked.has(roi) && (network === "all networks" || networkOf.get(roi) === network));
    list = list.filter((s) => s.roi !== null && wanted(s.roi));
    if (!list.length) return absent(plot, "No scores of single layers here.");
    const controls = rows("controls").filter((c) => !c.claim_representation || c.claim_representation === "stable_mode");
    const position = new Map();
    for (const w of rows("weights")) if (isNumber(w.position)) position.set(w.model + "\u0000" + w.layer, w.position);
    const high = list.reduce((a, s) => Math.max(a, s.score), 0), low = list.reduce((a, s) => Math.min(a, s.score), 0);
    const byModel = groupBy(list, (s) => s.model);
    const cell = multiples(plot);
    for (const m of modelOrder) {
      const mine = byModel.get(m.model);
      if (!mine) continue;
      let layers = distinct(mine.map((s) => s.layer));
      if (layers.every((l) => position.has(m.model + "\u0000" + l))) layers.sort((a, b) => position.get(m.model + "\u0000" + a) - position.get(m.model + "\u0000" + b));
      const place = new Map(layers.map((l, i) => [l, layers.length > 1 ? i / (layers.length - 1) : 0.5]));
      const claim = controls.find((c) => c.model === m.model && isNumber(c.claim));
      const p = panel(cell(m.model, verdictText(m), m.verdict === "no_stable_mode"), "layer profile of " + m.model, low, high, [clip(layers[0], 14), layers.length > 1 ? clip(layers[layers.length - 1], 14) : ""]);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, p.box);
      const byRoi = [...groupBy(mine, (s) => s.roi)];
      let faint = "";
      const strong = [];
      for (const [roi, rs] of byRoi) {
        rs.sort((a, b) => place.get(a.layer) - place.get(b.layer));
        const d = line(rs.map((s) => [p.x(place.get(s.layer)), p.y(s.score)]));
        if (roi.startsWith("(")) strong.push([rs, d]); else faint += d;
      }
      svg("path", { d: faint, fill: "none", stroke: "currentColor", "stroke-width": 0.7, opacity: byRoi.length > 100 ? 0.12 : 0.3 }, g);
      for (const [rs, d] of strong) {
        svg("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 2.2 }, g);
        for (const s of rs) titled(mark(g, symbolOf(m.modality), p.x(place.get(s.layer)), p.y(s.score), 2.8), `${s.layer}: ${show(s.score)}`);
      }
      if (claim && network === "all networks") titled(svg("path", { d: `M30 ${p.y(claim.claim)}H194`, class: "one", "stroke-dasharray": "5 3", opacity: noStable(m.model) ? 0.35 : 1 }, p.box), (noStable(m.model) ? "mode that is not stable " : "stable mode ") + show(claim.claim));
    }
  };

  // ---- encoding layer by layer ------------------------------------------------------------------
  /** Rows of one benchmark and subject, the mean over subjects where there is one. */
  function encoded(figure, name) {
    const list = narrow(figure, rows(name), [["benchmark", "Benchmark"]]);
    const subjects = distinct(list.map((r) => r.subject));
    const subject = subjects.length ? choose(figure, "subject", "Subject", subjects, "(mean)") : null;
    return list.filter((r) => r.subject === subject);
  }
  const inOrder = (list) => modelOrder.filter((m, i) => modelOrder.findIndex((o) => o.model === m.model) === i && list.some((r) => r.model === m.model));
  figures["encoding-profiles"] = (figure, plot, legend) => {
    const list = encoded(figure, "layers").filter((r) => isNumber(r.r));
    if (!list.length) return absent(plot, "No layer has a score.");
    const networks = distinct(list.map((r) => r.targets)).filter((t) => t.startsWith("(network) ")).slice(0, 7);
    networks.forEach((t, i) => legendItem(legend, "circle", "c" + (i % 7), t.slice(10)));
    let low = 0, high = 0;
    for (const r of list) { low = Math.min(low, r.r); high = Math.max(high, r.r); }
    const cell = multiples(plot);
    for (const m of inOrder(list)) {
      const mine = list.filter((r) => r.model === m.model), layers = mine.filter((r) => isNumber(r.position)).sort((a, b) => a.position - b.position);
      const all = layers.filter((r) => r.targets === "(all)"), chosenLevel = mine.find((r) => r.targets === "(all)" && r.layer === "(chosen)");
      const combined = mine.find((r) => r.targets === "(all)" && (r.layer === "(stacked)" || r.layer === "(banded)"));
      const p = panel(cell(m.model, chosenLevel ? `chosen on training rows: r ${show(chosenLevel.r)}` : ""), "layer profile of " + m.model, low, high, all.length ? [clip(all[0].layer, 14), clip(all[all.length - 1].layer, 14)] : ["", ""]);
      svg("path", { d: `M30 ${p.y(0)}H194`, class: "axis" }, p.box);
      const at = (rs) => line(rs.map((r) => [p.x(r.position), p.y(r.r)]));
      const groups = groupBy(layers, (r) => r.targets);
      let faint = "";
      for (const [name, rs] of groups) if (!name.startsWith("(")) faint += at(rs);
      svg("path", { d: faint, fill: "none", stroke: "currentColor", "stroke-width": 0.7, opacity: groups.size > 100 ? 0.1 : 0.25 }, p.box);
      networks.forEach((name, i) => {
        const rs = groups.get(name), g = svg("g", { class: "c" + (i % 7) }, p.box);
        if (!rs) return;
        svg("path", { d: at(rs), fill: "none", stroke: "currentColor", "stroke-width": 1.4 }, g);
        for (const r of rs) titled(mark(g, SYMBOLS[i % SYMBOLS.length], p.x(r.position), p.y(r.r), 2.2), `${name.slice(10)}, ${r.layer}: ${show(r.r)}${interval(r)}`);
      });
      svg("path", { d: at(all), fill: "none", stroke: "currentColor", "stroke-width": 2.4 }, p.box);
      for (const r of all) {
        if (isNumber(r.lower) && isNumber(r.upper)) svg("path", { d: `M${p.x(r.position)} ${p.y(r.lower)}V${p.y(r.upper)}`, stroke: "currentColor", "stroke-width": 1.2, opacity: 0.7 }, p.box);
        titled(mark(p.box, "circle", p.x(r.position), p.y(r.r), 2.8), `all targets, ${r.layer}: ${show(r.r)}${interval(r)}`);
      }
      if (chosenLevel) titled(svg("path", { d: `M30 ${p.y(chosenLevel.r)}H194`, class: "one", "stroke-dasharray": "5 3" }, p.box), `chosen on training rows: ${show(chosenLevel.r)}${interval(chosenLevel)}`);
      if (combined) titled(svg("path", { d: `M30 ${p.y(combined.r)}H194`, class: "one" }, p.box), `all layers ${combined.layer.slice(1, -1)}: ${show(combined.r)}${interval(combined)}`);
    }
  };
  figures["encoding-choice"] = (figure, plot) => {
    const list = encoded(figure, "selection").filter((r) => isNumber(r.r) && isNumber(r.best_r));
    if (!list.length) return absent(plot, "No choice of layers is among these results.");
    let low = 0, high = 0;
    for (const r of list) { low = Math.min(low, r.r, r.best_r); high = Math.max(high, r.r, r.best_r); }
    const cell = multiples(plot), span = high - low || 1;
    for (const m of inOrder(list)) {
      const mine = list.filter((r) => r.model === m.model), about = encodedModel(figure, m.model);
      const every = Math.ceil(mine.length / 3000), few = mine.filter((_, i) => i % every === 0);
      const p = panel(cell(m.model, (about && isNumber(about.selection_bias) ? `mean bias ${show(about.selection_bias)}` : "") + (every > 1 ? ` · ${few.length} of ${mine.length} targets` : "")), "best against chosen layer of " + m.model, low, high, ["chosen: r " + show(low, 2), show(high, 2)]);
      svg("path", { d: `M${p.x(0)} ${p.y(low)}L${p.x(1)} ${p.y(high)}`, class: "zero" }, p.box);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, p.box);
      for (const r of few) titled(mark(g, symbolOf(m.modality), p.x((r.r - low) / span), p.y(r.best_r), 2, { opacity: few.length > 300 ? 0.25 : 0.7 }), `${r.roi}: chosen ${r.chosen_layer} (${show(100 * r.chosen_share, 0)} % of folds) r ${show(r.r)}${interval(r)}; best ${r.best_layer} r ${show(r.best_r)}`);
    }
  };
  /** The row of a model that belongs to what a figure shows. */
  function encodedModel(figure, model) {
    const state = chosen[figure.id] || {};
    return rows("encoding_models").find((r) => r.model === model && (!state.benchmark || r.benchmark === state.benchmark) && (!state.subject || r.subject === state.subject));
  }
  figures["encoding-layers"] = (figure, plot) => {
    const list = encoded(figure, "layers").filter((r) => isNumber(r.n_chosen) && isNumber(r.position));
    const groups = distinct(list.map((r) => r.targets)).filter((t) => t.startsWith("("));
    const group = groups.length ? choose(figure, "targets", "Targets", groups, "(all)") : null;
    const shown = list.filter((r) => r.targets === group);
    if (!shown.length) return absent(plot, "No layer was chosen.");
    const cell = multiples(plot);
    for (const m of inOrder(shown)) {
      const mine = shown.filter((r) => r.model === m.model).sort((a, b) => a.position - b.position);
      const most = Math.max(1, ...mine.map((r) => r.n_chosen));
      const p = panel(cell(m.model, group === "(all)" ? "all targets" : group), "layers chosen by targets of " + m.model, 0, most, [clip(mine[0].layer, 14), clip(mine[mine.length - 1].layer, 14)], 0);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, p.box), width = 164 / mine.length;
      mine.forEach((r, i) => titled(svg("rect", { x: 30 + i * width + 0.1 * width, y: p.y(r.n_chosen), width: 0.8 * width, height: p.y(0) - p.y(r.n_chosen), fill: "currentColor", opacity: 0.75 }, g), `${r.layer}: chosen ${r.n_chosen} times`));
    }
  };
  figures["encoding-weights"] = (figure, plot) => {
    const list = encoded(figure, "encoding_weights").filter((r) => isNumber(r.weight));
    const groups = distinct(list.map((r) => r.targets));
    const group = groups.length ? choose(figure, "targets", "Targets", groups, "(all)") : null;
    const shown = list.filter((r) => r.targets === group);
    if (!shown.length) return absent(plot, "No target has weights of layers.");
    const most = Math.max(...shown.map((r) => r.weight)), cell = multiples(plot);
    for (const m of inOrder(shown)) {
      const mine = shown.filter((r) => r.model === m.model).sort((a, b) => a.position - b.position);
      const p = panel(cell(m.model, `${group === "(all)" ? "all targets" : group} · R² ${show(mine[0].joint_r2)}`), "weights of the layers of " + m.model, 0, most, [clip(mine[0].layer, 14), clip(mine[mine.length - 1].layer, 14)]);
      const g = svg("g", { class: "c" + (modalityIndex(m.modality) % 7) }, p.box), width = 164 / mine.length;
      mine.forEach((r, i) => titled(svg("rect", { x: 30 + i * width + 0.1 * width, y: p.y(r.weight), width: 0.8 * width, height: p.y(0) - p.y(r.weight), fill: "currentColor", opacity: 0.75 }, g), `${r.layer}: weight ${show(r.weight)}, share of R² ${show(r.r2)}`));
    }
  };
  figures["encoding-partition"] = (figure, plot, legend) => {
    const list = encoded(figure, "partition").filter((r) => r.kind !== "model" && isNumber(r.r2));
    const groups = distinct(list.map((r) => r.targets));
    const group = groups.length ? choose(figure, "targets", "Targets", groups, "(all)") : null;
    const shown = list.filter((r) => r.targets === group);
    if (!shown.length) return absent(plot, "No partition is defined here.");
    const names = distinct(shown.map((r) => r.sets));
    const ends = shown.flatMap((r) => [r.r2, r.lower, r.upper].filter(isNumber));
    const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
    names.forEach((n, i) => legendItem(legend, "rect", "c" + (i % 7), n));
    const cell = multiples(plot);
    for (const m of inOrder(shown)) {
      const mine = names.map((n) => shown.find((r) => r.model === m.model && r.sets === n)), first = mine.find((r) => r);
      const sub = first.n_overfitted > 0 ? `joint model worse than a part in ${first.n_overfitted} of ${first.n_targets} targets` : group === "(all)" ? "all targets" : group;
      const p = panel(cell(m.model, sub, first.n_overfitted > 0), "variance partition of " + m.model, low, high, ["R²", ""]);
      const width = 164 / names.length;
      svg("path", { d: `M30 ${p.y(0)}H194`, class: "axis", style: "stroke:var(--zero)" }, p.box);
      mine.forEach((r, i) => {
        if (!r) return;
        const g = svg("g", { class: "c" + (i % 7) }, p.box), top = p.y(Math.max(0, r.r2)), height = Math.abs(p.y(r.r2) - p.y(0));
        const bar = svg("rect", { x: 30 + i * width + 0.12 * width, y: top, width: 0.76 * width, height: Math.max(0.5, height), fill: r.r2 < 0 ? "none" : "currentColor", stroke: "currentColor", "stroke-width": 1, "stroke-dasharray": r.r2 < 0 ? "2 2" : "none", opacity: 0.85 }, g);
        titled(bar, `${r.kind} ${r.sets}: R² ${show(r.r2, 4)}${interval(r)}; negative in ${r.n_negative} of ${r.n_targets} targets`);
        if (isNumber(r.lower) && isNumber(r.upper)) svg("path", { d: `M${30 + (i + 0.5) * width} ${p.y(r.lower)}V${p.y(r.upper)}`, stroke: "currentColor", "stroke-width": 1.2 }, p.box);
        if (r.r2 < 0) svg("text", { x: 30 + (i + 0.5) * width, y: top + height + 9, "text-anchor": "middle" }, p.box, "negative");
      });
    }
  };
  figures["encoding-surface"] = (figure, plot, legend) => drawSurface(figure, plot, legend, (figure, space) => {
    const here = new Set(rows("models").filter((m) => m.space === space).map((m) => m.benchmark));
    const maps = ["depth of the best layer", "depth, centroid", "score of the chosen layers"];
    const map = choose(figure, "map", "Map", maps, maps[0]);
    const list = encoded(figure, "selection").filter((r) => here.has(r.benchmark));
    if (!list.length) return null;
    const masked = new Set(rows("rois").filter((r) => r.space === space && r.masked === true).map((r) => r.roi));
    const column = map === maps[0] ? "depth" : map === maps[1] ? "centroid" : "r";
    const of = (r) => {
      if (masked.has(r.roi)) return { value: null, why: "masked: the ceiling is too low" };
      if (column !== "r" && r.significant !== true) return { value: null, why: r.significant === false ? "the best layer is not significant" : "no p-value" };
      return { value: r[column], why: r.status, note: `chosen ${r.chosen_layer}, best ${r.best_layer}; r ${show(r.r)}` };
    };
    const unit = column === "r" ? "correlation with held-out responses" : "depth in the network, 0 first layer, 1 last";
    return { map, unit, rows: inOrder(list).map((m) => ({ name: m.model, modality: m.modality, sub: "", values: new Map(list.filter((r) => r.model === m.model).map((r) => [r.roi, of(r)])) })) };
  });

  // ---- layers beside areas ------------------------------------------------------------------------
  /** Rows of one benchmark, measure and subject. */
  function compared(figure, name) {
    const list = narrow(figure, rows(name), [["benchmark", "Benchmark"], ["measure", "Measure"]]);
    const subjects = distinct(list.map((r) => r.subject));
    const subject = subjects.length ? choose(figure, "subject", "Subject", subjects, "(mean)") : null;
    return list.filter((r) => r.subject === subject);
  }
  const modelNames = (list) => modelOrder.map((m) => m.model).filter((m, i, all) => all.indexOf(m) === i && list.some((r) => r.model === m || r.model_a === m || r.model_b === m));
  figures["similarity-profiles"] = (figure, plot, legend) => {
    let list = compared(figure, "similarity").filter((r) => isNumber(r.value));
    if (!list.length) return absent(plot, "No layer has a value.");
    const names = modelNames(list), most = 7;
    let shown = names;
    if (names.length > most) {
      const model = choose(figure, "model", "Models", ["the first " + most, ...names], "the first " + most);
      shown = names.includes(model) ? [model] : names.slice(0, most);
    }
    list = list.filter((r) => shown.includes(r.model));
    shown.forEach((m, i) => legendItem(legend, SYMBOLS[i % SYMBOLS.length], "c" + (i % 7), clip(m, 30)));
    legendItem(legend, "line", "cink", "other subjects", { "stroke-dasharray": "5 3" });
    legendItem(legend, "line", "csoft", "chance", { "stroke-dasharray": "1.5 2.5" });
    let low = 0, high = 0;
    for (const r of list) for (const v of [r.value, r.lower, r.upper, r.ceiling, r.chance]) if (isNumber(v)) { low = Math.min(low, v); high = Math.max(high, v); }
    const cell = multiples(plot);
    for (const [area, rs] of groupBy(list, (r) => r.area)) {
      const ceiling = rs.find((r) => isNumber(r.ceiling));
      const p = panel(cell(area, ceiling ? `other subjects ${show(ceiling.ceiling)}` : `${rs[0].n_columns} columns`), "layer profiles in " + area, low, high, ["first layer", "last layer"]);
      svg("path", { d: `M30 ${p.y(0)}H194`, class: "axis" }, p.box);
      if (ceiling) titled(svg("path", { d: `M30 ${p.y(ceiling.ceiling)}H194`, class: "one", "stroke-dasharray": "5 3" }, p.box), `other subjects: ${show(ceiling.ceiling)}`);
      shown.forEach((model, i) => {
        const mine = rs.filter((r) => r.model === model).sort((a, b) => a.position - b.position);
        if (!mine.length) return;
        const g = svg("g", { class: "c" + (i % 7) }, p.box);
        // Models side by side, so that bars at one depth do not cover one another.
        const x = (r) => p.x(0.02 + 0.96 * r.position) + (i - (shown.length - 1) / 2) * Math.min(2.2, 12 / shown.length);
        const chance = mine.filter((r) => isNumber(r.chance));
        svg("path", { d: line(chance.map((r) => [x(r), p.y(r.chance)])), fill: "none", stroke: "currentColor", "stroke-width": 0.9, "stroke-dasharray": "1.5 2.5" }, g);
        svg("path", { d: line(mine.map((r) => [x(r), p.y(r.value)])), fill: "none", stroke: "currentColor", "stroke-width": 1.6 }, g);
        for (const r of mine) {
          if (isNumber(r.lower) && isNumber(r.upper)) svg("path", { d: `M${x(r)} ${p.y(r.lower)}V${p.y(r.upper)}`, stroke: "currentColor", "stroke-width": 1, opacity: 0.65 }, g);
          titled(mark(g, SYMBOLS[i % SYMBOLS.length], x(r), p.y(r.value), 2.6), `${model}, ${r.layer}: ${show(r.value)}${interval(r)}; chance ${show(r.chance)}; p adj. ${show(r.p_adj, 4)}${r.status === "ok" ? "" : "; " + r.status}`);
        }
      });
    }
  };
  /** A grid of values with words in its cells; hatched where there is none. */
  function matrix(plot, across, down, of, unit, signed) {
    const cells = [], holes = [];
    let low = Infinity, high = -Infinity;
    down.forEach((d, j) => across.forEach((a, i) => {
      const found = of(a, d);
      if (!found) return;
      if (isNumber(found.value)) { cells.push(Object.assign({}, found, { value: [i, j, found.value] })); low = Math.min(low, found.value); high = Math.max(high, found.value); }
      else holes.push({ value: [i, j], why: found.words });
    }));
    if (!cells.length) return absent(plot, "No value is defined here.");
    if (signed) { high = Math.max(Math.abs(low), Math.abs(high), 1e-12); low = -high; }
    const span = high - low || 1, height = 44, left = 170, top = 54;
    for (const c of cells) c.label = { color: (c.value[2] - low) / span > 0.55 ? "#000000" : "#ffffff", fontWeight: c.strong ? 700 : 400 };
    const names = { axisTick: { show: false }, axisLine: { show: false } };
    chart(plot, top + height * down.length + 16, {
      grid: { left, right: 12, top, bottom: 12 },
      xAxis: Object.assign({ type: "category", position: "top", data: across, axisLabel: { interval: 0, color: css("--ink"), fontFamily: css("--sans"), fontSize: 12, formatter: (n) => clip(n, Math.max(6, Math.floor(90 / across.length))) } }, names),
      yAxis: Object.assign({ type: "category", inverse: true, data: down, axisLabel: { interval: 0, color: css("--ink"), fontFamily: css("--sans"), fontSize: 12, formatter: (n) => clip(n, 24) } }, names),
      visualMap: { type: "continuous", min: low, max: high, seriesIndex: 0, calculable: false, orient: "horizontal", right: 12, top: 0, itemWidth: 10, itemHeight: 130, text: [show(high, 2) + " " + unit, show(low, 2)], textStyle: text(11), inRange: { color: CIVIDIS } },
      tooltip: tooltip((t) => esc((t.data && (t.data.words || t.data.why)) || "").replace(/\n/g, "<br>")),
      series: [
        { type: "heatmap", data: cells, itemStyle: { borderWidth: 1, borderColor: css("--paper") }, label: { show: across.length <= 14, fontSize: 11, lineHeight: 15, fontFamily: css("--sans"), formatter: (t) => t.data.short } },
        { type: "custom", data: holes, renderItem: (_, api) => {
          const c = api.coord([api.value(0), api.value(1)]), s = api.size([1, 1]), x = c[0] - s[0] / 2, y = c[1] - s[1] / 2;
          return { type: "group", children: [
            { type: "rect", shape: { x: x, y: y, width: s[0], height: s[1] }, style: { fill: css("--undefined") } },
            { type: "line", shape: { x1: x + 2, y1: y + s[1] - 2, x2: x + s[0] - 2, y2: y + 2 }, style: { stroke: css("--zero"), lineWidth: 0.8 } } ] };
        } },
      ],
      // On a canvas: the page colours all text of drawings alike, and these words lie on dark cells and on light ones.
    }, true);
  }
  const sure = (r) => isNumber(r.p_adj) && r.p_adj <= 0.05;
  figures["similarity-best"] = (figure, plot) => {
    const list = compared(figure, "similarity_best");
    const areas = distinct(list.map((r) => r.area));
    matrix(plot, areas, modelNames(list), (area, model) => {
      const r = list.find((o) => o.area === area && o.model === model);
      if (!r) return null;
      const value = isNumber(r.corrected) ? r.corrected : r.value;
      return { value, strong: sure(r), short: `${show(value, 2)}${sure(r) ? " *" : ""}\n${clip(r.best_layer || "", Math.max(4, Math.floor(80 / areas.length)))}`,
        words: `${model} · ${area}\n` + (isNumber(value) ? `best layer ${r.best_layer}: ${show(r.value)}, corrected ${show(r.corrected)}${interval(r)}\nwins ${show(100 * r.win_share, 0)} % of draws; chance ${show(r.chance)}; other subjects ${show(r.ceiling)}\np ${show(r.p, 4)}, adjusted ${show(r.p_adj, 4)}` : r.status) };
    }, list.length && list[0].measure ? list[0].measure : "", false);
  };
  figures["similarity-differences"] = (figure, plot) => {
    let list = compared(figure, "similarity_differences");
    const areas = distinct(list.map((r) => r.area));
    const area = areas.length ? choose(figure, "area", "Area", areas, areas[0]) : null;
    list = list.filter((r) => r.area === area);
    const names = modelNames(list);
    matrix(plot, names, names, (b, a) => {
      const direct = list.find((r) => r.model_a === a && r.model_b === b), r = direct || list.find((o) => o.model_a === b && o.model_b === a);
      if (!r) return null;
      const value = isNumber(r.difference) ? (direct ? 1 : -1) * r.difference : null;
      const ends = isNumber(r.lower) ? (direct ? [r.lower, r.upper] : [-r.upper, -r.lower]) : null;
      return { value, strong: sure(r), short: `${show(value, 2)}${sure(r) ? " *" : ""}`,
        words: `${a} less ${b}\n` + (isNumber(value) ? `${show(value)}${ends ? ` (${show(ends[0])} to ${show(ends[1])})` : ""}\np ${show(r.p, 4)}, adjusted ${show(r.p_adj, 4)}` + (isNumber(r.p_subjects) ? `; over ${r.n_subjects} subjects ${show(r.p_subjects, 4)}${isNumber(r.p_subjects_adj) ? `, adjusted ${show(r.p_subjects_adj, 4)}` : ""}` : "") : r.status) };
    }, "row more alike", true);
  };
  figures["similarity-map"] = (figure, plot, legend) => {
    const list = narrow(figure, rows("similarity_map"), [["benchmark", "Benchmark"]]).filter((r) => isNumber(r.x) && isNumber(r.y));
    if (!list.length) return absent(plot, "No place is defined here.");
    const layers = list.filter((r) => r.kind === "layer"), areas = list.filter((r) => r.kind === "area");
    const names = modelNames(layers);
    names.slice(0, 14).forEach((m, i) => legendItem(legend, SYMBOLS[i % SYMBOLS.length], "c" + (i % 7), clip(m, 30)));
    legendItem(legend, "diamond", "cink", "areas of subjects", { fill: "none", stroke: "currentColor", "stroke-width": 1.4 });
    const width = plot.clientWidth || 900, height = 560, w = width - 40, h = height - 40;
    const xs = list.map((r) => r.x), ys = list.map((r) => r.y);
    const cx = (Math.min(...xs) + Math.max(...xs)) / 2, cy = (Math.min(...ys) + Math.max(...ys)) / 2;
    const unit = 1.12 * Math.max((Math.max(...xs) - Math.min(...xs)) / w, (Math.max(...ys) - Math.min(...ys)) / h, 1e-12);
    const round = (v) => Number(v.toPrecision(6));
    const bare = (low, high) => ({ type: "value", min: round(low), max: round(high), axisLabel: { show: false }, axisTick: { show: false }, axisLine: { show: false }, splitLine: { show: false } });
    const label = (words) => ({ show: true, position: "right", distance: 6, formatter: () => words, color: css("--ink"), fontSize: 11, fontFamily: css("--sans") });
    const series = names.map((model, i) => {
      const mine = layers.filter((r) => r.model === model).sort((a, b) => a.position - b.position);
      return { type: "line", z: 3, silent: false, symbol: SYMBOLS[i % SYMBOLS.length], symbolSize: 8, showSymbol: true, lineStyle: { color: css("--m" + (i % 7)), width: 1.4 }, itemStyle: { color: css("--m" + (i % 7)), opacity: 1 },
        data: mine.map((r, k) => ({ value: [r.x, r.y], row: r, symbolSize: k === 0 ? 6 : k === mine.length - 1 ? 11 : 8, label: k === mine.length - 1 ? Object.assign(label(clip(model, 24)), { fontWeight: 600 }) : { show: false } })) };
    });
    // One name per area, at the subject in the middle of its marks.
    const named = new Set();
    for (const rs of groupBy(areas, (r) => r.area).values()) {
      const mx = rs.reduce((s, r) => s + r.x, 0) / rs.length, my = rs.reduce((s, r) => s + r.y, 0) / rs.length;
      named.add(rs.reduce((best, r) => (Math.hypot(r.x - mx, r.y - my) < Math.hypot(best.x - mx, best.y - my) ? r : best)));
    }
    series.push({ type: "scatter", z: 2, symbol: "emptyDiamond", symbolSize: 12, itemStyle: { color: css("--ink"), opacity: 0.85 },
      data: areas.map((r) => ({ value: [r.x, r.y], row: r, label: named.has(r) ? Object.assign(label(clip(r.area, 24)), { fontStyle: "italic" }) : { show: false } })), labelLayout: { hideOverlap: true } });
    chart(plot, height, {
      grid: { left: 20, right: 20, top: 20, bottom: 20 }, xAxis: bare(cx - (unit * w) / 2, cx + (unit * w) / 2), yAxis: bare(cy - (unit * h) / 2, cy + (unit * h) / 2),
      tooltip: tooltip((t) => { const r = t.data.row; return r.kind === "layer" ? `<b>${esc(r.model)}</b><br>${esc(r.layer)}` : `<b>${esc(r.area)}</b><br>subject ${esc(r.subject)}`; }), series,
    }, list.length > 2000);
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = `${list[0].distance}; stress ${show(list[0].stress)}`;
    plot.append(note);
  };

  figures.multiverse = (figure, plot, legend) => {
    let list = rows("multiverse").filter((r) => isNumber(r.versus_layer_mean));
    if (!list.length) return absent(plot, "No cell of the multiverse is defined.");
    const names = distinct(list.map((r) => r.model));
    const model = names.length ? choose(figure, "model", "Model", ["all models", ...names], "all models", (n) => (n === "all models" ? "all models with a claim" : n)) : "all models";
    const claims = (r) => { const m = modelOf.get(r.model); return !m || (!m.twin_of && !noStable(r.model)); };
    list = list.filter(model === "all models" ? claims : (r) => r.model === model);
    if (!list.length) return absent(plot, "No model with a claim is among these cells.");
    list = [...list].sort((a, b) => a.versus_layer_mean - b.versus_layer_mean);
    modalityLegend(legend);
    const levels = [];
    for (const key of ["trajectory", "scale", "select", "rank", "estimator"]) {
      const values = distinct(list.map((r) => r[key]));
      if (values.length > 1) for (const value of values) levels.push([key, value]);
    }
    const top = 190, rowHeight = 15;
    const modality = (r) => (modelOf.get(r.model) || { modality: "" }).modality;
    const dot = (r) => ({ symbol: symbolOf(modality(r)), itemStyle: { color: colourOf(modality(r)) } });
    const words = (t) => { const r = t.data && t.data.row; return r ? `<b>${esc(r.model)}</b><br>` + ["trajectory", "scale", "select", "rank", "estimator"].map((k) => esc(`${k}: ${r[k]}`)).join("<br>") + `<br>stable mode − layer mean ${show(r.versus_layer_mean)}` : ""; };
    const index = list.map((_, i) => i);
    chart(plot, top + 40 + levels.length * rowHeight, {
      grid: [{ left: 168, right: 14, top: 10, height: top - 20 }, { left: 168, right: 14, top: top + 8, height: Math.max(1, levels.length * rowHeight) }],
      xAxis: [0, 1].map((g) => ({ type: "category", gridIndex: g, data: index, axisLabel: { show: false }, axisTick: { show: false }, axisLine: { show: false } })),
      yAxis: [axis({ type: "value", gridIndex: 0, name: "stable mode − layer mean", nameLocation: "middle", nameGap: 44 }),
        { type: "category", gridIndex: 1, inverse: true, data: levels.map((l) => l[0] + ": " + l[1]), axisTick: { show: false }, axisLine: { show: false }, axisLabel: { interval: 0, fontSize: 11, color: css("--soft"), fontFamily: css("--sans"), formatter: (s) => clip(s, 28) } }],
      tooltip: tooltip(words),
      series: [
        { type: "scatter", symbolSize: 6, data: list.map((r, i) => Object.assign({ value: [i, r.versus_layer_mean], row: r }, dot(r))), markLine: { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: css("--ink"), type: "solid", width: 1 }, data: [{ yAxis: 0 }] } },
        { type: "scatter", xAxisIndex: 1, yAxisIndex: 1, symbol: "rect", symbolSize: [Math.max(1, Math.min(5, 700 / list.length)), 9], itemStyle: { color: css("--ink"), opacity: 0.7 }, data: levels.flatMap(([key, value], y) => list.flatMap((r, i) => (r[key] === value ? [{ value: [i, y], row: r }] : []))) },
      ],
    }, list.length * (1 + levels.length) > 6000);
  };

  // ---- drawing, printing, colours ---------------------------------------------------------------
  function draw(name) {
    const figure = document.getElementById("fig-" + name);
    if (!figure) return;
    const plot = figure.querySelector(".plot"), legend = figure.querySelector(".legend");
    for (let i = charts.length - 1; i >= 0; i--) if (plot.contains(charts[i].getDom())) charts.splice(i, 1)[0].dispose();
    plot.replaceChildren();
    legend.replaceChildren();
    figure.querySelector(".choices").replaceChildren();
    try { figures[name](figure, plot, legend); } catch (error) { report(name, error); console.error(name, error); }
  }
  const drawAll = () => { for (const name in figures) draw(name); };
  drawAll();
  let resizing = 0;
  window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawAll, 200); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is light and narrower than a screen.
  window.addEventListener("beforeprint", () => { root.classList.add("light"); document.querySelector("main").style.width = "690px"; drawAll(); });
  window.addEventListener("afterprint", () => { root.classList.remove("light"); document.querySelector("main").style.width = ""; drawAll(); });

  // ---- tables -----------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => { const cell = row.cells[column]; return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent; };
        const order = (a, b) => {
          const p = key(a), q = key(b), x = Number(p), y = Number(q);
          const dash = (s) => s === "–" || s === "";
          if (dash(p) || dash(q)) return dash(p) - dash(q); // undefined always last
          const o = p !== "" && q !== "" && !Number.isNaN(x) && !Number.isNaN(y) ? x - y : p.localeCompare(q);
          return down ? -o : o;
        };
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort(order));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(); } });
    });
  }

  // ---- downloads --------------------------------------------------------------------------------
  /** One value as CSV; text that a spreadsheet would run as a formula is kept as text. */
  function field(value) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "string") return String(value);
    const safe = /^[=+\-@\t\r]/.test(value) ? "'" + value : value;
    return /[",\n\r]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  }
  function csv(name) {
    const columns = data.tables[name].columns.map((c) => c.name);
    return [columns.map(field).join(",")].concat(rows(name).map((r) => columns.map((c) => field(r[c])).join(","))).join("\n") + "\n";
  }
  for (const button of document.querySelectorAll("[data-download]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.download;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(name)], { type: "text/csv" }));
      link.download = name.replace(/[^\w.-]+/g, "_") + ".csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }
  root.dataset.figures = String(document.querySelectorAll("[data-figure]").length);
  root.dataset.ready = "true";
})();
