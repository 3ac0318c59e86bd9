// One model in depth, and the worker that shows it.

import { TimeChart, distribution, pie } from "./page_charts.js";
import { $, bar, counted, heading, items, label, make, number, percent, range, score, update } from "./page_dom.js";

const DENSE_FROM = 13; // classes
const NO_FEEDBACK = "No feedback counts in this window yet. A score needs a feedback with the request id of a prediction; " +
  "a wider window may hold some.";

const chart = new TimeChart();

export function showDetail(detail, by) {
  const model = detail.result;
  update($("name"), [model.namespace, model.deployment, model.predictor, model.model, model.disagreements, by], () => name(model));
  update($("figures"), model, () => figures(model));
  overTime(detail.history, model, by);
  update($("windows-compared"), detail.windows, () => windows(detail.windows));
  update($("matrix"), [model.confusion, Object.keys(model.classes), model.unknown_actual, model.judged], () => matrix(model));
  update($("classes"), [model.classes, model.macro, model.micro, model.weighted], () => classes(model));
  $("classes").hidden = !Object.keys(model.classes).length;
}

function name(model) {
  const where = make("p", "where", `namespace ${model.namespace} · predictor ${model.predictor} · model ${model.model}`);
  const found = [make("h2", "", model.deployment), where];
  if (model.disagreements) {
    const most = model.rewards && model.disagreements > 0.1 * model.rewards;
    const text = `${counted(model.disagreements, "feedback", "feedbacks")} of ${number(model.rewards)}: reward and truth contradict each other.`;
    found.push(make("p", most ? "warning" : "where", text));
  }
  return found;
}

function figure(title, value, ...rest) {
  return make("div", "figure", make("h3", "", title), make("div", "value", value), ...rest);
}

function figures(model) {
  const accuracy = model.judged
    ? figure("Accuracy", percent(model.accuracy), bar(model.accuracy_low, model.accuracy_high, model.accuracy),
      make("p", "note", `${range(model.accuracy_low, model.accuracy_high)} (95\u202f%)`),
      make("p", "note", `${number(model.correct)} right of ${number(model.judged)} judged`))
    : figure("Accuracy", "–", make("p", "note", NO_FEEDBACK));
  const pies = [];
  if (model.judged) {
    pies.push(pie("Judged items", [["correct", model.correct, "right"], ["incorrect", model.judged - model.correct, "wrong"]]));
  }
  if (model.predictions !== null) {
    pies.push(pie("Predicted items", [["feedback", Math.min(model.judged, model.predictions), "right"],
      ["no feedback", Math.max(0, model.predictions - model.judged), "none"]]));
  }
  const cards = [make("div", "card", accuracy), make("div", "card pies", ...pies)];
  const pairs = make("dl", "pairs");
  const pair = (title, value) => pairs.append(make("dt", "", title), make("dd", "", value));
  pair("Macro F1", score(model.macro.f1));
  pair("Matthews’ correlation", score(model.mcc));
  pair("Cohen’s kappa", score(model.kappa));
  if (model.coverage !== null) pair("Coverage", percent(model.coverage));
  if (model.rewards) pair(`Mean of ${counted(model.rewards, "reward", "rewards")}`, score(model.reward_mean));
  if (model.unknown_actual) pair("Wrong, truth unknown", number(model.unknown_actual));
  cards.push(make("div", "card", make("h3", "", "Scores"), pairs));
  return cards;
}

const BASIS = { request: "by time of the request", feedback: "by time of the feedback" };

// The chart stays where it is: taking it out and in again would take its focus.
function overTime(history, model, by) {
  const [head, table] = $("over-time").children.length ? [...$("over-time").children].filter((each) => each !== chart.element)
    : [make("div", ""), make("div", "")];
  if (!head.parentNode) $("over-time").append(head, chart.element, table);
  const content = [history, model.accuracy, by];
  update(table, content, () => {
    chart.show(history, model.accuracy, by === "request");
    const details = make("details", "", make("summary", "", "As a table"), make("div", "scroll", chart.table()));
    details.setAttribute("aria-label", "Accuracy over time, as a table");
    return chart.points.length ? [details] : [];
  });
  const empty = !chart.points.length;
  chart.element.hidden = empty;
  update(head, [by, history.step, empty], () => {
    const title = make("h3", "", `Accuracy over time, ${BASIS[by]}`);
    if (empty) return [title, make("p", "quiet", "Nothing in this window.")];
    const keys = { line: `per ${duration(history.step)}`, band: "its interval", overall: "whole window", judged: "judged" };
    if (by === "request") keys.predicted = "predicted";
    return [title, make("p", "key", ...Object.entries(keys).map(([kind, text]) => make("span", "", make("i", kind), text)))];
  });
}

export function duration(seconds) {
  for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= size && seconds % size === 0) return seconds === size ? unit : `${seconds / size} ${unit}s`;
  }
  return `${seconds} seconds`;
}

function windows(found) {
  const row = ({ window, summary: m }) => make("tr", "", heading("row", window),
    make("td", "", percent(m.accuracy)),
    make("td", "wide", m.judged ? bar(m.accuracy_low, m.accuracy_high, m.accuracy) : ""),
    make("td", "more", m.judged ? range(m.accuracy_low, m.accuracy_high) : "–"),
    make("td", "", number(m.judged)),
    make("td", "more", m.predictions === null ? "–" : number(m.predictions)),
    make("td", "", percent(m.coverage)));
  const head = [["window", ""], ["accuracy", ""], ["0 to 100\u202f%", "wide"], ["95\u202f% interval", "more"], ["judged", ""], ["predicted", "more"], ["coverage", ""]];
  const titles = head.map(([text, kind]) => {
    const element = heading("col", text);
    element.className = kind;
    return element;
  });
  const table = make("table", "scores windows", make("thead", "", make("tr", "", ...titles)),
    make("tbody", "", ...found.map(row)));
  return [make("h3", "", "Every window"), make("div", "scroll", table)];
}

function cell(actual, predicted, count, total) {
  const share = total ? count / total : 0;
  const element = make("td", actual === predicted ? "right" : "wrong", make("b", "", count ? number(count) : "·"),
    make("small", "", count ? percent(share, 0) : ""));
  element.style.setProperty("--share", `${count ? 8 + 92 * share : 0}%`);
  element.classList.toggle("strong", actual === predicted && share > 0.78);
  element.classList.toggle("none", count === 0);
  element.title = `actual ${actual}, predicted ${predicted}: ${items(count)}, ${percent(share)} of the row`;
  return element;
}

function matrix(model) {
  const title = make("h3", "", "Confusion matrix: items, and share of the row");
  if (!model.confusion.length) {
    return [title, make("p", "quiet", model.judged ? "No item's actual label is known." : NO_FEEDBACK)];
  }
  const counts = new Map(model.confusion.map((c) => [JSON.stringify([c.actual, c.predicted]), c.count]));
  const labels = [...new Set(model.confusion.flatMap((c) => [c.actual, c.predicted]))].sort(byLabel(model));
  const count = (actual, predicted) => counts.get(JSON.stringify([actual, predicted])) || 0;
  const axis = heading("colgroup", "predicted →");
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
  const table = make("table", labels.length >= DENSE_FROM ? "matrix dense" : "matrix", head, body);
  const found = [title, make("div", "scroll", table)];
  if (model.unknown_actual) found.push(make("p", "quiet", `Not in it: ${items(model.unknown_actual)}, wrong, with a truth that is not known.`));
  return found;
}

// Numbers in their own order; what the server sums as "other" last.
function byLabel(model) {
  const collator = new Intl.Collator("en", { numeric: true });
  const summed = (each) => (Object.hasOwn(model.classes, each) ? 0 : 1);
  return (a, b) => summed(a) - summed(b) || collator.compare(a, b) || (a < b ? -1 : 1);
}

function classes(model) {
  const names = ["precision", "recall", "specificity", "f1"];
  const row = (first, values, support) => make("tr", "", first,
    ...names.map((each) => make("td", "", score(values[each]))), make("td", "", support));
  const labels = Object.keys(model.classes).sort(byLabel(model));
  const table = make("table", "scores",
    make("thead", "", make("tr", "", heading("col", "class"),
      ...["precision", "recall", "specificity", "F1", "support"].map((each) => heading("col", each)))),
    make("tbody", "", ...labels.map((each) =>
      row(heading("row", label(each)), model.classes[each], number(model.classes[each].support)))),
    make("tfoot", "", row(heading("row", "macro mean"), model.macro, ""), row(heading("row", "micro"), model.micro, ""),
      row(heading("row", "weighted mean"), model.weighted, "")));
  return [make("h3", "", "Classes, each against the rest"), make("div", "scroll", table)];
}

export function showWork(work) {
  $("work").hidden = false;
  update($("events"), [work.events, work.waiting], () => events(work));
  update($("delay"), work.feedback_delay, () => delay(work.feedback_delay));
  update($("letters"), [work.dead_letters, work.events.dead_letters], () => letters(work));
}

function events(work) {
  const e = work.events;
  const pairs = make("dl", "pairs");
  const pair = (title, value) => pairs.append(make("dt", "", title), make("dd", "", number(value)));
  pair("Events read", e.read);
  pair("Predictions that wait for feedback", work.waiting);
  pair("Feedback without prediction", e.unmatched_feedback);
  pair("Duplicates", e.duplicates);
  pair("Corrections", e.corrections);
  pair("Too late to count", e.late);
  const reasons = { "says nothing": e.says_nothing, "rows differ": e.rows_differ, ambiguous: e.ambiguous, ...e.not_scorable };
  for (const [reason, count] of Object.entries(reasons)) if (count) pair(`Not judged: ${reason.replaceAll("_", " ")}`, count);
  return [make("h3", "", "Events, since its start"), pairs];
}

function delay({ bounds, counts }) {
  const title = make("h3", "", "From prediction to feedback, all its models");
  const last = counts.findLastIndex((n) => n > 0);
  if (last < 0) return [title, make("p", "quiet", "No feedback since its start.")];
  const first = counts.findIndex((n) => n > 0);
  const names = [...bounds.map((bound) => `up to ${short(bound)}`), `over ${short(bounds[bounds.length - 1])}`];
  return [title, distribution(names.slice(first, last + 1), counts.slice(first, last + 1))];
}

function short(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([each]) => seconds >= each);
  return `${seconds / size}\u202f${unit}`;
}

function letters(work) {
  const title = make("h3", "", "Dead letters, the newest");
  const total = Object.values(work.events.dead_letters).reduce((sum, n) => sum + n, 0);
  if (!total) return [title, make("p", "quiet", "None: every event was understood.")];
  const row = (letter) => make("li", "", make("b", "", letter.reason), make("span", "", ` ${letter.detail}`),
    make("span", "quiet", `${new Date(letter.at).toLocaleString([], { hourCycle: "h23" })} · ${letter.topic}/${letter.partition}@${letter.offset}`));
  return [title, make("p", "quiet", `${number(total)} since its start`),
    make("div", "scroll low", make("ul", "letters", ...work.dead_letters.map(row)))];
}
