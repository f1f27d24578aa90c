// The page: a line that says what happened, what is in the file, its proteins, and how far to believe it all.
import {html, render, useEffect, useMemo, useRef, useState} from "./ui.js";
import {Compare} from "./compare.js";
import {Composition} from "./composition.js";
import {FIELDS, parse, term, toggled} from "./filter.js";
import {Intake} from "./intake.js";
import {Model, Take} from "./model.js";
import {Progress, isFinal} from "./progress.js";
import {Protein} from "./protein.js";
import {SignedIn} from "./team/signin.js";
import {Table, sorted} from "./table.js";
import {makeHome} from "./home.js";
import {sums, unpack} from "./rows.js";
import {useAddress} from "./url.js";
import {count, date, fileName, many, shown} from "./words.js";

const FIRST_PAUSE = 700; // milliseconds between two looks at an upload in work
const LAST_PAUSE = 5000;

function App({home}) {
  const [address, go] = useAddress();
  const [data, setData] = useState(null);
  const [view, setView] = useState(null);
  const [problem, setProblem] = useState("");
  const upload = address.upload;

  useEffect(() => {
    let over = false;
    let timer;
    setData(null);
    setView(null);
    setProblem("");
    const follow = async (pause, loaded) => {
      try {
        const now = await home.view(upload);
        if (over) return;
        setView(now);
        const ended = isFinal(now);
        const known = now.predicted + now.rejected + now.failed;
        if (ended || (home.early && known > 1.3 * loaded)) {
          const found = await home.load(upload);
          if (over) return;
          setData(found);
          loaded = known;
        }
        if (!ended) timer = setTimeout(follow, pause, Math.min(pause * 1.2, LAST_PAUSE), loaded);
      } catch (error) {
        if (!over) setProblem(error.message);
      }
    };
    if (!home.live) home.load().then(setData, (error) => setProblem(error.message));
    else if (upload) follow(FIRST_PAUSE, 0);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [upload]);

  const name = data ? fileName(data.about.key) : view ? fileName(view.key) : "";
  useEffect(() => {
    document.title = name ? `${shown(name)} – protloc` : "protloc";
  }, [name]);

  return html`
    <button type="button" class="skip" onClick=${() => (document.getElementById("q") || document.querySelector("main"))?.focus()}>To the table</button>
    <header class="top">
      <span class="mark">protloc</span>
      <span class="file" title=${shown(name)}>${shown(name)}</span>
      ${home.live && upload && html`<button type="button" onClick=${() => go({upload: "", q: "", protein: "", sort: ""})}>Another file</button>`}
      ${home.session && html`<button type="button" onClick=${() => home.session.end()}>Sign out</button>`}
    </header>
    <main>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      ${home.live && !upload && html`<${Intake} home=${home} go=${go} />`}
      ${view && !isFinal(view) && html`<${Progress} view=${view} home=${home} />`}
      ${data && (isFinal(data.about) || data.summary.predicted + data.summary.rejected > 0) && html`<${Result} data=${data} home=${home} address=${address} go=${go} />`}
      ${!data && !problem && (upload || !home.live) && !(view && !isFinal(view)) && html`<p role="status">Reading …</p>`}
    </main>`;
}

function Result({data, home, address, go}) {
  const names = data.locations.map(([name]) => name);
  const rows = useMemo(() => unpack(data), [data]);
  const filter = useMemo(() => parse(address.q, names), [address.q, data]);
  const [compared, setCompared] = useState(null);
  const kept = useMemo(() => (filter.problem || !address.q.trim() ? rows : rows.filter(filter.test)), [rows, filter, compared]);
  const filtered = kept !== rows;
  const now = useMemo(() => (filtered ? sums(kept, names) : data.summary), [kept, data]);
  const choose = (name) => data.rows && go({q: toggled(address.q, term("location", name))}, {replace: true});
  const chosen = names.find((name) => address.q.split(/\s+/).includes(term("location", name))) || "";
  const toggle = (each) => go({q: toggled(address.q, each)}, {replace: true});
  return html`
    <${Verdict} about=${data.about} sums=${data.summary} toggle=${data.rows ? toggle : null} q=${address.q} clear=${() => go({q: ""}, {replace: true})} />
    ${filtered && html`<p class="filter-note">Below, only <strong>${count(kept.length)}</strong> of ${many(rows.length, "record")} are shown: <code>${address.q}</code> <button type="button" onClick=${() => go({q: ""}, {replace: true})}>Show all</button></p>`}
    <${Composition} data=${data} all=${data.summary} now=${now} filtered=${filtered} chosen=${chosen} choose=${choose} toggle=${toggle} />
    ${data.rows
      ? html`<${Proteins} data=${data} home=${home} rows=${rows} kept=${kept} filter=${filter} address=${address} go=${go} />`
      : html`<section aria-labelledby="proteins"><h2 id="proteins">The proteins</h2>
          <p>With ${many(data.about.records, "record")}, this page holds their sums alone. All rows are in <code>${data.about.results?.tsv || "results.tsv"}</code>; <code>protloc results ${data.about.upload}</code> fetches them.</p></section>`}
    ${data.rows && isFinal(data.about) && html`<${Compare} data=${data} rows=${rows} home=${home} found=${compared} setFound=${setCompared} go=${go} />`}
    <${Model} data=${data} />
    <${Take} data=${data} home=${home} />`;
}

function Verdict({about, sums: all, toggle, q, clear}) {
  const part = (number, words, term) => toggle
    ? html`<button type="button" class="figure-button" aria-pressed=${q.split(/\s+/).includes(term) ? "true" : "false"} onClick=${() => toggle(term)}>${count(number)} ${words}</button>`
    : html`<strong>${count(number)} ${words}</strong>`;
  const total = all.predicted + all.rejected + all.failed;
  return html`<section class="verdict" aria-labelledby="verdict">
    <h1 id="verdict">${isFinal(about) ? "" : "So far, "}${toggle ? html`<button type="button" class="figure-button" onClick=${clear}>${many(total, "record")}</button>` : many(total, "record")}: ${part(all.predicted, "answered", "status:answered")}${all.doubtful > 0 && html`, ${part(all.doubtful, "of them doubtful", "doubtful:yes")}`}${all.rejected > 0 && html`; ${part(all.rejected, "not read as proteins", "status:rejected")}`}${all.failed > 0 && html`; ${part(all.failed, "without an answer", "status:failed")}`}.</h1>
    <p class="soft">${shown(fileName(about.key))}, model ${shown(about.model_version || "not chosen yet")}${about.finished ? `, ${date(about.finished)}` : ""}</p>
    ${about.reason && html`<p class="note"><strong>${about.status === "failed" ? "The upload failed" : about.status === "cancelled" ? "The upload was taken back" : "Not all of it was answered"}:</strong> ${shown(about.reason)}.</p>`}
    ${(about.warnings || []).map((warning) => html`<p class="note" key=${warning}><strong>Careful:</strong> ${shown(warning)}.</p>`)}
  </section>`;
}

function Proteins({data, home, rows, kept, filter, address, go}) {
  const box = useRef(null);
  const order = address.sort;
  const hidden = address.columns ? address.columns.split(",") : [];
  const row = useMemo(() => rows.find((each) => String(each.offset) === address.protein), [rows, address.protein]);
  const opener = useRef(null);
  useEffect(() => {
    const key = (event) => {
      if (event.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName)) return;
      event.preventDefault();
      box.current?.focus();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);
  const open = (each) => {
    opener.current = document.activeElement;
    go({protein: String(each.offset)});
  };
  const close = () => {
    go({protein: ""});
    const back = opener.current;
    requestAnimationFrame(() => (back?.isConnected ? back : box.current)?.focus());
  };
  const step = (by) => {
    const inOrder = sorted(kept, order);
    const at = inOrder.findIndex((each) => each === row);
    const next = inOrder[at + by] || (at < 0 ? inOrder[0] : null);
    if (next) go({protein: String(next.offset)}, {replace: true});
  };
  return html`<section aria-labelledby="proteins">
    <h2 id="proteins" tabindex="-1">The proteins</h2>
    <form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label for="q">Show only</label>
      <input id="q" type="search" ref=${box} value=${address.q} autocomplete="off" spellcheck=${false} placeholder="kinase location:nucleus confidence>0.8"
        aria-invalid=${filter.problem ? "true" : "false"} aria-describedby="q-help" onInput=${(event) => go({q: event.currentTarget.value}, {replace: true})} />
      <details class="menu help"><summary>How to write it</summary><div class="menu-body" id="q-words">
        <p>Words are looked for in names, headers and remarks. All that you write must hold.</p>
        <dl>
          <dt><code>location:nucleus,golgi</code></dt><dd>in one of these places</dd>
          <dt><code>confidence>0.8</code></dt><dd>also for length, membrane</dd>
          <dt><code>doubtful:yes</code></dt><dd>what the model doubts itself</dd>
          <dt><code>membrane:yes</code></dt><dd>bound to a membrane</dd>
          <dt><code>remark:"lower case"</code></dt><dd>a remark with these words</dd>
          <dt><code>-location:nucleus</code></dt><dd>all but these</dd>
        </dl>
        <p>Fields: ${FIELDS.join(", ")}.</p></div></details>
      <p id="q-help" class="problem" role="status">${filter.problem || ""}</p>
    </form>
    <div class=${row ? "beside open" : "beside"}>
      <div class="list"><${Table} rows=${kept} all=${rows} data=${data} query=${address.q} order=${order} opened=${address.protein} open=${open} hidden=${hidden}
        sort=${(name) => go({sort: name}, {replace: true})} setHidden=${(names) => go({columns: names.join(",")}, {replace: true})} /></div>
      ${row && html`<${Protein} row=${row} data=${data} home=${home} close=${close} step=${step} />`}
    </div>
  </section>`;
}

const home = makeHome();
render(html`<${SignedIn} session=${home.session}><${App} home=${home} /></${SignedIn}>`, document.getElementById("page"));
