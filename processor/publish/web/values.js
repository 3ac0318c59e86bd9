// Panels of a model's probabilities, of its numbers and of the user's own statistics.

import { curve, errorBars, reliability } from "./charts.js";
import { heading, make, scroller } from "./dom.js";
import { amount, number, percent, score, visible } from "./format.js";

const USUAL = "threshold 0.5";
const BEST = "best F1";

// The content of the card of probabilities; empty for a model without any.
export function probabilities(model, panels) {
  if (model.calibration_error === undefined) return [];
  const best = panels.thresholds?.find((row) => row.best);
  const usual = panels.thresholds?.find((row) => row.usual);
  const marks = [[best, "best", BEST], [usual, "usual", USUAL]].filter(([row]) => row);
  const found = [plot("Reliability diagram", [["bubble", "items, by area"], ["even", "ideal"]],
    reliability(panels.calibration))];
  if (panels.curve) {
    const keys = [["usual", USUAL], ["best", BEST]];
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
export function numbers(model, panels) {
  if (!model.measured) return [];
  const quantiles = Object.entries(model.absolute_error_quantiles ?? {}).map(([rank, error]) => [`${percent(Number(rank), 0)} of the items`, amount(error)]);
  return [make("div", "panels", plot("Absolute errors: share of the items", [], errorBars(panels.errors), "long"),
    make("div", "", table("Scores of the numbers", numberScores(model)), table("Absolute error, at most", quantiles)))];
}

// The content of the card of the user's own statistics; empty for a model without any.
export function custom(model) {
  const failed = model.custom_failed ?? {};
  const names = [...new Set([...Object.keys(model.custom ?? {}), ...Object.keys(failed)])];
  const rows = (name) => [...Object.entries(model.custom?.[name] ?? {}).map(([score, value]) => [visible(score), value === null ? "–" : amount(value)]),
    ...(failed[name] ? [["Failed on items", number(failed[name])]] : [])];
  return names.length ? [make("div", "panels", ...names.map((name) => table(name, rows(name))))] : [];
}

function plot(title, keys, svg, kind = "") {
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
      ["Mean reciprocal rank", score(model.reciprocal_rank ?? null)]);
  }
  if (model.roc_auc !== undefined) {
    rows.push(["ROC AUC", `${score(model.roc_auc)} ± ${score(model.roc_auc_error_bound ?? 0)}`],
      ["Average precision", score(model.average_precision ?? null)]);
  }
  for (const [k, share] of Object.entries(model.top_k_accuracy ?? {})) rows.push([`Right label among the first ${k}`, percent(share)]);
  return rows;
}

function numberScores(model) {
  const rows = [["Correlation", score(model.correlation ?? null)], ["MAPE", percent(model.mape ?? null)], ["WAPE", percent(model.wape ?? null)]];
  if (model.within_tolerance !== undefined) rows.push(["Within the tolerance", percent(model.within_tolerance)]);
  rows.push(["Mean predicted", amount(model.mean_predicted ?? 0)], ["Mean actual", amount(model.mean_actual ?? 0)]);
  if (model.task !== "regression") rows.push(["Judged as numbers", number(model.measured)]);
  return rows;
}

function thresholds(rows) {
  const remark = (row) => [row.best ? BEST : "", row.usual ? "default" : ""].filter(Boolean).join(", ");
  const body = rows.map((row) => make("tr", row.best || row.usual ? "marked" : "", heading("row", score(row.scores.threshold)),
    ...["precision", "recall", "f1"].map((each) => make("td", "", score(row.scores[each]))), make("td", "name", remark(row))));
  const names = ["threshold", "precision", "recall", "F1", ""].map((name) => (name ? heading("col", name) : make("td")));
  return make("div", "", make("h3", "", "If another threshold decided"), scroller("Thresholds",
    make("table", "scores thresholds", make("thead", "", make("tr", "", ...names)), make("tbody", "", ...body))));
}
