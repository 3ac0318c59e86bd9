// The positions and the texts of the marks of an axis.

import { grouped, plain, signed } from "./format.js";

const MINUTE = 60e3;
const DAY = 1440 * MINUTE;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720].map((size) => ["minutes", size, size * MINUTE]),
  ...[1, 2, 3, 7, 14].map((size) => ["days", size, size * DAY]),
  ...[1, 2, 3, 6, 12, 24, 60].map((size) => ["months", size, size * 30 * DAY]),
];

// An axis whose numbers are this many times larger than its length counts from a base.
const FAR = 100;
// Numbers whose difference is a smaller part of them are taken as equal.
const SAME = 1e-9;
const UNITS = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

// Round times of the reader's clock between two dates, at most about so many: [date, text] each.
// Midnight is written as its day.
export function timeTicks(from, to, most) {
  const [unit, size] = STEPS.find(([, , length]) => (to - from) / length <= most) ?? STEPS[STEPS.length - 1];
  const [year, month, day] = [from.getFullYear(), from.getMonth(), from.getDate()];
  const nth = {
    minutes: (n) => new Date(year, month, day, 0, n * size),
    days: (n) => new Date(year, month, day - (day - 1) % size + n * size),
    months: (n) => new Date(year, month - month % size + n * size),
  }[unit];
  const found = [];
  let last = -Infinity;
  for (let n = 0, at = nth(0); at <= to; at = nth(++n)) {
    // An hour that the clock leaves out in spring is the next one.
    if (at >= from && at > last) found.push([at, words(at, unit)]);
    last = at;
  }
  return found;
}

function words(at, unit) {
  if (unit === "months") return at.toLocaleDateString([], { month: "short", year: "numeric" });
  if (unit === "days" || (at.getHours() === 0 && at.getMinutes() === 0)) {
    return at.toLocaleDateString([], { day: "numeric", month: "short" });
  }
  return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

// Of the marks [place, text], in order, those whose texts fit between 0 and `width` and do not touch
// when they are centred on their places.
export function fitting(marks, width, font) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = font;
  let free = 0;
  return marks.filter(([place, text]) => {
    const half = pen.measureText(text).width / 2 + 1;
    if (place - half < free || place + half > width) return false;
    free = place + half + 10;
    return true;
  });
}

// From 1 down to `bottom`, shares that divide it evenly.
export function shareTicks(bottom) {
  const step = bottom > 0.75 ? 0.05 : bottom > 0.4 ? 0.1 : 0.2;
  const found = [];
  for (let share = 1; share > bottom - 1e-9; share -= step) found.push(Math.max(0, share));
  return found;
}

// An axis from `low` to `high` with about `most` marks at round numbers, and some room at both ends;
// around a single number where both are equal.
export function axis(low, high, most = 5) {
  const isOne = high - low <= SAME * Math.max(Math.abs(low), Math.abs(high));
  const room = isOne ? Math.abs(low) / 2 || 1 : (high - low) / 20;
  const [from, to] = [low - room, (isOne ? low : high) + room];
  return { ...ticks(from, to, most), part: (value) => (value - from) / (to - from) };
}

// The `marks` [value, text] of an axis, about `most`, at round numbers. Numbers that are large beside
// their differences are counted from a base, which `remark` adds to the axis's name.
export function ticks(from, to, most) {
  const least = (to - from) / most;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].find((n) => n * power >= least * (1 - 1e-9)) * power;
  const [first, last] = [Math.ceil(from / step - 1e-9), Math.floor(to / step + 1e-9)];
  const isFar = Math.max(Math.abs(from), Math.abs(to)) > FAR * (to - from);
  const base = isFar ? Math.floor(first / 10) * 10 : 0;
  const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const texts = textsOf(numbers.map((n) => (n - base) * step), step);
  return {
    marks: numbers.map((n, i) => [n * step, texts[i]]),
    remark: base ? ` ${base > 0 ? "\u2212" : "+"} ${plain(Math.abs(base * step))}` : "",
  };
}

// The values as texts of one form, with as many digits as tell them apart.
function textsOf(values, step) {
  const largest = Math.max(...values.map(Math.abs), 0);
  if (step < 0.9e-4 || largest >= 1e12) {
    const power = Math.floor(Math.log10(largest || 1));
    const digits = Math.max(0, power - Math.floor(Math.log10(step) + 1e-9));
    return values.map((each) => (each ? signed(`${(each / 10 ** power).toFixed(digits)}e${power}`) : "0"));
  }
  const [size, unit] = UNITS.find(([each]) => largest >= 10 * each || (largest >= each && step >= each / 10)) ?? [1, ""];
  const digits = Math.max(0, -Math.floor(Math.log10(step / size) + 1e-9));
  return values.map((each) => (each ? grouped(each / size, digits) + unit : "0"));
}

// The round number at which a scale for values up to `largest` ends.
export function scaleEnd(largest) {
  if (!(largest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((n) => n * power >= largest) * power;
}
