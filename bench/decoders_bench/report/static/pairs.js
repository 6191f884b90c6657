// Every decoder against a baseline at equal cost. The texts and numbers are the same as in all other outputs (`cells`); nothing is computed here.

const TONES = { better: "better", worse: "worse" };
const verdictOf = (word) => el("span", { class: `verdict ${TONES[word] || ""}` }, word);

function pairs(host, { view, settings, series, chosen, axis, sort, pick }) {
  const found = view.against[chosen];
  const own = found && found.axes[axis];
  if (!own || !own.length) {
    host.replaceChildren(el("p", { class: "note" }, "There is no other decoder that was asked the same items."));
    return;
  }
  const names = Object.keys(found.axes);
  const whole = table.of({
    caption: `Every decoder against ${found.baseline} at equal cost`,
    rows: own.map((_, i) => names.map((a) => found.axes[a][i])), sort: { column: 0, down: false },
    columns: [
      { name: "Decoder", text: true, value: (r) => series[r[0].series], show: (r) => [key(r[0].series), spec(series[r[0].series])] },
      ...names.map((a, i) => ({ name: `At equal ${a}`, text: true, value: (r) => r[i].verdict, show: (r) => verdictOf(r[i].verdict) })),
    ],
  });
  const rows = own.flatMap((c) => c.lines.map((line) => ({ ...line, series: c.series })));
  const reach = Math.max(0.02, ...rows.flatMap((r) => [r.low, r.high, r.difference].filter((x) => x !== null).map(Math.abs)));
  const lines = table.of({
    caption: `Every setting against ${found.baseline} at as many ${axis}`, rows, sort,
    columns: [
      { name: "Setting", text: true, value: (r) => settings[r.setting].label, show: (r) => name(settings, r.setting, pick) },
      { name: "Verdict", text: true, value: (r) => r.cells[6], show: (r) => verdictOf(r.cells[6]) },
      { name: "Points", title: "difference in accuracy with its interval; all intervals of the table hold at once with 95 %", value: (r) => r.difference, show: (r) => [
        el("span", { class: "main" }, r.cells[3]), " ", el("span", { class: "range" }, r.cells[4])] },
      { name: "", show: (r) => interval({ at: r.difference, low: r.low ?? -reach, high: r.high ?? reach, from: -reach, to: reach, zero: 0, width: 190, series: r.series, open: [r.low === null, r.high === null] }) },
      { name: "% right", value: (r) => r.accuracy, show: (r) => el("span", { class: "main" }, r.cells[0]) },
      { name: capital(axis), title: `${axis} an item`, value: (r) => r.cost, show: (r) => r.cells[1] },
      { name: "Baseline there", title: "what the baseline reaches at that cost, in percent", value: (r) => r.base, show: (r) => r.cells[2] },
      { name: "Held against", title: "the baseline's settings next to it", text: true, value: (r) => r.cells[5], show: (r) => el("span", { class: "range" }, said(r.cells[5])) },
    ],
  });
  host.replaceChildren(el("div", { class: "scroll" }, whole), el("div", { class: "scroll lines" }, lines));
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function name(settings, i, pick) {
  return el("button", { type: "button", class: "name", onclick: () => pick(i), title: "Show its items" }, key(settings[i].series), spec(settings[i].label));
}
