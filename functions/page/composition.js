// What is in the file: the cell and bars of the same colours, how sure the answers are, and why some are none.
import {html, useState} from "./ui.js";
import {Cell, isDrawn} from "./cell.js";
import {colour, count, many, share} from "./words.js";
import {isFinal} from "./progress.js";
import {term} from "./filter.js";

export function Composition({data, all, now, filtered, chosen, choose, toggle}) {
  const [looked, look] = useState("");
  const names = data.locations;
  // While rows still come, the bars keep their places.
  const order = isFinal(data.about) ? [...names].sort((a, b) => all.locations[b[0]][0] - all.locations[a[0]][0]) : names;
  const most = Math.max(1, ...names.map(([name]) => all.locations[name][0]));
  const total = now.predicted;
  const tell = (name) => {
    const [number, doubtful, bound] = now.locations[name];
    const display = names.find((each) => each[0] === name)[1];
    return `${display}: ${many(number, "protein")} (${share(number, total)}); ${count(doubtful)} doubtful, ${count(bound)} bound to a membrane.`;
  };
  return html`<section aria-labelledby="composition">
    <h2 id="composition">Where the proteins are</h2>
    ${all.predicted === 0
      ? html`<p>No protein of this file was answered.</p>`
      : html`
    <div class="two">
      ${isDrawn(names) && html`<figure>
        <${Cell} names=${names} now=${now.locations} chosen=${chosen} choose=${choose} look=${look} />
        <figcaption>${looked ? tell(looked) : html`The stronger a colour, the more proteins are there. The hatched part is doubtful. ${data.rows && html`<span class="screen">Press a compartment to see its proteins alone.</span>`}`}</figcaption>
      </figure>`}
      <ul class="bars" aria-label="Proteins by location">
        ${order.map(([name, display]) => {
          const [number, doubtful] = now.locations[name];
          const whole = all.locations[name][0];
          return html`<li key=${name}><button type="button" class="bar-row ${colour(name)}" aria-pressed=${chosen === name ? "true" : "false"}
              onClick=${() => choose(name)} onMouseEnter=${() => look(name)} onMouseLeave=${() => look("")}>
            <span class="name"><span class="dot" aria-hidden="true"></span>${display}</span>
            <span class="track" aria-hidden="true">
              <span class="was" style=${{width: `${(100 * whole) / most}%`}}></span>
              <span class="sure" style=${{width: `${(100 * (number - doubtful)) / most}%`}}></span>
              <span class="unsure" style=${{width: `${(100 * doubtful) / most}%`, left: `${(100 * (number - doubtful)) / most}%`}}></span>
            </span>
            <span class="figure">${count(number)} <span class="soft">${share(number, total)}</span></span>
            <span class="unseen">, ${count(doubtful)} of them doubtful</span>
          </button></li>`;
        })}
        <li class="key"><span class="swatch plain" aria-hidden="true"></span> answered with some certainty
          <span class="swatch hatched" aria-hidden="true"></span> doubtful${filtered ? html` <span class="swatch was" aria-hidden="true"></span> left out by the filter` : ""}${data.several ? html`<br />A protein in several locations is counted in each.` : ""}</li>
      </ul>
    </div>
    <${Sureness} sums=${now} several=${data.several} />`}
    <${Kinds} title="What was remarked" kinds=${now.remarks} field="remark" toggle=${data.rows && toggle} />
    <${Kinds} title="Why some records have no answer" kinds=${now.reasons} field="reason" toggle=${data.rows && toggle} />
  </section>`;
}

// The histogram of confidence.
function Sureness({sums, several}) {
  if (!sums.predicted) return null;
  const bins = sums.confidence;
  const most = Math.max(...bins.map(([sure, unsure]) => sure + unsure));
  const above = bins.slice(16).reduce((sum, [sure, unsure]) => sum + sure + unsure, 0);
  const words = `${share(above, sums.predicted)} of the answers have a confidence of 0.8 or more; ${share(sums.doubtful, sums.predicted)} are doubtful.`;
  const height = 90;
  return html`<figure class="sureness">
    <svg viewBox="0 0 420 ${height + 24}" role="img" aria-label=${"How sure the answers are. " + words}>
      ${bins.map(([sure, unsure], at) => {
        const solid = (sure / most) * height;
        const hatched = (unsure / most) * height;
        return html`
          <rect class="sure" x=${at * 20 + 11} width="18" y=${height - solid} height=${solid} />
          <rect class="unsure-ground" x=${at * 20 + 11} width="18" y=${height - solid - hatched} height=${hatched} />
          <rect class="doubt area" x=${at * 20 + 11} width="18" y=${height - solid - hatched} height=${hatched} />`;
      })}
      <line class="axis" x1="10" x2="410" y1=${height + 0.5} y2=${height + 0.5} />
      ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((mark) => html`<text x=${mark * 400 + 10} y=${height + 16} text-anchor="middle">${mark}</text>`)}
    </svg>
    <figcaption><strong>How sure the answers are.</strong> ${words} A confidence of 0.8 means: of a hundred answers like it, about 80 are right${several ? ", in every location that they name and in no other" : ""}.</figcaption>
  </figure>`;
}

// Remarks or reasons of one kind each, most frequent first.
function Kinds({title, kinds, field, toggle}) {
  if (!kinds.length) return null;
  const words = (text) => text.split("…").sort((a, b) => b.length - a.length)[0].replace(/^[\s:;,]+|[\s:;,]+$/g, "");
  return html`<details class="kinds">
    <summary>${title} <span class="soft">(${many(kinds.length, "kind")})</span></summary>
    <ul>${kinds.slice(0, 40).map(([text, number]) => html`<li key=${text}>
      ${toggle && words(text) && text !== "others"
        ? html`<button type="button" class="link" onClick=${() => toggle(term(field, words(text)))}>${count(number)} ×</button>`
        : html`<span>${count(number)} ×</span>`} ${text}</li>`)}
    </ul>
  </details>`;
}
