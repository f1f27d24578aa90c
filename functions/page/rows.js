// Rows as the page works with them, out of the short form of `data.py`.

export const UNITS = 10000;

export function unpack(data) {
  const names = data.locations.map(([name]) => name);
  const shown = new Map(data.locations.map(([name, display]) => [name, display]));
  return (data.rows || []).map((short, index) => new Row(short, index, data.remarks, names, shown, data.several));
}

class Row {
  constructor(short, index, remarks, names, shown, several) {
    [this.accession, this.header, this.offset, this.length] = short;
    this.index = index;
    this.remarks = short[4].map((at) => remarks[at]);
    this.predicted = Array.isArray(short[5]);
    if (!this.predicted) {
      [this.status, this.reason] = [short[5], short[6] || ""];
      this.location = this.second = null;
      this.places = [];
      this.confidence = this.membrane = this.secondConfidence = NaN;
      this.doubtful = this.truncated = false;
    } else {
      this.status = "predicted";
      this.reason = "";
      const units = short[5];
      let first = 0;
      for (let at = 1; at < units.length; at++) if (units[at] > units[first]) first = at;
      const named = several ? short[11] : [first];
      let second = -1;
      for (let at = 0; at < units.length; at++) if (!named.includes(at) && (second < 0 || units[at] > units[second])) second = at;
      this.units = units;
      this.places = named.map((at) => names[at]);
      this.location = this.places.join("|");
      this.confidence = (several ? short[12] : units[first]) / UNITS;
      [this.second, this.secondConfidence] = second < 0 ? [null, NaN] : [names[second], units[second] / UNITS];
      this.membrane = short[6] === null ? NaN : short[6] / UNITS;
      this.read = short[7];
      this.uncertain = short[8] === null ? null : Boolean(short[8]);
      this.doubtful = short[8] === 1;
      this.relative = short[9];
      this.likely = short[10] && short[10].map((at) => names[at]);
      this.truncated = this.read < this.length;
    }
    this.shownLocation = this.places.map((name) => shown.get(name)).join(", ");
    this.text = [this.accession, this.header, this.shownLocation, this.reason, ...this.remarks]
      .join("\n").toLowerCase();
  }
}

// The sums that `data.py` makes of all rows, of those that a filter leaves.
export function sums(rows, names, bins = 20) {
  const found = {
    predicted: 0, rejected: 0, failed: 0, doubtful: 0, truncated: 0,
    locations: Object.fromEntries(names.map((name) => [name, [0, 0, 0]])),
    confidence: Array.from({length: bins}, () => [0, 0]),
  };
  const remarks = new Map();
  const reasons = new Map();
  for (const row of rows) {
    found[row.status] += 1;
    if (!row.predicted) {
      addKind(reasons, row.reason);
      continue;
    }
    for (const name of row.places) {
      const at = found.locations[name];
      at[0] += 1;
      at[1] += row.doubtful;
      at[2] += row.membrane >= 0.5;
    }
    found.confidence[Math.min(Math.floor(row.confidence * bins), bins - 1)][row.doubtful ? 1 : 0] += 1;
    found.doubtful += row.doubtful;
    found.truncated += row.truncated;
    for (const remark of row.remarks) addKind(remarks, remark);
  }
  const byCount = (kinds) => [...kinds].sort((a, b) => b[1] - a[1]);
  return {...found, remarks: byCount(remarks), reasons: byCount(reasons)};
}

const VARYING = /^line [0-9]+: |'[^']*'|[0-9][0-9,.]*/g;
const MAX_KINDS = 200;

export function kind(text) {
  return text.replace(VARYING, (found) => (found.startsWith("line ") ? "" : "…"));
}

function addKind(kinds, text) {
  const name = kind(text);
  const counted = kinds.has(name) || kinds.size < MAX_KINDS ? name : "others";
  kinds.set(counted, (kinds.get(counted) || 0) + 1);
}
