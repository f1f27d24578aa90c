// Two results side by side: which proteins are in both, and which of them are in another place.
import {html, useEffect, useRef, useState} from "./ui.js";
import {colour, count, fileName, many, share, shown} from "./words.js";
import {unpack} from "./rows.js";
import {term} from "./filter.js";

// The data inside a report; null where there is none.
export function embedded(text) {
  const start = text.indexOf('id="data">');
  return start < 0 ? null : JSON.parse(text.slice(start + 10, text.indexOf("<\/script>", start)));
}

// The rows of another result, out of its report or its JSON Lines.
export function readResult(text) {
  if (/^\s*</.test(text)) {
    const data = embedded(text);
    if (!data?.rows) throw new Error("This page holds no rows. Take the file results.jsonl beside it.");
    return {name: fileName(data.about.key), model: data.about.model_version, rows: unpack(data)};
  }
  const known = (row) => row.status === "predicted" && typeof row.location === "string" && Number.isFinite(row.confidence);
  const rows = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  if (!rows.length || !("accession" in rows[0] && "location" in rows[0])) throw new Error("These are no results of protloc.");
  return {
    name: "results.jsonl", model: rows.find((row) => row.model_version)?.model_version || "",
    rows: rows.map((row) => ({accession: row.accession, header: row.header, predicted: known(row), location: row.location, confidence: row.confidence})),
  };
}

// Tells each row its counterpart (`was`): the record of the same header there, or else of the same accession.
// Answers are compared where they are of the same `names` of locations.
export function match(rows, others, names) {
  const known = new Set(names);
  const waiting = new Map();
  for (const key of ["header", "accession"]) for (const other of others) {
    const name = `${key} ${other[key]}`;
    if (waiting.has(name)) waiting.get(name).push(other);
    else waiting.set(name, [other]);
  }
  const taken = new Set();
  for (const key of ["header", "accession"]) for (const row of rows) {
    if (key === "header") row.was = null;
    if (row.was) continue;
    const candidates = waiting.get(`${key} ${row[key]}`) || [];
    while (candidates.length && taken.has(candidates[0])) candidates.shift();
    if (candidates.length) taken.add(row.was = candidates.shift());
  }
  const both = rows.filter((row) => row.was);
  const answered = both.filter((row) => row.predicted && row.was.predicted && row.was.location.split("|").every((name) => known.has(name)));
  const flows = new Map();
  for (const row of answered) {
    const flow = `${row.was.location}\n${row.location}`;
    flows.set(flow, (flows.get(flow) || 0) + 1);
  }
  return {
    both: both.length, answered: answered.length, here: rows.length - both.length, there: others.length - both.length,
    flows: [...flows].map(([flow, number]) => [...flow.split("\n"), number]).sort((a, b) => b[2] - a[2]),
  };
}

export function Compare({data, rows, home, found, setFound, go}) {
  const [problem, setProblem] = useState("");
  const [uploads, setUploads] = useState([]);
  const file = useRef(null);
  useEffect(() => {
    if (home.live) home.uploads().then((answer) => setUploads(answer.uploads.filter((view) => view.results && view.upload !== data.about.upload)), () => {});
  }, []);
  const take = async (reading) => {
    setProblem("");
    try {
      const other = await reading;
      setFound({...match(rows, other.rows, data.locations.map(([name]) => name)), name: other.name, model: other.model});
    } catch (error) {
      setProblem(error instanceof SyntaxError || error instanceof TypeError ? "This file cannot be read as results of protloc." : error.message);
    }
  };
  const fromUpload = (upload) => home.load(upload).then((other) => {
    if (!other.rows) throw new Error("That upload is too long for this page.");
    return {name: fileName(other.about.key), model: other.about.model_version, rows: unpack(other)};
  });
  return html`<section aria-labelledby="compare" class="screen">
    <h2 id="compare">What another result says</h2>
    <p>Compare with the answers of another model, or for another version of the file: <button type="button" onClick=${() => file.current.click()}>choose its report.html or results.jsonl</button>${uploads.length > 0 && html` or <label for="other">an upload</label>
      <select id="other" onChange=${(event) => event.currentTarget.value && take(fromUpload(event.currentTarget.value))}>
        <option value="">…</option>${uploads.map((view) => html`<option key=${view.upload} value=${view.upload}>${shown(fileName(view.key))}, ${view.model_version}, ${view.created.slice(0, 16).replace("T", " ")}</option>`)}
      </select>`}</p>
    <input type="file" class="unseen" tabindex="-1" aria-label="File of the other result" ref=${file} onChange=${(event) => event.currentTarget.files[0] && take(event.currentTarget.files[0].text().then(readResult))} />
    <p class="problem" role="alert">${problem}</p>
    ${found && html`<${Found} found=${found} data=${data} go=${go} />`}
  </section>`;
}

function Found({found, data, go}) {
  const moved = found.flows.filter(([from, to]) => from !== to);
  const number = moved.reduce((sum, flow) => sum + flow[2], 0);
  const display = displays(data);
  return html`<p role="status" class="answer"><strong>${many(found.both, "record")}</strong> ${found.both === 1 ? "is" : "are"} in both. Of ${count(found.answered)} with two answers, <button type="button" class="link" onClick=${() => go({q: "moved:yes"})}>${count(number)} (${share(number, found.answered)}) are in another place</button>.${found.here ? ` ${count(found.here)} are only here.` : ""}${found.there ? ` ${count(found.there)} are only there.` : ""}</p>
    ${number > 0 && html`<div class="two">
      <figure><${Flows} flows=${found.flows} data=${data} /><figcaption>Left: ${shown(found.name)}, model ${shown(found.model)}. Right: this one. The strong bands are proteins that moved.</figcaption></figure>
      <ul class="moves" aria-label="Moves, most frequent first">${moved.slice(0, 12).map(([from, to, many]) => html`<li key=${from + to}>
        <button type="button" class="link" onClick=${() => go({q: `${term("was", from)} ${term("location", to)}`})}>${count(many)}</button> <span class=${colour(from)}><span class="dot" aria-hidden="true"></span></span>${display(from)} → <span class=${colour(to)}><span class="dot" aria-hidden="true"></span></span>${display(to)}</li>`)}
        ${moved.length > 12 && html`<li class="soft">and ${count(moved.length - 12)} rarer ones</li>`}</ul>
    </div>`}`;
}

// A location as people call it, or several.
function displays(data) {
  const titles = new Map(data.locations.map(([name, title]) => [name, title]));
  return (location) => location.split("|").map((name) => titles.get(name)).join(", ");
}

const HEIGHT = 360;
const GAP = 4;

// Each location as a block on both sides, and a band for every flow between them.
function Flows({flows, data}) {
  const display = displays(data);
  // Several locations of a protein flow as what they are together.
  const names = data.several ? [...new Set(flows.flatMap(([from, to]) => [from, to]))].sort() : data.locations.map(([name]) => name);
  const total = flows.reduce((sum, flow) => sum + flow[2], 0);
  const scale = (HEIGHT - GAP * (names.length - 1)) / total;
  const sides = [0, 1].map((side) => {
    const blocks = new Map();
    let y = 0;
    for (const name of names) {
      const size = flows.reduce((sum, flow) => sum + (flow[side] === name ? flow[2] : 0), 0) * scale;
      blocks.set(name, {y, size, next: y});
      y += size + (size ? GAP : 0);
    }
    return blocks;
  });
  const inOrder = [...flows].sort((a, b) => names.indexOf(a[0]) - names.indexOf(b[0]) || names.indexOf(a[1]) - names.indexOf(b[1]));
  const bands = inOrder.map(([from, to, number]) => {
    const size = number * scale;
    const [left, right] = [sides[0].get(from), sides[1].get(to)];
    const [a, b] = [left.next, right.next];
    left.next += size;
    right.next += size;
    return html`<path key=${from + to} class=${`${colour(from)} flow ${from === to ? "stays" : ""}`} d=${`M170 ${a} C320 ${a} 320 ${b} 470 ${b} V${b + size} C320 ${b + size} 320 ${a + size} 170 ${a + size} Z`} />`;
  });
  return html`<svg class="flows" viewBox="0 -8 640 ${HEIGHT + 16}" role="img" aria-label="How proteins moved between locations; the list beside it has the numbers">
    ${bands}
    ${[0, 1].map((side) => names.map((name) => {
      const {y, size} = sides[side].get(name);
      return size > 0 && html`<rect class="${colour(name)} block" x=${side ? 470 : 160} width="10" y=${y} height=${size} />
        ${size > 9 && html`<text x=${side ? 488 : 152} y=${y + size / 2 + 4} text-anchor=${side ? "start" : "end"}>${display(name)}</text>`}`;
    }))}
  </svg>`;
}
