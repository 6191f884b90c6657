// A canvas, forward by forward. Frames hold changes: [place, piece, kind, confidence].

const KINDS = {
  commit: ["committed", "decided in this step"],
  edit: ["edited", "decided before, changed in this step"],
  reopen: ["reopened", "taken back in this step"],
  provisional: ["provisional", "shown to the model, not decided"],
};

function replay(trace) {
  const { pieces, initial, frames, mask } = trace;
  let step = frames.length, timer = null;

  // What stands on every place after `n` frames: its piece, how it came there, and whether that was in the last of them.
  function after(n) {
    const places = initial.map((piece) => ({ piece, kind: mask === null ? "provisional" : piece === mask ? "open" : "given", at: null, sure: null, now: false, edits: 0 }));
    frames.slice(0, n).forEach(([clock, changes], i) => {
      for (const [place, piece, kind, sure] of changes) {
        const p = places[place];
        const shown = kind === "provisional" && piece === mask ? "open" : kind;
        places[place] = { piece, kind: shown, at: clock, sure, now: i === n - 1, edits: p.edits + (kind === "edit") };
      }
    });
    return places;
  }

  const visible = (text) => text.replace(/\n/g, "↵\n");
  function words(p, i) {
    const said = [`place ${i + 1}`];
    if (p.kind === "open") said.push("open");
    else if (p.kind === "given") said.push("given");
    else said.push(`${KINDS[p.kind][0]} at forward ${p.at ?? 0}`);
    if (p.sure !== null) said.push(`confidence ${number(p.sure, 3)}`);
    if (p.edits) said.push(`edited ${p.edits === 1 ? "once" : `${p.edits} times`}`);
    return said;
  }

  const canvas = el("div", { class: "canvas", role: "group", tabindex: "0", "aria-label": "The canvas; arrow keys go from place to place" });
  const slider = el("input", { type: "range", min: "0", max: String(frames.length), value: String(step), "aria-label": "Forward pass", oninput: () => go(Number(slider.value)) });
  const count = el("output", { class: "count" });
  const play = el("button", { type: "button", class: "play", onclick: toggle });
  const back = el("button", { type: "button", "aria-label": "One forward back", onclick: () => go(step - 1) }, "‹");
  const on = el("button", { type: "button", "aria-label": "One forward on", onclick: () => go(step + 1) }, "›");
  const map = orderMap(trace, (n) => go(n));
  let places = [], nodes = [];

  function go(n, playing = false) {
    if (!playing) stop();
    step = Math.min(Math.max(n, 0), frames.length);
    slider.value = String(step);
    places = after(step);
    const made = frames.length && step ? frames[step - 1][1].length : 0;
    const open = places.filter((p) => p.kind === "open" || p.kind === "reopen" || p.kind === "provisional").length;
    count.textContent = `forward ${step} of ${frames.length}`;
    slider.setAttribute("aria-valuetext", `forward ${step} of ${frames.length}: ${made} changes, ${open} open`);
    nodes = places.map((p, i) => {
      const hidden = p.kind === "open" || (p.kind === "reopen" && p.piece === mask);
      const node = el("span", { class: `piece ${p.kind}${p.now ? " now" : ""}${p.edits ? " was-edited" : ""}${!hidden && /^<\|.*\|>$/.test(pieces[p.piece]) ? " special" : ""}`, "data-place": i, "data-piece": hidden ? null : pieces[p.piece] },
        hidden ? "·" : visible(pieces[p.piece]) || "∅");
      return node;
    });
    canvas.replaceChildren(...nodes);
    back.disabled = step === 0;
    on.disabled = step === frames.length;
    map.mark(step);
    tip.hide();
  }
  function toggle() {
    if (timer) return stop();
    if (step === frames.length) go(0);
    timer = setInterval(() => {
      if (!slider.isConnected) return stop();
      go(step + 1, true);
      if (step === frames.length) stop();
    }, Math.max(90, Math.min(450, 6000 / Math.max(1, frames.length))));
    label();
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    label();
  }
  function label() {
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
  }

  function point(i) {
    const node = nodes[i], box = node.getBoundingClientRect();
    for (const other of nodes) other.classList.toggle("pointed", other === node);
    const text = node.dataset.piece;
    tip.show({ x: box.left + box.width / 2, y: box.top }, el("strong", {}, text === undefined ? "open" : el("code", {}, JSON.stringify(text))), words(places[i], i).map((line) => el("span", {}, line)));
  }
  let pointed = 0;
  const place = (e) => (e.target.closest("[data-place]") ? Number(e.target.closest("[data-place]").dataset.place) : -1);
  canvas.addEventListener("pointerover", (e) => place(e) >= 0 && point(place(e)));
  canvas.addEventListener("pointerleave", () => tip.hide());
  canvas.addEventListener("click", (e) => place(e) >= 0 && point((pointed = place(e))));
  canvas.addEventListener("blur", () => {
    tip.hide();
    for (const node of nodes) node.classList.remove("pointed");
  });
  const frame = el("div", { class: "replay" },
    el("div", { class: "controls" }, play, back, slider, on, count),
    canvas,
    el("ul", { class: "kinds" }, el("li", {}, el("span", { class: "piece open" }, "·"), "open"), Object.entries(KINDS).map(([kind, [said, title]]) =>
      el("li", { title }, el("span", { class: `piece now ${kind}` }, kind === "reopen" ? "·" : "ab"), said))),
    map.node);
  frame.addEventListener("keydown", (e) => {
    if (e.target === slider && ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"].includes(e.key)) return;
    if (e.key === " " && e.target.tagName !== "BUTTON") toggle();
    else if (e.key === "Escape") tip.hide();
    else if (e.target === canvas && ["ArrowLeft", "ArrowRight"].includes(e.key)) {
      pointed = Math.min(Math.max(pointed + (e.key === "ArrowRight" ? 1 : -1), 0), nodes.length - 1);
      point(pointed);
    } else return;
    e.preventDefault();
  });
  label();
  go(step);
  return frame;
}

// Which place was decided in which forward: places from left to right, forwards from top to bottom.
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
