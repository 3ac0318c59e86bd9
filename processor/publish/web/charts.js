// Small charts: a sparkline, shares of a whole, a distribution.

import { bar, draw, heading, make } from "./dom.js";
import { number, percent } from "./format.js";
import { judgedRuns, points, stretches } from "./series.js";

// Accuracy over time in a row of the list; gaps are where nothing was judged.
export function sparkline(columns, steps) {
  const [width, height] = [84, 26];
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const x = (point) => 3 + ((point.index + 0.5) / steps) * (width - 6);
  const y = (point) => 3 + (1 - point.accuracy) * (height - 6);
  for (const run of judgedRuns(points(columns, steps))) {
    for (const [kind, part] of stretches(run)) {
      svg.append(draw("polyline", { points: part.map((p) => `${x(p).toFixed(1)},${y(p).toFixed(1)}`).join(" "), class: kind }));
    }
    const end = run[run.length - 1];
    if (end.running) svg.append(draw("circle", { cx: x(end), cy: y(end), r: 1.8, class: "point running" }));
    else if (run.length === 1) svg.append(draw("circle", { cx: x(end), cy: y(end), r: 1.6, class: "point" }));
  }
  return svg;
}

// A whole in two parts: [name, count, class] each.
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

// Bars over named bounds; the longest is full.
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
