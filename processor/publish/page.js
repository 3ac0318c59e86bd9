"use strict";

// Names and labels come from anybody's events: they enter the page as text only, never as markup.

const POLL = 5000; // milliseconds
const MOST_CARDS = 50;
const DENSE_FROM = 13; // classes

const NO_FEEDBACK = "No feedback counts in this window yet. A score needs a feedback with the request id of a prediction; " +
  "a wider window may hold some.";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const root = document.documentElement.dataset;
const WINDOWS = root.windows.split(" ");
const BASES = root.bases.split(" ");
const pick = (name, choices, first) => (choices.includes(query.get(name)) ? query.get(name) : first);
const chosen = {
  window: pick("window", WINDOWS, WINDOWS.includes("all") ? "all" : WINDOWS[WINDOWS.length - 1]),
  by: pick("by", BASES, BASES[0]),
  filter: query.get("filter") || "",
};
let latest = null; // the last answer
let asked = 0; // number of the newest question: a slow answer to an older one is dropped
const cards = new Map(); // model key -> {text, element}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

const number = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
const percent = (x, digits = 1) => (x === null ? "–" : `${(100 * x).toFixed(digits)}\u202f%`);
const score = (x) => (x === null ? "–" : x.toFixed(3));
const items = (n) => `${number(n)} ${n === 1 ? "item" : "items"}`;

function label(text) {
  const element = make("span", "label", text === "" ? "(empty)" : text);
  element.title = text;
  return element;
}

function bar(from, to, at) {
  const fill = make("i", at === null ? "fill" : "");
  fill.style.setProperty("--from", `${100 * from}%`);
  fill.style.setProperty("--to", `${100 * to}%`);
  const element = make("div", "bar", fill);
  if (at !== null) {
    const mark = make("b", "");
    mark.style.setProperty("--at", `${100 * at}%`);
    element.append(mark);
  }
  return element;
}

function figure(title, value, small, ...rest) {
  return make("div", "figure", make("h3", "", title), make("div", small ? "value small" : "value", value), ...rest);
}

function figures(model) {
  const side = make("div", "");
  if (model.judged === 0) {
    side.append(figure("Accuracy", "–", false, make("p", "note", "Nothing judged yet in this window.")));
  } else {
    const range = `${percent(model.accuracy_low)} to ${percent(model.accuracy_high)} (95\u202f%)`;
    side.append(
      figure("Accuracy", percent(model.accuracy), false,
        bar(model.accuracy_low, model.accuracy_high, model.accuracy),
        make("p", "note", range),
        make("p", "note", `${number(model.correct)} right of ${number(model.judged)} judged`)));
  }
  if (model.coverage !== null) {
    side.append(
      figure("Feedback coverage", percent(model.coverage), true,
        bar(0, Math.min(1, model.coverage), null),
        make("p", "note", `${number(model.judged)} judged of ${number(model.predictions)} predicted`)));
  }
  const pairs = make("dl", "pairs");
  const pair = (name, value) => pairs.append(make("dt", "", name), make("dd", "", value));
  if (model.rewards) pair(`Mean reward of ${number(model.rewards)}`, score(model.reward_mean));
  if (model.disagreements) pair("Reward against truth", number(model.disagreements));
  if (model.judged) {
    pair("Matthews’ correlation", score(model.mcc));
    pair("Cohen’s kappa", score(model.kappa));
  }
  side.append(pairs);
  return side;
}

function cell(actual, predicted, count, total) {
  const share = total ? count / total : 0;
  const element = make("td", actual === predicted ? "right" : "wrong", make("b", "", number(count)),
    make("small", "", percent(share, 0)));
  element.style.setProperty("--share", `${count ? 8 + 92 * share : 0}%`);
  element.classList.toggle("strong", actual === predicted && share > 0.75);
  element.classList.toggle("none", count === 0);
  element.title = `actual ${actual}, predicted ${predicted}: ${items(count)}, ${percent(share)} of the row`;
  return element;
}

function heading(scope, ...children) {
  const element = make("th", "", ...children);
  element.scope = scope;
  return element;
}

function matrix(model) {
  const counts = new Map(model.confusion.map((c) => [JSON.stringify([c.actual, c.predicted]), c.count]));
  const labels = [...new Set(model.confusion.flatMap((c) => [c.actual, c.predicted]))].sort(byLabel(model));
  const count = (actual, predicted) => counts.get(JSON.stringify([actual, predicted])) || 0;
  const axis = heading("colgroup", "predicted →");
  axis.className = "axis";
  axis.colSpan = labels.length;
  const corner = make("th", "axis", "actual ↓");
  const head = make("thead", "",
    make("tr", "", make("th"), axis, make("th")),
    make("tr", "", corner, ...labels.map((each) => heading("col", label(each))), make("th", "axis", "items")));
  const body = make("tbody", "");
  for (const actual of labels) {
    const total = labels.reduce((sum, predicted) => sum + count(actual, predicted), 0);
    body.append(make("tr", "", heading("row", label(actual)),
      ...labels.map((predicted) => cell(actual, predicted, count(actual, predicted), total)),
      make("td", "sum", number(total))));
  }
  const table = make("table", labels.length >= DENSE_FROM ? "matrix dense" : "matrix", head, body);
  return make("section", "", make("h3", "", "Confusion matrix: items, and share of the row"), make("div", "scroll", table));
}

// Numbers in their own order; what the server sums as "other" last.
function byLabel(model) {
  const collator = new Intl.Collator("en", { numeric: true });
  const summed = (each) => (Object.hasOwn(model.classes, each) ? 0 : 1);
  return (a, b) => summed(a) - summed(b) || collator.compare(a, b) || (a < b ? -1 : 1);
}

function scores(model) {
  const names = ["precision", "recall", "specificity", "f1"];
  const row = (first, values, support) => make("tr", "", first,
    ...names.map((name) => make("td", "", score(values[name]))), make("td", "", support));
  const labels = Object.keys(model.classes).sort(byLabel(model));
  const table = make("table", "scores",
    make("thead", "", make("tr", "", heading("col", "class"),
      ...["precision", "recall", "specificity", "F1", "support"].map((name) => heading("col", name)))),
    make("tbody", "", ...labels.map((each) =>
      row(heading("row", label(each)), model.classes[each], number(model.classes[each].support)))),
    make("tfoot", "",
      row(heading("row", "macro mean"), model.macro, ""),
      row(heading("row", "weighted mean"), model.weighted, ""),
      row(heading("row", "micro"), model.micro, "")));
  return make("section", "", make("h3", "", "Scores by class"), make("div", "scroll", table));
}

function card(model) {
  const where = [model.namespace, model.predictor, model.model].filter((name) => name !== "").join(" / ");
  const element = make("article", "card",
    make("header", "", make("h2", "", model.deployment || "(no name)"), make("span", "where", where)));
  if (model.unknown_actual) {
    element.append(make("p", "warning", `${items(model.unknown_actual)} judged wrong with an unknown actual label: ` +
      "they count in accuracy but in no class, so the matrix and the scores by class look better than the model is."));
  }
  const detail = make("div", "detail");
  if (model.confusion.length) detail.append(matrix(model), scores(model));
  else if (model.judged === 0) detail.append(make("p", "where", NO_FEEDBACK));
  element.append(make("div", "body", figures(model), detail));
  return element;
}

function emptyState(total) {
  $("empty").hidden = false;
  const [title, text, code] = $("empty").children;
  code.hidden = total > 0;
  if (total > 0) {
    title.textContent = "No model has this in its name";
    text.textContent = `${number(total)} others do not match “${chosen.filter}”: clear the field to see them.`;
    return;
  }
  title.textContent = "No predictions here yet";
  text.textContent = (chosen.window !== "all" && WINDOWS.includes("all") ? "Nothing falls in this window: try “all”. " : "") +
    "Models appear with their first logged prediction, from the Kafka topics of the settings or over HTTP. " +
    "To see some now, or to find out why there are none:";
  code.textContent = [
    "processor demo              # a service of its own, with sample traffic",
    "processor send FILE         # play an events file into this one",
    "processor check             # settings, broker, topics, archive: what is wrong",
  ].join("\n");
}

function show() {
  const wanted = chosen.filter.toLowerCase();
  const matching = latest.models.filter((m) =>
    `${m.namespace}/${m.deployment}/${m.predictor}/${m.model}`.toLowerCase().includes(wanted));
  const shown = matching.slice(0, MOST_CARDS);
  const seen = new Set();
  let before = null;
  for (const model of shown) {
    const key = JSON.stringify([model.namespace, model.deployment, model.predictor, model.model]);
    const text = JSON.stringify(model);
    let known = cards.get(key);
    // An unchanged card is left alone: the reader may be selecting or scrolling in it.
    if (!known || known.text !== text) {
      const element = card(model);
      if (known) {
        const old = [...known.element.querySelectorAll(".scroll")];
        known.element.replaceWith(element);
        element.querySelectorAll(".scroll").forEach((part, i) => old[i] && part.scrollTo(old[i].scrollLeft, old[i].scrollTop));
      }
      known = { text, element };
      cards.set(key, known);
    }
    const place = before ? before.nextSibling : $("models").firstChild;
    if (known.element !== place) $("models").insertBefore(known.element, place);
    before = known.element;
    seen.add(key);
  }
  for (const [key, known] of cards) {
    if (!seen.has(key)) {
      known.element.remove();
      cards.delete(key);
    }
  }
  $("empty").hidden = true;
  if (!shown.length) emptyState(latest.models.length);
  $("more").hidden = matching.length <= shown.length;
  $("more").textContent = `${number(matching.length - shown.length)} more models: type part of a name above to find one.`;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function sayState(ready) {
  const n = latest.models.length;
  const parts = [`${number(n)} ${n === 1 ? "model" : "models"}, ${new Date(latest.to).toLocaleTimeString()}`];
  if (!ready.ready) parts.push(`not ready: ${ready.reason}`);
  else if (!ready.bootstrap.complete) parts.push(`reading the archive, ${number(ready.bootstrap.documents)} documents so far`);
  if (ready.lag) parts.push(`${number(ready.lag)} records behind`);
  say(parts.join(" · "), !ready.ready);
}

async function poll() {
  const mine = ++asked;
  try {
    const address = `api/models?${new URLSearchParams({ window: chosen.window, by: chosen.by })}`;
    const [models, ready] = await Promise.all([fetch(address), fetch("ready")]);
    if (!models.ok) throw new Error(`the service answered ${models.status}`);
    const [answer, state] = [await models.json(), await ready.json()];
    if (mine !== asked) return;
    latest = answer;
    $("json").href = address;
    show();
    sayState(state);
  } catch (error) {
    if (mine === asked) say(`No new numbers: ${error.message}. Trying again.`, true);
  }
}

function remember() {
  const state = new URLSearchParams({ window: chosen.window, by: chosen.by });
  if (chosen.filter) state.set("filter", chosen.filter);
  history.replaceState(null, "", `?${state}`);
}

function choices(id, name, values) {
  for (const value of values) {
    const button = make("button", "", value);
    button.type = "button";
    const mark = () => button.setAttribute("aria-pressed", String(chosen[name] === value));
    button.addEventListener("click", () => {
      chosen[name] = value;
      remember();
      document.querySelectorAll(`#${id} button`).forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      poll();
    });
    mark();
    $(id).append(button);
  }
}

choices("windows", "window", WINDOWS);
choices("bases", "by", BASES);
$("filter").value = chosen.filter;
$("filter").addEventListener("input", () => {
  chosen.filter = $("filter").value.trim();
  remember();
  if (latest) show();
});
document.addEventListener("visibilitychange", () => document.hidden || poll());
setInterval(() => document.hidden || poll(), POLL);
poll();
