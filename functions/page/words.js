// Numbers and names as people read them.

const COUNT = new Intl.NumberFormat("en");

export function count(number) {
  return COUNT.format(number);
}

// "1 protein", "2,000 proteins"
export function many(number, one, more = one + "s") {
  return `${count(number)} ${number === 1 ? one : more}`;
}

// A share without digits that its number of proteins does not carry: "31 %", "0.4 %", "none".
export function share(part, whole) {
  if (!whole || !part) return "0\u00a0%";
  const percent = (100 * part) / whole;
  if (percent < 0.1) return "< 0.1\u00a0%";
  return `${percent < 9.95 && whole >= 200 ? percent.toFixed(1) : Math.round(percent)}\u00a0%`;
}

// A probability: certain to nearly nobody, so never a hundred per cent.
export function chance(probability) {
  if (probability > 0.995) return "> 99\u00a0%";
  if (probability < 0.005) return "< 1\u00a0%";
  return `${Math.round(100 * probability)}\u00a0%`;
}

// A probability within a sentence: "about 31 in 100", "less than 1 in 100".
export function inHundred(probability) {
  if (probability < 0.005) return "less than 1 in 100";
  if (probability > 0.995) return "more than 99 in 100";
  return `${Math.round(100 * probability)} in 100`;
}

// A place within a sentence: "the nucleus", "outside the cell".
const PLACES = {
  "Cell.membrane": "in the cell membrane",
  Cytoplasm: "in the cytoplasm",
  "Endoplasmic.reticulum": "in the endoplasmic reticulum",
  Extracellular: "outside the cell",
  "Golgi.apparatus": "in the Golgi apparatus",
  "Lysosome/Vacuole": "in the lysosome or vacuole",
  Mitochondrion: "in the mitochondrion",
  Nucleus: "in the nucleus",
  Peroxisome: "in the peroxisome",
  Plastid: "in the plastid",
};

export function place(location) {
  return Object.hasOwn(PLACES, location) ? PLACES[location] : "";
}

// The same of a location, or of several with "|" between, that a model may have named itself.
export function placeIn(location, data, last = "and") {
  const display = (name) => data.locations.find((each) => each[0] === name)?.[1] || shown(name);
  return list((location || "").split("|").map((name) => place(name) || display(name)), last);
}

// True for a model that tells apart DeepLoc's ten, whatever it makes of them.
export function isOfTen(data) {
  return data.locations.length === 10 && data.locations.every(([name]) => place(name));
}

export function list(words, last = "and") {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} ${last} ${words[words.length - 1]}`;
}

export function date(iso) {
  const time = new Date(iso);
  if (!iso || Number.isNaN(time.getTime())) return "";
  return `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

// "a few seconds", "about 4 minutes", "about 2 hours"
export function duration(seconds) {
  if (seconds < 8) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} seconds`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} minutes`;
  return `about ${(seconds / 3600).toFixed(seconds < 36000 ? 1 : 0)} hours`;
}

// The class that carries a location's colour.
export function colour(location) {
  return `at at-${location.split("|")[0].toLowerCase().replace(/[^a-z]+/g, "-")}`;
}

// The file's own name out of its key.
export function fileName(key) {
  return (key || "").replace(/\/+$/, "").split("/").pop() || "upload";
}

// Text from a file as it may be shown: what prints nothing, or turns the writing around, becomes a sign.
export function shown(text) {
  return (text || "").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\u2028\u2029]/gu, "·");
}
