// What else than FASTA people hand in, and its name. After `domain/formats.py`.
import {MARK, decode, strip} from "./bytes.js";
import {readRecords} from "./records.js";

const FOREIGN = [
  ["\xff\xd8\xff", "a JPEG image"],
  ["\x89PNG", "a PNG image"],
  ["GIF8", "a GIF image"],
  ["%PDF", "a PDF document"],
  ["\xd0\xcf\x11\xe0", "an old Word or Excel document; save the sequences as plain text"],
  ["\x89HDF", "an HDF5 file"],
  ["SQLite format 3", "an SQLite database"],
  ["PAR1", "a Parquet table"],
  ["7z\xbc\xaf'\x1c", "a 7z archive; unpack it with: 7z x FILE"],
  ["Rar!", "a RAR archive; unpack it with: unrar x FILE"],
  ["\x04\x22M\x18", "lz4-compressed data; decompress it with: lz4 -d FILE"],
  ["\x02!L\x18", "lz4-compressed data; decompress it with: lz4 -d FILE"],
  ["(\xb5/\xfd", "Zstandard-compressed data; decompress it with: zstd -d FILE"],
  ["\x1f\x9d", "data compressed by compress (.Z); decompress it with: uncompress FILE.Z"],
  ["\x1f\xa0", "data compressed by compress (.Z); decompress it with: uncompress FILE.Z"],
  ["LZIP", "lzip-compressed data; decompress it with: lzip -d FILE"],
  ["]\x00\x00", "LZMA-compressed data; decompress it with: xz -d --format=lzma FILE"],
  ["MSCF", "a Windows cabinet; unpack it with: cabextract FILE"],
  ["\xff\xfe", "UTF-16 text; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > proteins.fasta"],
  ["\xfe\xff", "UTF-16 text; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > proteins.fasta"],
  ["BAM\x01", "aligned reads in BAM"],
  ["CRAM", "aligned reads in CRAM"],
  [".snp", "binary data"],
  ["\x7fELF", "binary data, a program"],
  ["\x1f\x8b", "a gzip archive in a gzip archive; compress once"],
  ["BZh", "a bzip2 archive in an archive; compress once"],
  ["\xfd7zXZ", "an xz archive in an archive; compress once"],
  ["PK\x03\x04", "a ZIP archive (or a spreadsheet or document) in an archive; compress once"],
];
const TEXTS = [
  [/^\{\\rtf/i, "rich text (RTF); save it as plain text"],
  [/^(?:<!doctype html|<html|<head|<body|<!-\-|<script|<h\d>|<title)/i, "an HTML page, not the file it links to"],
  [/^<\?xml|^<uniprot|^<entry|^<\w+ xmlns/i, "XML; download the sequences as FASTA"],
  [/^\{[ \t\n\r\f\v]*[\"'}]|^\[[ \t\n\r\f\v]*[\[{\"'\]]/i, "JSON; download the sequences as FASTA"],
  [/^@[^\r\n]*\r?\n[A-Za-z.*-]*\r?\n\+/i, "FASTQ, reads of a sequencer; translate them to proteins first"],
  [/^@(?:HD|SQ|RG|PG)\t/i, "aligned reads in SAM"],
  [/^LOCUS[ \t\n\r\f\v]/i, "a GenBank record; convert it with EMBOSS: seqret genbank::FILE fasta::proteins.fasta"],
  [/^ID   [^ \t\n\r\f\v]/i, "an EMBL or UniProt record; convert it with EMBOSS: seqret swiss::FILE fasta::proteins.fasta"],
  [/^# STOCKHOLM/i, "an alignment in Stockholm format; convert it with HMMER's: esl-reformat fasta FILE > proteins.fasta"],
  [/^(?:CLUSTAL|MUSCLE \(|PROBCONS|MAFFT\b|T-COFFEE|Kalign)/i, "an alignment in CLUSTAL format; convert it with HMMER's: esl-reformat fasta FILE > proteins.fasta"],
  [/^!!(?:AA|NA)_MULTIPLE|^PileUp\b/i, "an alignment in MSF format; convert it with EMBOSS: seqret msf::FILE fasta::proteins.fasta"],
  [/^#NEXUS/i, "an alignment in NEXUS format; convert it with EMBOSS: seqret nexus::FILE fasta::proteins.fasta"],
  [/^[ \t\n\r\f\v]*\d+[ \t\n\r\f\v]+\d+[ \t\n\r\f\v]*[\r\n]+[^ \t\n\r\f\v]+[ \t\n\r\f\v]+[A-Za-z*. -]+(?=\n|$)/i, "an alignment in PHYLIP format; convert it with HMMER's: esl-reformat fasta FILE > proteins.fasta"],
  [/^##gff|^##gtf/i, "annotation in GFF; extract the proteins with: gffread -y proteins.fasta -g GENOME FILE"],
  [/^##fileformat=VCF/i, "variants in VCF"],
  [/^(?:HEADER    |ATOM  +\d|REMARK +\d|CRYST1)/i, "a PDB structure; download its sequence as FASTA"],
  [/^data_[^ \t\n\r\f\v]*[ \t\n\r\f\v]+(?:#|_|loop_)/i, "an mmCIF structure; download its sequence as FASTA"],
  [/^T?BLAST[PNX] \d/i, "a BLAST report"],
  [/^# (?:T?BLAST[PNX]|hmm\w+ ::)/i, "a report of BLAST or HMMER"],
  [/^HMMER\d/i, "a profile of HMMER"],
  [/^[\"']>/i, "a table with quotation marks (CSV), made of FASTA; take them out with: tr -d '\"' < FILE"],
  [/^&gt;/i, "FASTA with its '>' written as HTML's &gt;; turn it back with: sed 's/&gt;/>/g' FILE"],
  [/^>[^\r\n]*[\r\n]+[ACGUTN]+[\r\n]+(?=[().]*\()[().\[\]{}]{4,}[ \t\n\r\f\v]/i, "RNA with its structure in dot-bracket notation, no proteins"],
  [/^(?:\.\.)?[(\[]*\(+[A-Za-z_'][^()\r\n]*[,:][^\r\n]*\)[^\r\n]*;[ \t\n\r\f\v]*$/i, "a tree in Newick format"],
];
const PRELUDE = /^(?:[ \t\n\r\f\v\0\x1a]|\xef\xbb\xbf)+/;
const CONTROLS = /[\x02-\x08\x0e-\x19\x1c-\x1f]/g;

// The packing of a file with this beginning; empty where it is plain.
export function packing(head) {
  for (const [magic, name] of [["\x1f\x8b", "gzip"], ["BZh", "bzip2"], ["\xfd7zXZ\0", "xz"], ["PK\x03\x04", "zip"]]) if (head.startsWith(magic)) return name;
  if (head.slice(257, 262) === "ustar") return "tar";
  return /[\r\n]\x1f\x8b\x08/.test(head) && /^[ \t\n\r\f\v]*>/.test(head) ? "gzip" : "";
}

// Why a text with this beginning is no FASTA; empty where it is, or may be.
export function refusal(head, whole) {
  const text = (found, kind = "records") => `expected FASTA ${kind}, found ${found}`;
  if (whole && !head) return text("an empty file");
  for (const [magic, name] of FOREIGN) if (head.startsWith(magic)) return text(name, "text");
  if (isWide(head)) return text("UTF-16 text without a byte order mark; save it as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE > proteins.fasta", "text");
  const rest = head.replace(PRELUDE, "");
  for (const [pattern, name] of TEXTS) if (pattern.test(rest.slice(0, 4096))) return text(name);
  if (rest.startsWith(">")) return "";
  if (rest.includes("\0") || (rest.match(CONTROLS) || []).length > rest.length / 50) return text("binary data", "text");
  if (!whole || readRecords(head).length) return "";
  const lines = head.replaceAll(MARK, "").split(/\r\n|\r|\n/);
  const at = lines.findIndex((line) => strip(line) && !/^[;#]/.test(line));
  return at < 0 ? text("no record") : `line ${at + 1}: expected a header that begins with '>', found '${Array.from(decode(lines[at].slice(0, 30))).join("")}'`;
}

function isWide(head) {
  const part = head.slice(0, 400);
  if (part.length < 8 || !part.includes("\0")) return false;
  const zeros = [0, 1].map((odd) => {
    const half = Array.from(part).filter((_, at) => at % 2 === odd);
    return half.filter((each) => each === "\0").length / half.length;
  }).sort((a, b) => a - b);
  return zeros[0] < 0.1 && zeros[1] > 0.8;
}
