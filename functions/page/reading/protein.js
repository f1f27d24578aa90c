// From a record to a protein, or to the reason why it is none. After `domain/protein.py`.
import {count, decode, isUpper, printable, trimmed, upper} from "./bytes.js";
import {announcesNucleotides, announcesStructure, parseAccession, residuesAtEnd, shownHeader} from "./headers.js";
import {ALPHABET, areNucleotides, is3Di} from "./letters.js";
import {MAX_RECORD} from "./records.js";

const MAX_RESIDUES = 100000;
const MIN_KNOWN = 10;
const SHORT = 30;
const STRANGE = new RegExp(`[^${ALPHABET}]`);

export function readProtein(record) {
  const header = trimmed(decode(record.header).replace(/^[\0\x1a]+|[\0\x1a]+$/g, ""));
  const remarks = [...record.remarks];
  let sequence = record.clean ? record.letters : upper(record.letters);
  let length = record.length;
  if (!record.clean && sequence !== record.letters) remarks.push("lower case read as upper case");
  const stop = terminalStop(sequence);
  if (stop) {
    sequence = sequence.slice(0, -stop.length);
    length = sequence.length;
    remarks.push(`terminal ${stop} removed`);
  }
  const found = {offset: record.offset, accession: parseAccession(header), header: shownHeader(header), length};
  const reason = record.fault || faultOf(sequence, length, header, record);
  if (reason) return {...found, line: record.line + record.faultLine, reason, remarks: []};
  return {...found, line: record.line, reason: "", remarks: [...remarks, ...doubts(sequence, header)]};
}

function terminalStop(sequence) {
  const match = sequence.match(/(?:\*+|_{1,2}|\.{1,2}|-)$/);
  if (!match) return "";
  return /^[.-]/.test(match[0]) && /\.\.|-/.test(sequence.slice(0, match.index)) ? "" : match[0];
}

function faultOf(sequence, length, header, record) {
  if (length > MAX_RESIDUES) return `${count(length)} residues are more than the ${count(MAX_RESIDUES)} that are read`;
  if (length && !sequence) return `the record takes more than the ${count(MAX_RECORD)} bytes that are read`;
  if (!sequence) {
    const glued = residuesAtEnd(header);
    return `the record holds no residues${glued ? `; the header ends in ${glued} letters that may be its sequence` : ""}`;
  }
  if (announcesStructure(header)) return "the secondary structure of a protein, as the header says, not its sequence";
  if (announcesNucleotides(header)) return "nucleotides, DNA or RNA, as the header says; translate them to protein first";
  if (!record.clean && STRANGE.test(sequence)) return strange(sequence, record);
  if (areNucleotides(sequence)) return "nucleotides: the sequence looks like DNA or RNA; translate it to protein first";
  if (is3Di(sequence)) return "3Di letters, the structure-aware alphabet of Foldseek, not residues";
  return tooLittle(sequence);
}

function tooLittle(sequence) {
  const length = sequence.length;
  const known = (sequence.match(/[ACDEFGHIKLMNPQRSTVWY]/g) || []).length;
  if (known >= MIN_KNOWN && (known === length || 2 * known >= length)) return "";
  const limit = `at least ${MIN_KNOWN} known residues, and half of all, are needed to tell a location`;
  if (known === length) return `${length} residues are too few: ${limit}`;
  return `${((100 * (length - known)) / length).toFixed(0)} % of ${count(length)} residues are unknown (X or its like), ${known} are known: ${limit}`;
}

function doubts(sequence, header) {
  const found = [];
  if (sequence.length < SHORT) found.push(`short: of ${sequence.length} residues, a location is hard to tell`);
  if (!sequence.startsWith("M")) found.push("without a start (M): a fragment or a mature form, whose signal may be missing");
  const glued = residuesAtEnd(header);
  if (glued) found.push(`the header ends in ${glued} letters that may be the sequence's beginning`);
  return found;
}

const ORIGINS = {
  ":": ": where ColabFold and Boltz join the chains of a complex; give each chain a record of its own",
  "/": ": where Modeller and AlphaFold join chains; give each chain a record of its own",
  ",": ": a table's separator (CSV)?",
  '"': ": a quotation mark of a table or of HTML",
  "#": ": a letter of a structure-aware alphabet (SaProt), or a comment",
  "=": ": quoted-printable mail?",
  "&": ": HTML?",
  "<": ": an HTML tag?",
  "?": ": an unknown residue is written X",
  "(": ": a modified residue or a structure in brackets?",
  "[": ": a modified residue or an alternative?",
};

function strange(sequence, record) {
  const at = sequence.search(STRANGE);
  const letter = sequence[at];
  const residue = Array.from(decode(sequence.slice(0, at))).length + 1;
  if (letter === "*") return `a stop codon '*' inside the sequence, at residue ${residue}`;
  if (letter === "." && !sequence.includes("..") && !sequence.includes("-") && residue > 1) return `a stop codon '.' inside the sequence, at residue ${residue}, as gffread writes it`;
  if (letter === "_") return `'_', a stop codon or a gap, at residue ${residue}`;
  if (letter === "-" || letter === ".") {
    const name = !isUpper(record.letters) || letter === "." ? "an alignment (A2M or A3M)" : "an alignment";
    return `an alignment gap '${letter}' at residue ${residue}, as in ${name}; remove the gaps`;
  }
  const character = Array.from(decode(sequence.slice(at, at + 4)))[0];
  const code = character.codePointAt(0);
  // The names of characters are a table of a megabyte: their numbers must do here.
  if (code > 0x7f) return `${printable(character) ? `'${character}' ` : ""}(U+${code.toString(16).toUpperCase().padStart(4, "0")}) at residue ${residue} is no amino acid`;
  const printed = printable(character) ? character : `\\x${letter.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return `'${printed}' at residue ${residue} is no amino acid${ORIGINS[character] || ""}`;
}
