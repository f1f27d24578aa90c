// The cell: ten compartments, each coloured by its share of the proteins, its doubtful part hatched.
import {html} from "./ui.js";
import {colour, many, share} from "./words.js";

// Each shape is drawn as an area (`d`) or as a line of a width; `from` and `to` bound it from above and below.
const BODY = "M58 238 C52 120 150 44 300 40 C470 34 592 112 592 232 C592 352 486 424 322 422 C160 420 64 352 58 238 Z";
const SHAPES = [
  {name: "Cytoplasm", d: BODY, from: 40, to: 422, label: [282, 72], anchor: "middle"},
  {name: "Cell.membrane", d: BODY, width: 13, from: 33, to: 429, label: [16, 34], anchor: "start", line: "M112 42 L140 80"},
  {
    name: "Endoplasmic.reticulum", width: 10, from: 108, to: 356,
    d: "M262 116 C330 112 372 166 368 232 C366 290 332 340 276 350 M276 134 C330 138 352 180 349 230 C347 276 326 314 290 328 M372 178 C392 200 394 262 370 296",
    label: [228, 104], anchor: "middle",
  },
  {name: "Nucleus", d: "M236 148 a84 84 0 1 0 0.1 0 Z", from: 148, to: 316, label: [236, 338], anchor: "middle", inside: "M216 214 a21 21 0 1 0 0.1 0 Z"},
  {
    name: "Golgi.apparatus", width: 9, from: 196, to: 282,
    d: "M418 204 C438 228 438 254 420 278 M436 200 C458 226 458 258 438 282 M454 204 C474 230 474 254 456 276",
    label: [484, 232], anchor: "start", lines: ["Golgi", "apparatus"], line: "M480 236 L472 240",
  },
  {
    name: "Mitochondrion", from: 94, to: 162,
    d: "M396 122 C412 94 480 92 500 120 C514 142 498 162 464 160 C434 158 384 150 396 122 Z",
    inside: "M416 126 C420 138 426 138 428 116 M440 146 C442 118 450 114 454 148 M466 114 C468 142 476 142 480 122",
    label: [452, 86], anchor: "middle",
  },
  {
    name: "Lysosome/Vacuole", from: 300, to: 376, d: "M398 300 a38 38 0 1 0 0.1 0 Z",
    inside: "M386 326 a5 5 0 1 0 .1 0 M406 344 a6 6 0 1 0 .1 0 M408 320 a3 3 0 1 0 .1 0", label: [388, 395], anchor: "middle",
  },
  {
    name: "Peroxisome", from: 330, to: 384,
    d: "M150 338 a17 17 0 1 0 .1 0 Z M192 362 a11 11 0 1 0 .1 0 Z",
    inside: "M143 350 h14 v9 h-14 Z", label: [16, 404], anchor: "start", line: "M104 390 L138 366",
  },
  {
    name: "Plastid", from: 292, to: 352, d: "M460 322 C476 294 532 286 556 310 C560 330 520 354 486 350 C468 346 458 336 460 322 Z",
    inside: "M476 318 h18 M474 325 h20 M476 332 h18 M508 310 h20 M506 317 h24 M506 324 h24 M508 331 h18 M494 325 L506 320",
    label: [520, 369], anchor: "middle",
  },
];
const OUTSIDE = {name: "Extracellular", from: 0, to: 460, label: [624, 446], anchor: "end"};
const DROPS = "M598 404 a6 6 0 1 0 .1 0 M574 424 a4 4 0 1 0 .1 0 M618 416 a3 3 0 1 0 .1 0 M24 96 a5 5 0 1 0 .1 0 M40 74 a3 3 0 1 0 .1 0";

// True if these are the ten that are drawn.
export function isDrawn(names) {
  return names.length === SHAPES.length + 1 && [OUTSIDE, ...SHAPES].every((shape) => names.some(([name]) => name === shape.name));
}

export function Cell({names, now, chosen, choose, look}) {
  const most = Math.max(1, ...names.map(([name]) => now[name][0]));
  const total = names.reduce((sum, [name]) => sum + now[name][0], 0);
  const part = (shape) => {
    const [number, doubtful] = now[shape.name];
    const display = names.find(([name]) => name === shape.name)[1];
    // The surroundings take more room than any compartment, so their colour is lighter.
    const depth = (shape === OUTSIDE ? 0.45 : 1) * (number ? 0.16 + 0.84 * Math.sqrt(number / most) : 0);
    const level = number ? doubtful / number : 0;
    const words = `${display}: ${many(number, "protein")}, ${share(number, total)}` + (doubtful ? `, ${doubtful} of them doubtful` : "");
    const act = () => choose(shape.name);
    return html`<g
      class="part ${colour(shape.name)} ${chosen === shape.name ? "chosen" : ""}" role="button" tabindex="0"
      aria-pressed=${chosen === shape.name ? "true" : "false"} aria-label=${words} key=${shape.name}
      onClick=${act} onKeyDown=${(event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), act())}
      onMouseEnter=${() => look(shape.name)} onMouseLeave=${() => look("")} onFocus=${() => look(shape.name)} onBlur=${() => look("")}>
      <${Shape} shape=${shape} depth=${depth} level=${level} />
    </g>`;
  };
  return html`<svg class="cell" viewBox="0 0 640 460" role="group" aria-label="A cell with its ten compartments, coloured by how many proteins are there">
    <defs>
      <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <line x1="0" y1="0" x2="0" y2="6" class="hatch-line" />
      </pattern>
    </defs>
    ${[OUTSIDE, ...SHAPES].map(part)}
    <g class="labels" aria-hidden="true">
      ${[OUTSIDE, ...SHAPES].map((shape) => html`
        ${shape.line && html`<path d=${shape.line} class="leader" />`}
        <text x=${shape.label[0]} y=${shape.label[1]} text-anchor=${shape.anchor}>
          ${(shape.lines || [names.find(([name]) => name === shape.name)[1]]).map((line, at) => html`<tspan x=${shape.label[0]} dy=${at ? 17 : 0}>${line}</tspan>`)}
          <tspan class="number" dx="5">${share(now[shape.name][0], total)}</tspan>
        </text>`)}
    </g>
  </svg>`;
}

// A shape in its colour, and the doubtful part of its height, from below, hatched.
function Shape({shape, depth, level}) {
  const id = `clip-${colour(shape.name)}`;
  const top = shape.to - (shape.to - shape.from) * level;
  const kind = shape.width ? "band" : "area";
  const size = shape.width ? {"stroke-width": shape.width} : {};
  const drawn = (className, more) => shape.d
    ? html`<path d=${shape.d} class="${className} ${kind}" ...${size} ...${more} />`
    : html`<rect x="1" y="1" width="638" height="458" rx="14" class="${className} area" ...${more} />`;
  return html`
    ${shape.width && drawn("rim", {"stroke-width": shape.width + 3})}
    ${drawn("ground", {})}
    ${drawn("tint", {opacity: depth})}
    ${level > 0 && html`
      <clipPath id=${id}><rect x="0" y=${top} width="640" height=${shape.to - top} /></clipPath>
      <g clip-path="url(#${id})">${drawn("doubt", {})}</g>`}
    ${shape.inside && html`<path d=${shape.inside} class="inside" />`}
    ${shape === OUTSIDE && html`<path d=${DROPS} class="inside" />`}
    ${!shape.width && drawn("edge", {})}`;
}
