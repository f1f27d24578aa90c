// Looks through a file before it is sent, by the rules by which it will be read.
import {fromBytes} from "./bytes.js";
import {packing, refusal} from "./formats.js";
import {readProtein} from "./protein.js";
import {readRecords} from "./records.js";

export const CHECKED_BYTES = 5e6;
const HEAD = 64 * 1024;

// What becomes of a text: `refused` says why it is no FASTA, else each record is a protein or has a `reason`.
export function check(text, whole = true) {
  const refused = refusal(text.slice(0, HEAD), whole && text.length <= HEAD);
  if (refused) return {refused, records: [], accepted: 0, rejected: 0, residues: 0};
  const found = readRecords(text);
  // The last record of a beginning goes on behind it.
  const records = (whole ? found : found.slice(0, -1)).map(readProtein);
  const accepted = records.filter((record) => !record.reason);
  return {
    refused: "", records, accepted: accepted.length, rejected: records.length - accepted.length,
    residues: accepted.reduce((sum, record) => sum + record.length, 0),
  };
}

// The same of the first part of a file, unpacked where the browser can do that.
export async function look(body) {
  const start = new Uint8Array(await body.slice(0, CHECKED_BYTES).arrayBuffer());
  const packed = packing(fromBytes(start.subarray(0, HEAD)));
  if (packed === "gzip" && start[0] === 0x1f) {
    const {bytes, whole} = await unpacked(body);
    if (bytes) return {...check(fromBytes(bytes), whole), whole, packed: ""};
  }
  if (packed) return {refused: "", records: [], accepted: 0, rejected: 0, residues: 0, whole: false, packed};
  const whole = body.size <= CHECKED_BYTES;
  return {...check(fromBytes(start), whole), whole, packed: ""};
}

async function unpacked(body) {
  const pieces = [];
  let size = 0;
  try {
    const reader = body.stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    while (size <= CHECKED_BYTES) {
      const {done, value} = await reader.read();
      if (done) break;
      pieces.push(value);
      size += value.length;
    }
    if (size > CHECKED_BYTES) reader.cancel().catch(() => {});
  } catch {
    return {bytes: null, whole: false}; // damaged, or followed by something else: the stack has its own word on that
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  const whole = size <= CHECKED_BYTES;
  const text = whole ? bytes : bytes.subarray(0, CHECKED_BYTES);
  return packing(fromBytes(text.subarray(0, HEAD))) ? {bytes: null, whole} : {bytes: text, whole};
}
