// What a header says: its accession, and the kind of molecule it announces. After `domain/headers.py`.
import {WORD_END, trimmed} from "./bytes.js";

const MAX_HEADER = 1000;
const MAX_ACCESSION = 100;
const NUMBERED = /^gnl\|BL_ORD_ID\|\d+ (?=\S)/;
const RCSB = /^(\d[A-Za-z0-9]{3}_\d+)\|Chains? /;
const WITH_CHAIN = [/^pdb\|([^|\s]+)\|([^|\s]*)/, /^(\d[A-Za-z0-9]{3}):([^|\s]+)(?:\|PDBID\|CHAIN\|SEQUENCE|:(?:sequence|secstr)$)/];
const NAMED = [
  /^(?:sp|tr)\|([^|\s]+)/, /(?:^|\|)(?:gb|emb|dbj|ref|tpg|tpe|tpd|pir|prf)\|+([^|\s]+)/, /^(?:lcl|nxp|gnl\|[^|\s]+)\|([^|\s]+)/,
  /^gi\|(\d+)/, /^(jgi\|[^|\s]+\|\d+)\|/, /^(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);(\S+)/,
];

function cut(text, characters) {
  return Array.from(text).slice(0, characters).join("");
}

export function shownHeader(header) {
  const characters = Array.from(header);
  return characters.length <= MAX_HEADER ? header : `${characters.slice(0, MAX_HEADER - 1).join("")}…`;
}

export function parseAccession(header) {
  const text = (header.replace(/^[> \t]+/, "") || header).replace(NUMBERED, "");
  const rcsb = text.match(RCSB);
  if (rcsb) return rcsb[1];
  const first = trimmed(text).split(WORD_END)[0];
  const word = first.match(/^[^\0\x01]+/)?.[0] ?? first;
  for (const pattern of WITH_CHAIN) {
    const match = word.match(pattern);
    if (match) return cut(match[2] ? `${match[1]}_${match[2]}` : match[1], MAX_ACCESSION);
  }
  for (const pattern of NAMED) {
    const match = word.match(pattern);
    if (match) return cut(match[1], MAX_ACCESSION);
  }
  return cut(word, MAX_ACCESSION);
}

const NUCLEIC = /\bmol:na\b|^[>\s]*(?:DL|DC|RL|RC|N1|N3);|\|[DR]NA \((?:5'-|\d+-MER)/;

export function announcesNucleotides(header) {
  return NUCLEIC.test(header);
}

export function announcesStructure(header) {
  return /(?:secstr|ss_dis|ssdis|ss_pred|:disorder)$/.test(trimmed(header).slice(-10).toLowerCase());
}

export function residuesAtEnd(header) {
  if (!/^[A-Z]+$/.test(header.slice(-8, -4))) return 0;
  const match = header.match(/[ACDEFGHIKLMNPQRSTVWY]{20,}\*?\s*$/);
  return match ? trimmed(match[0]).length : 0;
}
