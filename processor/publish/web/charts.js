// Small charts: a sparkline, shares of a whole, a distribution.

import { bar, draw, heading, make } from "./dom.js";
import { amount, compact, moment, number, percent } from "./format.js";
import { judgedRuns, points, stretches } from "./series.js";
import { axis, fitting, timeTicks } from "./ticks.js";

// The score over time, for a row of the list; steps where nothing was judged are gaps.
export function sparkline(columns, steps) {
  const [width, height] = [84, 26];
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const x = (point) => 3 + ((point.index + 0.5) / steps) * (width - 6);
  const found = points(columns, steps);
  const most = columns.measure === "mae" ? Math.max(...found.map((point) => point.value ?? 0)) || 1 : 1;
  const y = (point) => 3 + (1 - point.value / most) * (height - 6);
  for (const run of judgedRuns(found)) {
    for (const [kind, part] of stretches(run)) {
      svg.append(draw("polyline", { points: part.map((p) => `${x(p).toFixed(1)},${y(p).toFixed(1)}`).join(" "), class: kind }));
    }
    const end = run[run.length - 1];
    if (end.running) svg.append(draw("circle", { cx: x(end), cy: y(end), r: 1.8, class: "point running" }));
    else if (run.length === 1) svg.append(draw("circle", { cx: x(end), cy: y(end), r: 1.6, class: "point" }));
  }
  return svg;
}

// A bar that shows the parts of a whole; each part is [name, count, class].
export function pie(title, parts) {
  const total = parts.reduce((sum, [, count]) => sum + count, 0);
  const svg = draw("svg", { viewBox: "0 0 42 42", class: "pie", "aria-hidden": "true" });
  const circle = (kind, from, share) => draw("circle", {
    cx: 21, cy: 21, r: 15.9155, class: kind, "stroke-dasharray": `${100 * share} ${100 - 100 * share}`,
    "stroke-dashoffset": 25 - 100 * from,
  });
  svg.append(circle("whole", 0, 1));
  let from = 0;
  for (const [, count, kind] of parts) {
    if (!count) continue;
    svg.append(circle(kind, from, count / total));
    from += count / total;
  }
  const legend = make("ul", "legend", ...parts.map(([name, count, kind]) => make("li", "", make("i", kind),
    make("span", "", name), make("b", "", total ? percent(count / total) : "–"), make("span", "quiet", number(count)))));
  return make("div", "pie-box", make("h3", "", title), make("div", "pie-row", svg, legend));
}

// Bars over named bounds; the longest bar has the full width.
export function distribution(names, counts) {
  const most = Math.max(1, ...counts);
  const total = counts.reduce((sum, n) => sum + n, 0);
  const body = make("tbody", "", ...names.map((name, i) => {
    const row = make("tr", "", heading("row", name), make("td", "wide", bar(0, counts[i] / most)), make("td", "", number(counts[i])));
    row.title = `${number(counts[i])} of ${number(total)}`;
    return row;
  }));
  return make("table", "bars", body);
}

// -- of probabilities, in a square from 0 to 1

const SIDE = { left: 74, top: 8, size: 240, foot: 38, right: 10 };
const across = (value) => SIDE.left + value * SIDE.size;
const up = (value) => SIDE.top + (1 - value) * SIDE.size;

const QUARTERS = [0, 0.25, 0.5, 0.75, 1].map((at) => [at, String(at)]);

function square(title, below, beside, parts, ticks = QUARTERS) {
  const [width, height] = [SIDE.left + SIDE.size + SIDE.right, SIDE.top + SIDE.size + SIDE.foot];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title, class: "square" });
  for (const [at, text] of ticks) {
    svg.append(draw("line", { x1: across(0), x2: across(1), y1: up(at), y2: up(at), class: "grid" }),
      draw("line", { x1: across(at), x2: across(at), y1: up(0), y2: up(1), class: "grid" }),
      draw("text", { x: SIDE.left - 6, y: up(at) + 4, class: "end" }, text),
      draw("text", { x: across(at), y: up(0) + 15, class: "mid" }, text));
  }
  const middle = SIDE.top + SIDE.size / 2;
  svg.append(draw("text", { x: across(0.5), y: height - 5, class: "mid" }, below),
    draw("text", { x: 15, y: middle, class: "mid", transform: `rotate(-90 15 ${middle})` }, beside), ...parts);
  return svg;
}

const SIDES = 72; // of the polygon that an ellipse is drawn as
const path = (found) => found.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join(" ");
const hinted = (tag, attributes, text) => draw(tag, attributes, draw("title", {}, text));
const even = () => draw("line", { x1: across(0), x2: across(1), y1: up(0), y2: up(1), class: "even" });

// How often the predicted label is right at its probability; the area of a mark is by its items.
export function reliability(bins) {
  const most = Math.max(...bins.map((bin) => bin.items));
  const marks = [...bins].sort((a, b) => b.items - a.items).map((bin) => hinted("circle", {
    cx: across(bin.mean_probability), cy: up(bin.right / bin.items), r: Math.max(2.5, 12 * Math.sqrt(bin.items / most)), class: "bubble",
  }, `probability ${percent(bin.low)} to ${percent(bin.high)}: ${percent(bin.right / bin.items)} right of ${number(bin.items)}`));
  return square("Reliability", "probability of the predicted label", "share right", [even(), ...marks]);
}

// A line through points [x, y] with marks [x, y, class, text].
export function curve(title, below, beside, found, marks, diagonal) {
  const line = draw("polyline", { class: "line", points: path(found) });
  return square(title, below, beside, [...(diagonal ? [even()] : []), line, ...marks.filter(([x, y]) => x !== null && y !== null)
    .map(([x, y, kind, text]) => hinted("circle", { cx: across(x), cy: up(y), r: 5.5, class: kind }, text))]);
}

// What the sums say of the truths over the predictions: the means, the ellipses of one and two standard
// deviations, the line of best fit, and the line of equal numbers.
export function agreement(model) {
  const [x, y] = [model.mean_predicted ?? 0, model.mean_actual ?? 0];
  const [wide, high] = [model.deviation_predicted ?? 0, model.deviation_actual ?? 0];
  const scale = axis(Math.min(x - 2 * wide, y - 2 * high), Math.max(x + 2 * wide, y + 2 * high));
  const place = ([a, b]) => [scale.part(a), scale.part(b)];
  const together = model.correlation ?? 0;
  const apart = Math.sqrt(Math.max(0, 1 - together ** 2));
  const ellipse = (size) => draw("polygon", { class: "ellipse", points: path(Array.from({ length: SIDES }, (_, i) => {
    const [cos, sin] = [Math.cos((2 * Math.PI * i) / SIDES), Math.sin((2 * Math.PI * i) / SIDES)];
    return place([x + size * wide * cos, y + size * high * (together * cos + apart * sin)]);
  })) });
  const parts = [ellipse(2), ellipse(1), even()];
  if (model.slope !== undefined) {
    const ends = [x - 2 * wide, x + 2 * wide].map((at) => place([at, (model.intercept ?? 0) + model.slope * at]));
    parts.push(draw("polyline", { class: "line", points: path(ends) }));
  }
  const [left, top] = place([x, y]);
  parts.push(hinted("circle", { cx: across(left), cy: up(top), r: 5.5, class: "best" }, `mean predicted ${amount(x)}, mean actual ${amount(y)}`));
  return square("Predicted against actual", `predicted${scale.remark}`, `actual${scale.remark}`, parts,
    scale.marks.map(([value, text]) => [scale.part(value), text]));
}

// The mean prediction and the mean truth of each step of a time series.
export function means(history) {
  const found = points(history.models[0].points, history.steps).filter((each) => each.meanPredicted !== null);
  const values = found.flatMap((each) => [each.meanPredicted, each.meanActual]);
  const [width, height, left, foot] = [460, 220, 68, 26];
  const scale = axis(Math.min(...values), Math.max(...values));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Mean predicted and mean actual over time" });
  const y = (value) => height - foot - scale.part(value) * (height - foot - 20);
  if (scale.remark) svg.append(draw("text", { x: left, y: 12 }, `each${scale.remark}`));
  const x = (index) => left + ((index + 0.5) / history.steps) * (width - left - 8);
  for (const [value, text] of scale.marks) {
    svg.append(draw("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "grid" }),
      draw("text", { x: left - 6, y: y(value) + 4, class: "end" }, text));
  }
  const start = Date.parse(history.from);
  const time = (index) => new Date(start + index * history.step * 1000);
  const [begin, end] = [time(0), time(history.steps)];
  const marks = timeTicks(begin, end, (width - left) / 80).map(([at, text]) => [x(((at - begin) / (end - begin)) * history.steps - 0.5), text]);
  for (const [at, text] of fitting(marks, width, "15px sans-serif")) svg.append(draw("text", { x: at, y: height - 4, class: "mid" }, text));
  for (const [name, field] of [["actual", "meanActual"], ["predicted", "meanPredicted"]]) {
    svg.append(draw("polyline", { class: `line ${name}`, points: found.map((each) => `${x(each.index).toFixed(1)},${y(each[field]).toFixed(1)}`).join(" ") }));
    for (const each of found) {
      svg.append(hinted("circle", { cx: x(each.index), cy: y(each[field]), r: 2.5, class: `point ${name}` },
        `${moment(time(each.index), history.step, history.step * history.steps)}: mean predicted ${amount(each.meanPredicted)}, mean actual ${amount(each.meanActual)}, ${number(each.judged)} judged`));
    }
  }
  return svg;
}

// The items by absolute error; each bar is [largest error, items].
export function errorBars(bars) {
  const [width, height, left, foot] = [460, 206, 68, 44];
  const most = Math.max(...bars.map((each) => each.items));
  const total = bars.reduce((sum, each) => sum + each.items, 0);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Histogram of absolute errors" });
  const y = (share) => height - foot - share * (height - foot - 10);
  for (const share of [0, 0.5, 1]) {
    svg.append(draw("line", { x1: left, x2: width, y1: y(share), y2: y(share), class: "grid" }),
      draw("text", { x: left - 6, y: y(share) + 4, class: "end" }, percent((share * most) / total)));
  }
  const slot = (width - left) / bars.length;
  const stride = Math.ceil(56 / slot);
  bars.forEach((each, i) => {
    const x = left + slot * i;
    svg.append(hinted("rect", { x: x + slot * 0.07, width: slot * 0.86, y: y(each.items / most), height: y(0) - y(each.items / most), class: "judged" },
      `up to ${amount(each.up_to)}: ${number(each.items)}, ${percent(each.items / total)}`));
    if (i % stride === 0 && x + slot / 2 < width - 28) svg.append(draw("text", { x: x + slot / 2, y: height - foot + 16, class: "mid" }, compact(each.up_to)));
  });
  svg.append(draw("text", { x: (left + width) / 2, y: height - 5, class: "mid" }, "absolute error up to"));
  return svg;
}
