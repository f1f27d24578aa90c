// Which residues of one protein its answer hangs on: asked for on demand, drawn along the sequence.
import {html, useEffect, useRef, useState} from "./ui.js";
import {chance, count, list, many, placeIn} from "./words.js";

// Hydropathy: Kyte & Doolittle, J. Mol. Biol. 157 (1982) 105; a helix that crosses a membrane has about 19.
const HYDROPATHY = {A: 1.8, C: 2.5, D: -3.5, E: -3.5, F: 2.8, G: -0.4, H: -3.2, I: 4.5, K: -3.9, L: 3.8, M: 1.9, N: -3.5, P: -1.6, Q: -3.5, R: -4.5, S: -0.8, T: -0.7, V: 4.2, W: -0.9, Y: -1.3};
const HELIX = 19;
const END = 30;
const WIDTH = 420;
const TALL = 80;
const LOW = 44;

export function Explanation({row, data, home}) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState("");
  const [asking, setAsking] = useState(false);
  const title = useRef(null);
  const gone = useRef(false);
  useEffect(() => () => (gone.current = true), []);
  useEffect(() => found && title.current?.focus({preventScroll: true}), [found]);
  const ask = () => {
    setAsking(true);
    setProblem("");
    home.explain(data.about.upload, row.offset).then(
      (answer) => !gone.current && (setAsking(false), setFound(answer)),
      (error) => !gone.current && (setAsking(false), setProblem(error.message)),
    );
  };
  return html`<div class="explanation">
    <h4 tabindex="-1" ref=${title}>Which residues mattered</h4>
    ${!home.live && html`<p class="soft">Only the model can say, and this page is a file that asks nobody. On a page opened by <code>protloc open</code> there is a button here; in a terminal, <code>protloc explain</code> tells.</p>`}
    ${home.live && !found && html`<button type="button" disabled=${asking} onClick=${ask}>${asking ? "Asking the model …" : "Ask the model"}</button>`}
    <p class="unseen" role="status">${asking ? "The model is asked which residues mattered." : found ? "The model has answered." : ""}</p>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    ${found && html`<${Drawn} found=${found} data=${data} />`}
  </div>`;
}

function Drawn({found, data}) {
  const [near, setNear] = useState(null);
  const stretches = runs(found.marked);
  const length = found.sequence.length;
  const spread = found.without_marked > found.probability / 2;
  return html`
    <p>This marks where the answer “${placeIn(found.location, data)}” comes from. It does not say why, and what matters to the model need not matter to the cell.</p>
    <p>Without the ${many(found.marked.length, "residue")} that matter most, ${chance(found.without_marked)} would be left of ${chance(found.probability)}; without as many others, ${chance(found.without_others)}.${spread ? " So it hangs on no few residues: on the whole protein, or on a relative of it." : ""}</p>
    <${Tracks} found=${found} near=${near} />
    <p class="key">Above: importance, the marked residues in colour. Below: hydropathy (Kyte and Doolittle, mean of ${HELIX} residues); what stays above the dashed line may cross a membrane.</p>
    <div class="ends">
      <${Letters} found=${found} first=${1} last=${Math.min(END, length)} name=${length > END ? "The beginning" : "The whole protein"} />
      ${length > END && html`<${Letters} found=${found} first=${Math.max(END, length - END) + 1} last=${length} name="The end" />`}
      ${near && html`<${Letters} found=${found} first=${near[0]} last=${near[1]} name="Marked" />`}
    </div>
    <details><summary>${many(stretches.length, "marked stretch", "marked stretches")}</summary><ul class="stretches">
      ${stretches.map(([first, last]) => html`<li key=${first}><button type="button" class="link" onClick=${() => setNear(around(first, last, length))}>${first === last ? `residue ${count(first)}` : `residues ${count(first)} to ${count(last)}`}</button></li>`)}
    </ul></details>`;
}

// Importance and hydropathy along the whole protein.
function Tracks({found, near}) {
  const {sequence, importance, marked} = found;
  const length = sequence.length;
  const x = (at) => (WIDTH * at) / length;
  const {top, zero, y} = scale(importance);
  const at = new Set(marked);
  const smooth = hydropathy(sequence);
  const h = (value) => TALL + 12 + LOW / 2 - (value / 4.5) * (LOW / 2);
  const words = `Importance of ${count(length)} residues; marked are ${said(runs(marked))}.`;
  return html`<svg class="tracks" viewBox=${`0 0 ${WIDTH} ${TALL + LOW + 30}`} role="img" aria-label=${words}>
    ${near && html`<rect class="near" x=${x(near[0] - 1)} y="0" width=${Math.max(2, x(near[1]) - x(near[0] - 1))} height=${TALL + LOW + 14} />`}
    <path class="rest" d=${bars(importance, (place) => !at.has(place + 1), x, y, zero)} />
    <path class="marked" d=${bars(importance, (place) => at.has(place + 1), x, y, zero)} />
    <line class="axis" x1="0" x2=${WIDTH} y1=${zero} y2=${zero} />
    ${top <= 0 && html`<text x="4" y="14">no residue speaks for it</text>`}
    ${importance.includes(null) && html`<text x=${WIDTH / 2} y="14" text-anchor="middle">the middle was not read</text>`}
    <line class="helix" x1="0" x2=${WIDTH} y1=${h(1.6)} y2=${h(1.6)} /><line class="axis" x1="0" x2=${WIDTH} y1=${h(0)} y2=${h(0)} />
    <path class="hydropathy" d=${smooth.map((value, place) => `${place ? "L" : "M"}${x(place + 0.5).toFixed(1)} ${h(value).toFixed(1)}`).join("")} />
    ${ticks(length).map((tick) => html`<text key=${tick} x=${x(tick - 0.5)} y=${TALL + LOW + 27} text-anchor=${tick === 1 ? "start" : tick === length ? "end" : "middle"}>${count(tick)}</text>`)}
  </svg>`;
}

// A part of the protein residue by residue.
function Letters({found, first, last, name}) {
  const {zero, y} = scale(found.importance);
  const at = new Set(found.marked);
  const places = Array.from({length: last - first + 1}, (_, each) => first + each);
  const inside = runs(found.marked.filter((each) => each >= first && each <= last));
  const words = `${name}, residues ${count(first)} to ${count(last)}: ${[...found.sequence.slice(first - 1, last)].join(" ")}. ${inside.length ? `Marked are ${said(inside)}.` : "None of them is marked."}`;
  const step = WIDTH / END;
  return html`<figure><svg class="letters" viewBox=${`0 0 ${WIDTH} ${TALL + 24}`} role="img" aria-label=${words}>
    ${places.map((each, column) => {
      const value = found.importance[each - 1] ?? 0;
      const [high, low] = [Math.min(y(value), zero), Math.max(y(value), zero)];
      return html`<g key=${each} class=${at.has(each) ? "marked" : "rest"}><rect x=${column * step + 1} y=${high} width=${step - 2} height=${Math.max(0.5, low - high)} /><text x=${(column + 0.5) * step} y=${TALL + 16} text-anchor="middle">${found.sequence[each - 1]}</text></g>`;
    })}
  </svg><figcaption>${name}: residues ${count(first)} to ${count(last)}</figcaption></figure>`;
}

// Where the zero and each value lie in a track.
function scale(importance) {
  const values = importance.filter((value) => value !== null);
  const [top, bottom] = [Math.max(0, ...values), Math.min(0, ...values)];
  const range = top - bottom || 1;
  const y = (value) => 4 + ((top - value) / range) * (TALL - 8);
  return {top, zero: y(0), y};
}

function bars(importance, wanted, x, y, zero) {
  return importance.map((value, place) => (value === null || !wanted(place) ? "" : `M${x(place).toFixed(2)} ${zero.toFixed(1)}V${y(value).toFixed(1)}H${x(place + 1).toFixed(2)}V${zero.toFixed(1)}Z`)).join("");
}

// The mean hydropathy of the residues around each one.
function hydropathy(sequence) {
  const sums = [0];
  for (const letter of sequence) sums.push(sums[sums.length - 1] + (HYDROPATHY[letter] ?? 0));
  const half = (HELIX - 1) / 2;
  return [...sequence].map((_, at) => {
    const [from, to] = [Math.max(0, at - half), Math.min(sequence.length, at + half + 1)];
    return (sums[to] - sums[from]) / (to - from);
  });
}

// Places in order as stretches: [3, 4, 5, 9] are 3 to 5, and 9.
function runs(places) {
  const found = [];
  for (const each of places) {
    const last = found[found.length - 1];
    if (last && last[1] === each - 1) last[1] = each;
    else found.push([each, each]);
  }
  return found;
}

function said(stretches) {
  const words = stretches.map(([first, last]) => (first === last ? count(first) : `${count(first)} to ${count(last)}`));
  return list(words.length > 12 ? [...words.slice(0, 12), `${words.length - 12} more`] : words);
}

function around(first, last, length) {
  const from = Math.max(1, Math.min(Math.round((first + last - END) / 2) + 1, length - END + 1));
  return [from, Math.min(from + END - 1, length)];
}

function ticks(length) {
  const step = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000].find((each) => length / each <= 6) || length;
  const inner = Array.from({length: Math.floor(length / step)}, (_, each) => (each + 1) * step).filter((each) => each < length - 0.7 * step);
  return [1, ...inner, ...(length > 1 ? [length] : [])];
}
