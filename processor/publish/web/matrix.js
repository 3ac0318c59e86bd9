// What was predicted beside what was right: the confusion matrix, and its worst cells as a list.

import { heading, label, make, scroller } from "./dom.js";
import { counted, items, number, percent, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";

const DENSE_FROM = 13; // labels: smaller cells
const MAP_FROM = 25; // labels: no numbers in cells
const LISTED = 10; // pairs of labels, and of few labels half as many

const map = new HeatMap();

// Numbers in their own order; what the server sums as "other" last.
export function byLabel(model) {
  const collator = new Intl.Collator("en", { numeric: true });
  const summed = (each) => (Object.hasOwn(model.classes, each) ? 0 : 1);
  return (a, b) => summed(a) - summed(b) || collator.compare(a, b) || (a < b ? -1 : 1);
}

export const labelsOf = (model) => [...new Set(model.confusion.flatMap((c) => [c.actual, c.predicted]))].sort(byLabel(model));

// The content of the matrix's card; `none` says why there is no matrix.
export function matrix(model, none) {
  const labels = labelsOf(model);
  const many = labels.length >= MAP_FROM;
  const title = make("h3", "", many ? `Confusion matrix of ${labels.length} labels: the stronger the colour, the larger the share of the row`
    : "Confusion matrix: items, and share of the row");
  if (!labels.length) return [title, make("p", "quiet", none)];
  if (many) map.show(labels, model.confusion);
  const found = [title, many ? map.element : scroller("Confusion matrix", table(labels, model.confusion))];
  if (model.unknown_actual) found.push(make("p", "quiet", `Not in it: ${items(model.unknown_actual)}, wrong, with a truth that is not known.`));
  return found;
}

function table(labels, cells) {
  const counts = new Map(cells.map((c) => [JSON.stringify([c.actual, c.predicted]), c.count]));
  const count = (actual, predicted) => counts.get(JSON.stringify([actual, predicted])) || 0;
  const axis = heading("colgroup", make("span", "", "predicted →"));
  axis.className = "axis";
  axis.colSpan = labels.length;
  const head = make("thead", "",
    make("tr", "", make("th"), axis, make("th")),
    make("tr", "", make("th", "axis", "actual ↓"), ...labels.map((each) => heading("col", label(each))), make("th", "axis", "items")));
  const body = make("tbody", "");
  for (const actual of labels) {
    const total = labels.reduce((sum, predicted) => sum + count(actual, predicted), 0);
    body.append(make("tr", "", heading("row", label(actual)),
      ...labels.map((predicted) => cell(actual, predicted, count(actual, predicted), total)),
      make("td", "sum", number(total))));
  }
  return make("table", labels.length >= DENSE_FROM ? "matrix dense" : "matrix", head, body);
}

function cell(actual, predicted, count, total) {
  const share = total ? count / total : 0;
  const element = make("td", actual === predicted ? "right" : "wrong", make("b", "", count ? number(count) : "·"),
    make("small", "", count ? percent(share, 0) : ""));
  element.style.setProperty("--share", `${count ? 8 + 92 * share : 0}%`);
  element.classList.toggle("strong", actual === predicted && share > 0.78);
  element.classList.toggle("none", count === 0);
  element.title = `actual ${visible(actual)}, predicted ${visible(predicted)}: ${items(count)}, ${percent(share)} of the row`;
  return element;
}

// What is taken for what, the most frequent first. Of two labels the matrix says it at a glance.
export function mostConfused(model) {
  const totals = new Map();
  for (const { actual, count } of model.confusion) totals.set(actual, (totals.get(actual) ?? 0) + count);
  const wrong = model.confusion.filter((c) => c.actual !== c.predicted);
  const labels = labelsOf(model);
  if (labels.length < 3 || !wrong.length) return [];
  const share = (c) => c.count / totals.get(c.actual);
  wrong.sort((a, b) => b.count - a.count || share(b) - share(a));
  const listed = labels.length < DENSE_FROM ? LISTED / 2 : LISTED;
  const rows = wrong.slice(0, listed).map((c) => make("tr", "", heading("row", label(c.actual)),
    make("td", "name", "→ ", label(c.predicted)), make("td", "", number(c.count)), make("td", "", percent(share(c)))));
  const found = [make("h3", "", "Most confused"), scroller("Most confused", make("table", "scores pairs-of-labels",
    make("thead", "", make("tr", "", ...["actual", "→ predicted", "items", "of the actual"].map((each) => heading("col", each)))),
    make("tbody", "", ...rows)))];
  const rest = wrong.slice(listed);
  if (rest.length) {
    found.push(make("p", "quiet", `And ${counted(rest.length, "other pair", "other pairs")} with ` +
      `${items(rest.reduce((sum, c) => sum + c.count, 0))}.`));
  }
  return found;
}
