// The lines of a record: which are its sequence, which are left out, which are a fault. After `domain/layout.py`.
import {MARK, decode, isUpper, lower, quoted, strip, trimmed, upper, withoutBlanks, words} from "./bytes.js";
import {ALPHABET} from "./letters.js";
import {PLACEHOLDERS} from "./placeholders.js";

const S = "[ \\t\\n\\r\\f\\v]";
const TAG = `</?(?:p|br|pre|tt|code|span|div|font|b|i|body|html|td|tr|table)(?:${S}[^<>]*)?/?>`;
const TAGS = new RegExp(`^(?:${S}*${TAG})+|(?:${TAG}${S}*)+$`, "gi");
const HARD_BLANK = /(?<![\x80-\xff])\xa0(?![\x80-\xff])/g;
const COMMENT = /^#(?![A-Za-z#]{0,2}[a-z]?(?:[A-Z#][a-z#])+$)/;
const PIR = /^(?:P1|F1|XX);/;
const BRACKETS = /^(?=.*[(<[{])[().[\]{}<>|&,:_-]+(?:[ \t\n\r\f\v]+\([ \t\n\r\f\v]*-?[\d.]+\))?$/;
const SAPROT = /^[A-Z#]{0,1}(?:[A-Z#][a-z#]){8,}\*?$/;
const CODES = {
  ALA: "A", ARG: "R", ASN: "N", ASP: "D", CYS: "C", GLN: "Q", GLU: "E", GLY: "G", HIS: "H", ILE: "I", LEU: "L", LYS: "K", MET: "M", PHE: "F",
  PRO: "P", SER: "S", THR: "T", TRP: "W", TYR: "Y", VAL: "V", SEC: "U", PYL: "O", ASX: "B", GLX: "Z", XLE: "J", XAA: "X", MSE: "M", UNK: "X",
  TER: "*", END: "*", "***": "*",
};
const LABELS = /^[IOMSTLPBGHECDNioms]*$/;

export function lettersOf(body) {
  return withoutBlanks(body.replace(/(?<=[\r\n])[;#][^\r\n]*/g, "").replace(/[\xef\xbb\xbf]/g, ""));
}

// The sequence of a record of nothing but upper-case residues, and perhaps a stop codon at the end; else null.
export function cleanLetters(header, body) {
  if (body.length <= 60 || header[2] === ";") return null;
  const letters = body.replace(/[\r\n]/g, "");
  const odd = letters.replace(new RegExp(`[${ALPHABET}]`, "g"), "");
  if (odd && (odd !== "*" || !letters.endsWith("*"))) return null;
  const tail = letters.slice(-13, -1);
  if (LABELS.test(tail) && new Set(tail).size <= 5) return null;
  return letters.slice(0, 3) in CODES && letters.slice(3, 6) in CODES ? null : letters;
}

export function layOut(header, body) {
  const remarks = [];
  let lines = cleaned(linesOf(body), remarks);
  const text = lines.map((line) => line.text).join(" ");
  const joined = withoutBlanks(lines.map((line) => line.text).join(""));
  const fault = (reason, line = 0) => ({letters: joined, remarks: [], fault: reason, line});
  if (isPlaceholder(decode(text), text.length)) return fault(`${quoted(text)} stands for a missing sequence`);
  if (PIR.test(header) && lines.length && isTitle(lines, body)) {
    remarks.push(`the title line of the PIR format, ${quoted(lines[0].text)}, left out`);
    lines = lines.slice(1);
  }
  for (const line of lines) {
    if (BRACKETS.test(line.text) && line.text.length > 3) return fault(`${quoted(line.text)} is RNA structure in dot-bracket notation, no protein`, line.number);
  }
  for (const line of lines) {
    if (line.text.includes("\x1f\x8b\x08")) return fault("compressed data (gzip) follows the text; decompress it first", line.number);
  }
  if (SAPROT.test(joined)) return fault("structure-aware letters of SaProt, a residue and a 3Di letter in turn; keep the residues with sed '/^>/!s/[a-z#]//g'");
  const residues = fromThreeLetters(lines.map((line) => line.text).join(" "));
  if (residues) return {letters: residues, remarks: [...remarks, "three-letter code read as one-letter code"], fault: "", line: 0};
  lines = withoutAnnotation(lines, remarks);
  const numbers = positionNumbers(lines);
  if (numbers) return fault(numbers);
  const several = lines.length > 1;
  const mostlyUpper = lines.filter((line) => isUpper(line.text)).length > lines.length / 2;
  for (const line of lines) {
    if (areWords(line.text, several, mostlyUpper)) return fault(`the line ${quoted(line.text)} is words, no sequence: a header that was wrapped, or one that lost its '>'`, line.number);
  }
  return {letters: withoutBlanks(lines.map((line) => line.text).join("")), remarks: [...new Set(remarks)], fault: "", line: 0};
}

function isPlaceholder(text, bytes) {
  if (text.length > 60) return false;
  const plain = trimmed(text).toLowerCase();
  const bare = plain.replace(/^[\s"'`]+(?=[^])|(?<=[^])[\s"'`]+$/g, "");
  const together = bare.replace(/[\s_:;,!*]+|(?<=[a-z])[.-](?=[a-z]{2}|$)/g, "");
  return [plain, bare, together, plain.replace(/\s+/g, "")].some((each) => PLACEHOLDERS.has(each));
}

function linesOf(body) {
  const byFeed = body.includes("\n");
  return body.split(byFeed ? "\n" : "\r").flatMap((line, number) => line.split("\r").map((text) => ({number, text})));
}

function cleaned(lines, remarks) {
  const kept = [];
  for (const {number, text: raw} of lines) {
    let text = raw;
    if (text.includes("\xa0")) {
      const without = text.replace(/\xc2\xa0/g, " ").replace(HARD_BLANK, " ");
      if (without !== text) remarks.push("no-break spaces left out");
      text = without;
    }
    if (text.includes(MARK)) {
      text = text.replaceAll(MARK, "");
      if (strip(text)) remarks.push("a byte order mark left out");
    }
    text = strip(text);
    if (raw.includes("\0") && text) remarks.push("NUL bytes at a line's end left out");
    if (text.includes("<")) {
      const without = strip(text.replace(TAGS, ""));
      if (without !== text) remarks.push("HTML tags left out");
      text = without;
    }
    if (!text || text.startsWith(";")) continue;
    if (text === "--" || text === "//" || COMMENT.test(text)) remarks.push(`the line ${quoted(text)} left out`);
    else kept.push({number, text});
  }
  return kept;
}

function isTitle(lines, body) {
  const after = body.match(/^(?:\r\n|\r|\n)([^\r\n]*)/);
  if (after && !cleaned([{number: 0, text: after[1]}], []).length) return false;
  const first = lines[0].text;
  if (!/^(?:[A-Z*]+|[a-z*]+)$/.test(first)) return true;
  return lines.length > 1 && lines[lines.length - 1].text.endsWith("*") && first.length < lines[1].text.length;
}

function positionNumbers(lines) {
  let before = 0;
  for (const {text} of lines) {
    const front = text.match(/^(\d+)[ \t]+[A-Za-z*]/);
    const back = front ? null : text.match(/^[A-Za-z* ]*[A-Za-z*][ \t]+(\d+)$/);
    if (front || back) {
      const at = front ? 0 : text.length - back[1].length;
      const residue = before + withoutBlanks(text.slice(0, at)).length + 1;
      return `'${(front || back)[1]}' at residue ${residue} is a position number, as in GenBank and EMBL; take the numbers out with sed '/^>/!s/[0-9 ]//g'`;
    }
    before += withoutBlanks(text).length;
  }
  return "";
}

function fromThreeLetters(text) {
  const ends = /^(?:NH2|H2N|H|AC)(?:-|[ \t\n\r\f\v])+|(?:-|[ \t\n\r\f\v])+(?:COOH|CO2H|OH|NH2)$/gi;
  if (!(upper(text.slice(0, 3)) in CODES) && text.search(ends) !== 0) return "";
  const parts = text.replace(ends, "").split(/[ \t\n\r\f\v,.-]+/).filter(Boolean);
  if (parts.some((part) => part.length % 3)) return "";
  const codes = parts.flatMap((part) => part.match(/[^]{3}/g));
  const residues = codes.map((code) => CODES[upper(code)] || "");
  if (!residues.every(Boolean)) return "";
  const apart = parts.length === codes.length && codes.length > 3;
  const titled = parts.every((part) => /^(?:[A-Z][a-z]{2}|\*{3})+$/.test(part)) && codes.length > 3;
  return apart || titled || (codes.length >= 10 && new Set(residues).size >= 4) ? residues.join("") : "";
}

function withoutAnnotation(lines, remarks) {
  for (const layers of [2, 3]) {
    const height = lines.length / layers;
    if (!height || height !== Math.floor(height)) continue;
    const blocks = Array.from({length: layers}, (_, at) => lines.slice(at * height, (at + 1) * height));
    const widths = blocks.map((block) => block.map((line) => line.text.length));
    if (widths.some((each) => each.join() !== widths[0].join()) || widths[0].reduce((a, b) => a + b, 0) < 10) continue;
    const texts = blocks.map((block) => block.map((line) => line.text).join(""));
    if (!isAnnotation(texts[0]) && texts.slice(1).every(isAnnotation)) {
      for (const text of texts.slice(1)) remarks.push(`the line ${quoted(text, 12)}, an annotation of each residue as SignalP, DeepTMHMM and predictors of structure write it, left out`);
      return blocks[0];
    }
  }
  return lines;
}

function isAnnotation(text) {
  if (/^[0-9.+*~:-]+$/.test(text)) return true;
  const letters = new Set(text);
  const runs = text.replace(/([^])\1*/g, "$1").length;
  if (/^[IOMSTLPBGiomstlpbgUu.-]*$/.test(text)) return runs <= text.length / 4 && (letters.size > 1 || /^[IOio]*$/.test(text) && letters.size < 4);
  return /^[HECTSGBILPhectsgbilp.\-~ _C]*$/.test(text) && letters.size > 2 && runs <= text.length / 2.5;
}

const ENGLISH = new Set(`protein sequence hypothetical putative predicted probable uncharacterized fragment partial precursor isoform subunit
domain family chain factor receptor kinase enzyme containing binding unavailable available temporarily resource error warning found from with
this that the and for not file line email mail homo sapiens mus musculus unknown unnamed product conserved variant ribosomal mitochondrial`.split(/\s+/));
const IDENTIFIER = "[A-Za-z0-9_.:-]*\\|[^ \\t\\n\\r\\f\\v]*|[A-Z]{2}_\\d{6,}[^ \\t\\n\\r\\f\\v]*|(?:[A-Za-z]+_?)?\\d{3,}[^ \\t\\n\\r\\f\\v]*";
const BEGINS = new RegExp(`^(?:${IDENTIFIER})`);
const WHOLE = new RegExp(`^(?:${IDENTIFIER})$`);

function areWords(line, several, mostlyUpper) {
  const parts = words(line);
  if (parts.length < 2) return Boolean((several && mostlyUpper && /^[A-Z][a-z]{3,20}$/.test(line)) || ENGLISH.has(lower(line)) || WHOLE.test(line));
  if (inBlocks(parts) && !(mostlyUpper && !isUpper(line) && new Set(parts.map((part) => part.length)).size > 1)) return false;
  const english = parts.filter((part) => ENGLISH.has(lower(part).replace(/^[.,:;()]+|[.,:;()]+$/g, "")));
  if (isUpper(line)) return english.length > 1 || english.some((part) => part.length > 5) || BEGINS.test(line);
  const longest = Math.max(...parts.map((part) => part.length));
  return english.length > 0 || BEGINS.test(line) || (longest > 1 && longest < 15);
}

function inBlocks(parts) {
  const widths = new Set(parts.slice(0, -1).map((part) => part.length));
  if (widths.size !== 1 || !/^[A-Za-z]+$/.test(parts.join("").replace(/\*/g, ""))) return false;
  const [width] = widths;
  if (parts[parts.length - 1].length > width) return false;
  return width === 10 || (parts.length > 2 && (width > 2 || width === 1));
}
