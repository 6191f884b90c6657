// One item under one decoder.

function replay(trace) {
  const { frames } = trace;
  const shown = stage(trace), map = orderMap(trace, (n) => bar.go(n));
  const bar = controls(frames.length, (n) => {
    shown.go(n);
    map.mark(n);
    return `${n ? frames[n - 1][1].length : 0} changes, ${shown.open()} open`;
  });
  const frame = el("div", { class: "replay" }, bar.node, shown.canvas, kinds(), el("div", { class: "beneath" }, map.node, shown.changes));
  bar.keys(frame);
  bar.go(frames.length);
  return frame;
}

// In which forward pass each place was decided: places from left to right, forward passes from top to bottom.
function orderMap(trace, go) {
  const [P, F] = [trace.initial.length, trace.frames.length];
  const [w, h] = [Math.max(3, Math.min(18, 720 / P)), Math.max(3, Math.min(12, 260 / Math.max(1, F)))];
  const line = svg("rect", { class: "row", x: 0, width: P * w, height: h });
  const picture = svg("svg", { class: "order", viewBox: `0 0 ${P * w} ${F * h}`, width: P * w, height: F * h, role: "img", "aria-label": "Which place changed in which forward" }, line);
  trace.frames.forEach(([, changes], f) => {
    for (const [place, piece, kind, sure] of changes) {
      if (kind === "provisional" && piece === trace.mask) continue;
      picture.append(svg("rect", { class: kind, x: place * w + 0.4, y: f * h + 0.4, width: w - 0.8, height: h - 0.8, rx: 1, "fill-opacity": sure === null ? 1 : 0.35 + 0.65 * sure }));
    }
  });
  picture.addEventListener("click", (e) => {
    const box = picture.getBoundingClientRect();
    go(Math.floor(((e.clientY - box.top) / box.height) * F) + 1);
  });
  const node = el("figure", { class: "order-map" }, picture, el("figcaption", {}, "Order: places from left to right, forwards from top to bottom; paler is less confident."));
  return { node, mark: (step) => { line.setAttribute("y", (step - 1) * h); line.setAttribute("visibility", step ? "visible" : "hidden"); } };
}
