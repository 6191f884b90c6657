// A table whose columns sort. columns: [{name, title, value(row), show(row), text, words}]; `text` columns sort ascending first.

function table(host, options) {
  host.replaceChildren(table.of(options));
}

table.of = ({ columns, rows, sort, caption, rowClass = null }) => {
  let { column, down } = sort;
  const body = el("tbody");
  const heads = columns.map((c, i) => {
    const button = el("button", { type: "button", title: c.title, onclick: () => by(i) }, c.name);
    return el("th", { scope: "col", class: c.text ? "text" : c.value ? "figure" : "drawn" }, c.value ? button : c.name);
  });

  function by(i) {
    down = i === column ? !down : !columns[i].text;
    column = i;
    Object.assign(sort, { column, down });
    order();
  }
  function order() {
    heads.forEach((th, i) => (i === column ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort")));
    const value = columns[column].value;
    const sorted = [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const sign = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
      return down ? -sign : sign;
    });
    body.replaceChildren(...sorted.map((row) =>
      el("tr", { class: rowClass ? rowClass(row) : null },
        columns.map((c, i) => el(i ? "td" : "th", i ? { class: c.text ? "text" : c.value ? "figure" : "drawn" } : { scope: "row", class: "text" }, c.show(row))))));
  }
  order();
  return el("table", {}, el("caption", { class: "spoken" }, caption), el("thead", {}, el("tr", {}, heads)), body);
};

// An interval as a drawing beside its numbers: `at`, `low` and `high` on a scale from `from` to `to`, which is drawn behind it; an open end
// is dashed, the others have caps.
function interval({ at, low, high, from, to, series = null, zero = null, width = 150, open = [false, false] }) {
  const X = (x) => 4 + ((x - from) / (to - from || 1)) * (width - 8);
  const cap = (x, hidden) => (hidden ? null : svg("line", { class: "interval", x1: X(x), x2: X(x), y1: 4, y2: 14 }));
  return svg("svg", { class: "bar-interval", width, height: 18, "aria-hidden": "true", color: series === null ? "currentColor" : colour(series) },
    svg("line", { class: "track", x1: 4, x2: width - 4, y1: 9, y2: 9 }),
    zero === null ? null : svg("line", { class: "zero", x1: X(zero), x2: X(zero), y1: 0, y2: 18 }),
    svg("line", { class: open[0] ? "open-end" : "interval", x1: X(low), x2: X(Math.max(at, low)), y1: 9, y2: 9 }), cap(low, open[0]),
    svg("line", { class: open[1] ? "open-end" : "interval", x1: X(Math.min(at, high)), x2: X(high), y1: 9, y2: 9 }), cap(high, open[1]),
    svg("circle", { cx: X(at), cy: 9, r: 3.8, fill: "currentColor" }));
}
