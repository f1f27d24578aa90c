// The table of records. Only the rows in sight are in the document, so a hundred thousand scroll as ten do.
import {html, useEffect, useLayoutEffect, useMemo, useRef, useState} from "./ui.js";
import {colour, count, many, shown} from "./words.js";
import {save, SAVED} from "./save.js";

const HEIGHT = 40;
const BEYOND = 8; // rows drawn above and below what is in sight

const by = (value) => (a, b) => {
  const [x, y] = [value(a), value(b)];
  if (typeof x === "string") return x < y ? -1 : x > y ? 1 : 0;
  // What has no number stands last, whichever way it is sorted.
  return x - y;
};
const COLUMNS = [
  {name: "accession", title: "Protein", of: (row) => row.accession, always: true},
  {name: "location", title: "Location", of: (row) => row.shownLocation, always: true},
  {name: "confidence", title: "Confidence", of: (row) => row.confidence, number: true},
  {name: "second", title: "Or else", of: (row) => row.secondConfidence, number: true},
  {name: "membrane", title: "Membrane", of: (row) => row.membrane, number: true},
  {name: "length", title: "Length", of: (row) => row.length, number: true},
  {name: "remarks", title: "Remarks", of: (row) => row.remarks.length, number: true},
];
const OPTIONAL = COLUMNS.filter((column) => !column.always);

export function sorted(rows, order) {
  const name = order.replace(/^-/, "");
  const column = COLUMNS.find((each) => each.name === name);
  if (!column) return rows;
  const sign = order.startsWith("-") ? -1 : 1;
  const compare = by(column.of);
  const known = column.number || column.name === "location" ? rows.filter((row) => row.predicted || name === "length") : rows;
  const unknown = known === rows ? [] : rows.filter((row) => !(row.predicted || name === "length"));
  return [...known].sort((a, b) => sign * compare(a, b) || a.index - b.index).concat(unknown);
}

export function Table({rows, all, data, query, order, sort, open, opened, hidden, setHidden}) {
  const [top, setTop] = useState(0);
  const [inSight, setInSight] = useState(14);
  const [selected, setSelected] = useState(() => new Set());
  const scroller = useRef(null);
  const shownRows = useMemo(() => sorted(rows, order), [rows, order]);
  const columns = COLUMNS.filter((column) => !hidden.includes(column.name));

  useLayoutEffect(() => {
    const measure = () => scroller.current && setInSight(Math.ceil(scroller.current.clientHeight / HEIGHT));
    measure();
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  }, []);
  useEffect(() => {
    if (scroller.current) scroller.current.scrollTop = 0;
    setTop(0);
  }, [query, order]);

  const first = Math.max(0, Math.floor(top / HEIGHT) - BEYOND);
  const last = Math.min(shownRows.length, first + inSight + 2 * BEYOND);
  const chosen = selected.size ? all.filter((row) => selected.has(row.offset)) : shownRows;
  const toggle = (row) => setSelected((before) => {
    const next = new Set(before);
    if (!next.delete(row.offset)) next.add(row.offset);
    return next;
  });
  // The arrow keys walk from row to row, also to those that are not drawn yet.
  const walk = (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: inSight - 1, PageUp: 1 - inSight}[event.key];
    const at = event.target.closest?.("tr[data-at]");
    if (!step || !at || event.target.matches("input")) return;
    event.preventDefault();
    const next = Math.min(shownRows.length - 1, Math.max(0, Number(at.dataset.at) + step));
    const box = scroller.current;
    const visible = box.clientHeight - HEIGHT;
    if (next * HEIGHT < box.scrollTop) box.scrollTop = next * HEIGHT;
    else if ((next + 1) * HEIGHT > box.scrollTop + visible) box.scrollTop = (next + 1) * HEIGHT - visible;
    setTop(box.scrollTop);
    requestAnimationFrame(() => box.querySelector(`tr[data-at="${next}"] .opens`)?.focus({preventScroll: true}));
  };

  return html`
    <div class="tools">
      <p class="tally" role="status">${rows.length === all.length ? many(rows.length, "record") : `${count(rows.length)} of ${many(all.length, "record")}`}${selected.size ? `, ${count(selected.size)} ticked` : ""}</p>
      <${Saving} rows=${chosen} data=${data} ticked=${selected.size} />
      ${selected.size > 0 && html`<button type="button" onClick=${() => setSelected(new Set())}>Untick all</button>`}
      <details class="menu">
        <summary>Columns</summary>
        <div class="menu-body">${OPTIONAL.map((column) => html`<label key=${column.name}>
          <input type="checkbox" checked=${!hidden.includes(column.name)} onChange=${() =>
            setHidden(hidden.includes(column.name) ? hidden.filter((name) => name !== column.name) : [...hidden, column.name])} /> ${column.title}
        </label>`)}</div>
      </details>
    </div>
    <div class="scroller" ref=${scroller} tabindex="0" role="region" aria-label="Table of records" onKeyDown=${walk}
      onScroll=${(event) => setTop(event.currentTarget.scrollTop)}>
      <table aria-rowcount=${shownRows.length + 1}>
        <thead><tr aria-rowindex="1">
          <th scope="col" class="tick"><span class="unseen">Tick</span></th>
          ${columns.map((column) => {
            const up = order === column.name;
            const down = order === `-${column.name}`;
            const next = down ? column.name : up ? "" : column.number ? `-${column.name}` : column.name;
            const away = column.number ? (down ? column.name : up ? "" : `-${column.name}`) : up ? `-${column.name}` : down ? "" : column.name;
            return html`<th scope="col" key=${column.name} class="c-${column.name}" aria-sort=${up ? "ascending" : down ? "descending" : "none"}>
              <button type="button" onClick=${() => sort(column.number ? next : away)}>${column.title}<span class="arrow" aria-hidden="true">${up ? " ↑" : down ? " ↓" : ""}</span></button></th>`;
          })}
        </tr></thead>
        <tbody>
          ${first > 0 && html`<tr class="gap" aria-hidden="true" style=${{height: `${first * HEIGHT}px`}}><td></td></tr>`}
          ${shownRows.slice(first, last).map((row, at) => html`<${Line} key=${row.offset} row=${row} at=${first + at} columns=${columns}
            ticked=${selected.has(row.offset)} tick=${toggle} open=${open} opened=${opened === String(row.offset)} names=${data.locations} />`)}
          ${last < shownRows.length && html`<tr class="gap" aria-hidden="true" style=${{height: `${(shownRows.length - last) * HEIGHT}px`}}><td></td></tr>`}
        </tbody>
      </table>
      ${!shownRows.length && html`<p class="nothing">No record is like that. Take words out of the filter to see more.</p>`}
    </div>`;
}

function Line({row, at, columns, ticked, tick, open, opened, names}) {
  return html`<tr data-at=${at} aria-rowindex=${at + 2} class=${`${row.predicted ? "" : "none"} ${opened ? "opened" : ""}`} onClick=${(event) => event.target.closest("input, button") || open(row)}>
    <td class="tick"><input type="checkbox" aria-label=${`Tick ${shown(row.accession) || "record without a name"}`} checked=${ticked} onChange=${() => tick(row)} /></td>
    ${columns.map((column) => html`<td key=${column.name} class="c-${column.name}">${cell(column.name, row, open, names)}</td>`)}
  </tr>`;
}

function cell(name, row, open, names) {
  if (name === "accession") {
    const rest = shown(row.header.replace(/^\S+\s*/, "").replace(/ OS=.*/, ""));
    return html`<button type="button" class="link opens" onClick=${() => open(row)}>${shown(row.accession) || "(no name)"}</button> <span class="soft rest">${rest.slice(0, 120)}</span>`;
  }
  if (name === "location" && !row.predicted) return html`<span class="why" title=${shown(row.reason)}>${row.status === "failed" ? "No answer" : "Not read"}: ${shown(row.reason).slice(0, 160)}</span>`;
  if (name === "length") return count(row.length);
  if (!row.predicted) return "";
  switch (name) {
    case "location":
      return html`<span class="named ${colour(row.location)}"><span class="dot ${row.doubtful ? "hatched" : ""}" aria-hidden="true"></span>${row.shownLocation}${row.doubtful ? html` <span class="doubtful">doubtful</span>` : ""}</span>`;
    case "confidence":
      return html`<span class="meter ${colour(row.location)} ${row.doubtful ? "hatched" : ""}"><span style=${{width: `${100 * row.confidence}%`}}></span></span> ${row.confidence.toFixed(2)}`;
    case "second":
      return row.second && html`${names.find((each) => each[0] === row.second)[1]} <span class="soft">${row.secondConfidence.toFixed(2)}</span>`;
    case "membrane":
      if (Number.isNaN(row.membrane)) return "–";
      return html`${row.membrane >= 0.5 ? "bound" : "free"} <span class="soft">${row.membrane.toFixed(2)}</span>`;
    default:
      return row.remarks.length || row.truncated ? html`<span class="why" title=${shown(row.remarks.join("; "))}>${shown(row.remarks[0] || "read in part")}${row.remarks.length > 1 ? html` <span class="soft">+${row.remarks.length - 1}</span>` : ""}</span>` : "";
  }
}

function Saving({rows, data, ticked}) {
  return html`<details class="menu">
    <summary>Save ${ticked ? "what is ticked" : "these rows"}</summary>
    <div class="menu-body">${Object.entries(SAVED).map(([name, title]) => html`<button type="button" key=${name} onClick=${() => save(rows, name, data)}>${title}</button>`)}</div>
  </details>`;
}
