// Rows as a file, written as `functions/domain/rows.py` writes them.
import {fileName} from "./words.js";
import {UNITS} from "./rows.js";

export const SAVED = {
  tsv: "Table (TSV)", csv: "Table for a spreadsheet (CSV)", jsonl: "JSON Lines", txt: "List of accessions",
};
const FORMULA = /(^|[,;])(?=[\s"]*[=+\-@＝＋－＠])/g;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

function record(row, data) {
  const names = data.locations.map(([name]) => name);
  const p = (units) => (units === undefined || Number.isNaN(units) ? null : units);
  const terms = new Set(data.locations.filter(([name]) => row.places?.includes(name)).flatMap((each) => each[2]));
  return {
    accession: row.accession, status: row.status, location: row.location, confidence: p(row.confidence),
    uncertain: row.predicted ? row.uncertain : null, second: row.second, second_confidence: p(row.secondConfidence),
    relative: row.relative ?? null, locations_90: row.likely ?? null,
    membrane: p(row.membrane), length: row.length, residues_read: row.predicted ? row.read : null,
    truncated: row.predicted ? row.truncated : null, model_version: row.status === "rejected" ? null : data.about.model_version,
    reason: row.reason || null, remarks: row.remarks, go: row.predicted ? [...terms].join(",") : null,
    ...Object.fromEntries(names.map((name, at) => [`p:${name}`, row.predicted ? row.units[at] / UNITS : null])),
    header: row.header, offset: row.offset,
  };
}

function cell(column, value, defused) {
  if (value === null) return "";
  if (Array.isArray(value)) value = value.join("; ");
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") return /confidence|membrane|^p:/.test(column) ? value.toFixed(4) : String(value);
  const text = value.replace(UNPRINTABLE, " ");
  return defused ? text.replace(FORMULA, "$1'") : text;
}

const quoted = (text) => `"${text.replace(/"/g, '""')}"`;

export function written(rows, format, data) {
  const records = rows.map((row) => record(row, data));
  if (format === "txt") return records.map((each) => `${cell("accession", each.accession, false)}\n`).join("");
  if (format === "jsonl") return records.map((each) => `${JSON.stringify(each)}\n`).join("");
  const columns = Object.keys(record({remarks: []}, data));
  const line = format === "csv"
    ? (cells) => cells.map((text) => (/[",\r\n]/.test(text) ? quoted(text) : text)).join(",")
    : (cells) => cells.map((text) => (text.includes('"') ? quoted(text) : text)).join("\t");
  const lines = records.map((each) => line(columns.map((column) => cell(column, each[column], format === "csv"))));
  return [columns.join(format === "csv" ? "," : "\t"), ...lines].map((each) => `${each}\n`).join("");
}

export function save(rows, format, data) {
  const blob = new Blob([written(rows, format, data)], {type: "text/plain;charset=utf-8"});
  saveBlob(blob, `${fileName(data.about.key).replace(/[^\w.-]+/g, "_")}.selected.${format}`);
}

export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
