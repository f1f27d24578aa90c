// One protein: what the model says of it, how sure that is in words, and what speaks against believing it.
import {Explanation} from "./explanation.js";
import {html, useEffect, useRef} from "./ui.js";
import {chance, colour, count, inHundred, placeIn, shown} from "./words.js";
import {UNITS} from "./rows.js";

// The beginnings of remarks that are doubts; all others say what was changed on reading.
const DOUBTS = /^(short: |without a start|the header ends in|of (bacteria|archaea|viruses)|unlike the (eukaryotic )?proteins that|\w+ have no plastids)/;
const UNIPROT = "[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}";
const OF_UNIPROT = new RegExp(`^(?:${UNIPROT})(?:-[0-9]+)?$`);

// Pages of other databases about a protein, where its header shows that its accession is of that database.
export function links(row) {
  const {accession, header} = row;
  const cluster = accession.match(new RegExp(`^UniRef\\d+_(${UNIPROT})`));
  const entry = cluster ? cluster[1] : accession;
  const fromUniProt = cluster || /^(sp|tr)\|/.test(header) || /\bO[SX]=/.test(header);
  if (fromUniProt && OF_UNIPROT.test(entry)) {
    const plain = entry.replace(/-[0-9]+$/, "");
    return [
      ["UniProt", `https://www.uniprot.org/uniprotkb/${entry}`],
      ["QuickGO", `https://www.ebi.ac.uk/QuickGO/annotations?geneProductId=${plain}`],
      ["AlphaFold DB", `https://alphafold.ebi.ac.uk/entry/${plain}`],
    ];
  }
  if (/^[ANXWY]P_[0-9]{6,9}(\.[0-9]+)?$/.test(accession)) return [["NCBI", `https://www.ncbi.nlm.nih.gov/protein/${accession}`]];
  return [];
}

export function Protein({row, data, home, close, step}) {
  const title = useRef(null);
  useEffect(() => title.current?.focus({preventScroll: false}), [row]);
  const terms = new Set(data.locations.filter(([name]) => row.places.includes(name)).flatMap((each) => each[2]));
  const changed = row.remarks.filter((remark) => !DOUBTS.test(remark));
  const doubts = row.remarks.filter((remark) => DOUBTS.test(remark));
  return html`<aside class="protein" aria-labelledby="protein-title" onKeyDown=${(event) => event.key === "Escape" && close()}>
    <div class="protein-head">
      <h3 id="protein-title" tabindex="-1" ref=${title}>${shown(row.accession) || "Record without a name"}</h3>
      <span class="steps">
        <button type="button" onClick=${() => step(-1)} aria-label="The protein before in the table">↑</button>
        <button type="button" onClick=${() => step(1)} aria-label="The next protein in the table">↓</button>
        <button type="button" onClick=${close}>Close</button>
      </span>
    </div>
    <p class="header">${shown(row.header)}</p>
    ${row.predicted ? html`<${Answer} row=${row} data=${data} />` : html`<p class="refusal"><strong>${row.status === "failed" ? "The model gave no answer." : "This record was not read as a protein."}</strong> ${shown(row.reason)}.</p>`}
    ${row.predicted && html`<${Explanation} key=${row.offset} row=${row} data=${data} home=${home} />`}
    ${doubts.length > 0 && html`<h4>Reasons for doubt</h4><ul>${doubts.map((doubt) => html`<li>${shown(doubt)}</li>`)}</ul>`}
    ${changed.length > 0 && html`<h4>Changed on reading</h4><ul>${changed.map((remark) => html`<li>${shown(remark)}</li>`)}</ul>`}
    <h4>About the record</h4>
    <dl>
      <dt>Length</dt><dd>${count(row.length)} residues${row.truncated ? `, of which the model read ${count(row.read)}: both ends` : ""}</dd>
      <dt>Place in the file</dt><dd>record ${count(row.index + 1)}, byte ${count(row.offset)}</dd>
      ${row.was?.predicted && html`<dt>The other result</dt><dd>${row.was.location === row.location ? "the same place" : placeIn(row.was.location, data)}, confidence ${row.was.confidence.toFixed(2)}</dd>`}
      ${terms.size > 0 && html`<dt>The same in GO</dt><dd>${[...terms].map((go) => html`<a href=${`https://www.ebi.ac.uk/QuickGO/term/${go}`} target="_blank" rel="noreferrer noopener">${go}</a> `)}</dd>`}
      ${links(row).length > 0 && html`<dt>Elsewhere</dt><dd>${links(row).map(([name, address]) => html`<a href=${address} target="_blank" rel="noreferrer noopener">${name}</a> `)}</dd>`}
    </dl>
  </aside>`;
}

function Answer({row, data}) {
  const ordered = data.locations.map(([name, display], at) => [name, display, row.units[at] / UNITS]).sort((a, b) => b[2] - a[2]);
  return html`
    <p class="answer"><span class="dot ${colour(row.location)} ${row.doubtful ? "hatched" : ""}" aria-hidden="true"></span>Most probably <strong>${placeIn(row.location, data)}</strong>, with a confidence of ${row.confidence.toFixed(2)}.</p>
    <p>${doubt(row, data)}</p>
    <table class="chances"><caption>How probable each location is${data.several ? ", one by one" : ""}</caption><tbody>
      ${ordered.map(([name, display, probability]) => html`<tr class=${colour(name)} key=${name}>
        <th scope="row">${display}</th>
        <td><span class="meter ${row.places.includes(name) && row.doubtful ? "hatched" : ""}"><span style=${{width: `${100 * probability}%`}}></span></span></td>
        <td class="figure">${chance(probability)}</td></tr>`)}
    </tbody></table>
    ${row.likely && html`<p>${likely(row, data)}</p>`}
    <p>${membrane(row.membrane)}</p>`;
}

// How much to believe an answer, as a sentence.
function doubt(row, data) {
  const figures = data.model?.metrics?.uncertain;
  const second = row.second ? `The next best is ${placeIn(row.second, data)} (${chance(row.secondConfidence)}).` : "";
  if (row.uncertain === null) return `About ${inHundred(row.confidence)} answers like this are right. ${second}`;
  if (row.doubtful) {
    const measured = figures ? ` Of the answers that the model doubted in its test, ${inHundred(figures.uncertain_accuracy)} were right.` : "";
    return `The model doubts this answer itself: take it as a hint.${measured} ${second}`;
  }
  return `The model is sure enough to stand by this answer: about ${inHundred(row.confidence)} like it are right. ${second}`;
}

// The places that hold the true one nine times in ten, and what the answer rests on.
function likely(row, data) {
  const rests = {
    near: "The model learned from a near relative of it.",
    distant: "The model learned from a distant relative of it.",
    none: "The model learned from no relative of it, and answers from the sequence alone.",
  }[row.relative];
  const many = row.likely.length;
  const places = row.likely.map((name) => placeIn(name, data)).join(many === 2 ? " or " : ", ");
  return many === 1
    ? `Nine times in ten such an answer is right. ${rests}`
    : `Nine times in ten the true place is one of these ${many}: ${places}. ${rests}`;
}

function membrane(probability) {
  if (Number.isNaN(probability)) return "The model says nothing about membranes.";
  const bound = `${inHundred(probability)} proteins like this are bound to a membrane`;
  if (probability >= 0.8) return `Very probably bound to a membrane: about ${bound}.`;
  if (probability >= 0.5) return `Rather bound to a membrane than not: about ${bound}.`;
  if (probability > 0.2) return `Rather not bound to a membrane, though about ${bound}.`;
  return `Probably not bound to a membrane: about ${bound}.`;
}
