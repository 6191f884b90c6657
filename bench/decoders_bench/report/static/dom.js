// Elements, numbers and words. Text is inserted as text, never as markup.

const $ = (id) => document.getElementById(id);

function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((x) => x !== null && x !== undefined));
  return node;
}

// A sentence whose specs are in backticks. A spec may break after its punctuation.
function said(text) {
  return text.split("`").map((part, i) => (i % 2 ? spec(part) : part));
}

function spec(text) {
  const parts = text.split(/(?<=[:,;_])/);
  return el("code", {}, parts.flatMap((part, i) => (i ? [el("wbr"), part] : [part])));
}

const MINUS = "\u2212";
const decimals = new Map();
function number(x, digits = 1) {
  if (!decimals.has(digits)) // round half to even, as in the sentences, which Python wrote
    decimals.set(digits, new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits, roundingMode: "halfEven" }));
  return decimals.get(digits).format(x).replace("-", MINUS);
}

const percent = (x) => number(100 * x, 1);
const points = (x) => (Math.round(1000 * x) ? (x > 0 ? "+" : "") + number(100 * x, 1) : "±0.0");
const duration = (s) => (s < 1 ? `${number(1000 * s, s < 0.01 ? 2 : 1)} ms` : `${number(s, 2)} s`);
const chance = (p) => (p < 0.001 ? "< 0.001" : number(p, 3));

// A mark has a colour and a shape, so that either is enough to distinguish curves.
const COLOURS = 8;
const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  (r) => `M${-0.88 * r},${-0.88 * r}h${1.76 * r}v${1.76 * r}h${-1.76 * r}Z`,
  (r) => `M0,${-1.15 * r}L${1.1 * r},${0.8 * r}H${-1.1 * r}Z`,
  (r) => `M0,${-1.25 * r}L${1.25 * r},0L0,${1.25 * r}L${-1.25 * r},0Z`,
  (r) => `M0,${1.15 * r}L${1.1 * r},${-0.8 * r}H${-1.1 * r}Z`,
  (r) => cross(r, 0),
  (r) => cross(r, Math.PI / 4),
  (r) => polygon(r * 1.1, 6),
];

function polygon(r, n) {
  return "M" + Array.from({ length: n }, (_, i) => [r * Math.cos((2 * Math.PI * i) / n), r * Math.sin((2 * Math.PI * i) / n)].join()).join("L") + "Z";
}

function cross(r, turn) {
  const a = 0.38 * r, b = 1.15 * r;
  const corners = [[a, a], [a, b], [-a, b], [-a, a], [-b, a], [-b, -a], [-a, -a], [-a, -b], [a, -b], [a, -a], [b, -a], [b, a]];
  const [c, s] = [Math.cos(turn), Math.sin(turn)];
  return "M" + corners.map(([x, y]) => [x * c - y * s, x * s + y * c].join()).join("L") + "Z";
}

const colour = (series) => `var(--c${series % COLOURS})`;
const shape = (series, r) => SHAPES[(series + Math.floor(series / COLOURS)) % SHAPES.length](r);

function key(series, size = 14) {
  return svg("svg", { class: "key", width: size, height: size, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
    svg("path", { d: shape(series, 4.6), fill: colour(series) }));
}

// One tooltip for all charts: `at` is in the window's coordinates.
const tip = {
  show(at, ...content) {
    const box = $("tip");
    box.replaceChildren(...content.flat(Infinity));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.min(Math.max(at.x - width / 2, 8), room - width - 8);
    const above = at.y - height - 14;
    box.style.setProperty("left", `${left}px`);
    box.style.setProperty("top", `${above < 8 ? at.y + 18 : above}px`);
  },
  hide() {
    $("tip").hidden = true;
  },
};
