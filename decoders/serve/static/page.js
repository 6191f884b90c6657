"use strict";

const $ = id => document.getElementById(id);
const lanes = [...document.querySelectorAll(".lane")].map(root => ({
  root, spec: root.querySelector(".spec"), canvas: root.querySelector(".canvas"), facts: root.querySelector(".facts"),
  frames: [], parts: null, end: null, began: 0,
}));
let model = "", mask = "", stopped = null, following = true, timer = 0;

const headers = () => ({
  "Content-Type": "application/json", ...($("key").value && {Authorization: `Bearer ${$("key").value}`}),
});

async function refused(answer) {
  if (answer.status === 401) $("locked").hidden = false;
  const said = await answer.json().catch(() => null);
  return new Error(said?.error?.message ?? `The server answered ${answer.status}.`);
}

async function learn() {
  const answer = await fetch("/v1/models", {headers: headers()});
  if (!answer.ok) throw await refused(answer);
  const {data} = await answer.json();
  [model, mask] = [data[0].id, data[0].mask];
  $("model").textContent = model;
  $("hole").hidden = !mask;
  $("specs").replaceChildren(...data.slice(1).map(({id}) => {
    const option = document.createElement("option");
    option.value = id.slice(model.length + 1);
    return option;
  }));
}

// --- asking

function body(lane, prompt) {
  const infill = Boolean(mask) && prompt.includes(mask), number = id => $(id).value === "" ? undefined : Number($(id).value);
  return {
    model, prompt, decoder: lane.spec.value.trim(), stream: true, diffusing: true, seed: number("seed"), temperature: number("temperature"),
    ...(infill ? {infill} : {max_tokens: number("length"), logprobs: 0}),
  };
}

async function* events(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for (let read; !(read = await reader.read()).done;) {
    rest += decoder.decode(read.value, {stream: true});
    const lines = rest.split("\n\n");
    rest = lines.pop();
    for (const line of lines) if (line !== "data: [DONE]") yield JSON.parse(line.slice("data: ".length));
  }
}

async function follow(lane, signal) {
  const prompt = $("prompt").value, asked = body(lane, prompt);
  Object.assign(lane, {frames: [], end: null, began: performance.now(), parts: asked.infill ? prompt.split(mask) : null});
  show(lane, 0);
  const answer = await fetch("/v1/completions", {method: "POST", headers: headers(), body: JSON.stringify(asked), signal});
  if (!answer.ok) throw await refused(answer);
  for await (const event of events(answer.body.getReader())) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice.draft) lane.frames.push(framed(lane.frames.at(-1), choice.draft));
    else lane.end = {...choice.decoding, logprobs: choice.logprobs?.token_logprobs ?? null};
    moved();
  }
}

/** A draft, with the forward in which each position came to hold what it holds. */
function framed(last, draft) {
  const since = draft.pieces.map((piece, i) => last && last.pieces[i] === piece ? last.since[i] : draft.step);
  return {...draft, since};
}

async function run(event) {
  event.preventDefault();
  stopped?.abort();
  const mine = stopped = new AbortController();
  pause();
  problem("");
  following = true;
  $("run").textContent = "Running";
  try {
    if (!model) await learn();
    const results = await Promise.allSettled(lanes.map(lane => follow(lane, mine.signal)));
    const wrong = results.map((r, i) => r.reason && `${lanes[i].spec.value}: ${r.reason.message}`).filter(Boolean);
    if (stopped === mine) problem([...new Set(wrong)].join(" "));
  } catch (error) {
    problem(error.message);
  }
  if (stopped === mine) $("run").textContent = "Run";
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// --- showing

const steps = () => Math.max(0, ...lanes.map(lane => lane.end?.forwards ?? lane.frames.at(-1)?.step ?? 0));

function moved() {
  const most = steps();
  $("step").max = most;
  $("step").disabled = $("play").disabled = most === 0;
  if (following) $("step").value = most;
  draw();
}

function draw() {
  const at = Number($("step").value);
  $("at").textContent = at;
  for (const lane of lanes) show(lane, at);
}

function show(lane, at) {
  const frame = lane.frames.findLast(f => f.step <= at), whole = frame === lane.frames.at(-1);
  const cells = (frame ?? lane.frames[0])?.pieces ?? [];
  const drawn = cells.map((piece, i) => cell(lane, frame, whole, piece, i, at));
  lane.canvas.replaceChildren(...(lane.parts ? woven(lane.parts, drawn) : drawn));
  facts(lane);
}

/** The given text of a prompt, with its holes between. */
function woven(parts, cells) {
  const out = [];
  parts.forEach((text, i) => {
    out.push(marked("given", text));
    if (i < parts.length - 1) out.push(cells[i] ?? marked("open", "·"));
  });
  return [...out, ...cells.slice(parts.length - 1)];
}

function marked(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

function cell(lane, frame, whole, piece, i, at) {
  if (!frame || piece === null) return marked("open", "·");
  if (piece === "") return marked("over", "⏹");
  const span = marked("", piece.replaceAll("\n", "↵\n"));
  const since = frame.since[i], logprob = lane.end?.logprobs?.[i] ?? null;
  span.classList.toggle("loose", i >= frame.settled && !(whole && lane.end));
  span.classList.toggle("fresh", since === at && !(whole && lane.end && at === steps()));
  span.title = `forward ${since}${logprob === null ? "" : `, confidence ${(100 * Math.exp(logprob)).toFixed(1)} %`}`;
  const share = sure() ? (logprob === null ? null : Math.exp(logprob)) : (since - 1) / Math.max(steps() - 1, 1);
  if (share !== null) span.style.background = `color-mix(in oklab, var(--late) ${Math.round(100 * share)}%, var(--early))`;
  return span;
}

function facts(lane) {
  const {end, frames} = lane, forwards = end?.forwards ?? frames.at(-1)?.step;
  if (!forwards) return lane.facts.replaceChildren();
  const tokens = end ? end.commit_steps.length : frames.at(-1).pieces.filter(p => p).length;
  const seconds = end ? end.seconds : (performance.now() - lane.began) / 1000;
  const bold = text => Object.assign(document.createElement("b"), {textContent: text});
  lane.facts.replaceChildren(
    bold(forwards), ` ${forwards === 1 ? "forward" : "forwards"}, ${tokens} tokens, `, bold((tokens / forwards).toFixed(2)), ` a forward, ${seconds.toFixed(2)} s`,
  );
}

const sure = () => document.querySelector("input[name=by]:checked").value === "sure";

function recoloured() {
  [$("low").textContent, $("high").textContent] = sure() ? ["unsure", "sure"] : ["early", "late"];
  draw();
}

// --- going back

function pause() {
  clearInterval(timer);
  timer = 0;
  $("play").textContent = "Play";
}

function play() {
  if (timer) return pause();
  const slider = $("step");
  if (slider.value === slider.max) slider.value = 0;
  following = false;
  $("play").textContent = "Pause";
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    draw();
    if (slider.value === slider.max) pause();
  }, Math.min(250, 6000 / Math.max(steps(), 1)));
}

/** Holes in place of the selected words. A space before a word is part of its token. */
function hole() {
  const area = $("prompt"), {selectionStart, selectionEnd, value} = area, inner = value.slice(selectionStart, selectionEnd);
  const words = inner.trim().split(/\s+/).filter(Boolean).length, tail = inner.trim() ? inner.match(/\s*$/)[0] : "";
  const before = value.slice(0, selectionStart), from = words ? before.replace(/ +$/, "").length : selectionStart;
  area.setRangeText(mask.repeat(Math.max(words, 1)) + tail, from, selectionEnd, "end");
  area.focus();
}

$("ask").addEventListener("submit", run);
$("play").addEventListener("click", play);
$("hole").addEventListener("click", hole);
$("step").addEventListener("input", () => { pause(); following = $("step").value === $("step").max; draw(); });
document.querySelectorAll("input[name=by]").forEach(radio => radio.addEventListener("change", recoloured));
$("prompt").addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) $("ask").requestSubmit(); });
learn().catch(error => problem(error.message));
