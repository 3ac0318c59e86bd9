// One model in depth.

import { pie } from "./charts.js";
import { $, bar, below, heading, label, make, scroller, update } from "./dom.js";
import { counted, duration, number, percent, range, score, visible, zone } from "./format.js";
import { title } from "./list.js";
import { byLabel, matrix, mostConfused } from "./matrix.js";
import { TimeChart } from "./time_chart.js";

const NO_FEEDBACK = "No feedback counts in this window yet. A score needs a feedback with the request id of a prediction; " +
  "a wider window may hold some.";

const chart = new TimeChart();

// `apart` tells the model from others of its deployment's name.
export function showDetail(detail, by, apart) {
  const model = detail.result;
  update($("name"), [model.namespace, model.deployment, model.predictor, model.model, apart, model.disagreements, model.rewards],
    () => name(model, apart));
  update($("figures"), model, () => figures(model));
  overTime(detail.history, model, by);
  update($("windows-compared"), [detail.windows, by], () => windows(detail.windows, by === "request"));
  const confusion = [model.confusion, Object.keys(model.classes), model.unknown_actual, model.judged];
  update($("matrix"), confusion, () => matrix(model, model.judged ? "No item's actual label is known." : NO_FEEDBACK));
  update($("confused"), confusion, () => mostConfused(model));
  $("confused").hidden = !$("confused").children.length;
  update($("classes"), [model.classes, model.macro, model.micro, model.weighted], () => classes(model));
  $("classes").hidden = !Object.keys(model.classes).length;
}

function name(model, apart) {
  const where = ["namespace", "predictor", "model"].filter((each) => model[each])
    .map((each) => `${each} ${visible(model[each])}`).join(" · ");
  const found = [title(model, apart, "h2"), make("p", "where", where)];
  if (model.disagreements) {
    const most = model.rewards && model.disagreements > 0.1 * model.rewards;
    const text = `${counted(model.disagreements, "feedback", "feedbacks")} of ${number(model.rewards)}: reward and truth contradict each other.`;
    found.push(make("p", most ? "warning" : "where", text));
  }
  return found;
}

function figure(name, value, ...rest) {
  return make("div", "figure", make("h3", "", name), make("div", "value", value), ...rest);
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
  const pairs = make("dl", "pairs");
  const pair = (text, value) => pairs.append(make("dt", "", text), make("dd", "", value));
  pair("Macro F1", score(model.macro.f1));
  pair("Matthews’ correlation", score(model.mcc));
  pair("Cohen’s kappa", score(model.kappa));
  if (model.coverage !== null) pair("Coverage", percent(model.coverage));
  if (model.rewards) pair(`Mean of ${counted(model.rewards, "reward", "rewards")}`, score(model.reward_mean));
  if (model.unknown_actual) pair("Wrong, truth unknown", number(model.unknown_actual));
  return [make("div", "card", accuracy), ...(pies.length ? [make("div", "card pies", ...pies)] : []),
    make("div", "card", make("h3", "", "Scores"), pairs)];
}

const BASIS = { request: "by time of the request", feedback: "by time of the feedback" };

// The chart stays where it is: taking it out and in again would take its focus.
function overTime(history, model, by) {
  const [head, table] = $("over-time").children.length ? [...$("over-time").children].filter((each) => each !== chart.element)
    : [make("div", ""), make("div", "")];
  if (!head.parentNode) $("over-time").append(head, chart.element, table);
  update(table, [history, model.accuracy, by], () => {
    chart.show(history, model.accuracy, by === "request");
    const details = make("details", "", make("summary", "", "As a table"), scroller("Accuracy over time", chart.table()));
    details.setAttribute("aria-label", "Accuracy over time, as a table");
    return chart.points.length ? [details] : [];
  });
  const empty = !chart.points.length;
  chart.element.hidden = empty;
  const running = chart.points.some((point) => point.running);
  update(head, [by, history.step, history.from, empty, running], () => {
    const text = make("h3", "", `Accuracy over time, ${BASIS[by]}`);
    if (empty) return [text, make("p", "quiet", "Nothing in this window.")];
    const keys = { line: `per ${duration(history.step)}`, band: "its interval", overall: "whole window", judged: "judged" };
    if (by === "request") keys.predicted = "predicted";
    if (running) keys.running = "not over yet";
    return [text, make("p", "key", ...Object.entries(keys).map(([kind, words]) => make("span", "", make("i", kind), words)),
      make("span", "", `times in ${zone(chart.time(0))}`))];
  });
}

// Feedback time knows no predictions, so no coverage either.
function windows(found, byRequest) {
  const whole = (m) => (byRequest ? [make("td", "more", number(m.predictions)), make("td", "", percent(m.coverage))] : []);
  const row = ({ window, summary: m }) => make("tr", "", heading("row", window),
    make("td", "", percent(m.accuracy), m.judged ? below(range(m.accuracy_low, m.accuracy_high)) : ""),
    make("td", "wide", m.judged ? bar(m.accuracy_low, m.accuracy_high, m.accuracy) : ""),
    make("td", "more", m.judged ? range(m.accuracy_low, m.accuracy_high) : "–"),
    make("td", "", number(m.judged), byRequest ? below(`of ${number(m.predictions)}`) : ""), ...whole(m));
  const head = [["window"], ["accuracy", "", "95\u202f% interval"], ["0 to 100\u202f%", "wide"], ["95\u202f% interval", "more"],
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

function classes(model) {
  const names = ["precision", "recall", "specificity", "f1"];
  const row = (first, values, support) => make("tr", "", first,
    ...names.map((each) => make("td", "", score(values[each]))), make("td", "more", support));
  const labels = Object.keys(model.classes).sort(byLabel(model));
  const support = heading("col", "support");
  support.className = "more";
  const of = (each) => number(model.classes[each].support);
  const table = make("table", "scores",
    make("thead", "", make("tr", "", heading("col", "class", below("support")),
      ...["precision", "recall", "specificity", "F1"].map((each) => heading("col", each)), support)),
    make("tbody", "", ...labels.map((each) =>
      row(heading("row", label(each), below(of(each))), model.classes[each], of(each)))),
    make("tfoot", "", row(heading("row", "macro mean"), model.macro, ""), row(heading("row", "micro"), model.micro, ""),
      row(heading("row", "weighted mean"), model.weighted, "")));
  return [make("h3", "", "Classes, each against the rest"), scroller("Classes", table)];
}
