// Text as Python's bytes have it: strings in which every character is one byte. Patterns are over these.

export const BLANK = " \\t\\r\\n\\v\\f\\0\\x1a";
export const MARK = "\xef\xbb\xbf"; // the byte order mark of UTF-8

const LEADING = new RegExp(`^[${BLANK}]+`);
const TRAILING = new RegExp(`[${BLANK}]+$`);
const BLANKS = new RegExp(`[${BLANK}]+`, "g");
const WESTERN = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

export function fromBytes(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

export const strip = (text) => text.replace(LEADING, "").replace(TRAILING, "");
export const withoutBlanks = (text) => text.replace(BLANKS, "");
export const upper = (text) => text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
export const lower = (text) => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
export const isUpper = (text) => /[A-Z]/.test(text) && !/[a-z]/.test(text);
export const words = (text) => text.split(/[ \t\n\r\v\f]+/).filter(Boolean);

// UTF-8, or byte by byte where it is none, as Windows reads it in Western Europe.
export function decode(text) {
  if (!/[\x80-\xff]/.test(text)) return text;
  let decoded = "";
  for (let at = 0; at < text.length; ) {
    const size = sequence(text, at);
    if (size) {
      decoded += decodeURIComponent(text.slice(at, at + size).replace(/[^]/g, (each) => `%${each.charCodeAt(0).toString(16).padStart(2, "0")}`));
      at += size;
    } else {
      const byte = text.charCodeAt(at);
      decoded += byte >= 0x80 && byte < 0xa0 ? WESTERN[byte - 0x80] : text[at];
      at += 1;
    }
  }
  return decoded;
}

// How many bytes the character of UTF-8 has that begins here; 0 where none does.
function sequence(text, at) {
  const first = text.charCodeAt(at);
  if (first < 0x80) return 1;
  const size = first >= 0xf0 && first <= 0xf4 ? 4 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xc2 && first < 0xe0 ? 2 : 0;
  if (!size || at + size > text.length) return 0;
  for (let next = 1; next < size; next++) if ((text.charCodeAt(at + next) & 0xc0) !== 0x80) return 0;
  const second = text.charCodeAt(at + 1);
  if (first === 0xe0 && second < 0xa0) return 0;
  if (first === 0xed && second > 0x9f) return 0;
  if (first === 0xf0 && second < 0x90) return 0;
  if (first === 0xf4 && second > 0x8f) return 0;
  return size;
}

const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");
export const WORD_END = new RegExp(SPACE);
export const trimmed = (decoded) => decoded.replace(AROUND, "");
export const printable = (character) => character === " " || !/^[\p{C}\p{Z}]$/u.test(character);

// The beginning of a text within quotation marks, printable.
export function quoted(text, characters = 40) {
  const start = Array.from(trimmed(decode(text.slice(0, 4 * characters)))).slice(0, characters);
  return `'${start.map((each) => (printable(each) ? each : "·")).join("")}${text.length > start.length + 3 ? "…'" : "'"}`;
}

export function count(number) {
  return number.toLocaleString("en");
}
