"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const hues = ["#0072b2", "#d55e00", "#009e73", "#aa4b87", "#b87f00", "#56b4e9", "#6b6b6b", "#8c564b", "#17a398", "#c23b55", "#7f6fd0", "#a0a000"];
  const viridis = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
  const words = { direction_deg: "preferred direction (°)", direction_selectivity: "direction selectivity", orientation_selectivity: "orientation selectivity", transience: "transience", latency_s: "latency (s)" };
  let errors = 0;

  function mix(stops, share) {
    const at = Math.max(0, Math.min(1, share)) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2), part = at - low;
    const rgb = (c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
    const a = rgb(stops[low]), b = rgb(stops[low + 1]);
    return "rgb(" + a.map((x, i) => Math.round(x + part * (b[i] - x))).join(",") + ")";
  }
  const round = (angle) => "hsl(" + ((angle % 360) + 360) % 360 + ",65%,45%)";

  // How a column becomes colours, with its legend.
  function palette(rows, column, legend) {
    legend.textContent = "";
    const item = (node, text) => {
      const span = document.createElement("span");
      span.append(node, " " + text);
      legend.append(span);
    };
    const swatch = (colour) => {
      const i = document.createElement("i");
      i.style.cssText = "display:inline-block;width:11px;height:11px;border-radius:50%;background:" + colour;
      return i;
    };
    const values = rows.map((r) => r[column]).filter((v) => v !== null && v !== undefined);
    if (column === "direction_deg") {
      [0, 45, 90, 135, 180, 225, 270, 315].forEach((a) => item(swatch(round(a)), a + "°"));
      return (r) => (r[column] === null ? null : round(r[column]));
    }
    if (column === "stimulus" || column === "component" || column === "part") {
      const levels = [...new Set(values)].sort((a, b) => (a < b ? -1 : 1));
      levels.forEach((level, i) => item(swatch(hues[i % hues.length]), column === "stimulus" ? level : column + " " + (level + 1)));
      return (r) => { const i = levels.indexOf(r[column]); return i < 0 ? null : hues[i % hues.length]; };
    }
    const low = Math.min(...values), high = Math.max(...values);
    const ramp = document.createElement("i");
    ramp.className = "ramp";
    ramp.style.background = "linear-gradient(90deg," + viridis.join(",") + ")";
    item(ramp, words[column] + ": " + low.toPrecision(2) + " to " + high.toPrecision(2));
    return (r) => (r[column] === null ? null : mix(viridis, high > low ? (r[column] - low) / (high - low) : 0.5));
  }

  // One cloud of points or bundle of paths that can be turned.
  function cloud(parent, title, note, points, colourOf, lines, describe) {
    const figure = document.createElement("figure");
    const head = document.createElement("div");
    head.className = "title";
    const soft = document.createElement("span");
    soft.textContent = " " + note;
    head.append(title, soft);
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title + ": " + note);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    figure.append(head, canvas, tip);
    parent.append(figure);
    const mean = [0, 1, 2].map((k) => points.reduce((s, p) => s + p.at[k], 0) / points.length);
    const reach = Math.max(1e-300, ...points.map((p) => Math.hypot(...p.at.map((v, k) => v - mean[k]))));
    const at = points.map((p) => p.at.map((v, k) => (v - mean[k]) / reach));
    let yaw = 0.6, pitch = 0.35, zoom = 1, placed = [];

    function turned([x, y, z]) {
      const a = Math.cos(yaw) * x + Math.sin(yaw) * z, b = -Math.sin(yaw) * x + Math.cos(yaw) * z;
      return [a, Math.cos(pitch) * y - Math.sin(pitch) * b, Math.sin(pitch) * y + Math.cos(pitch) * b];
    }
    function draw() {
      const size = Math.round((canvas.clientWidth || 300) * Math.max(2, window.devicePixelRatio || 1));
      canvas.width = canvas.height = size;
      const pen = canvas.getContext("2d"), scale = 0.46 * size * zoom;
      const style = getComputedStyle(document.documentElement);
      const seen = (v) => { const [x, y, z] = turned(v); return [size / 2 + scale * x, size / 2 - scale * y, z]; };
      pen.lineWidth = size / 500;
      pen.font = size / 28 + "px sans-serif";
      [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]].forEach((axis, k) => {
        const from = seen([0, 0, 0]), to = seen(axis);
        pen.strokeStyle = style.getPropertyValue("--line");
        pen.beginPath(); pen.moveTo(from[0], from[1]); pen.lineTo(to[0], to[1]); pen.stroke();
        pen.fillStyle = style.getPropertyValue("--soft");
        pen.fillText(k + 1, to[0], to[1]);
      });
      placed = at.map(seen);
      if (lines) {
        pen.lineWidth = size / 280;
        lines.forEach((line) => {
          pen.strokeStyle = colourOf(points[line[0]]) || "#999";
          pen.globalAlpha = 0.75;
          pen.beginPath();
          line.forEach((i, k) => (k ? pen.lineTo(placed[i][0], placed[i][1]) : pen.moveTo(placed[i][0], placed[i][1])));
          pen.stroke();
          const end = placed[line[line.length - 1]];
          pen.globalAlpha = 1;
          pen.fillStyle = pen.strokeStyle;
          pen.beginPath(); pen.arc(end[0], end[1], size / 110, 0, 7); pen.fill();
        });
        return;
      }
      placed.map((p, i) => [p[2], i]).sort((a, b) => a[0] - b[0]).forEach(([depth, i]) => {
        const colour = colourOf(points[i]);
        pen.globalAlpha = 0.55 + 0.4 * (depth + 1) / 2;
        pen.beginPath();
        pen.arc(placed[i][0], placed[i][1], (size / 90) * (1 + 0.3 * depth), 0, 7);
        if (colour === null) { pen.strokeStyle = style.getPropertyValue("--soft"); pen.stroke(); } else { pen.fillStyle = colour; pen.fill(); }
      });
      pen.globalAlpha = 1;
    }
    let held = null;
    canvas.addEventListener("pointerdown", (e) => { held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointerup", () => { held = null; });
    canvas.addEventListener("pointermove", (e) => {
      if (held) {
        yaw += (e.clientX - held[0]) / 120;
        pitch = Math.max(-1.5, Math.min(1.5, pitch + (e.clientY - held[1]) / 120));
        held = [e.clientX, e.clientY];
        tip.hidden = true;
        draw();
        return;
      }
      const box = canvas.getBoundingClientRect(), k = canvas.width / box.width;
      const x = (e.clientX - box.left) * k, y = (e.clientY - box.top) * k;
      let best = -1, far = 14 * k;
      placed.forEach((p, i) => { const d = Math.hypot(p[0] - x, p[1] - y); if (d < far) { far = d; best = i; } });
      tip.hidden = best < 0;
      if (best >= 0) {
        tip.textContent = describe(points[best]);
        tip.style.left = Math.min(e.clientX - box.left + 12, box.width - 160) + "px";
        tip.style.top = e.clientY - box.top + 30 + "px";
      }
    });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom = Math.max(0.3, Math.min(8, zoom * Math.exp(-e.deltaY / 400))); draw(); }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
      if (step) { yaw += step[0]; pitch += step[1]; } else if (e.key === "+") { zoom *= 1.15; } else if (e.key === "-") { zoom /= 1.15; } else { return; }
      e.preventDefault();
      draw();
    });
    draw();
    return draw;
  }

  function rows(table) {
    const names = Object.keys(table);
    return table[names[0]].map((_, i) => Object.fromEntries(names.map((n) => [n, table[n][i]])));
  }

  function show(id, all, grouped, note, describe) {
    const place = document.getElementById("clouds-" + id), legend = document.getElementById("legend-" + id);
    const select = document.getElementById("colour-" + id);
    let colour = palette(all, select.value, legend);
    const draws = [];
    [...new Set(all.map((r) => r.population))].forEach((name) => {
      try {
        const mine = all.filter((r) => r.population === name && r.x !== null);
        mine.forEach((r) => { r.at = [r.x, r.y === null ? 0 : r.y, r.z === null ? 0 : r.z]; });
        if (mine.length === 0) return;
        let lines = null;
        if (grouped) {
          const found = new Map();
          mine.forEach((r, i) => { const key = r.stimulus + "\u0000" + r.direction_deg; if (!found.has(key)) found.set(key, []); found.get(key).push(i); });
          lines = [...found.values()];
        }
        draws.push(cloud(place, name, note(mine, lines), mine, (r) => colour(r), lines, describe));
      } catch (e) { errors += 1; console.error(e); }
    });
    select.addEventListener("change", () => { colour = palette(all, select.value, legend); draws.forEach((d) => d()); });
    return draws;
  }

  const fixed = (x, n) => (x === null ? "–" : x.toFixed(n));
  const draws = [
    ...show("units", rows(data.units), false, (mine) => mine.length + " units", (r) => r.unit + ": " + (r.stimulus || "silent") + ", " + fixed(r.direction_deg, 0) + "°, selectivity " + fixed(r.direction_selectivity, 2) + ", transience " + fixed(r.transience, 2)),
    ...show("paths", rows(data.paths), true, (mine, lines) => lines.length + " paths", (r) => r.stimulus + ", " + fixed(r.direction_deg, 0) + "°, " + fixed(r.time_s, 3) + " s"),
  ];
  window.addEventListener("resize", () => draws.forEach((d) => d()));
  window.addEventListener("beforeprint", () => draws.forEach((d) => d()));
  document.documentElement.dataset.errors = String(errors);
  document.documentElement.dataset.ready = "true";
})();
