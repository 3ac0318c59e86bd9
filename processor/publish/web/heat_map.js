// A confusion matrix of many labels as small coloured squares; what one says is read beside it.

import { draw, fadeEdges, make } from "./dom.js";
import { items, percent, visible } from "./format.js";

const AXIS = 16; // height of the axis's name
const LETTER = 6.6; // width of a character of a label, about
const LEAST = 58; // room for "actual ↓"
const SMALLEST = 2; // pixels of a cell: below, the map scrolls
const LARGEST = 16;
const APART = 13; // least distance of two names
const LONGEST = 12; // characters of a name
const HINT = "Point at a square, or move with the arrow keys.";

export class HeatMap {
  constructor() {
    this.frame = make("div", "map-frame");
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "group");
    this.readout = make("p", "readout", HINT);
    this.readout.setAttribute("aria-live", "polite");
    this.element = make("div", "map", this.readout, this.frame);
    fadeEdges(this.element);
    this.at = null; // [row, column]
    this.frame.addEventListener("pointermove", (event) => this.#nearest(event));
    this.frame.addEventListener("pointerdown", (event) => this.#nearest(event));
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.labels && this.#draw()).observe(this.element);
  }

  // `cells` {actual, predicted, count} of a matrix over `labels`; what has no cell is 0.
  show(labels, cells) {
    if (this.labels?.join("\n") !== labels.join("\n")) this.at = null;
    this.labels = labels;
    const place = new Map(labels.map((label, i) => [label, i]));
    this.counts = labels.map(() => new Map()); // by row: column -> items
    for (const { actual, predicted, count } of cells) this.counts[place.get(actual)].set(place.get(predicted), count);
    this.totals = this.counts.map((row) => [...row.values()].reduce((sum, count) => sum + count, 0));
    this.frame.setAttribute("aria-label", `Confusion matrix of ${labels.length} labels; arrow keys move between its cells`);
    this.#draw();
  }

  #draw() {
    const n = this.labels.length;
    const names = this.labels.map(cut);
    const longest = 10 + LETTER * Math.max(...names.map((name) => name.length));
    const [left, top] = [Math.max(LEAST, longest), AXIS + longest];
    const room = (this.element.clientWidth || 600) - left - 2;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, room / n > 6 ? Math.floor(room / n) : Math.floor(10 * room / n) / 10));
    Object.assign(this, { cell, left, top });
    const [width, height] = [left + n * cell + 2, top + n * cell + 2];
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    svg.append(draw("rect", { x: left, y: top, width: n * cell, height: n * cell, class: "ground" }),
      draw("text", { x: left, y: 10, class: "axis-name" }, "predicted →"),
      draw("text", { x: left - 6, y: top - 6, class: "axis-name end" }, "actual ↓"));
    const every = Math.ceil(APART / cell);
    names.forEach((name, i) => {
      const middle = (i + 0.5) * cell;
      if (i % every === 0) {
        svg.append(draw("text", { x: left - 6, y: top + middle + 4, class: "end" }, name),
          draw("text", { transform: `translate(${left + middle + 4} ${top - 6}) rotate(-90)` }, name));
      }
      for (const [j, count] of this.counts[i]) {
        svg.append(draw("rect", {
          x: left + j * cell, y: top + i * cell, width: cell, height: cell, class: i === j ? "right" : "wrong",
          "fill-opacity": (0.3 + 0.7 * (count / this.totals[i])).toFixed(3),
        }));
      }
    });
    this.mark = draw("rect", { class: "mark", width: cell + 2, height: cell + 2, visibility: "hidden" });
    svg.append(this.mark);
    this.frame.replaceChildren(svg);
    this.#point(this.at);
  }

  #nearest(event) {
    const box = this.frame.firstChild.getBoundingClientRect();
    const place = [event.clientY - box.top - this.top, event.clientX - box.left - this.left].map((at) => Math.floor(at / this.cell));
    if (place.every((at) => at >= 0 && at < this.labels.length)) this.#point(place);
  }

  #key(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = this.labels.length - 1;
    this.#point(this.at ? this.at.map((at, i) => Math.min(last, Math.max(0, at + step[i]))) : [0, 0]);
  }

  #point(at) {
    this.at = at;
    if (!at) {
      this.readout.textContent = HINT;
      return;
    }
    const [actual, predicted] = at.map((i) => this.labels[i]);
    const count = this.counts[at[0]].get(at[1]) ?? 0;
    const total = this.totals[at[0]];
    this.readout.textContent = `actual ${visible(actual)} → predicted ${visible(predicted)}: ${items(count)}` +
      (total ? `, ${percent(count / total)} of actual ${visible(actual)}` : "");
    this.mark.setAttribute("x", this.left + at[1] * this.cell - 1);
    this.mark.setAttribute("y", this.top + at[0] * this.cell - 1);
    this.mark.setAttribute("visibility", "visible");
  }
}

function cut(label) {
  const shown = [...visible(label)];
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1).join("")}…` : shown.join("");
}
