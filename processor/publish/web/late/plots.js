// Plots of late labels: the score by day in three ways, the reporting triangle, delays by outcome.

import { draw, heading, make, scroller } from "../dom.js";
import { amount, compact, number, percent, range, short, visible } from "../format.js";
import { fitting } from "../ticks.js";
import { plot } from "../values.js";

const DAY = 86400;
const COMPLETE = 0.95; // a day of which a smaller share of the labels is due is shaded
const [WIDTH, LEFT, RIGHT, TOP, LINES, FOOT] = [480, 54, 8, 8, 170, 24];
const STRONG = 0.65; // a share from which its cell needs a light text

// The content of the card below its sentences; empty without days.
export function panels(found, ages, ends) {
  const { days, outcomes, of_numbers: ofNumbers } = found;
  if (!days.length) return [];
  const name = ofNumbers ? "Mean absolute error" : "Accuracy";
  const kinds = ofNumbers ? ["smaller errors", "larger errors"] : ["right", "wrong"];
  const keys = [["line", "nowcast"], ["band", "its interval"], ["line actual", "by request so far"], ["even", "by feedback"], ["missing", "labels are missing"]];
  return [make("div", "panels",
    plot(`${name} by day in three ways`, keys, byDay(days, name, ofNumbers), "long"),
    ...(outcomes.length ? [plot("Labels that are in, by age and outcome", [["line", kinds[0]], ["line actual", kinds[1]]], byOutcome(outcomes, ends, ofNumbers), "long")] : [])),
  ...triangle(days, ages)];
}

const y = (share) => TOP + (1 - share) * LINES;

function frame(title, parts, marks, ticks) {
  const height = TOP + LINES + FOOT;
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title });
  for (const [at, text] of marks) {
    svg.append(draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(at), y2: y(at), class: "grid" }),
      draw("text", { x: LEFT - 6, y: y(at) + 4, class: "end" }, text));
  }
  svg.append(...parts);
  for (const [at, text] of fitting(ticks, WIDTH, "13px sans-serif")) {
    svg.append(draw("text", { x: at, y: height - 6, class: "mid" }, text));
  }
  return svg;
}

const polyline = (kind, points) => draw("polyline", { class: kind, fill: "none", points: points.map(([x, value]) => `${x.toFixed(1)},${y(value).toFixed(1)}`).join(" ") });
const hinted = (tag, attributes, text) => draw(tag, attributes, draw("title", {}, text));
// Days are those of UTC, as their counts are.
const dayName = (day) => new Date(1000 * day.start).toLocaleDateString([], { day: "numeric", month: "short", timeZone: "UTC" });

function byDay(days, name, ofNumbers) {
  const first = days[0].start;
  const slots = (days[days.length - 1].start - first) / DAY + 1;
  const slot = (WIDTH - LEFT - RIGHT) / slots;
  const x = (day) => LEFT + ((day.start - first) / DAY + 0.5) * slot;
  const values = days.flatMap((day) => [day.so_far, day.by_feedback, ...(day.nowcast ?? [])]).filter((each) => each !== null);
  const top = ofNumbers ? 1.05 * Math.max(...values, 0) || 1 : 1;
  const text = ofNumbers ? amount : percent;
  const wide = Math.min(0.8 * slot, 26);
  const parts = [];
  for (const day of days) {
    if (day.due < COMPLETE) parts.push(draw("rect", { class: "missing", x: x(day) - slot / 2, width: slot, y: TOP, height: LINES }));
  }
  for (const day of days) {
    if (day.nowcast === null) continue;
    const [, low, high] = day.nowcast.map((each) => each / top);
    parts.push(draw("rect", { class: "band", x: x(day) - wide / 2, width: wide, y: y(high), height: Math.max(1, y(low) - y(high)), rx: 2 }));
  }
  const lines = [["even", "by_feedback"], ["line actual", "so_far"], ["line", "nowcast"]];
  for (const [kind, field] of lines) {
    const found = days.map((day) => [x(day), field === "nowcast" ? day.nowcast?.[0] ?? null : day[field]]).filter(([, value]) => value !== null);
    parts.push(polyline(kind, found.map(([at, value]) => [at, value / top])));
  }
  for (const day of days) {
    const said = day.nowcast === null ? "no nowcast" : `nowcast ${text(day.nowcast[0])} (${ofNumbers ? `${amount(day.nowcast[1])} to ${amount(day.nowcast[2])}` : range(day.nowcast[1], day.nowcast[2])})`;
    const hint = `${dayName(day)}: ${said}; by request so far ${text(day.so_far)}, by feedback ${text(day.by_feedback)}; ${number(day.judged)} judged of ${number(day.predicted)}`;
    if (day.nowcast) parts.push(draw("circle", { class: "point", cx: x(day), cy: y(day.nowcast[0] / top), r: 2.5 }));
    parts.push(hinted("rect", { class: "hint", x: x(day) - slot / 2, width: slot, y: TOP, height: LINES }, hint));
  }
  const marks = [0, 0.25, 0.5, 0.75, 1].map((at) => [at, ofNumbers ? compact(at * top) : percent(at, 0)]);
  return frame(`${name} by day`, parts, marks, days.map((day) => [x(day), dayName(day)]));
}

function byOutcome(outcomes, ends, ofNumbers) {
  const last = Math.max(1, ends.findIndex((_, i) => outcomes.every((each) => each.shares[i] >= 0.999)));
  const x = (i) => LEFT + (i / last) * (WIDTH - LEFT - RIGHT);
  const sizes = outcomes.map((each) => each.largest).sort((a, b) => a - b);
  const parts = outcomes.map((each) => {
    const [actual, predicted] = each.cell;
    const isGood = ofNumbers ? each.largest < sizes[Math.floor(sizes.length / 2)] : actual === predicted;
    const what = ofNumbers ? `errors up to ${amount(each.largest)}` : `actual ${actual === "" ? "unknown" : visible(actual)}, predicted ${visible(predicted)}`;
    const line = polyline(isGood ? "line" : "line actual", each.shares.slice(0, last + 1).map((share, i) => [x(i), share]));
    line.append(draw("title", {}, `${what}: ${number(each.items)} labels`));
    return line;
  });
  const marks = [0, 0.25, 0.5, 0.75, 1].map((at) => [at, percent(at, 0)]);
  return frame("Delays of labels by outcome", parts, marks, ends.slice(0, last + 1).map((end, i) => [x(i), short(end)]));
}

function triangle(days, ages) {
  const shown = days.filter((day) => day.shares.some((share) => share !== null));
  if (!shown.length) return [];
  // Ages that no day has reached have no column, for which a small screen has no room.
  const reached = ages.findLastIndex((_, i) => shown.some((day) => (day.shares[i] ?? null) !== null)) + 1;
  const head = [heading("col", "day"), ...ages.slice(0, reached).map((age) => heading("col", short(age)))];
  const rows = shown.map((day) => make("tr", "", heading("row", dayName(day)), ...day.shares.slice(0, reached).map((share) => {
    if (share === null) return make("td", "none");
    const cell = make("td", share > STRONG ? "right strong" : "right", percent(share, 0));
    cell.style.setProperty("--share", `${8 + 92 * share}%`);
    return cell;
  })));
  const table = make("table", "matrix dense shares", make("thead", "", make("tr", "", ...head)), make("tbody", "", ...rows));
  return [make("h3", "", "Share of the expected labels that are in, by age"), scroller("Shares of labels by day and age", table)];
}
