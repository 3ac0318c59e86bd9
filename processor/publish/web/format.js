// Numbers, times and labels as text.

const MISSING = "–";

// The result of a model on the page leaves out fields of other tasks, whose scores are undefined then.
const isMissing = (x) => x === null || x === undefined;

export const number = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
export const percent = (x, digits = 1) => (isMissing(x) ? MISSING : `${(100 * x).toFixed(digits)}\u202f%`);
// With a minus sign in place of each hyphen.
export const signed = (text) => text.replaceAll("-", "\u2212");
export const score = (x) => (isMissing(x) ? MISSING : signed(x.toFixed(3)));
export const grouped = (x, digits) => signed(x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replaceAll(",", "\u202f"));
export const counted = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
export const items = (n) => counted(n, "item", "items");
export const range = (low, high) => `${percent(low)} to ${percent(high)}`;
// All digits of a round number.
export const plain = (x) => signed(x.toLocaleString("en", { maximumSignificantDigits: 12 }).replaceAll(",", "\u202f"));

// A number for an axis: in thousands and so on where it is large.
export function compact(x) {
  const size = Math.abs(x);
  if (size && (size < 1e-4 || size >= 1e12)) return signed(x.toExponential(2).replace(/\.?0+e/, "e").replace("+", ""));
  const [unit, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([each]) => size >= (each === 1e3 ? 1e4 : each)) ?? [1, ""];
  return signed(size >= 1000 && unit === 1 ? number(Math.round(x)) : String(Number((x / unit).toPrecision(3))) + letter);
}

// A number in its own measure, with three significant digits at least.
export function amount(x) {
  if (x === null || x === undefined) return MISSING;
  const size = x ? Math.floor(Math.log10(Math.abs(x))) : 0;
  if (size < -4 || size > 14) return signed(x.toExponential(2));
  return grouped(x, Math.max(0, 2 - size));
}

// The score that a model is judged by: its name, text and interval; `at` are low, value and high as
// shares of 1, null for a score that is none.
export function mainScore(model) {
  if (model.task === "regression") {
    const interval = model.mae_low === undefined ? MISSING : `${amount(model.mae_low)} to ${amount(model.mae_high)}`;
    return { name: "Mean absolute error", short: "MAE", text: amount(model.mae ?? 0), brief: (model.mae >= 1e6 ? compact : amount)(model.mae ?? 0), interval, at: null };
  }
  const name = model.task === "multilabel" ? "Exact match" : "Accuracy";
  const known = model.accuracy !== null;
  return {
    name, short: model.task === "multilabel" ? "exact" : "accuracy", text: percent(model.accuracy), brief: percent(model.accuracy), interval: known ? range(model.accuracy_low, model.accuracy_high) : MISSING,
    at: known ? [model.accuracy_low, model.accuracy, model.accuracy_high] : null,
  };
}

// The length of a chart's step in words: 1440 s are "24 minutes", 3600 s are "hour".
export function duration(seconds) {
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= size && seconds % size === 0) return seconds === size ? unit : `${seconds / size} ${unit}s`;
  }
  return `${seconds} seconds`;
}

// A bound of a distribution: "12 h".
export function short(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([each]) => seconds >= each);
  return `${seconds / size}\u202f${unit}`;
}

// How long ago, for people: "40 s ago", "3 min ago".
export function ago(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [0, "s"]].find(([each]) => seconds >= 2 * each);
  return `${Math.max(1, Math.round(seconds / (size || 1)))}\u202f${unit} ago`;
}

// -- times: the reader's own clock, with its zone, since reports and the API are in UTC

const CLOCK = { hourCycle: "h23", hour: "2-digit", minute: "2-digit" };
const ZONE = { timeZoneName: "short" };

export const timeOfDay = (value) => new Date(value).toLocaleTimeString([], { ...CLOCK, second: "2-digit", ...ZONE });
export const dateAndTime = (value) => new Date(value).toLocaleString([], {
  year: "numeric", month: "short", day: "numeric", ...CLOCK, second: "2-digit", ...ZONE,
});

// The zone's short name at a time: "UTC", "GMT+2".
export function zone(value) {
  return new Intl.DateTimeFormat([], ZONE).formatToParts(value).find((part) => part.type === "timeZoneName").value;
}

// A time, as precise as a chart needs whose steps and whole span are so many seconds long.
export function moment(value, step, span) {
  const day = { day: "numeric", month: "short" };
  if (step >= 86400) return value.toLocaleDateString([], day);
  return span > 86400 ? value.toLocaleString([], { ...day, ...CLOCK }) : value.toLocaleTimeString([], CLOCK);
}

// -- labels

const MARKS = { " ": "␣", "\u00a0": "⍽", "\t": "⇥", "\n": "⏎", "\r": "␍" };
const mark = (character) => MARKS[character] ??
  `\u27e8U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`;

// A label in which nothing is invisible: blanks at its ends, control characters, and all of a label
// that has nothing to see are shown as marks. Joiners within a word belong to its script and stay.
export function visible(text) {
  if (text === "") return "(empty)";
  if (/^[\s\p{C}\p{Z}]+$/u.test(text)) return [...text].map(mark).join("");
  return text.replace(/^\s+|\s+$|\p{Cc}/gu, (run) => [...run].map(mark).join(""));
}
