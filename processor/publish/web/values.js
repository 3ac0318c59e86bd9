// Panels of a model's probabilities, of its numbers and of the user's own statistics.

import { agreement, curve, errorBars, means, reliability } from "./charts.js";
import { $, heading, make, scroller } from "./dom.js";
import { amount, number, percent, score, signed, visible } from "./format.js";

const BEST = "best F1";

// The content of the card of probabilities; empty for a model without any.
export function probabilities(model, panels) {
  if (model.calibration_error === undefined) return [];
  const best = panels.thresholds?.find((row) => row.best);
  const current = panels.thresholds?.find((row) => row.current);
  const marks = [[best, "best", BEST], [current, "current", "current"]].filter(([row]) => row);
  const found = [plot("Reliability diagram", [["bubble", "items, by area"], ["even", "ideal"]],
    reliability(panels.calibration))];
  if (panels.curve) {
    const keys = [...(model.threshold === undefined ? [] : [["current", `current threshold ${model.threshold}`]]), ["best", BEST]];
    const at = (across, up) => marks.map(([{ scores }, kind, text]) => [scores[across], scores[up], kind, `${text}: threshold ${score(scores.threshold)}`]);
    // From the lowest threshold to the highest; above it nothing is predicted.
    const roc = [...panels.curve.map(([, , recall, rate]) => [rate, recall]), [0, 0]];
    const precision = panels.curve.map(([, one, recall]) => [recall, one]).filter(([, one]) => one !== null);
    if (precision.length) precision.push([0, precision[precision.length - 1][1]]);
    found.push(plot("ROC curve", keys, curve("ROC curve", "false positive rate", "recall", roc, at("false_positive_rate", "recall"), true)),
      plot("Precision and recall", keys, curve("Precision and recall", "recall", "precision", precision, at("recall", "precision"), false)));
  }
  found.push(table("Scores of the probabilities", probabilityScores(model)));
  if (panels.thresholds) found.push(thresholds(panels.thresholds));
  return [make("div", "panels", ...found)];
}

// The content of the card of numbers; empty for a model without any.
export function numbers(model, panels, history) {
  if (!model.measured) return [];
  const quantiles = Object.entries(model.absolute_error_quantiles ?? {}).map(([rank, error]) => [`${percent(Number(rank), 0)} of the items`, amount(error)]);
  const agreed = plot("Predicted against actual", [["even", "predicted = actual"], ["line", fit(model)],
    ["ellipse", "1 and 2 standard deviations"], ["best", "means"]], agreement(model));
  agreed.append(make("p", "note", $("agreement-note").textContent));
  return [make("div", "panels", agreed,
    make("div", "", table("Scores of the numbers", numberScores(model)), table("Absolute error, at most", quantiles)),
    plot("Mean predicted and mean actual over time", [["line", "mean predicted"], ["line actual", "mean actual"]], means(history), "long"),
    plot("Absolute errors: share of the items", [], errorBars(panels.errors), "long"))];
}

// The line of best fit as a formula.
function fit(model) {
  if (model.slope === undefined) return "best fit: undefined";
  return `best fit: actual = ${score(model.slope)} \u00b7 predicted ${model.intercept < 0 ? "\u2212" : "+"} ${amount(Math.abs(model.intercept))}`;
}

// The content of the card of the user's own statistics; empty for a model without any.
export function custom(model) {
  const failed = model.custom_failed ?? {};
  const names = [...new Set([...Object.keys(model.custom ?? {}), ...Object.keys(failed)])];
  const rows = (name) => {
    const scores = Object.entries(model.custom?.[name] ?? {}).map(([score, value]) => [visible(score), value === null ? "–" : amount(value)]);
    return [...(scores.length ? scores : [["No scores", ""]]), ...(failed[name] ? [["Failed on items", number(failed[name])]] : [])];
  };
  return names.length ? [make("div", "panels", ...names.map((name) => table(name, rows(name))))] : [];
}

export function plot(title, keys, svg, kind = "") {
  const key = keys.length ? [make("p", "key", ...keys.map(([each, words]) => make("span", "", make("i", each), words)))] : [];
  return make("div", `plot ${kind}`, make("h3", "", title), ...key, svg);
}

function table(title, rows) {
  const pairs = make("dl", "pairs");
  for (const [name, value] of rows) pairs.append(make("dt", "", name), make("dd", "", value));
  return make("div", "table", make("h3", "", title), pairs);
}

function probabilityScores(model) {
  const rows = [["Calibration error (ECE)", score(model.calibration_error)]];
  if (model.brier_score !== undefined) {
    rows.push(["Brier score", score(model.brier_score)], ["Log loss", score(model.log_loss)],
      ["Mean reciprocal rank", score(model.reciprocal_rank)]);
  }
  if (model.roc_auc !== undefined) {
    rows.push(["ROC AUC", `${score(model.roc_auc)} ± ${score(model.roc_auc_error_bound ?? 0)}`],
      ["Average precision", score(model.average_precision)]);
  }
  for (const [k, share] of Object.entries(model.top_k_accuracy ?? {})) rows.push([`Right label among the first ${k}`, percent(share)]);
  return rows;
}

function numberScores(model) {
  const rows = [["Slope of the best fit", score(model.slope)], ["Correlation", score(model.correlation)], ["MAPE", percent(model.mape)], ["WAPE", percent(model.wape)]];
  if (model.within_tolerance !== undefined) rows.push(["Within the tolerance", percent(model.within_tolerance)]);
  rows.push(["Mean predicted", amount(model.mean_predicted)], ["Standard deviation, predicted", amount(model.deviation_predicted)],
    ["Mean actual", amount(model.mean_actual)], ["Standard deviation, actual", amount(model.deviation_actual)]);
  if (model.task !== "regression") rows.push(["Judged as numbers", number(model.measured)]);
  return rows;
}

function thresholds(rows) {
  const remark = (row) => [row.best ? BEST : "", row.current ? "current" : ""].filter(Boolean).join(", ");
  const body = rows.map((row) => make("tr", row.best || row.current ? "marked" : "", heading("row", score(row.scores.threshold)),
    ...["precision", "recall", "f1"].map((each) => make("td", "", score(row.scores[each]))), make("td", "name", remark(row))));
  const names = ["threshold", "precision", "recall", "F1", ""].map((name) => (name ? heading("col", name) : make("td")));
  return make("div", "", make("h3", "", "If another threshold decided"), scroller("Thresholds",
    make("table", "scores thresholds", make("thead", "", make("tr", "", ...names)), make("tbody", "", ...body))), make("p", "note", $("thresholds-note").textContent));
}
