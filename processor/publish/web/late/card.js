// The card of a model whose labels come late.

import { heading, make, scroller } from "../dom.js";
import { amount, counted, number, percent, range, score, signed } from "../format.js";
import { panels } from "./plots.js";

const AGES = { "1h": "1 hour", "6h": "6 hours", "1d": "1 day", "3d": "3 days" };

// What the labels of the window's predictions will say once they are in.
export function late(found) {
  if (!found) return [];
  const { nowcast, drift, predicted, judged } = found;
  const shares = predicted ? `${percent(judged / predicted)} of ${counted(predicted, "prediction is", "predictions are")} judged` : "Nothing was predicted";
  const said = nowcast.withheld ? `${shares}. The nowcast is withheld: ${nowcast.withheld}.`
    : `${shares}. From the delays seen so far, ${expected(nowcast).join(" and ")} once all labels are in.`;
  const parts = [make("h3", "", "While labels are late"), make("p", "", said)];
  if (nowcast.expected_judged !== null) {
    // The first sentence counts all labels alike; in the fit a label stands for those of its outcome to come.
    const fit = nowcast.fit === null ? "" : ` Judging by the labels of the newest day, ${percent(nowcast.fit, 0)} of the usual number will arrive (fit ${nowcast.fit.toFixed(2)}).`;
    parts.push(make("p", "note", `${counted(judged, "label has", "labels have")} arrived; at the usual pace it would be ${number(Math.round(nowcast.expected_judged))}.${fit}`));
  }
  if (drift) {
    const how = drift.jensen_shannon > drift.by_chance ? "differ from" : "are like";
    parts.push(make("p", "note", `Predicted labels ${how} those of the time before: Jensen-Shannon distance ${score(drift.jensen_shannon)}, by chance up to ${score(drift.by_chance)}.`));
  }
  const past = nowcast.hindcast.filter((each) => each.cohorts);
  if (past.length) {
    const head = ["age", "mean error", "held by the interval", "days"].map((name) => heading("col", name));
    const rows = past.map((each) => make("tr", "", heading("row", AGES[each.age] ?? each.age), make("td", "", points(each.mean_error, nowcast.mae !== null)),
      make("td", "", percent(each.coverage, 0)), make("td", "", number(each.cohorts))));
    parts.push(make("details", "", make("summary", "", "How right the nowcasts of past days were"),
      scroller("Nowcasts of past days", make("table", "scores", make("thead", "", make("tr", "", ...head)), make("tbody", "", ...rows)))));
  }
  if (found.plots) parts.push(...panels(found.plots, found.ages, found.ends));
  return parts;
}

// What will be once all labels are in.
function expected(nowcast) {
  const parts = [];
  if (nowcast.accuracy !== null) parts.push(`accuracy will be ${range(nowcast.accuracy_low, nowcast.accuracy_high)} (nowcast ${percent(nowcast.accuracy)})`);
  if (nowcast.mae !== null) parts.push(`the mean absolute error will be ${amount(nowcast.mae_low)} to ${amount(nowcast.mae_high)} (nowcast ${amount(nowcast.mae)})`);
  return parts;
}

// An error of an accuracy in points of a percent; one of a mean absolute error is a part of it.
const points = (value, isPart) => signed(isPart ? percent(value) : `${(100 * value).toFixed(1)} points`);
