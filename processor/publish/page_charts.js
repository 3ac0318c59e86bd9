// Charts as SVG: a sparkline, accuracy over time, shares of a whole, a distribution.

import { counted, draw, heading, items, make, number, percent, range } from "./page_dom.js";

// Accuracy over time in a row of the list; gaps are where nothing was judged.
export function sparkline(points, steps) {
  const [width, height] = [84, 26];
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const x = (i) => 2 + ((i + 0.5) / steps) * (width - 4);
  const y = (share) => 3 + (1 - share) * (height - 6);
  const runs = judgedRuns(points);
  for (const run of runs) {
    const path = run.map((p) => `${x(p.index).toFixed(1)},${y(p.accuracy).toFixed(1)}`);
    svg.append(run.length > 1
      ? draw("polyline", { points: path.join(" "), class: "line" })
      : draw("circle", { cx: x(run[0].index), cy: y(run[0].accuracy), r: 1.6, class: "point" }));
  }
  return svg;
}

// The points with something judged, in runs without a gap.
function judgedRuns(points) {
  const runs = [];
  let last = null;
  for (const point of rows(points)) {
    if (!point.judged) continue;
    if (last !== null && point.index === last + 1) runs[runs.length - 1].push(point);
    else runs.push([point]);
    last = point.index;
  }
  return runs;
}

function rows(points) {
  return points.index.map((index, i) => ({
    index,
    predictions: points.predictions[i],
    judged: points.judged[i],
    correct: points.correct[i],
    accuracy: points.judged[i] ? points.correct[i] / points.judged[i] : null,
    low: points.low[i],
    high: points.high[i],
  }));
}

const MARGIN = { left: 44, right: 10, top: 10 };
const LINES = 180; // height of the part with accuracy
const BARS = 44; // of the part with counts
const FOOT = 22;

// One model over time; the wrapper keeps its focus while what it holds is drawn anew.
export class TimeChart {
  constructor() {
    this.tip = make("div", "tip");
    this.tip.hidden = true;
    this.said = make("p", "hidden");
    this.said.setAttribute("aria-live", "polite");
    this.frame = make("div", "chart");
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "group");
    this.element = make("div", "chart-box", this.frame, this.tip, this.said);
    this.at = null; // position among the points
    this.points = [];
    this.frame.addEventListener("pointermove", (event) => this.#nearest(event));
    this.frame.addEventListener("pointerleave", () => this.#leave());
    this.frame.addEventListener("blur", () => this.#leave());
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.history && this.#redraw()).observe(this.frame);
  }

  show(history, overall, byRequest) {
    const held = this.at === null ? null : this.time(this.points[this.at].index).getTime();
    this.history = history;
    this.overall = overall;
    this.byRequest = byRequest;
    this.points = rows(history.models[0]?.points ?? { index: [] });
    this.start = Date.parse(history.from);
    this.at = null;
    this.frame.setAttribute("aria-label",
      `Accuracy over time, ${counted(this.points.length, "point", "points")}; arrow keys move between them`);
    this.#draw();
    const again = this.points.findIndex((p) => this.time(p.index).getTime() === held);
    if (again >= 0) this.#point(again);
  }

  #redraw() {
    const { at } = this;
    this.#draw();
    if (at !== null) this.#point(at);
  }

  time(index) {
    return new Date(this.start + index * this.history.step * 1000);
  }

  #draw() {
    const width = Math.max(260, this.frame.clientWidth);
    const inner = width - MARGIN.left - MARGIN.right;
    const { steps } = this.history;
    const height = MARGIN.top + LINES + 14 + BARS + FOOT;
    const lowest = Math.min(1, ...this.points.filter((p) => p.judged).map((p) => p.low));
    const bottom = Math.min(0.9, Math.floor(lowest * 10) / 10);
    const left = (i) => MARGIN.left + (i / steps) * inner;
    this.x = (i) => left(i + 0.5);
    const y = (share) => MARGIN.top + ((1 - share) / (1 - bottom)) * LINES;
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });

    for (const share of ticks(bottom)) {
      svg.append(draw("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(share), y2: y(share), class: "grid" }),
        draw("text", { x: MARGIN.left - 6, y: y(share) + 4, class: "end" }, `${Math.round(100 * share)}\u202f%`));
    }
    const wide = Math.min(48, Math.max(2, inner / steps - 1));
    for (const point of this.points.filter((p) => p.judged)) {
      svg.append(draw("rect", {
        x: this.x(point.index) - wide / 2, width: wide, rx: 2, class: "band",
        y: y(point.high), height: Math.max(1, y(point.low) - y(point.high)),
      }));
    }
    if (this.overall !== null) {
      svg.append(draw("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(this.overall), y2: y(this.overall), class: "overall" }));
    }
    for (const run of judgedRuns(this.history.models[0]?.points ?? { index: [] })) {
      svg.append(draw("polyline", { class: "line", points: run.map((p) => `${this.x(p.index)},${y(p.accuracy)}`).join(" ") }));
      for (const p of run) svg.append(draw("circle", { cx: this.x(p.index), cy: y(p.accuracy), r: 2.5, class: "point" }));
    }
    this.#bars(svg, inner, wide);
    this.#times(svg, left, inner, height);
    this.cursor = draw("line", { class: "cursor", y1: MARGIN.top, y2: height - FOOT, visibility: "hidden" });
    svg.append(this.cursor);
    this.frame.replaceChildren(svg);
    this.tip.hidden = true;
  }

  #bars(svg, inner, wide) {
    const base = MARGIN.top + LINES + 14 + BARS;
    const most = Math.max(1, ...this.points.map((p) => Math.max(p.predictions, p.judged)));
    const rect = (point, count, kind) => svg.append(draw("rect", {
      x: this.x(point.index) - wide / 2, width: wide, y: base - (count / most) * BARS,
      height: (count / most) * BARS, class: kind,
    }));
    for (const point of this.points) {
      rect(point, point.predictions, "predicted");
      rect(point, point.judged, "judged");
    }
    svg.append(draw("line", { x1: MARGIN.left, x2: MARGIN.left + inner, y1: base, y2: base, class: "axis" }),
      draw("text", { x: MARGIN.left - 6, y: base - BARS + 8, class: "end" }, compact(most)),
      draw("text", { x: MARGIN.left - 6, y: base, class: "end" }, "0"));
  }

  #times(svg, left, inner, height) {
    const { step, steps } = this.history;
    const most = Math.max(2, Math.floor(inner / 90));
    const every = Math.max(1, Math.ceil(steps / most));
    for (let i = 0; i < steps; i += every) {
      const middle = i === 0 ? "start" : "mid";
      svg.append(draw("line", { x1: left(i), x2: left(i), y1: height - FOOT, y2: height - FOOT + 4, class: "axis" }),
        draw("text", { x: left(i), y: height - 4, class: middle }, clock(this.time(i), step, step * steps)));
    }
  }

  #nearest(event) {
    if (!this.points.length) return;
    const at = event.clientX - this.frame.getBoundingClientRect().left;
    const distance = (p) => Math.abs(this.x(p.index) - at);
    this.#point(this.points.reduce((best, p, i) => (distance(p) < distance(this.points[best]) ? i : best), 0));
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (steps === undefined || !this.points.length) return;
    event.preventDefault();
    const last = this.points.length - 1;
    const from = this.at ?? (steps < 0 ? last + 1 : -1);
    this.#point(Math.min(last, Math.max(0, from + steps)));
    this.said.textContent = this.tip.textContent;
  }

  #point(at) {
    this.at = at;
    const point = this.points[at];
    const { step, steps } = this.history;
    const lines = [
      make("b", "", `${clock(this.time(point.index), step, step * steps)} to ${clock(this.time(point.index + 1), step, step * steps)}`),
      make("span", "", point.judged ? `accuracy ${percent(point.accuracy)} (${range(point.low, point.high)})` : "nothing judged"),
      make("span", "", `${number(point.correct)} right of ${number(point.judged)} judged`),
    ];
    if (this.byRequest) lines.push(make("span", "", `${items(point.predictions)} predicted`));
    this.tip.replaceChildren(...lines);
    this.tip.hidden = false;
    const x = this.x(point.index);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    const room = this.frame.clientWidth - this.tip.offsetWidth;
    this.tip.style.setProperty("left", `${Math.max(0, Math.min(room, x + 10))}px`);
  }

  #leave() {
    this.at = null;
    this.tip.hidden = true;
    this.cursor?.setAttribute("visibility", "hidden");
  }

  table() {
    const { step, steps } = this.history;
    const head = ["from", ...(this.byRequest ? ["predicted"] : []), "judged", "right", "accuracy", "interval"];
    const body = this.points.map((p) => make("tr", "", heading("row", clock(this.time(p.index), step, step * steps)),
      ...(this.byRequest ? [make("td", "", number(p.predictions))] : []),
      make("td", "", number(p.judged)), make("td", "", number(p.correct)), make("td", "", percent(p.accuracy)),
      make("td", "", p.judged ? range(p.low, p.high) : "–")));
    return make("table", "scores", make("thead", "", make("tr", "", ...head.map((name) => heading("col", name)))),
      make("tbody", "", ...body));
  }
}

const compact = (n) => new Intl.NumberFormat("en", { notation: "compact" }).format(n);

function ticks(bottom) {
  const step = bottom > 0.75 ? 0.05 : bottom > 0.4 ? 0.1 : 0.2;
  const found = [];
  for (let share = 1; share > bottom - 1e-9; share -= step) found.push(Math.max(0, share));
  return found;
}

// As much of a time as the span needs.
function clock(time, step, span) {
  if (step >= 86400) return time.toLocaleDateString([], { day: "numeric", month: "short" });
  const hour = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return span > 86400
    ? time.toLocaleString([], { day: "numeric", month: "short", ...hour })
    : time.toLocaleTimeString([], hour);
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
    const row = make("tr", "", heading("row", name), make("td", "wide", bar100(counts[i] / most)), make("td", "", number(counts[i])));
    row.title = `${number(counts[i])} of ${number(total)}`;
    return row;
  }));
  return make("table", "bars", body);
}

function bar100(share) {
  const fill = make("i", "fill");
  fill.style.setProperty("--from", "0%");
  fill.style.setProperty("--to", `${100 * share}%`);
  return make("div", "bar", fill);
}
