// Every item of every decoder: a grid of right and wrong, and the selected item.

const items = {
  init(data) {
    const { questions, traces } = data;
    this.data = data;
    this.groups = { task: [], template: [], seed: [] };
    for (const q of questions) for (const field of Object.keys(this.groups)) if (!this.groups[field].includes(q[field])) this.groups[field].push(q[field]);
    this.traces = new Map(traces.map((t) => [`${t.setting}/${t.question}`, t]));
    this.picks = {};
    const titles = { task: "Task", template: "Wording", seed: "Seed" };
    for (const [field, values] of Object.entries(this.groups)) {
      const select = el("select", { id: `item-${field}`, onchange: () => this.regroup() }, values.map((v, i) => el("option", { value: i }, field === "task" ? v : String(v))));
      this.picks[field] = select;
      $("chosen").append(el("label", { class: "pick", hidden: values.length < 2 }, el("span", {}, titles[field]), " ", select));
    }
  },

  // The question that is shown first: one with a trace, of one of these settings if possible.
  open(preferred) {
    const found = preferred.map((s) => this.data.traces.find((t) => t.setting === s)).find(Boolean) || this.data.traces[0];
    const setting = found ? found.setting : preferred[0];
    const question = found ? found.question : this.data.outcomes[setting].findIndex(Boolean);
    this.select(setting, question);
  },

  settings(order) {
    this.order = order;
    if (this.setting !== undefined) this.grid();
  },

  // Another decoder, on the same question if it was asked that.
  pick(setting) {
    const own = this.data.outcomes[setting];
    const traced = this.data.traces.find((t) => t.setting === setting && this.inGroup(t.question));
    this.select(setting, own[this.question] ? this.question : traced ? traced.question : own.findIndex(Boolean));
    $("items").scrollIntoView({ block: "start" });
  },

  task(name) {
    if (this.groups.task.includes(name) && this.data.questions[this.question].task !== name) {
      this.picks.task.value = String(this.groups.task.indexOf(name));
      this.regroup();
    }
  },

  chosen() {
    return Object.fromEntries(Object.keys(this.groups).map((field) => [field, this.groups[field][Number(this.picks[field].value)]]));
  },

  inGroup(i) {
    return Object.entries(this.chosen()).every(([field, value]) => this.data.questions[i][field] === value);
  },

  regroup() {
    const own = this.data.questions.map((_, i) => i).filter((i) => this.inGroup(i));
    const traced = own.find((i) => this.traces.has(`${this.setting}/${i}`));
    const question = traced ?? own.find((i) => this.data.outcomes[this.setting][i]) ?? own[0];
    if (question === undefined) {
      $("grid").replaceChildren(el("p", { class: "note" }, "No item of this task in this wording and with this seed."));
      return;
    }
    const setting = this.data.outcomes[this.setting][question] ? this.setting : this.order.find((s) => this.data.outcomes[s][question]) ?? this.setting;
    this.select(setting, question);
  },

  select(setting, question, focus = false) {
    const before = this.question === undefined ? null : this.data.questions[this.question];
    [this.setting, this.question] = [setting, question];
    const q = this.data.questions[question];
    for (const field of Object.keys(this.groups)) this.picks[field].value = String(this.groups[field].indexOf(q[field]));
    const same = before && Object.keys(this.groups).every((field) => before[field] === q[field]);
    if (!same || !this.cells) this.grid();
    this.mark(focus);
    this.detail();
  },

  grid() {
    const { questions, outcomes, settings } = this.data;
    const own = questions.map((_, i) => i).filter((i) => this.inGroup(i));
    const rows = this.order.filter((s) => own.some((i) => outcomes[s][i]));
    const wrong = new Map(own.map((i) => [i, rows.filter((s) => outcomes[s][i] && !outcomes[s][i][0]).length]));
    own.sort((a, b) => wrong.get(b) - wrong.get(a) || questions[a].item - questions[b].item);
    this.cells = new Map();
    const body = rows.map((s, y) => el("tr", { role: "row" },
      el("th", { scope: "row", role: "rowheader", title: settings[s].label }, key(settings[s].series), el("code", {}, settings[s].label)),
      own.map((i, x) => {
        const o = outcomes[s][i];
        const traced = this.traces.has(`${s}/${i}`);
        const td = el("td", { role: "gridcell", tabindex: "-1", class: o ? (o[0] ? "right" : "wrong") + (traced ? " traced" : "") : "none",
          "aria-label": `${settings[s].label}, item ${questions[i].item}: ${o ? (o[0] ? "right" : "wrong") : "not asked"}${traced ? ", with replay" : ""}`, "data-x": x, "data-y": y });
        this.cells.set(`${s}/${i}`, td);
        return td;
      })));
    const node = el("table", { class: "grid", role: "grid", "aria-label": "Right and wrong, decoders by items" }, el("tbody", {}, body));
    node.addEventListener("click", (e) => e.target.dataset.x && this.select(rows[Number(e.target.dataset.y)], own[Number(e.target.dataset.x)]));
    node.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] }[e.key];
      if (!move) return;
      e.preventDefault();
      const bound = (v, n) => Math.min(Math.max(v, 0), n - 1);
      this.select(rows[bound(rows.indexOf(this.setting) + move[1], rows.length)], own[bound(own.indexOf(this.question) + move[0], own.length)], true);
    });
    $("grid").replaceChildren(node);
    $("grid-note").replaceChildren(
      `${own.length} ${own.length === 1 ? "item" : "items"}, the hardest first. `, el("span", { class: "swatch right" }), " right ", el("span", { class: "swatch wrong" }), " wrong ", el("span", { class: "swatch right traced" }), " with a replay. Arrow keys go from item to item.");
  },

  mark(focus) {
    for (const [k, td] of this.cells) {
      const on = k === `${this.setting}/${this.question}`;
      td.classList.toggle("on", on);
      td.setAttribute("tabindex", on ? "0" : "-1");
      td.setAttribute("aria-selected", String(on));
      if (on && focus) td.focus();
    }
  },

  detail() {
    const { questions, outcomes, settings, strings } = this.data;
    const q = questions[this.question], o = outcomes[this.setting][this.question], s = settings[this.setting];
    const head = el("div", { class: "detail-head" },
      el("h3", {}, key(s.series, 16), spec(s.label)),
      el("p", { class: "byline" }, `${q.task} · item ${q.item} · wording ${q.template} · seed ${q.seed}`));
    if (!o) {
      $("detail").replaceChildren(el("article", { class: "detail" }, head, el("p", { class: "note" }, "This decoder was not asked this item.")));
      return;
    }
    const [right, output, answer, nfe, tokens, positions, ms] = o;
    const trace = this.traces.get(`${this.setting}/${this.question}`);
    const fact = (title, value, cls) => [el("dt", {}, title), el("dd", { class: cls }, value)];
    const stepper = this.data.traces.filter((t) => t.setting === this.setting && this.inGroup(t.question));
    $("detail").replaceChildren(el("article", { class: "detail" }, head,
      el("div", { class: "facts" },
        el("dl", {},
          fact("Prompt", q.prompt, "text"),
          fact("Expected", q.expected.trim(), "text"),
          fact("Answer", [el("span", { class: `badge ${right ? "right" : "wrong"}` }, right ? "✓ right" : "✗ wrong"), " ", answer === null ? el("i", {}, "none found") : strings[answer]], "text"),
          fact("Output", strings[output].trim() || "∅", "text")),
        el("p", { class: "costs" }, [[nfe, nfe === 1 ? "forward" : "forwards"], [tokens, "tokens"], [number(tokens / Math.max(nfe, 1), 1), "tokens a forward"], [positions, "positions"], [duration(ms / 1000), ""]].map(([x, unit]) =>
          el("span", {}, el("b", {}, typeof x === "number" ? number(x, 0) : x), unit ? ` ${unit}` : "")))),
      trace ? replay(trace) : el("p", { class: "note" }, stepper.length ? ["No replay of this item. ", stepper.slice(0, 3).map((t) => [el("button", { type: "button", class: "quiet", onclick: () => this.select(t.setting, t.question) }, `Replay of item ${questions[t.question].item}`), " "])] : "No replay was recorded for this decoder here; --traces K records the first K items of every cell.")));
  },
};
