// How a decoder decoded an item, forward pass by forward pass: the canvas, its controls, and the model's prediction for each decided token. Frames
// are [forward, changes, details, phase]; changes [place, piece, kind, confidence]; details null or [way, entropy, rank, asked, [[piece, probability]]].

const KINDS = {
  commit: ["committed", "decided in this step"],
  edit: ["edited", "decided before, changed in this step"],
  reopen: ["reopened", "taken back in this step"],
  provisional: ["provisional", "shown to the model, not decided"],
};

// The content of every place after `n` frames: its piece, how it was decided, and whether that was in the last of them.
function after({ initial, frames, mask }, n) {
  const places = initial.map((piece) => ({ piece, kind: mask === null ? "provisional" : piece === mask ? "open" : "given", at: null, sure: null, now: false, edits: 0, detail: null }));
  frames.slice(0, n).forEach(([clock, changes, details], i) => {
    changes.forEach(([place, piece, kind, sure], k) => {
      const p = places[place];
      const shown = kind === "provisional" && piece === mask ? "open" : kind;
      places[place] = { piece, kind: shown, at: clock, sure, now: i === n - 1, edits: p.edits + (kind === "edit"), detail: details[k] };
    });
  });
  return places;
}

const visible = (text) => text.replace(/\n/g, "↵\n");
const shownPiece = (text) => visible(text).replace(/\n/g, "") || "∅";
const hiddenIn = (p, mask) => p.kind === "open" || (p.kind === "reopen" && p.piece === mask);
const isDecided = (p) => p.kind === "commit" || p.kind === "edit";
const nth = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] || "th"}`;

// Why a place was decided: the decoder's own reason, if it reports one, and the place's rank among those that were asked about.
function why({ kind, detail }) {
  if (!detail) return kind === "reopen" ? "taken back" : "what the model said here was not recorded";
  const [way, , rank, asked] = detail;
  const order = asked === 1 ? "the only place asked about" : `${rank === 1 ? "surest" : `${nth(rank)} surest`} of ${asked}`;
  return `${way || (kind === "edit" ? "edited" : kind === "reopen" ? "taken back" : "chosen by its rule")}; ${order}`;
}

function words(p, i, pieces) {
  const said = [`place ${i + 1}`];
  if (p.kind === "open") said.push("open");
  else if (p.kind === "given") said.push("given");
  else said.push(`${KINDS[p.kind][0]} at forward ${p.at ?? 0}`);
  if (p.sure !== null) said.push(`confidence ${number(p.sure, 3)}`);
  if (p.edits) said.push(`edited ${p.edits === 1 ? "once" : `${p.edits} times`}`);
  if (p.detail) said.push(why(p), `entropy ${number(p.detail[1], 2)} nats`, `likeliest: ${likeliest(p).map(([piece, x]) => `${shownPiece(pieces[piece])} ${number(x, 3)}`).join(", ")}`);
  return said;
}

const likeliest = (p) => (p.detail ? p.detail[4] : []);

// A summary of a decided place: its token, the probability, the entropy, the reason, and the other likely tokens.
function told(p, pieces) {
  if (!p || !(isDecided(p) || p.kind === "reopen")) return el("div", { class: "told" }, el("i", { class: "range" }, p && p.kind === "given" ? "given" : "never decided"));
  const others = likeliest(p).filter(([piece]) => piece !== p.piece);
  return el("div", { class: "told" },
    el("div", {}, el("code", { class: "token" }, shownPiece(pieces[p.piece])), p.sure === null ? null : [" ", el("b", {}, number(p.sure, 3))], el("span", { class: "range" }, ` · forward ${p.at}`), p.detail ? el("span", { class: "range" }, ` · entropy ${number(p.detail[1], 2)}`) : null),
    el("div", { class: "why" }, why(p)),
    p.detail ? el("div", { class: "others" }, others.length ? ["next: ", others.map(([piece, x], i) => [i ? "  " : "", el("code", {}, shownPiece(pieces[piece])), ` ${number(x, 3)}`])] : "no other token above 0.0005") : null);
}

// A canvas that can be set to any forward pass. `differs`: places to highlight.
function stage(trace, { label = "The canvas", differs = new Set() } = {}) {
  const { pieces, frames, mask } = trace;
  const canvas = el("div", { class: "canvas", role: "group", tabindex: "0", "aria-label": `${label}; arrow keys go from place to place` });
  const changes = el("div", { class: "changes", tabindex: "0", role: "region", "aria-label": `${label}: what this forward decided` });
  let places = [], nodes = [], pointed = 0;

  function go(n) {
    const step = Math.min(n, frames.length);
    places = after(trace, step);
    nodes = places.map((p, i) => {
      const hidden = hiddenIn(p, mask);
      return el("span", { class: `piece ${p.kind}${p.now ? " now" : ""}${p.edits ? " was-edited" : ""}${differs.has(i) ? " differs" : ""}${!hidden && /^<\|.*\|>$/.test(pieces[p.piece]) ? " special" : ""}`, "data-place": i, "data-piece": hidden ? null : pieces[p.piece] },
        hidden ? "·" : visible(pieces[p.piece]) || "∅");
    });
    canvas.replaceChildren(...nodes);
    tell(n);
    tip.hide();
  }

  function tell(n) {
    const own = places.map((p, i) => [p, i]).filter(([p]) => p.now && (isDecided(p) || p.kind === "reopen"));
    const phase = n && n <= frames.length ? frames[n - 1][3] : null;
    const title = n > frames.length ? `done after ${frames.length} ${frames.length === 1 ? "forward" : "forwards"}` : n ? `${own.length} ${own.length === 1 ? "place" : "places"} in forward ${n}${phase ? ` (${phase})` : ""}` : "nothing is decided yet";
    own.sort(([a, i], [b, j]) => differs.has(j) - differs.has(i) || (a.sure ?? -1) - (b.sure ?? -1) || i - j);
    changes.replaceChildren(el("h4", {}, el("span", { class: "whose" }, `${label}: `), title), el("ol", {}, own.map(([p, i]) => el("li", { class: differs.has(i) ? "differs" : null }, el("span", { class: "at" }, String(i + 1)), told(p, pieces)))));
  }

  function point(i) {
    const node = nodes[i], box = node.getBoundingClientRect();
    for (const other of nodes) other.classList.toggle("pointed", other === node);
    const text = node.dataset.piece;
    tip.show({ x: box.left + box.width / 2, y: box.top }, el("strong", {}, text === undefined ? "open" : el("code", {}, JSON.stringify(text))), words(places[i], i, pieces).map((line) => el("span", {}, line)));
  }
  const place = (e) => (e.target.closest("[data-place]") ? Number(e.target.closest("[data-place]").dataset.place) : -1);
  canvas.addEventListener("pointerover", (e) => place(e) >= 0 && point(place(e)));
  canvas.addEventListener("pointerleave", () => tip.hide());
  canvas.addEventListener("click", (e) => place(e) >= 0 && point((pointed = place(e))));
  canvas.addEventListener("blur", () => {
    tip.hide();
    for (const node of nodes) node.classList.remove("pointed");
  });
  canvas.addEventListener("keydown", (e) => {
    if (!["ArrowLeft", "ArrowRight"].includes(e.key)) return;
    pointed = Math.min(Math.max(pointed + (e.key === "ArrowRight" ? 1 : -1), 0), nodes.length - 1);
    point(pointed);
    e.preventDefault();
  });
  return { canvas, changes, go, open: () => places.filter((p) => p.kind === "open" || p.kind === "reopen" || p.kind === "provisional").length };
}

const kinds = () => el("ul", { class: "kinds" }, el("li", {}, el("span", { class: "piece open" }, "·"), "open"), Object.entries(KINDS).map(([kind, [said, title]]) =>
  el("li", { title }, el("span", { class: `piece now ${kind}` }, kind === "reopen" ? "·" : "ab"), said)));

// Buttons for play, back and forward, and a slider over the forward passes; `show(n)` shows one and returns its description.
// They handle the keys of the whole `frame`.
function controls(length, show) {
  let step = length, timer = null;
  const slider = el("input", { type: "range", min: "0", max: String(length), value: String(step), "aria-label": "Forward pass", oninput: () => go(Number(slider.value)) });
  const count = el("output", { class: "count" });
  const play = el("button", { type: "button", class: "play", onclick: toggle });
  const back = el("button", { type: "button", "aria-label": "One forward back", onclick: () => go(step - 1) }, "‹");
  const on = el("button", { type: "button", "aria-label": "One forward on", onclick: () => go(step + 1) }, "›");

  function go(n, playing = false) {
    if (!playing) stop();
    step = Math.min(Math.max(n, 0), length);
    slider.value = String(step);
    count.textContent = `forward ${step} of ${length}`;
    slider.setAttribute("aria-valuetext", `${count.textContent}: ${show(step)}`);
    back.disabled = step === 0;
    on.disabled = step === length;
  }
  function toggle() {
    if (timer) return stop();
    if (step === length) go(0);
    timer = setInterval(() => {
      if (!slider.isConnected) return stop();
      go(step + 1, true);
      if (step === length) stop();
    }, Math.max(90, Math.min(450, 6000 / Math.max(1, length))));
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
  function keys(frame) {
    frame.addEventListener("keydown", (e) => {
      if (e.defaultPrevented) return;
      if (e.key === " " && e.target.tagName !== "BUTTON") toggle();
      else if (e.key === "Escape") tip.hide();
      else return;
      e.preventDefault();
    });
  }
  label();
  return { node: el("div", { class: "controls" }, play, back, slider, on, count), go, keys };
}
