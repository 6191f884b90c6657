// Accuracy against another quantity: marks with intervals, a front or curves, and names where there is room.

function ticksOf(lo, hi, log, room, apart = 52) {
  const most = Math.max(2, Math.floor(room / apart));
  const inside = (xs) => xs.filter((x) => x >= lo * 0.999 && x <= hi * 1.001);
  if (log && hi / lo > 2.5) {
    const sets = [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]];
    for (const set of sets) {
      const xs = [];
      for (let k = Math.floor(Math.log10(lo)); k <= Math.ceil(Math.log10(hi)); k++) xs.push(...set.map((m) => m * 10 ** k));
      if (inside(xs).length <= most) return inside(xs);
    }
  }
  const raw = (hi - lo) / most;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw);
  const xs = [];
  for (let x = Math.ceil(lo / step - 1e-9) * step; x <= hi * (1 + 1e-9); x += step) xs.push(Number(x.toPrecision(12)));
  return xs;
}

const LARGE = [[1e12, "T"], [1e9, "G"], [1e6, "M"]];
function short(x) {
  const unit = LARGE.find(([size]) => x >= size);
  return unit ? `${Number((x / unit[0]).toPrecision(3))} ${unit[1]}` : x >= 1000 ? number(x, 0) : String(Number(x.toPrecision(3)));
}

/* options: points [{setting, series, x, y, low, high, label, tag, faded, hollow, lines: [text]}], where an end of the interval is open if it
   is null; xLabel, log, span: values that the x axis includes besides the points; front: [setting], curves: [[setting]], bands: [{series, points}],
   named: [setting], signed: y is a difference; dim: series or null; pick(setting) */
function scatter(host, options) {
  host.onPick = options.pick;
  host.options = options;
  if (!host.watcher) {
    let width = 0;
    host.watcher = new ResizeObserver(() => {
      if (host.clientWidth !== width) {
        width = host.clientWidth;
        draw(host);
      }
    });
    host.watcher.observe(host);
  }
  draw(host);
}

// The axes of a chart of points, and the scales between them.
function plane({ points: own, xLabel, log, signed = false, span = [], bands = [] }, width, height) {
  const box = { left: span.length ? 44 : 38, right: width - 12, top: 14, bottom: height - 44 };
  const xs = [...own.map((p) => p.x), ...span];
  let [lo, hi] = [Math.min(...xs), Math.max(...xs)];
  const wide = log && hi / lo > 1.5;
  if (wide) [lo, hi] = [lo / (hi / lo) ** 0.07, hi * (hi / lo) ** 0.07];
  else [lo, hi] = [Math.max(0, lo - ((hi - lo) * 0.08 || lo * 0.2)), hi + ((hi - lo) * 0.08 || hi * 0.2)];
  const ends = [...own, ...bands.flatMap((b) => b.points)].flatMap((p) => [p.low, p.high, p.y]).filter((y) => y !== null && y !== undefined);
  if (signed) ends.push(-0.02, 0.02);
  const bottom = Math.max(signed ? -1 : 0, Math.floor(Math.min(...ends) * 20 - 0.2) / 20);
  const top = Math.min(1, Math.ceil(Math.max(...ends) * 20 + 0.2) / 20);
  const along = wide ? (x) => Math.log(x / lo) / Math.log(hi / lo) : (x) => (x - lo) / (hi - lo);
  const X = (x) => box.left + along(x) * (box.right - box.left);
  const Y = (y) => box.bottom - ((y - bottom) / (top - bottom)) * (box.bottom - box.top);
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const axes = svg("g", { class: "axes" });
  for (const y of ticksOf(100 * bottom, 100 * top, false, box.bottom - box.top, 36)) {
    axes.append(svg("line", { class: signed && !y ? "zero" : null, x1: box.left, x2: box.right, y1: Y(y / 100), y2: Y(y / 100) }));
    axes.append(svg("text", { x: box.left - 8, y: Y(y / 100) + 4, "text-anchor": "end" }, signed ? `${y > 0 ? "+" : ""}${short(y)}`.replace("-", MINUS) : short(y)));
  }
  for (const x of ticksOf(lo, hi, wide, box.right - box.left)) {
    axes.append(svg("line", { class: "tick", x1: X(x), x2: X(x), y1: box.bottom, y2: box.bottom + 5 }));
    axes.append(svg("text", { x: X(x), y: box.bottom + 19, "text-anchor": "middle" }, short(x)));
  }
  axes.append(svg("line", { class: "base", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  axes.append(svg("text", { class: "name", x: box.right, y: height - 5, "text-anchor": "end" }, xLabel));
  axes.append(svg("text", { class: "name", x: 8, y: height - 5 }, signed ? "↑ points" : "↑ % right"));
  picture.append(axes);
  return { picture, box, X, Y };
}

// An interval with caps at its ends; an open end extends to the edge of the chart, dashed.
function whisker(p, X, Y, box) {
  const x = X(p.x), open = [];
  const end = (y, edge) => {
    if (y !== null) return { to: Y(y), cap: `M${x - 3.5},${Y(y)}h7` };
    open.push(svg("line", { class: "open-end", x1: x, x2: x, y1: Y(p.y), y2: edge }));
    return { to: Y(p.y), cap: "" };
  };
  const [low, high] = [end(p.low, box.bottom), end(p.high, box.top)];
  return [svg("path", { class: "interval", d: `M${x},${low.to}V${high.to}${low.cap}${high.cap}` }), ...open];
}

function draw(host) {
  const { points: own, xLabel, front = [], curves = [], bands = [], named = front, dim = null, pick, height: tall } = host.options;
  const width = host.clientWidth;
  if (!width) return;
  if (!own.length) {
    host.replaceChildren(el("p", { class: "note" }, "Nothing to draw."));
    return;
  }
  const { picture, box, X, Y } = plane(host.options, width, tall(width));
  const at = new Map(own.map((p) => [p.setting, p]));
  for (const { series, points: edge } of bands) {
    const around = [...edge].sort((a, b) => a.x - b.x), corner = (end) => (p) => `${X(p.x)},${p[end] === null ? (end === "low" ? box.bottom : box.top) : Y(p[end])}`;
    picture.append(svg("polygon", { class: "band", fill: colour(series), points: [...around.map(corner("high")), ...around.reverse().map(corner("low"))].join(" ") }));
  }

  if (front.length) {
    const [first, ...rest] = front.map((s) => at.get(s));
    const path = [`M${X(first.x)},${box.bottom}V${Y(first.y)}`, ...rest.map((p) => `H${X(p.x)}V${Y(p.y)}`), `H${box.right}`];
    picture.append(svg("path", { class: "front", d: path.join("") }));
  }
  for (const c of curves) {
    const line = c.map((s) => at.get(s)).filter(Boolean).sort((a, b) => a.x - b.x);
    if (line.length < 2) continue;
    const off = dim !== null && line[0].series !== dim;
    picture.append(svg("polyline", { class: "curve", points: line.map((p) => `${X(p.x)},${Y(p.y)}`).join(" "), stroke: colour(line[0].series), opacity: off ? 0.12 : 0.75 }));
  }

  const marks = new Map();
  const order = [...own].sort((a, b) => Number(b.faded) - Number(a.faded) || a.x - b.x);
  for (const p of order) {
    const off = dim !== null && p.series !== dim;
    const g = svg("g", { class: front.includes(p.setting) ? "mark leading" : "mark", opacity: off ? 0.12 : p.faded && dim === null ? 0.42 : 1, color: colour(p.series) },
      whisker(p, X, Y, box),
      svg("path", { class: p.hollow ? "hollow" : "solid", d: shape(p.series, width < 500 ? 5 : 5.6), transform: `translate(${X(p.x)},${Y(p.y)})` }));
    marks.set(p.setting, g);
    picture.append(g);
  }
  names(picture, box, own, front, named, X, Y, dim);

  const id = host.id;
  const reading = [...own].sort((a, b) => a.x - b.x || b.y - a.y);
  const list = el("div", { class: "plot", role: "listbox", tabindex: "0", "aria-label": `${xLabel}: arrow keys go from mark to mark, Enter shows its items` },
    picture, reading.map((p) => el("span", { class: "spoken", role: "option", id: `${id}-${p.setting}`, "aria-selected": "false" }, [p.label, ...p.lines].join("; "))));
  const active = svg("circle", { class: "active", r: 11, visibility: "hidden" });
  picture.append(active);
  let current = -1;

  function focus(i) {
    current = i;
    const p = reading[i];
    active.setAttribute("cx", X(p.x));
    active.setAttribute("cy", Y(p.y));
    active.setAttribute("visibility", "visible");
    list.setAttribute("aria-activedescendant", `${id}-${p.setting}`);
    for (const [n, option] of [...list.querySelectorAll("[role=option]")].entries()) option.setAttribute("aria-selected", String(n === i));
    const corner = host.getBoundingClientRect();
    tip.show({ x: corner.left + X(p.x), y: corner.top + Y(p.y) }, el("strong", {}, key(p.series), p.label), p.lines.map((line) => el("span", {}, line)));
  }
  function leave() {
    current = -1;
    active.setAttribute("visibility", "hidden");
    tip.hide();
  }
  function nearest(event) {
    const corner = host.getBoundingClientRect();
    const [x, y] = [event.clientX - corner.left, event.clientY - corner.top];
    const far = reading.map((p) => Math.hypot(X(p.x) - x, Y(p.y) - y));
    const i = far.indexOf(Math.min(...far));
    return far[i] < 28 ? i : -1;
  }
  list.addEventListener("pointermove", (e) => {
    const i = nearest(e);
    if (i < 0) leave();
    else if (i !== current) focus(i);
    list.classList.toggle("near", i >= 0);
  });
  list.addEventListener("pointerleave", leave);
  list.addEventListener("blur", leave);
  list.addEventListener("click", (e) => {
    const i = nearest(e);
    if (i >= 0) e.pointerType === "touch" ? focus(i) : pick(reading[i].setting);
  });
  list.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (step) focus(Math.min(Math.max(current + step, 0), reading.length - 1));
    else if (e.key === "Home") focus(0);
    else if (e.key === "End") focus(reading.length - 1);
    else if (e.key === "Enter" && current >= 0) pick(reading[current].setting);
    else if (e.key === "Escape") leave();
    else return;
    e.preventDefault();
  });
  host.replaceChildren(list);
}

// Names beside the marks that have one, the most accurate first, where they overlap no mark, line or other name. If there is no such place, a name
// may cross an interval; if there is still none, the mark shows its name only on hover, as the others do.
function names(picture, box, own, front, named, X, Y, dim) {
  const taken = own.map((p) => ({ x0: X(p.x) - 7, x1: X(p.x) + 7, y0: Y(p.y) - 7, y1: Y(p.y) + 7 }));
  const thin = own.map((p) => ({ x0: X(p.x) - 1, x1: X(p.x) + 1, y0: p.high === null ? box.top : Y(p.high), y1: p.low === null ? box.bottom : Y(p.low) }));
  const steps = front.map((s) => own.find((p) => p.setting === s));
  for (const [i, p] of steps.entries()) { // a name must not overlap the line of the front
    const next = steps[i + 1];
    taken.push({ x0: X(p.x), x1: next ? X(next.x) : box.right, y0: Y(p.y) - 1, y1: Y(p.y) + 1 });
    if (next) taken.push({ x0: X(next.x) - 1, x1: X(next.x) + 1, y0: Y(next.y), y1: Y(p.y) });
  }
  const meets = (a) => (b) => a.x1 >= b.x0 && a.x0 <= b.x1 && a.y1 >= b.y0 && a.y0 <= b.y1;
  const wanted = named.map((s) => own.find((p) => p.setting === s)).filter(Boolean).sort((a, b) => b.y - a.y);
  for (const p of wanted) {
    if (dim !== null && p.series !== dim) continue;
    const text = p.tag || p.label, w = text.length * 6.7;
    const spots = [[-10, -11, "end"], [10, 17, "start"], [-10, 17, "end"], [10, -11, "start"], [0, -16, "middle"], [0, 25, "middle"], [10, 31, "start"], [-10, -25, "end"]];
    const free = spots.map(([dx, dy, anchor]) => {
      const x = X(p.x) + dx, y = Y(p.y) + dy;
      const x0 = anchor === "end" ? x - w : anchor === "start" ? x : x - w / 2;
      return { x, y, anchor, x0, x1: x0 + w, y0: y - 11, y1: y + 3 };
    }).filter((s) => s.x0 > box.left && s.x1 < box.right + 8 && s.y0 > 0 && s.y1 < box.bottom && !taken.some(meets(s)));
    const spot = free.find((s) => !thin.some(meets(s))) || free[0];
    if (!spot) continue;
    picture.append(svg("text", { class: "label", x: spot.x, y: spot.y, "text-anchor": spot.anchor }, text));
    taken.push(spot);
  }
}
