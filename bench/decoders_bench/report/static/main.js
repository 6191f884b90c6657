// The page: its state is the view (a task, or all), the curve that is shown alone, the baseline, and the cost at which the others are
// compared with it.

const data = JSON.parse($("data").textContent);
const { settings, series, views } = data;
const state = { view: views[0], dim: null, chosen: 0, axis: "forwards", mine: data.mine, every: { column: 1, down: true }, against: { column: 0, down: false } };

const pick = (setting) => items.pick(setting);

function marks(view, x) {
  return view.points.map((p) => ({
    setting: p.setting, series: settings[p.setting].series, x: x(p), y: p.accuracy, low: p.low, high: p.high, label: settings[p.setting].label,
    faded: p.verdict === "worse", hollow: p.status === "other items",
    lines: [
      `${percent(p.accuracy)} % right, ${percent(p.low)} to ${percent(p.high)}`,
      `${number(p.nfe, 1)} forwards, ${number(p.tpf, 2)} tokens a forward`,
      `${duration(p.seconds)} an item, ${number(p.n, 0)} items`,
      ...standing(p),
    ],
  })).filter((p) => p.x > 0);
}

function standing(p) {
  if (p.status === "other items") return ["asked other items, so not compared"];
  return [...(p.status === "front" ? ["on the front"] : []), ...(p.verdict ? [`at equal forwards against ${data.baseline}: ${p.verdict}`] : [])];
}

function charts() {
  const { view, dim } = state;
  const common = { dim, pick };
  scatter($("chart-nfe"), { ...common, points: marks(view, (p) => p.nfe), xLabel: "forward passes an item →", log: true, front: view.front, curves: view.curves.map((c) => c.points), height: (w) => Math.round(Math.min(500, Math.max(330, w * 0.62))) });
  const fast = Math.max(...view.points.map((p) => p.seconds)) < 1;
  scatter($("chart-seconds"), { ...common, points: marks(view, (p) => (fast ? 1000 : 1) * p.seconds), xLabel: `${fast ? "milliseconds" : "seconds"} an item →`, log: true, front: quick(view), height: (w) => Math.round(Math.min(360, Math.max(280, w * 0.66))) });
  const own = new Set(view.curves.flatMap((c) => c.points));
  scatter($("chart-tpf"), { ...common, points: marks(view, (p) => p.tpf).filter((p) => own.has(p.setting)).map((p) => ({ ...p, faded: false })), xLabel: "tokens a forward →", log: false, curves: view.curves.map((c) => c.points), height: (w) => Math.round(Math.min(360, Math.max(280, w * 0.66))) });
}

// The front in seconds, in the order of the numbers that are shown.
function quick(view) {
  const out = [];
  for (const p of view.points.filter((q) => q.status !== "other items").sort((a, b) => a.seconds - b.seconds || b.accuracy - a.accuracy))
    if (!out.length || p.accuracy > out.at(-1).accuracy) out.push(p);
  return out.map((p) => p.setting);
}

function legend() {
  const present = [...new Set(state.view.points.map((p) => settings[p.setting].series))].sort((a, b) => a - b);
  $("legend").replaceChildren(...present.map((s) =>
    el("button", { type: "button", "aria-pressed": String(state.dim === s), class: state.dim !== null && state.dim !== s ? "off" : null, onclick: () => { state.dim = state.dim === s ? null : s; legend(); charts(); } },
      key(s), spec(series[s]))));
}

function area() {
  const rows = state.view.curves;
  table($("aup"), {
    caption: "Area under accuracy against parallelism", rows, sort: { column: 0, down: false },
    columns: [
      { name: "Rank", text: true, value: (c) => c.rank ?? Infinity, show: (c) => (c.rank ? String(c.rank) : el("span", { class: "range" }, "not ranked")) },
      { name: "Curve", text: true, value: (c) => series[c.series], show: (c) => [key(c.series), spec(series[c.series])] },
      { name: "AUP", value: (c) => c.aup, show: (c) => el("span", { class: "main" }, number(c.aup, 0)) },
      { name: "Swept", text: true, value: (c) => c.swept || "", show: (c) => (c.swept ? el("code", {}, c.swept) : "–") },
      { name: "Settings", title: "different ones that the area is over, of all", value: (c) => c.kept, show: (c) => `${c.kept} of ${c.points.length}` },
    ],
  });
}

function every() {
  const { view } = state;
  const wanted = $("find").value.trim().toLowerCase();
  const rows = view.points.filter((p) => settings[p.setting].label.toLowerCase().includes(wanted));
  const low = Math.min(...view.points.map((p) => p.low)), high = Math.max(...view.points.map((p) => p.high));
  const several = view.points.some((p) => p.templates.length > 1);
  $("found").textContent = wanted ? `${rows.length} of ${view.points.length}` : "";
  table($("every"), {
    caption: `Every setting on ${view.name}`, rows, sort: state.every, rowClass: (p) => (p.status === "front" ? "front-row" : null),
    columns: [
      { name: "Decoder", text: true, value: (p) => settings[p.setting].label, show: (p) => name(settings, p.setting, pick) },
      { name: "% right", title: "exact answers in percent, with the 95 % Wilson interval", value: (p) => p.accuracy, show: (p) => [
        el("span", { class: "main" }, percent(p.accuracy)), " ", el("span", { class: "range" }, `${percent(p.low)}–${percent(p.high)}`)] },
      { name: "", show: (p) => interval({ at: p.accuracy, low: p.low, high: p.high, from: low, to: high, series: settings[p.setting].series }) },
      { name: "Forwards", title: "forward passes an item (NFE)", value: (p) => p.nfe, show: (p) => number(p.nfe, 1) },
      { name: "Tokens / fwd", title: "generated tokens, neither prompt nor padding, a forward", value: (p) => p.tpf, show: (p) => number(p.tpf, 2) },
      { name: "Time", title: "wall time an item", value: (p) => p.seconds, show: (p) => duration(p.seconds) },
      { name: "Positions", title: "positions that the model computed, an item", value: (p) => p.positions, show: (p) => number(p.positions, 0) },
      ...(several ? [{ name: "Spread", title: "best wording less the worst, in points", value: (p) => p.spread, show: (p) => number(100 * p.spread, 1) }] : []),
      { name: "Items", value: (p) => p.n, show: (p) => number(p.n, 0) },
      { name: `Against ${data.baseline}`, title: "at equal forwards", text: true, value: (p) => p.verdict || p.status, show: (p) => (p.verdict ? verdictOf(p.verdict) : el("span", { class: "range" }, p.status === "other items" ? p.status : "–")) },
    ],
  });
}

// The compared decoders and the cost: the user's choice if the view has it, else the first that it has.
function chosen() {
  const { view } = state;
  if (!view.against[state.chosen]) state.chosen = 0;
  const { baseline, axes } = view.against[state.chosen];
  if (!axes[state.axis]) state.axis = "forwards";
  const own = axes[state.axis] || [];
  const found = own.find((c) => c.series === state.mine) || own[0];
  $("mine").replaceChildren(...own.map((c) => el("option", { value: c.series, selected: c === found }, series[c.series])));
  $("baseline").replaceChildren(...view.against.map((x, i) => el("option", { value: i, selected: i === state.chosen }, x.baseline)));
  $("axis").replaceChildren(...Object.keys(axes).map((x) => el("option", { value: x, selected: x === state.axis }, x)));
  return { baseline, found };
}

function against() {
  const { view } = state, { baseline, found } = chosen();
  $("headline").replaceChildren(...said(found ? found.sentence : view.headline));
  const more = found && found.sentence !== view.headline ? [view.headline] : [];
  $("findings").replaceChildren(...[...more, ...view.findings].map((text) => el("li", {}, said(text))));
  duel.show(view, found, state.axis, pick);
  $("against-title").replaceChildren(...said(`Against \`${baseline}\` at equal cost`));
  pairs($("against"), { view, settings, series, chosen: state.chosen, axis: state.axis, sort: state.against, pick });
}

function wordings() {
  const { view } = state;
  const at = new Map(view.points.map((p) => [p.setting, p]));
  const tops = view.curves.map((c) => [...c.points].sort((a, b) => at.get(b).accuracy - at.get(a).accuracy || at.get(a).nfe - at.get(b).nfe)[0]);
  const chosen = [...new Set([...view.front, ...tops])].sort((a, b) => at.get(b).accuracy - at.get(a).accuracy);
  templates($("wordings"), { view, settings, chosen, pick });
}

function apart() {
  const others = state.view.points.filter((p) => p.status === "other items");
  $("apart").replaceChildren(...(others.length ? [`Asked other items than the rest and not compared (hollow marks): `, ...others.flatMap((p, i) => [i ? ", " : "", spec(settings[p.setting].label)]), "."] : []));
}

function show() {
  const { view } = state;
  const unique = (values) => [...new Set(values)];
  const days = unique(data.runs.map((r) => (r.environment.started || "").slice(0, 10))).filter(Boolean);
  $("byline").textContent = [
    unique(settings.map((s) => s.model)).join(", "), view.name, `${number(view.questions, 0)} items a decoder`, `${view.points.length} settings of ${view.curves.length || 1} decoders`, days.join(", "),
  ].filter(Boolean).join(" · ");
  items.settings([...view.points].sort((a, b) => a.nfe - b.nfe).map((p) => p.setting));
  apart(); legend(); charts(); area(); every(); against(); wordings();
}

function environment() {
  const line = (k, v) => [el("dt", {}, k), el("dd", {}, v)];
  const plain = (v) => {
    if (Array.isArray(v)) return v.map(plain).join(", ");
    if (v === null) return "default";
    return typeof v === "object" ? Object.entries(v).map(([k, x]) => `${k} ${plain(x)}`).join("; ") : String(v);
  };
  const given = ([, v]) => plain(v) !== "";
  $("runs").replaceChildren(...data.runs.map((run) => {
    const copy = el("button", { type: "button", class: "quiet", onclick: async () => { await navigator.clipboard.writeText(run.command); copy.textContent = "Copied"; } }, "Copy");
    return el("article", { class: "run" },
      el("h3", {}, el("code", {}, run.path)),
      el("div", { class: "command" }, el("pre", { tabindex: "0" }, el("code", {}, run.command)), navigator.clipboard ? copy : null),
      el("div", { class: "facts-two" },
        el("dl", {}, Object.entries(run.environment).filter(given).map(([k, v]) => line(k, plain(v)))),
        el("dl", {}, Object.entries(run.grid).filter(given).map(([k, v]) => line(k, plain(v))))));
  }));
}

const THEMES = { "light dark": "Auto", light: "Light", dark: "Dark" };
function theme(next) {
  document.documentElement.style.setProperty("color-scheme", next);
  $("theme").textContent = `Theme: ${THEMES[next].toLowerCase()}`;
  $("theme").onclick = () => theme(Object.keys(THEMES)[(Object.keys(THEMES).indexOf(next) + 1) % 3]);
}

theme("light dark");
$("view").replaceChildren(...views.map((v, i) => el("option", { value: i }, v.name)));
$("view").addEventListener("change", () => {
  state.view = views[Number($("view").value)];
  state.dim = null;
  show();
  items.task(state.view.name);
});
$("find").addEventListener("input", every);
$("baseline").addEventListener("change", () => { state.chosen = Number($("baseline").value); against(); });
$("mine").addEventListener("change", () => { state.mine = Number($("mine").value); against(); });
$("axis").addEventListener("change", () => { state.axis = $("axis").value; against(); });
document.addEventListener("scroll", () => tip.hide(), { passive: true });
if (data.clashes.length) {
  $("clashes").hidden = false;
  $("clashes").replaceChildren(...data.clashes.map((text) => el("li", {}, text)));
}
items.init(data);
duel.init(data);
show();
environment();
items.open([state.view.front.at(-2), state.view.best].filter((s) => s !== undefined));
document.documentElement.dataset.ready = "true";
