// Everything against one decoder, on the same items.

function pairs(host, { view, settings, baseline, sort, pick }) {
  const byId = new Map(view.points.map((p) => [p.setting, p]));
  const base = byId.get(baseline);
  const rows = view.pairs.filter(([a]) => a === baseline).map(([, b, won, lost, difference, low, high, p]) => {
    const verdict = p >= 0.05 ? "no difference shown" : won > lost ? "better" : "worse";
    return { setting: b, won, lost, difference, low, high, p, verdict, forwards: byId.get(b).nfe / base.nfe };
  });
  if (!rows.length) {
    host.replaceChildren(el("p", { class: "note" }, "There is nothing to compare it with on the same items."));
    return;
  }
  const reach = Math.max(0.02, ...rows.flatMap((r) => [Math.abs(r.low), Math.abs(r.high)]));
  table(host, {
    caption: `Every decoder against ${settings[baseline].label}`,
    rows, sort,
    columns: [
      { name: "Decoder", text: true, value: (r) => settings[r.setting].label, show: (r) => name(settings, r.setting, pick) },
      { name: "Points", title: "difference in accuracy, in points, with its 95 % interval", value: (r) => r.difference, show: (r) => [
        el("span", { class: "main" }, points(r.difference)), " ", el("span", { class: "range" }, `${points(r.low)} to ${points(r.high)}`)] },
      { name: "", show: (r) => interval({ at: r.difference, low: r.low, high: r.high, from: -reach, to: reach, zero: 0, width: 150, series: settings[r.setting].series }) },
      { name: "Won–lost", title: "problems that only this one is right about, and that only the other is", value: (r) => r.won - r.lost, show: (r) => `${r.won}–${r.lost}` },
      { name: "p", title: "McNemar's exact p, Holm-adjusted", value: (r) => r.p, show: (r) => chance(r.p) },
      { name: "Forwards", title: "its forward passes as a multiple", value: (r) => r.forwards, show: (r) => `${number(r.forwards, 2)}×` },
      { name: "Verdict", text: true, value: (r) => r.verdict, show: (r) => el("span", { class: `verdict ${r.verdict.split(" ")[0]}` }, r.verdict) },
    ],
  });
}

function name(settings, i, pick) {
  return el("button", { type: "button", class: "name", onclick: () => pick(i), title: "Show its items" }, key(settings[i].series), spec(settings[i].label));
}
