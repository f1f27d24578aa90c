// The filter language: words, and `field:value`, `field>number`; all of them must hold, `-` turns one around.
//
//     kinase location:nucleus confidence>0.8 length<200 -doubtful:yes remark:"lower case" location:golgi,plastid

const NUMBERS = {
  confidence: (row) => row.confidence,
  membrane: (row) => row.membrane,
  length: (row) => row.length,
  second_confidence: (row) => row.secondConfidence,
};
const TEXTS = {
  location: (row) => (row.predicted ? `${row.location}\n${row.shownLocation}` : ""),
  second: (row) => (row.predicted ? row.second : ""),
  status: (row) => (row.predicted ? "predicted answered" : row.status),
  accession: (row) => row.accession,
  header: (row) => row.header,
  remark: (row) => row.remarks.join("\n"),
  reason: (row) => row.reason,
  was: (row) => (row.was?.predicted ? row.was.location : ""),
};
const TRUTHS = {
  doubtful: (row) => row.doubtful,
  membrane: (row) => row.membrane >= 0.5,
  shortened: (row) => row.truncated,
  remarks: (row) => row.remarks.length > 0,
  moved: (row) => Boolean(row.was?.predicted && row.was.location !== row.location),
};
export const FIELDS = [...new Set([...Object.keys(TEXTS), ...Object.keys(NUMBERS), ...Object.keys(TRUTHS)])];

const TERM = /(-?)(?:([a-z_]+)(:|>=|<=|>|<|=))?("[^"]*"?|[^\s"]+)/gi;

// The test for rows that a text stands for, or a sentence that says why it stands for none.
// A field's value that is one of the `labels` means that location alone, not each whose name holds it.
export function parse(text, labels = []) {
  const tests = [];
  for (const [, minus, name, sign, quoted] of text.matchAll(TERM)) {
    const value = quoted.replace(/^"|"$/g, "");
    const found = name ? fieldTest(name.toLowerCase(), sign, value, minus + name + sign + quoted, labels) : wordTest(value);
    if (typeof found === "string") return {problem: found};
    tests.push(minus ? (row) => !found(row) : found);
  }
  return {test: (row) => tests.every((each) => each(row))};
}

function wordTest(value) {
  const word = value.toLowerCase();
  return (row) => row.text.includes(word);
}

function fieldTest(name, sign, value, whole, labels) {
  if (!FIELDS.includes(name)) {
    // A word with a colon in it, as accessions have it, and no field that was mistyped.
    if (sign === ":" && !/^[a-z]{4,}$/.test(name)) return wordTest(whole.replace(/^-/, "").replace(/"/g, ""));
    return `There is no field “${name}”. Fields are ${FIELDS.join(", ")}.`;
  }
  if (sign === ":" && TRUTHS[name] && /^(yes|no|true|false)$/i.test(value)) {
    const wanted = /^(yes|true)$/i.test(value);
    return (row) => row.predicted && TRUTHS[name](row) === wanted;
  }
  if (sign === ":" || (sign === "=" && TEXTS[name])) {
    if (!TEXTS[name]) return `After “${name}:” comes ${TRUTHS[name] ? "yes or no" : "no word"}; for a number write ${name}>0.5.`;
    const plain = (word) => word.toLowerCase().replace(/[\s._/]+/g, " ").trim();
    const values = value.split(",").map(plain).filter(Boolean);
    const exact = new Set(labels.map(plain));
    const inside = (words, each) => words.some((one) => (exact.has(each) ? one === each : one.includes(each)));
    const known = new Map(); // most fields say the same of many rows
    return (row) => {
      const text = TEXTS[name](row);
      if (!known.has(text)) {
        if (known.size > 1000) known.clear();
        const words = name === "location" || name === "was" ? text.split(/[\n|]/).map(plain) : [plain(text)];
        known.set(text, values.some((each) => inside(words, each)));
      }
      return known.get(text);
    };
  }
  const number = Number(value.replace("%", "")) / (value.endsWith("%") ? 100 : 1);
  if (!NUMBERS[name]) return `“${name}” is no number; write ${name}:${value || "word"}.`;
  if (value === "" || Number.isNaN(number)) return `After “${name}${sign}” comes a number, as in ${name}${sign}0.5.`;
  const of = NUMBERS[name];
  const compare = {
    ">": (a) => a > number, "<": (a) => a < number, ">=": (a) => a >= number, "<=": (a) => a <= number,
    "=": (a) => a === number,
  }[sign];
  return (row) => compare(of(row));
}

// A text with one term taken out of it where it is there, else with it added; another of its field gives way.
export function toggled(text, term) {
  const terms = [...text.matchAll(TERM)].map(([whole]) => whole);
  if (terms.includes(term)) return terms.filter((each) => each !== term).join(" ");
  const field = term.split(/[:<>=]/)[0];
  return [...terms.filter((each) => each.split(/[:<>=]/)[0] !== field), term].join(" ");
}

export function term(field, value) {
  return /[\s",]/.test(value) ? `${field}:"${value.replace(/"/g, "")}"` : `${field}:${value}`;
}
