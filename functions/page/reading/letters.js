// What letters are: residues, bases or 3Di states. After `domain/alphabets.py` and `domain/nucleotides.py`.

export const ALPHABET = "ACDEFGHIKLMNPQRSTVWY" + "UOBZJX";
const STATES = {A: 0.0489, C: 0.0307, D: 0.101, E: 0.033, F: 0.0276, G: 0.0416, H: 0.0453, I: 0.0309, K: 0.0297, L: 0.0607, M: 0.015, N: 0.0216, P: 0.0784, Q: 0.0513, R: 0.0265, S: 0.0611, T: 0.0201, V: 0.216, W: 0.031, Y: 0.0295};
const RESIDUES = {A: 0.0825, C: 0.0138, D: 0.0546, E: 0.0671, F: 0.0386, G: 0.0707, H: 0.0227, I: 0.0591, K: 0.058, L: 0.0964, M: 0.0241, N: 0.0406, P: 0.0474, Q: 0.0393, R: 0.0552, S: 0.0665, T: 0.0536, V: 0.0685, W: 0.011, Y: 0.0292};
const SHARES = {A: 8.25, C: 1.38, D: 5.46, E: 6.71, F: 3.86, G: 7.07, H: 2.27, I: 5.91, K: 5.8, L: 9.64, M: 2.41, N: 4.06, P: 4.74, Q: 3.93, R: 5.52, S: 6.65, T: 5.36, V: 6.85, W: 1.1, Y: 2.92, U: 0.01, O: 0.01, B: 0.01, Z: 0.01, J: 0.01};
const AMBIGUOUS_SHARES = [[0.01, 0], [0.1, -1], [0.25, -4]];

function counts(text) {
  const found = {};
  for (const letter of text) found[letter] = (found[letter] || 0) + 1;
  return found;
}

export function is3Di(sequence) {
  if (sequence.length < 20 || !sequence.startsWith("D") || !sequence.endsWith("D")) return false;
  const found = counts(sequence);
  const evidence = Object.keys(STATES).reduce((sum, letter) => sum + (found[letter] || 0) * Math.log(STATES[letter] / RESIDUES[letter]), 0);
  return evidence >= 10;
}

export function areNucleotides(sequence) {
  const leucines = (sequence.slice(0, 400).match(/L/g) || []).length;
  if (leucines > 0.01 * sequence.length) return false;
  const bases = (sequence.match(/[ACGTU]/g) || []).length;
  if (bases < 8) return false;
  const letters = sequence.replace(/[NX]/g, "");
  const ambiguous = (letters.match(/[RYSWKMBDHV]/g) || []).length;
  const foreign = letters.length - bases - ambiguous;
  if (ambiguous > letters.length / 3 || foreign > 0.01 * letters.length) return false;
  return asBases(letters, bases, ambiguous) - asProtein(letters) >= 3.5;
}

function asBases(letters, bases, ambiguous) {
  const found = counts(letters);
  const four = ["A", "C", "G"].map((letter) => found[letter] || 0);
  four.push(bases - four[0] - four[1] - four[2]);
  const kinds = Math.max(...AMBIGUOUS_SHARES.map(([share, common]) => common + bases * Math.log(1 - share) + ambiguous * Math.log(share / 10)));
  return kinds + mixture(four, [4, 4, 4, 4]);
}

function asProtein(all) {
  const start = all.startsWith("M") ? Math.log(0.5) : 0;
  const found = counts(start ? all.slice(1) : all);
  const names = Object.keys(SHARES);
  const numbers = names.map((letter) => found[letter] || 0);
  const usual = names.reduce((sum, letter, at) => sum + numbers[at] * Math.log(SHARES[letter] / 100), 0);
  return start + Math.max(usual, mixture(numbers, names.map((letter) => (2 * SHARES[letter]) / 100)));
}

// The logarithm of the probability of letters that are drawn from an unknown mixture of these weights.
function mixture(numbers, weights) {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const total = lgamma(sum(weights)) - lgamma(sum(weights) + sum(numbers));
  return total + sum(numbers.map((number, at) => (number ? lgamma(weights[at] + number) - lgamma(weights[at]) : 0)));
}

const LANCZOS = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];

function lgamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - lgamma(1 - x);
  const t = x + 6.5;
  const series = LANCZOS.reduce((sum, value, at) => (at ? sum + value / (x - 1 + at) : value), 0);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(series);
}
