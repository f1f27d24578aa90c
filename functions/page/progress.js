// An upload in work: how far it is and how long the rest will take.
import {html, useRef} from "./ui.js";
import {count, duration, many, shown} from "./words.js";

export function isFinal(view) {
  return ["complete", "partial", "failed", "cancelled"].includes(view.status);
}

export function Progress({view, home}) {
  const {batches, batches_done: done, shards, shards_split: split, records_found: found} = view.progress;
  const whole = shards > 0 && split === shards;
  const part = batches ? done / batches : 0;
  const began = useRef(null);
  const now = Date.now() / 1000;
  if (done > 0 && !began.current) began.current = {at: now, done};
  const rate = began.current && done > began.current.done ? (done - began.current.done) / (now - began.current.at) : 0;
  const left = whole && rate ? (batches - done) / rate : null;
  const words = view.status === "receiving"
    ? "The file has arrived and waits for its turn."
    : `${many(found, "record")} found${whole ? "" : " so far"}, ${count(view.predicted + view.rejected + view.failed)} done${left === null ? "" : `; ${duration(left)} left`}.`;
  return html`<section class="progress" aria-labelledby="progress">
    <h1 id="progress">Working on it</h1>
    <progress max="1" value=${view.status === "receiving" ? undefined : part} aria-label="Part that is done"></progress>
    <p role="status">${words}</p>
    ${view.reason && html`<p class="note">${shown(view.reason)}.</p>`}
    <p class="soft">You may close this page: the work goes on, and ${home.session ? "its address" : html`<code>protloc open ${view.upload}</code>`} brings you back. ${home.early ? "Rows appear below as they come." : "The rows appear when all are there."}</p>
  </section>`;
}
