// The main score and the counts of one model over time.

import { draw, heading, make } from "./dom.js";
import { amount, compact, counted, items, moment, number, percent, range, zone } from "./format.js";
import { judgedRuns, points, stretches } from "./series.js";
import { fitting, scaleEnd, shareTicks, ticks, timeTicks } from "./ticks.js";

const MARGIN = { right: 10, top: 10 };
const LINES = 180; // height of the part with accuracy
const BARS = 44; // of the part with counts
const FOOT = 22;
const APART = 75; // minimum distance of two marks of the time axis

// The wrapper keeps its focus while its content is drawn again.
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

  // `name` is that of the score, `overall` its value in the whole window.
  show(history, overall, byRequest, name) {
    const held = this.at === null ? null : this.time(this.points[this.at].index).getTime();
    this.history = history;
    this.overall = overall;
    this.byRequest = byRequest;
    this.name = name;
    this.isShare = history.models[0]?.measure !== "mae";
    this.left = this.isShare ? 44 : 52; // room for the texts beside the lines
    this.points = points(history.models[0]?.points ?? { index: [] }, history.steps);
    this.start = Date.parse(history.from);
    this.at = null;
    this.frame.setAttribute("aria-label",
      `${name} over time, ${counted(this.points.length, "point", "points")}; arrow keys move between them`);
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

  // The time of a point, in words.
  #moment(index) {
    return moment(this.time(index), this.history.step, this.history.step * this.history.steps);
  }

  #draw() {
    const width = Math.max(240, this.frame.clientWidth);
    const inner = width - this.left - MARGIN.right;
    const { steps } = this.history;
    const height = MARGIN.top + LINES + 14 + BARS + FOOT;
    const scored = this.points.filter((p) => p.value !== null);
    const lowest = Math.min(1, ...scored.map((p) => p.low ?? p.value));
    const bottom = this.isShare && scored.length ? Math.min(0.9, Math.floor(lowest * 10) / 10) : 0;
    const top = this.isShare ? 1 : scaleEnd(Math.max(this.overall ?? 0, ...scored.map((p) => p.high ?? p.value)));
    const left = (i) => this.left + (i / steps) * inner;
    this.x = (i) => left(i + 0.5);
    const y = (value) => MARGIN.top + ((top - Math.max(bottom, value)) / (top - bottom)) * LINES;
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });

    const marks = this.isShare ? shareTicks(bottom).map((at) => [at, `${Math.round(100 * at)}\u202f%`]) : ticks(0, top, 5).marks;
    for (const [at, text] of marks) {
      svg.append(draw("line", { x1: this.left, x2: width - MARGIN.right, y1: y(at), y2: y(at), class: "grid" }),
        draw("text", { x: this.left - 6, y: y(at) + 4, class: "end" }, text));
    }
    const wide = Math.min(48, Math.max(2, inner / steps - 1));
    for (const point of scored.filter((p) => p.low !== null)) {
      svg.append(draw("rect", {
        x: this.x(point.index) - wide / 2, width: wide, rx: 2, class: point.running ? "band running" : "band",
        y: y(point.high), height: Math.max(1, y(point.low) - y(point.high)),
      }));
    }
    if (this.overall !== null) {
      svg.append(draw("line", { x1: this.left, x2: width - MARGIN.right, y1: y(this.overall), y2: y(this.overall), class: "overall" }));
    }
    for (const run of judgedRuns(this.points)) {
      for (const [kind, part] of stretches(run)) {
        svg.append(draw("polyline", { class: kind, points: part.map((p) => `${this.x(p.index)},${y(p.value)}`).join(" ") }));
      }
      for (const p of run) {
        svg.append(draw("circle", { cx: this.x(p.index), cy: y(p.value), r: p.running ? 3.5 : 2.5, class: p.running ? "point running" : "point" }));
      }
    }
    this.#bars(svg, inner, wide);
    this.#times(svg, inner, width, height);
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
      height: (count / most) * BARS, class: point.running ? `${kind} running` : kind,
    }));
    for (const point of this.points) {
      rect(point, point.predictions, "predicted");
      rect(point, point.judged, "judged");
    }
    svg.append(draw("line", { x1: this.left, x2: this.left + inner, y1: base, y2: base, class: "axis" }),
      draw("text", { x: this.left - 6, y: base - BARS + 8, class: "end" }, compact(most)),
      draw("text", { x: this.left - 6, y: base, class: "end" }, "0"));
  }

  #times(svg, inner, width, height) {
    const [start, end] = [this.time(0), this.time(this.history.steps)];
    const x = (time) => this.left + ((time - start) / (end - start)) * inner;
    const marks = timeTicks(start, end, inner / APART).map(([time, text]) => [x(time), text]);
    const { fontFamily } = getComputedStyle(this.frame);
    for (const [at] of marks) {
      svg.append(draw("line", { x1: at, x2: at, y1: height - FOOT, y2: height - FOOT + 4, class: "axis" }));
    }
    for (const [at, text] of fitting(marks, width, `11.5px ${fontFamily}`)) {
      svg.append(draw("text", { x: at, y: height - 4, class: "mid time" }, text));
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
    const lines = [
      make("b", "", `${this.#moment(point.index)} to ${this.#moment(point.index + 1)} ${zone(this.time(point.index))}`),
      make("span", "", point.value === null ? "nothing judged" : `${this.name.toLowerCase()} ${this.#value(point)} (${this.#interval(point)})`),
      make("span", "", this.isShare ? `${number(point.correct)} right of ${number(point.judged)} judged` : `${number(point.judged)} judged`),
    ];
    if (this.byRequest) lines.push(make("span", "", `${items(point.predictions)} predicted`));
    if (point.running) lines.push(make("span", "quiet", "not over yet: these numbers go on changing"));
    this.tip.replaceChildren(...lines);
    this.tip.hidden = false;
    const x = this.x(point.index);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    const room = this.frame.clientWidth - this.tip.offsetWidth;
    this.tip.style.setProperty("left", `${Math.max(0, Math.min(room, x + 10))}px`);
  }

  #value(point) {
    return this.isShare ? percent(point.value) : amount(point.value);
  }

  #interval(point) {
    if (point.low === null) return "–";
    return this.isShare ? range(point.low, point.high) : `${amount(point.low)} to ${amount(point.high)}`;
  }

  #leave() {
    this.at = null;
    this.tip.hidden = true;
    this.cursor?.setAttribute("visibility", "hidden");
  }

  table() {
    const head = [`from (${zone(this.time(0))})`, ...(this.byRequest ? ["predicted"] : []), "judged", ...(this.isShare ? ["right"] : []), this.name.toLowerCase(), "95\u202f% interval", ...(this.isShare ? [] : ["mean predicted", "mean actual"])];
    const body = this.points.map((p) => make("tr", "", heading("row", this.#moment(p.index), p.running ? ", not over yet" : ""),
      ...(this.byRequest ? [make("td", "", number(p.predictions))] : []),
      make("td", "", number(p.judged)), ...(this.isShare ? [make("td", "", number(p.correct))] : []),
      make("td", "", this.#value(p)), make("td", "", this.#interval(p)),
      ...(this.isShare ? [] : [p.meanPredicted, p.meanActual].map((each) => make("td", "", amount(each))))));
    return make("table", "scores", make("thead", "", make("tr", "", ...head.map((name) => heading("col", name)))),
      make("tbody", "", ...body));
  }
}
