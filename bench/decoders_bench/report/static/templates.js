// Accuracy by the wording of the prompt: a line from the worst to the best, and a dot for each wording.

function templates(host, { view, settings, chosen, pick }) {
  const rows = chosen.map((s) => view.points.find((p) => p.setting === s)).filter((p) => p && p.templates.length);
  const known = [...new Set(rows.flatMap((p) => p.templates.map(([t]) => t)))].sort((a, b) => a - b);
  if (known.length < 2) {
    host.replaceChildren(el("p", { class: "note" }, "There is one wording here, so there is nothing to compare. ", el("code", {}, "decoders bench quality --templates all"), " asks every problem in all of them."));
    return;
  }
  const all = rows.flatMap((p) => p.templates.map(([, , , accuracy]) => accuracy));
  const from = Math.max(0, Math.floor(Math.min(...all) * 20) / 20), to = Math.min(1, Math.ceil(Math.max(...all) * 20) / 20);
  const range = to - from || 0.05;
  const place = (x) => `${((x - (to === from ? to - range : from)) / range) * 100}%`;
  const line = (p) => {
    const own = p.templates.map(([, , , accuracy]) => accuracy);
    const [low, high] = [Math.min(...own), Math.max(...own)];
    const said = p.templates.map(([t, right, n, accuracy]) => `template ${t}: ${percent(accuracy)} % (${right} of ${n})`).join("; ");
    return el("div", { class: "strip", role: "img", "aria-label": said, title: said, style: { color: colour(settings[p.setting].series) } },
      el("i", { class: "reach", style: { left: place(low), right: `calc(100% - ${place(high)})` } }),
      together(p.templates, range).map(([at, ts]) => el("b", { style: { left: place(at) } }, ts.join(" "))));
  };
  host.replaceChildren(
    el("div", { class: "strips" },
      el("div", { class: "scale", "aria-hidden": "true" }, el("span"), el("div", {}, el("span", {}, `${number(100 * (to === from ? to - range : from), 0)} %`), el("span", {}, `${number(100 * to, 0)} %`)), el("span", {}, "spread")),
      rows.map((p) => el("div", { class: "row" }, name(settings, p.setting, pick), line(p), el("span", { class: "figure" }, `${number(100 * p.spread, 1)}`)))),
    el("p", { class: "note" }, "The most accurate setting of every curve, and the front. A digit is the number of a wording, over the same tasks: those that were asked in several, and the wordings that all of these have. The spread is the best less the worst, in points."));
}

// Wordings whose dots would overlap share one, in their middle.
function together(own, range) {
  const groups = [];
  for (const [t, , , accuracy] of [...own].sort((a, b) => a[3] - b[3])) {
    const last = groups.at(-1);
    if (last && accuracy - last.high < 0.045 * range) Object.assign(last, { high: accuracy, ts: [...last.ts, t] });
    else groups.push({ low: accuracy, high: accuracy, ts: [t] });
  }
  return groups.map((g) => [(g.low + g.high) / 2, g.ts]);
}
