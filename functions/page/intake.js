// A new file: dropped, chosen or pasted, looked through here at once, and then sent.
import {html, useEffect, useRef, useState} from "./ui.js";
import {CHECKED_BYTES, look} from "./reading/check.js";
import {count, date, duration, fileName, many, shown} from "./words.js";

export function Intake({home, go}) {
  const [given, setGiven] = useState(null); // {name, body}
  const [found, setFound] = useState(null);
  const [sending, setSending] = useState(null);
  const [problem, setProblem] = useState("");
  const [uploads, setUploads] = useState(null);
  const [over, setOver] = useState(false);
  const file = useRef(null);
  const text = useRef(null);

  useEffect(() => {
    home.uploads().then((answer) => setUploads(answer.uploads), (error) => setProblem(error.message));
  }, []);
  const take = async (body, name) => {
    setProblem("");
    setGiven({body, name});
    setFound(null);
    setFound(await look(body));
  };
  useEffect(() => {
    const drag = (event) => (event.preventDefault(), setOver(true));
    const leave = (event) => event.relatedTarget === null && setOver(false);
    const drop = (event) => {
      event.preventDefault();
      setOver(false);
      const [first] = event.dataTransfer.files;
      const words = event.dataTransfer.getData("text/plain");
      if (first) take(first, first.name);
      else if (words) take(new Blob([words]), "dropped.fasta");
    };
    const listeners = {dragover: drag, dragleave: leave, drop};
    for (const [name, each] of Object.entries(listeners)) addEventListener(name, each);
    return () => Object.entries(listeners).forEach(([name, each]) => removeEventListener(name, each));
  }, []);
  const send = async () => {
    setSending({done: 0, total: given.body.size});
    try {
      go({upload: await home.send(given.body, given.name, (done, total) => setSending({done, total}))});
    } catch (error) {
      setProblem(error.message);
      setSending(null);
    }
  };

  return html`<section class="intake" aria-labelledby="intake">
    <h1 id="intake">Where in the cell are your proteins?</h1>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <div class=${over ? "drop over" : "drop"}>
      <p>Drop a FASTA file here, or <button type="button" onClick=${() => file.current.click()}>choose one</button></p>
      <input type="file" class="unseen" tabindex="-1" ref=${file} aria-label="FASTA file" onChange=${(event) => event.currentTarget.files[0] && take(event.currentTarget.files[0], event.currentTarget.files[0].name)} />
      <label for="pasted">or paste sequences:</label>
      <textarea id="pasted" ref=${text} rows="5" spellcheck=${false} placeholder=${">sp|P01308|INS_HUMAN Insulin\nMALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKT…"}></textarea>
      <button type="button" onClick=${() => text.current.value.trim() && take(new Blob([text.current.value]), "pasted.fasta")}>Look through it</button>
    </div>
    ${given && html`<${Found} given=${given} found=${found} uploads=${uploads || []} sending=${sending} send=${send} />`}
    <h2>Files sent before</h2>
    ${uploads === null ? html`<p role="status">Reading …</p>` : uploads.length === 0 ? html`<p>None yet.</p>` : html`<div class="wide" tabindex="0" role="region" aria-label="Files sent before"><table class="figures">
      <thead><tr><th scope="col">File</th><th scope="col">Sent</th><th scope="col">Records</th><th scope="col">How it ended</th></tr></thead>
      <tbody>${uploads.map((view) => html`<tr key=${view.upload}>
        <th scope="row"><button type="button" class="link" onClick=${() => go({upload: view.upload})}>${shown(fileName(view.key))}</button></th>
        <td>${date(view.created)}</td><td class="figure">${count(view.records)}</td><td>${{complete: "complete", partial: "in part", failed: "failed", cancelled: "cancelled"}[view.status] || "in work"}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

function Found({given, found, uploads, sending, send}) {
  if (!found) return html`<p role="status">Looking through ${shown(given.name)} …</p>`;
  const {refused, accepted, rejected, residues, whole, packed, records} = found;
  const ended = uploads.filter((view) => view.finished && view.residues > 0);
  const speed = ended.map((view) => (Date.parse(view.finished) - Date.parse(view.created)) / 1000 / view.residues).sort((a, b) => a - b);
  const all = whole ? residues : residues * (given.body.size / CHECKED_BYTES);
  return html`<div class="found" aria-live="polite">
    <h2>${shown(given.name)}</h2>
    ${refused
      ? html`<p class="note"><strong>This is not FASTA:</strong> ${shown(refused)}.</p>`
      : packed
        ? html`<p>The file is packed (${packed}); it will be unpacked and looked through once it is sent.</p>`
        : html`
      <p class="answer">${whole ? "" : `Of the first ${count(CHECKED_BYTES / 1e6)} MB: `}<strong>${many(accepted, "protein")}</strong> with ${count(residues)} residues${rejected ? html`, and <strong>${many(rejected, "record")}</strong> that will get no answer` : ""}.${speed.length && accepted ? ` By the files before, the answers take ${duration(speed[Math.floor(speed.length / 2)] * all)}.` : ""}</p>
      ${rejected > 0 && html`<details open=${rejected <= 8}><summary>Why ${rejected === 1 ? "it gets" : "they get"} no answer</summary><ul>
        ${records.filter((record) => record.reason).slice(0, 50).map((record) => html`<li><strong>${shown(record.accession) || "(no name)"}</strong>, line ${count(record.line + 1)}: ${shown(record.reason)}</li>`)}
        ${rejected > 50 && html`<li>and ${count(rejected - 50)} more</li>`}</ul></details>`}
      ${records.some((record) => !record.reason && record.remarks.length) && html`<details><summary>What is changed or doubted on reading</summary><ul>
        ${records.filter((record) => !record.reason && record.remarks.length).slice(0, 50).map((record) => html`<li><strong>${shown(record.accession) || "(no name)"}</strong>: ${shown(record.remarks.join("; "))}</li>`)}</ul></details>`}`}
    ${!refused && (sending
      ? html`<p role="status">Sending: ${Math.round((100 * sending.done) / Math.max(sending.total, 1))} %</p>`
      : html`<p><button type="button" class="primary" onClick=${send}>Predict where they are</button></p>`)}
  </div>`;
}
