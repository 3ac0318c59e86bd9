// One model in depth.

import { pie } from "./charts.js";
import { $, bar, below, heading, label, make, scroller, update } from "./dom.js";
import { ago, amount, counted, duration, mainScore, number, percent, score, visible, zone } from "./format.js";
import { late } from "./late/card.js";
import { title } from "./list.js";
import { byLabel, matrix, mostConfused } from "./matrix.js";
import { TimeChart } from "./time_chart.js";
import { custom, numbers, probabilities } from "./values.js";

const NO_FEEDBACK = "No feedback counts in this window yet. A score needs a feedback with the request id of a prediction; " +
  "a wider window may hold some.";

const chart = new TimeChart();

const folded = (text) => text.toLowerCase().replaceAll("'", "\u2019");
const TERMS = new Map([...$("terms").querySelectorAll("dt")].map((each) => [folded(each.textContent), each]));

// Give the name of each score that is shown its meaning as a tip, and list these meanings for those who
// have no pointer.
function explain() {
  const shown = new Set();
  for (const each of $("detail").querySelectorAll("dt, th[scope=col]:not(:has(.label)), h3")) {
    const term = each.closest("#meanings") ? null : TERMS.get(folded(each.textContent));
    if (!term) continue;
    each.title = term.nextElementSibling.textContent;
    shown.add(term);
  }
  const found = [...TERMS.values()].filter((term) => shown.has(term));
  update($("meanings").querySelector("dl"), found.map((term) => term.textContent),
    () => found.flatMap((term) => [make("dt", "", term.textContent), make("dd", "", term.nextElementSibling.textContent)]));
}

// `apart` is the text that distinguishes the model from others whose deployment has the same name.
// `age` is the number of seconds since the model's worker answered; null if it answers now.
export function showDetail(detail, window, by, apart, age) {
  const model = detail.result;
  update($("name"), [model.namespace, model.deployment, model.predictor, model.model, apart, model.disagreements, model.rewards, window, by, age, model.targets],
    () => name(model, window, by, apart, age));
  update($("figures"), [model, detail.decided], () => figures(model, detail.decided));
  overTime(detail.history, model, by);
  update($("late"), [detail.late], () => late(detail.late));
  update($("windows-compared"), [detail.windows, by], () => windows(detail.windows, by === "request"));
  const confusion = [model.confusion, Object.keys(model.classes), model.unknown_actual, model.judged];
  const hasLabels = model.confusion.length > 0 || !model.measured && model.task !== "multilabel";
  $("matrix").hidden = !hasLabels;
  update($("probabilities"), [model, detail.panels], () => probabilities(model, detail.panels));
  update($("numbers"), [model, detail.panels, detail.history], () => numbers(model, detail.panels, detail.history));
  update($("custom"), [model.custom, model.custom_failed], () => custom(model));
  for (const id of ["late", "probabilities", "numbers", "custom"]) $(id).hidden = !$(id).children.length;
  update($("matrix"), confusion, () => matrix(model, model.judged ? "No item's actual label is known." : NO_FEEDBACK));
  update($("confused"), confusion, () => mostConfused(model));
  $("confused").hidden = !$("confused").children.length;
  update($("classes"), [model.classes, model.macro, model.micro, model.weighted], () => classes(model));
  $("classes").hidden = !Object.keys(model.classes).length;
  explain();
}

function name(model, window, by, apart, age) {
  const where = ["namespace", "predictor", "model"].filter((each) => model[each])
    .map((each) => `${each} ${visible(model[each])}`).join(" · ");
  const found = [title(model, apart, "h2"), make("p", "where", where),
    make("p", "where", `Shown: ${window === "all" ? "all time" : `the last ${window}`}, ${BASIS[by]}`)];
  if (age) found.push(make("p", "warning", `As of ${ago(age)}: no worker has newer numbers of this model at the moment.`));
  if (model.targets) found.push(make("p", "where", `Limits: ${limits(model.targets).join(" · ")}`));
  if (model.disagreements) {
    const most = model.rewards && model.disagreements > 0.1 * model.rewards;
    const text = `${counted(model.disagreements, "feedback", "feedbacks")} of ${number(model.rewards)}: reward and truth contradict each other.`;
    found.push(make("p", most ? "warning" : "where", text));
  }
  return found;
}

// The limits of the models file, which alerts read.
function limits({ floor, max_error: error, feedback_every: every, min_coverage: coverage, retired, retired_classes: classes }) {
  return [
    floor !== undefined && `accuracy from ${percent(floor)}`,
    error !== undefined && `mean absolute error up to ${amount(error)}`,
    coverage !== undefined && `coverage from ${percent(coverage)}`,
    every !== undefined && `feedback every ${duration(every)}`,
    retired && "retired",
    classes && `retired classes: ${classes.map(visible).join(", ")}`,
  ].filter(Boolean);
}

function figure(name, value, ...rest) {
  return make("div", "figure", make("h3", "", name), make("div", value.length > 9 ? "value long" : "value", value), ...rest);
}

function figures(model, decided) {
  const main = mainScore(model);
  const judged = model.task === "regression" ? `${number(model.measured)} judged as numbers` : `${number(model.correct)} right of ${number(decided)} judged`;
  const first = model.judged
    ? figure(main.name, main.text, main.at && bar(main.at[0], main.at[2], main.at[1]),
      make("p", "note", `${main.interval} (95\u202f%)`), make("p", "note", judged))
    : figure("Accuracy", "–", make("p", "note", NO_FEEDBACK));
  const pies = [];
  if (decided) {
    pies.push(pie("Judged items", [["correct", model.correct, "right"], ["incorrect", decided - model.correct, "wrong"]]));
  }
  if (model.predictions !== null) {
    pies.push(pie("Predicted items", [["feedback", Math.min(model.judged, model.predictions), "right"],
      ["no feedback", Math.max(0, model.predictions - model.judged), "none"]]));
  }
  return [make("div", "card", first), ...(pies.length ? [make("div", "card pies", ...pies)] : []),
    make("div", "card", make("h3", "", "Scores"), scoresOf(model))];
}

// The scores that the model's task has. A field that not all tasks have is left out where it has no value.
function scoresOf(model) {
  const pairs = make("dl", "pairs");
  const pair = (text, value) => pairs.append(make("dt", "", text), make("dd", "", value));
  if (model.measured) {
    if (model.task !== "regression") pair("Mean absolute error", amount(model.mae ?? 0));
    pair("RMSE", amount(model.rmse ?? 0));
    pair("Bias", amount(model.bias ?? 0));
    pair("R²", score(model.r2));
  }
  if (model.task === "multilabel") {
    pair("Jaccard index", score(model.jaccard ?? 0));
    pair("Hamming loss", score(model.hamming_loss ?? 0));
  }
  if (model.task !== "regression") pair("Macro F1", score(model.macro.f1));
  if (model.task === undefined || model.task === "classification") {
    pair("Matthews’ correlation", score(model.mcc));
    pair("Cohen’s kappa", score(model.kappa));
  }
  if (model.roc_auc !== undefined) pair("ROC AUC", score(model.roc_auc));
  if (model.coverage !== null) pair("Coverage", percent(model.coverage));
  if (model.rewards) pair(`Mean of ${counted(model.rewards, "reward", "rewards")}`, score(model.reward_mean));
  if (model.unknown_actual) pair("Wrong, truth unknown", number(model.unknown_actual));
  return pairs;
}

const BASIS = { request: "by time of the request", feedback: "by time of the feedback" };

// The chart element stays in the document: removing it would take its focus.
function overTime(history, model, by) {
  const [head, table] = $("over-time").children.length ? [...$("over-time").children].filter((each) => each !== chart.element)
    : [make("div", ""), make("div", "")];
  if (!head.parentNode) $("over-time").append(head, chart.element, table);
  const { name: measure } = mainScore(model);
  const overall = model.task === "regression" ? model.mae ?? 0 : model.accuracy;
  update(table, [history, overall, by], () => {
    chart.show(history, overall, by === "request", measure);
    const details = make("details", "", make("summary", "", "As a table"), scroller(`${measure} over time`, chart.table()));
    details.setAttribute("aria-label", `${measure} over time, as a table`);
    return chart.points.length ? [details] : [];
  });
  const empty = !chart.points.length;
  chart.element.hidden = empty;
  const isScored = chart.points.some((point) => point.value !== null);
  const running = chart.points.some((point) => point.running);
  update(head, [measure, by, history.step, history.from, empty, running, isScored], () => {
    const text = make("h3", "", `${measure} over time, ${BASIS[by]}`);
    if (empty) return [text, make("p", "quiet", "Nothing in this window.")];
    const scores = { line: `per ${duration(history.step)}`, band: "its interval", overall: "whole window" };
    const keys = { ...(isScored ? scores : {}), judged: "judged" };
    if (by === "request") keys.predicted = "predicted";
    if (running) keys.running = "not over yet";
    return [text, make("p", "key", ...Object.entries(keys).map(([kind, words]) => make("span", "", make("i", kind), words)),
      make("span", "", `times in ${zone(chart.time(0))}`))];
  });
}

// By time of feedback there are no predictions, so there is no coverage either.
function windows(found, byRequest) {
  const whole = (m) => (byRequest ? [make("td", "more", number(m.predictions)), make("td", "", percent(m.coverage))] : []);
  const judged = found.findLast((each) => each.summary.judged);
  const main = mainScore((judged ?? found[0]).summary);
  const isShare = main.at !== null || !judged;
  const row = ({ window, summary: m }) => {
    const { text, interval, at } = mainScore(m);
    return make("tr", "", heading("row", window), make("td", "", m.judged ? text : "–", m.judged ? below(interval) : ""),
      ...(isShare ? [make("td", "wide", at ? bar(at[0], at[2], at[1]) : "")] : []), make("td", "more", m.judged ? interval : "–"),
      make("td", "", number(m.judged), byRequest ? below(`of ${number(m.predictions)}`) : ""), ...whole(m));
  };
  const head = [["window"], [main.short === "MAE" ? "MAE" : main.name.toLowerCase(), "", "95\u202f% interval"], ...(isShare ? [["0 to 100\u202f%", "wide"]] : []), ["95\u202f% interval", "more"],
    ["judged", "", byRequest ? "of predicted" : ""], ...(byRequest ? [["predicted", "more"], ["coverage"]] : [])];
  const titles = head.map(([text, kind = "", second = ""]) => {
    const element = heading("col", text, second ? below(second) : "");
    element.className = kind;
    return element;
  });
  const table = make("table", "scores windows", make("thead", "", make("tr", "", ...titles)),
    make("tbody", "", ...found.map(row)));
  return [make("h3", "", "Every window"), scroller("Every window", table)];
}

// Whether the classes are labels of which an item may have several.
const ofSets = (model) => !model.confusion.length && model.task === "multilabel";

function classes(model) {
  const names = ["precision", "recall", "specificity", "f1"];
  const areas = Object.values(model.classes).some((each) => each.roc_auc !== null);
  const row = (first, values, support) => make("tr", "", first,
    ...names.map((each) => make("td", "", score(values[each]))), ...(areas ? [make("td", "more", support && score(values.roc_auc))] : []),
    make("td", "more", support));
  const labels = Object.keys(model.classes).sort(byLabel(model));
  const more = [...(areas ? ["ROC AUC"] : []), "support"].map((text) => {
    const element = heading("col", text);
    element.className = "more";
    return element;
  });
  const of = (each) => number(model.classes[each].support);
  const table = make("table", "scores",
    make("thead", "", make("tr", "", heading("col", ofSets(model) ? "label" : "class", below("support")),
      ...["precision", "recall", "specificity", "F1"].map((each) => heading("col", each)), ...more)),
    make("tbody", "", ...labels.map((each) =>
      row(heading("row", label(each), below(of(each))), model.classes[each], of(each)))),
    make("tfoot", "", row(heading("row", "macro mean"), model.macro, ""), row(heading("row", "micro"), model.micro, ""),
      row(heading("row", "weighted mean"), model.weighted, "")));
  const kind = ofSets(model) ? "Labels" : "Classes";
  return [make("h3", "", `${kind}, each against the rest`), scroller("Classes", table)];
}
