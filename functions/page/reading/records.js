// From text to records, as `domain/fasta.py` finds them. The text is whole, so nothing is read in pieces.
import {MARK} from "./bytes.js";
import {cleanLetters, layOut, lettersOf} from "./layout.js";

export const MAX_RECORD = 4 * 1024 * 1024;
const LOOKBACK = 1024;
const UNSEEN = `[ \\t\\v\\f\\0\\x1a"']|\\xef\\xbb\\xbf|\\xc2\\xa0|<[A-Za-z/!][^<>\\r\\n]{0,200}>`;
const INVISIBLE = new RegExp(`^(?:${UNSEEN})*$`);
const SEQUENCE = new RegExp(`^(?:[A-Z0-9*._-]|\\\\[nr]|${UNSEEN})+$|^(?:${UNSEEN})*[a-z]{10}[a-z*.]*(?:\\\\[nr]|${UNSEEN})*$`);

// Every `>` that starts a record, with what stands before it on its line.
function starts(text) {
  const found = [];
  for (let at = text.indexOf(">"); at !== -1; at = text.indexOf(">", at + 1)) {
    if (at && /[\r\n]/.test(text[at - 1])) {
      found.push({at, before: ""});
      continue;
    }
    const near = text.slice(Math.max(at - LOOKBACK, 0), at);
    const before = near.slice(Math.max(near.lastIndexOf("\n"), near.lastIndexOf("\r")) + 1);
    if (!before || INVISIBLE.test(before) || SEQUENCE.test(before)) found.push({at, before});
  }
  return found;
}

export function readRecords(text) {
  const found = starts(text);
  let lines = found.length ? ends(text.slice(0, found[0].at)) : 0;
  return found.map(({at, before}, number) => {
    const next = found[number + 1];
    const raw = text.slice(at + 1, next ? next.at : text.length);
    const [header, body] = split(raw);
    const record = {offset: at, line: lines, header, remarks: repairs(before, at, next), fault: "", faultLine: 0, clean: false};
    lines += ends(raw);
    if (raw.length > MAX_RECORD) return {...record, header: split(raw.slice(0, MAX_RECORD))[0], remarks: [], letters: "", length: lettersOf(body).length};
    const letters = cleanLetters(header, body);
    if (letters !== null) return {...record, letters, length: letters.length, clean: true};
    const laid = layOut(header, body);
    return {...record, letters: laid.letters, length: laid.letters.length, remarks: [...record.remarks, ...laid.remarks], fault: laid.fault, faultLine: laid.line};
  });
}

function ends(text) {
  return (text.match(/\n/g) || text.match(/\r/g) || []).length;
}

function split(raw) {
  const feed = raw.indexOf("\n");
  const first = feed >= 0 ? raw.slice(0, feed) : raw;
  const carriage = first.indexOf("\r");
  const end = carriage >= 0 ? carriage : first.length;
  return [raw.slice(0, end), raw.slice(end)];
}

function repairs(before, at, next) {
  const found = [];
  if (before && INVISIBLE.test(before)) {
    if (before !== MARK || at !== before.length) found.push(`${invisible(before)} before its '>' left out`);
  } else if (before) found.push("a line end was missing before its '>'");
  if (next && next.before && !INVISIBLE.test(next.before)) found.push("a line end was missing after its last line");
  return found;
}

function invisible(text) {
  if (text.includes(MARK)) return "a byte order mark";
  if (text.includes("<")) return "an HTML tag";
  if (text.includes("\x1a")) return "a control-Z";
  if (text.includes("\0")) return "NUL bytes";
  return /["']/.test(text) ? "quotation marks" : "blanks";
}
