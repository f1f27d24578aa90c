// May I trust it: what the model was measured to be, and what it cannot know.
import {html, useState} from "./ui.js";
import {saveBlob} from "./save.js";
import {colour, count, date, isOfTen, many, shown} from "./words.js";

const percent = (value) => (typeof value === "number" ? `${Math.round(100 * value)}\u00a0%` : "–");
const interval = (pair) => (Array.isArray(pair) && typeof pair[0] === "number" ? `${Math.round(100 * pair[0])} to ${Math.round(100 * pair[1])}\u00a0%` : "");
const LEAST = 20; // proteins, for a share of them to be worth a figure

export function Model({data}) {
  const {model, about} = data;
  const metrics = model?.metrics || {};
  const places = metrics.locations || {};
  return html`<section aria-labelledby="model">
    <h2 id="model">Can I trust it?</h2>
    ${typeof metrics.q10 === "number"
      ? html`<p>The model <strong>${shown(about.model_version)}</strong> was tested on ${many(metrics.proteins, "protein")} that it had not learned from. It put <strong>${percent(metrics.q10)}</strong> of them where they are${data.several ? ", in each of their locations and in no other" : ""}${metrics.intervals?.q10 ? ` (${interval(metrics.intervals.q10)}, had other proteins of this kind been asked)` : ""}${typeof metrics.membrane_q2 === "number" ? ` and told right for ${percent(metrics.membrane_q2)} whether they are bound to a membrane` : ""}.${metrics.uncertain ? ` Of those it was sure of, ${percent(metrics.uncertain.certain_accuracy)} were right; of those it doubted, ${percent(metrics.uncertain.uncertain_accuracy)}.` : ""} Some places are easier than others:</p>
        <div class="wide" tabindex="0" role="region" aria-label="Figures of the model by location"><table class="figures">
          <thead><tr><th scope="col">Location</th><th scope="col">Tested on</th><th scope="col">Of those there, it finds</th><th scope="col"><span class="unseen">Interval of that</span></th><th scope="col">Of those it puts there, right are</th></tr></thead>
          <tbody>${data.locations.filter(([name]) => places[name]).map(([name, display]) => {
            const {proteins, recall, precision, recall_interval: bounds} = places[name];
            const enough = proteins >= LEAST;
            return html`<tr key=${name} class=${colour(name)}>
              <th scope="row"><span class="dot" aria-hidden="true"></span>${display}</th>
              <td class="figure">${many(proteins, "protein")}</td>
              <td class="figure">${enough ? percent(recall) : "too few to say"}</td>
              <td>${enough && bounds ? html`<span class="interval"><span style=${{left: `${100 * bounds[0]}%`, width: `${100 * (bounds[1] - bounds[0])}%`}}></span><i style=${{left: `${100 * recall}%`}}></i></span><span class="unseen">${interval(bounds)}</span>` : ""}</td>
              <td class="figure">${enough ? percent(precision) : ""}</td></tr>`;
          })}</tbody>
        </table></div>
        <p class="soft">The light bar is where the figure would lie 95 times in 100 for other proteins of this kind.</p>`
      : html`<p>These answers are of the model <strong>${shown(about.model_version || "that was active")}</strong>. Its figures are not in this page; <code>protloc models</code> shows them.</p>`}
    <h3>What it cannot know</h3>
    <ul>
      ${isOfTen(data)
        ? html`<li>It knows eukaryotic cells only. For a protein of a bacterium, an archaeon or a virus it names the most similar of its ten places, which means little.</li>`
        : html`<li>It knows the places of its own labels only. A protein that is elsewhere gets the most similar of them, which means little.</li>`}
      ${data.several
        ? html`<li>It names a place from its threshold on, which was chosen on proteins of its training: ${data.thresholds.map(([display, threshold]) => `${display} ${threshold.toFixed(2)}`).join(", ")}.</li>`
        : html`<li>It names one place. A protein that lives in two gets one of them, and often the other as the next best.</li>`}
      <li>It reads the sequence and nothing else: not the tissue, not the time, not what a cell does to the protein.</li>
      <li>A confidence holds for proteins like those of its test. Remarks say where a protein is unlike them.</li>
    </ul>
  </section>`;
}

const WHOLE = {tsv: "Table (TSV)", jsonl: "JSON Lines", report: "This page as a file"};

export function Take({data, home}) {
  const [problem, setProblem] = useState("");
  const {about} = data;
  const name = about.upload;
  const results = about.results || {};
  const fetchWhole = (format) => {
    setProblem("");
    home.save(name, format).then((blob) => saveBlob(blob, format === "report" ? "report.html" : `results.${format}`), (error) => setProblem(error.message));
  };
  return html`<section aria-labelledby="take">
    <h2 id="take">Take it along</h2>
    ${(home.download || home.save) && results.tsv
      ? html`<p>All ${many(about.records, "row")}: ${Object.keys(WHOLE).filter((each) => results[each]).map((each) => home.download
        ? html`<a class="button" href=${home.download(name, each)} download>${WHOLE[each]}</a> `
        : html`<button type="button" onClick=${() => fetchWhole(each)}>${WHOLE[each]}</button> `)}</p>
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}`
      : html`<p class="screen">All ${many(about.records, "row")}, as a table, for a spreadsheet or for a program:</p>`}
    <dl class="commands">
      <dt>A table</dt><dd><code>protloc results ${name}</code></dd>
      <dt>For a spreadsheet</dt><dd><code>protloc results ${name} --format csv</code></dd>
      <dt>This page</dt><dd><code>protloc report ${name}</code></dd>
      <dt>Over HTTP</dt><dd><code>GET /uploads/${name}/results?format=tsv</code></dd>
      ${results.tsv && html`<dt>In S3</dt><dd><code>${results.tsv}</code></dd>`}
    </dl>
    <p class="screen">Rows of your choice: filter the table or tick some, then “Save”. The address of this page holds the filter and the open protein; send it to someone who has the same page, and they see the same.</p>
    <h3>How to cite</h3>
    <p class="cite">Subcellular locations were predicted with protloc, model ${shown(about.model_version || "")}${about.finished ? `, on ${date(about.finished).slice(0, 10)}` : ""} (upload ${name}). The model that comes with protloc learned from the proteins of DeepLoc (Almagro Armenteros et al., 2017, doi:10.1093/bioinformatics/btx431).</p>
    <dl class="facts">
      <dt>File</dt><dd>${shown(about.key)}</dd>
      <dt>Sent</dt><dd>${date(about.created)}</dd>
      <dt>Ended</dt><dd>${date(about.finished) || "not yet"}</dd>
      <dt>Residues read</dt><dd>${count(about.residues || 0)}</dd>
    </dl>
  </section>`;
}
