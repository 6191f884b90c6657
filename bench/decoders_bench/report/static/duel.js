// One decoder against another at the top of the page: both curves, the difference along the cost, the deciding items, and one of them under both.

const COSTS = { forwards: (p) => p.nfe, positions: (p) => p.positions, seconds: (p) => p.seconds, FLOPs: (p) => p.flops };

const duel = {
  init(data) {
    this.data = data;
    this.traces = items.traces;
  },

  // `found`: a line of `view.against[...].axes[axis]`, or nothing if no two decoders were asked the same items.
  show(view, found, axis, pick) {
    $("duel").hidden = !found;
    if (!found) return;
    const { settings, series } = this.data;
    const at = new Map(view.points.map((p) => [p.setting, p]));
    const [mine, base] = [found.series, found.base].map((s) => ({ series: s, ...view.curves.find((c) => c.series === s) }));
    Object.assign(this, { view, found, mine, base });
    $("duel-title").replaceChildren(spec(series[mine.series]), " against ", spec(series[base.series]));
    const cost = (s) => COSTS[axis](at.get(s));
    const span = [...mine.points, ...base.points].map(cost).filter((x) => x > 0);
    const order = (c) => c.points.map((s, i) => ({ setting: s, x: cost(s), low: c.band[i][0], high: c.band[i][1] })).filter((p) => p.x > 0).sort((a, b) => a.x - b.x);
    const bands = [base, mine].map((c) => ({ series: c.series, points: order(c) }));
    const tag = (s) => settings[s].knob;
    const edge = new Map(bands.flatMap((b) => b.points.map((p) => [p.setting, p])));
    const xLabel = `${axis} an item →`;
    scatter($("chart-duel"), {
      pick, xLabel, log: true, span, bands, curves: [base.points, mine.points], named: [...mine.points, ...base.points], height: (w) => Math.round(Math.min(380, Math.max(280, w * 0.5))),
      points: [...base.points, ...mine.points].map((s) => ({
        setting: s, series: settings[s].series, x: cost(s), y: at.get(s).accuracy, low: edge.get(s).low, high: edge.get(s).high, label: settings[s].label, tag: tag(s),
        lines: [`${percent(at.get(s).accuracy)} % right, ${percent(edge.get(s).low)} to ${percent(edge.get(s).high)} for all settings at once`, `${short(cost(s))} ${axis} an item`],
      })).filter((p) => p.x > 0),
    });
    scatter($("chart-gap"), {
      pick, xLabel, log: true, span, signed: true, curves: [found.lines.map((x) => x.setting)], named: found.lines.map((x) => x.setting),
      bands: [{ series: mine.series, points: found.lines.map((x) => ({ x: x.cost, low: x.low, high: x.high })).filter((p) => p.x > 0) }], height: (w) => Math.round(Math.min(280, Math.max(220, w * 0.36))),
      points: found.lines.map((x) => ({
        setting: x.setting, series: mine.series, x: x.cost, y: x.difference, low: x.low, high: x.high, label: settings[x.setting].label, tag: tag(x.setting),
        lines: [`${x.cells[3]} points, ${x.cells[4]}`, `at ${x.cells[1]} ${axis}, held against ${x.cells[5].replaceAll("`", "")}`, x.cells[6]],
      })).filter((p) => p.x > 0),
    });
    $("duel-legend").replaceChildren(...[mine, base].map((c) => el("li", {}, key(c.series), spec(series[c.series]))));
    $("counted").replaceChildren(...said(found.counted));
    this.list();
  },

  list() {
    const { questions, series } = this.data;
    const { items: own } = this.found;
    const both = ([q, , a, b]) => this.traces.has(`${a}/${q}`) && this.traces.has(`${b}/${q}`);
    this.buttons = own.map((item, i) => {
      const [q, gain] = item, { task, item: n, template, seed } = questions[q];
      const winner = gain > 0 ? this.mine.series : this.base.series;
      return el("button", { type: "button", class: both(item) ? "replayed" : null, onclick: () => this.choose(i), title: `Speaks for ${series[winner]}: ${points(gain)} points${both(item) ? "; with a replay of both" : ""}` },
        key(winner), el("span", {}, `${task} · item ${n}`, el("span", { class: "range" }, ` · wording ${template}${seed ? ` · seed ${seed}` : ""}`)),
        el("span", { class: "gain" }, `${gain > 0 ? "+" : ""}${number(100 * gain, 0)}`));
    });
    $("deciding").replaceChildren(...this.buttons.map((b) => el("li", {}, b)));
    $("deciding").hidden = !own.length;
    const first = own.findIndex(both), shared = this.shared();
    if (first >= 0 || (own.length && !shared)) return this.choose(Math.max(first, 0));
    if (shared) return this.sides(...shared);
    const [a] = this.mine.points, [b] = this.base.points;
    this.sides(this.data.outcomes[a].findIndex(Boolean), a, b);
  },

  // An item of this view that can be replayed under a setting of each, preferably one with different results.
  shared() {
    const tasks = new Set(this.data.questions.map((q) => q.task)), { name } = this.view;
    const own = this.data.traces.filter((t) => this.mine.points.includes(t.setting) && (!tasks.has(name) || this.data.questions[t.question].task === name));
    const pairs = own.flatMap((t) => this.base.points.filter((s) => this.traces.has(`${s}/${t.question}`)).map((s) => [t.question, t.setting, s]));
    const output = (s, q) => this.data.outcomes[s][q][1];
    return pairs.find(([q, a, b]) => output(a, q) !== output(b, q)) || pairs[0];
  },

  choose(i) {
    const [q, , a, b] = this.found.items[i];
    this.buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)));
    this.sides(q, a, b);
  },

  // The same item under a setting of each, step by step.
  sides(question, first, second) {
    const { questions, strings, outcomes } = this.data;
    const q = questions[question];
    const pair = [[this.mine, first], [this.base, second]];
    const traces = pair.map(([, s]) => this.traces.get(`${s}/${question}`));
    const differs = traces.every(Boolean) ? parted(...traces) : new Set();
    const panels = pair.map(([curve, s], i) => {
      const [right, output, answer, nfe] = outcomes[s][question];
      const choice = el("select", { "aria-label": i ? "Setting of the baseline" : "Setting", onchange: () => this.sides(question, ...(i ? [first, Number(choice.value)] : [Number(choice.value), second])) },
        curve.points.map((x) => el("option", { value: x, selected: x === s }, `${this.data.settings[x].label}${this.traces.has(`${x}/${question}`) ? "" : " (no replay)"}`)));
      const shown = traces[i] && stage(traces[i], { label: this.data.settings[s].label, differs });
      return { shown, node: el("div", { class: "side" },
        el("div", { class: "side-head" }, key(curve.series, 16), choice, el("span", { class: "plain" }, this.data.settings[s].label)),
        el("p", { class: "costs" }, el("span", { class: `badge ${right ? "right" : "wrong"}` }, right ? "✓ right" : "✗ wrong"), el("span", {}, "answer ", el("code", {}, answer === null ? "none found" : strings[answer])), el("span", {}, el("b", {}, number(nfe, 0)), nfe === 1 ? " forward" : " forwards")),
        shown ? [shown.canvas, shown.changes] : el("p", { class: "note" }, "No replay of this item was recorded for this setting. ", el("code", {}, "--replays 4"), " records those that tell most; its output: ", el("code", {}, strings[output].trim() || "∅"))) };
    });
    const stages = panels.map((p) => p.shown).filter(Boolean);
    const length = Math.max(0, ...traces.filter(Boolean).map((t) => t.frames.length));
    const bar = controls(length, (n) => {
      for (const s of stages) s.go(n);
      return stages.map((s) => `${s.open()} open`).join(" and ");
    });
    const frame = el("div", { class: "sides" }, stages.length ? bar.node : null, el("div", { class: "columns" }, panels.map((p) => p.node)), stages.length ? kinds() : null);
    bar.keys(frame);
    $("sides").replaceChildren(
      el("p", { class: "byline" }, `${q.task} · item ${q.item} · wording ${q.template} · seed ${q.seed}`),
      el("dl", { class: "asked" }, [["Prompt", q.prompt], ["Expected", q.expected.trim()]].map(([k, v]) => [el("dt", {}, k), el("dd", { class: "text" }, v)])),
      frame, traces.every(Boolean) ? this.parting(traces, differs) : null);
    bar.go(traces.every(Boolean) && differs.size ? when(traces, differs) : length);
  },

  // The places at which the final texts differ.
  parting(traces, differs) {
    const { series } = this.data;
    const ends = traces.map((t) => after(t, t.frames.length));
    const rows = [...differs].sort((i, j) => first(ends, i) - first(ends, j) || i - j);
    if (!rows.length) return el("p", { class: "note" }, "Both end with the same tokens.");
    return el("div", { class: "parting" },
      el("h3", {}, rows.length === 1 ? "The place at which they part" : `The ${rows.length} places at which they part, in the order in which they were decided`),
      el("table", {},
        el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, "Place"), [this.mine, this.base].map((c) => el("th", { scope: "col", class: "text" }, key(c.series), spec(series[c.series]))))),
        el("tbody", {}, rows.slice(0, PARTING).map((i) => el("tr", {}, el("th", { scope: "row", class: "text" }, String(i + 1)), ends.map((places, k) => el("td", { class: "text" }, told(places[i], traces[k].pieces))))))),
      rows.length > PARTING ? el("p", { class: "note" }, `and ${rows.length - PARTING} more`) : null);
  },
};

const PARTING = 8;
const textAt = (trace, p) => (!p || hiddenIn(p, trace.mask) ? null : trace.pieces[p.piece]);
const first = (ends, i) => Math.min(...ends.map((places) => places[i]?.at ?? Infinity));

// The places whose final text differs between the two.
function parted(a, b) {
  const [x, y] = [a, b].map((t) => after(t, t.frames.length));
  const places = Array.from({ length: Math.max(x.length, y.length) }, (_, i) => i);
  return new Set(places.filter((i) => textAt(a, x[i]) !== textAt(b, y[i])));
}

// The forward pass after which the first differing place is decided under both, or at the end of one.
function when(traces, differs) {
  const ends = traces.map((t) => after(t, t.frames.length));
  return Math.min(...[...differs].map((i) => Math.max(...ends.map((places) => places[i]?.at ?? 1))));
}
