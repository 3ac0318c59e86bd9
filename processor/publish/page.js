// The live page: what is chosen, the list of models, and asking for news.

import { sparkline } from "./page_charts.js";
import { showDetail, showWork } from "./page_detail.js";
import { $, bar, counted, make, number, percent } from "./page_dom.js";

const POLL = 2000; // milliseconds
const SPARK = 30000;
const BEHIND = 30; // seconds from which the counts are called old
const NAMES = ["namespace", "deployment", "predictor", "model"];

const query = new URLSearchParams(location.search);
const root = document.documentElement.dataset;
const WINDOWS = root.windows.split(" ");
const BASES = root.bases.split(" ");
const pick = (name, choices, first) => (choices.includes(query.get(name)) ? query.get(name) : first);
const chosen = {
  window: pick("window", WINDOWS, WINDOWS.includes("all") ? "all" : WINDOWS[WINDOWS.length - 1]),
  by: pick("by", BASES, BASES[0]),
  filter: query.get("filter") || "",
  order: pick("order", [...$("order").options].map((each) => each.value), "name"),
  // What the reader has picked; on a wide screen the first model is shown until then.
  model: NAMES.every((name) => query.has(name)) ? NAMES.map((name) => query.get(name)) : null,
};
let latest = null; // the last answer
let past = new Map(); // model key -> its points
let steps = 1;
let asked = 0; // number of the newest question: a slow answer to an older one is dropped
let askedPast = 0;
const rows = new Map(); // model key -> {text, element}

const keyOf = (model) => JSON.stringify(NAMES.map((name) => model[name]));

function parameters(model) {
  const found = { window: chosen.window, by: chosen.by };
  if (model) NAMES.forEach((name, i) => { found[name] = model[i]; });
  return found;
}

function address(model) {
  const state = new URLSearchParams(parameters(model));
  if (chosen.filter) state.set("filter", chosen.filter);
  if (chosen.order !== "name") state.set("order", chosen.order);
  return `?${state}`;
}

// -- the list

const ORDERS = {
  name: () => 0, // as the server sends them
  accuracy: (a, b) => (a.accuracy ?? 2) - (b.accuracy ?? 2),
  judged: (a, b) => b.judged - a.judged,
  coverage: (a, b) => (a.coverage ?? 2) - (b.coverage ?? 2),
};

function matching() {
  const wanted = chosen.filter.toLowerCase();
  const found = latest.models.filter((m) => NAMES.map((name) => m[name]).join("/").toLowerCase().includes(wanted));
  return found.sort(ORDERS[chosen.order]);
}

function row(model) {
  const points = past.get(keyOf(model));
  const names = make("span", "names", make("b", "", model.deployment),
    make("small", "", `${model.namespace} · ${model.predictor} · ${model.model}`));
  const figures = model.judged
    ? make("span", "share", make("b", "", percent(model.accuracy)), bar(model.accuracy_low, model.accuracy_high, model.accuracy),
      make("small", "", `of ${number(model.judged)}`))
    : make("span", "share", make("b", "", "–"), make("small", "", "no feedback"));
  const link = make("a", "row", names, points ? sparkline(points, steps) : make("span", "spark"), figures);
  link.href = address(NAMES.map((name) => model[name]));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(NAMES.map((name) => model[name]));
    if ($("list").offsetParent === null) $("detail").focus();
  });
  return make("li", "", link);
}

function showList() {
  const found = matching();
  const seen = new Set();
  let before = null;
  for (const model of found) {
    const key = keyOf(model);
    const text = JSON.stringify([model, past.get(key), steps, chosen]);
    let known = rows.get(key);
    if (!known || known.text !== text) {
      const element = row(model);
      if (known) {
        const focused = known.element.contains(document.activeElement);
        known.element.replaceWith(element);
        if (focused) element.firstChild.focus({ preventScroll: true });
      }
      known = { text, element };
      rows.set(key, known);
    }
    const link = known.element.firstChild;
    if (latest.detail && key === keyOf(latest.detail.result)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    const place = before ? before.nextSibling : $("models").firstChild;
    if (known.element !== place) $("models").insertBefore(known.element, place);
    before = known.element;
    seen.add(key);
  }
  for (const [key, known] of rows) {
    if (seen.has(key)) continue;
    known.element.remove();
    rows.delete(key);
  }
  const all = latest.models.length;
  $("count").textContent = found.length === all ? counted(all, "model", "models") : `${number(found.length)} of ${counted(all, "model", "models")}`;
  document.body.classList.toggle("one", all === 1);
}

// -- everything

function show() {
  const none = !latest.models.length;
  $("empty").hidden = !none;
  document.querySelector("main").hidden = none;
  if (none) emptyState();
  else showList();
  document.body.classList.toggle("picked", chosen.model !== null);
  const { detail } = latest;
  $("detail").hidden = !detail;
  if (detail) showDetail(detail, latest.by);
  document.title = detail ? `${percent(detail.result.accuracy)} ${detail.result.deployment} · Model quality` : "Model quality";
  showWork(latest.work);
  $("json").href = `api/models?${new URLSearchParams(parameters(null))}`;
}

function emptyState() {
  const [title, text, code] = $("empty").children;
  const { ingressScheme: scheme, ingressPort: port } = document.documentElement.dataset;
  title.textContent = "No model yet";
  text.textContent = "As soon as this worker reads a prediction, its model is here. Events come from the source topics, or by HTTP:";
  code.textContent = `processor send events.ndjson --to ${scheme}://${location.hostname}:${port}/`;
}

function say(text, kind) {
  $("status").lastChild.textContent = text;
  $("status").className = kind;
}

function notices(page) {
  const { work } = page;
  const found = [];
  const behind = work.counts_until === null ? 0 : (Date.parse(page.at) - Date.parse(work.counts_until)) / 1000;
  if (!work.ready.ready) found.push(["bad", `Not ready: ${work.ready.reason}.`]);
  else if (work.ready.reason !== "ok" && work.ready.reason) found.push(["warning", `${work.ready.reason}.`]);
  if (!work.ready.bootstrap.complete) {
    const { documents, total, seconds_left: left } = work.ready.bootstrap;
    found.push(["warning", `Reading the archive: ${counted(documents, "document", "documents")} so far` +
      `${total ? ` of about ${number(total)}` : ""}${left ? `, ${Math.ceil(left / 60)}\u202fmin left` : ""}. ` +
      "Until it is done, history is missing here."]);
  }
  if (work.recovery_remaining) found.push(["warning", `Catching up with the log: ${counted(work.recovery_remaining, "record", "records")} to read.`]);
  if (work.held_deltas) found.push(["bad", `${counted(work.held_deltas, "change waits", "changes wait")} for one that is missing: counts are held back.`]);
  if (behind > BEHIND) found.push(["warning", `The counts include the log up to ${new Date(work.counts_until).toLocaleTimeString([], { hourCycle: "h23" })}, ${Math.round(behind)}\u202fs ago.`]);
  if (chosen.model && !page.detail) found.push(["warning", `This worker does not hold ${chosen.model.join("/")}: it may have moved to another.`]);
  const text = JSON.stringify(found);
  if ($("notices").dataset.text === text) return;
  $("notices").dataset.text = text;
  $("notices").replaceChildren(...found.map(([kind, words]) => make("p", kind, words)));
}

function sayState(page) {
  const { lag } = page.work.ready;
  const parts = [`live, ${new Date(page.at).toLocaleTimeString([], { hourCycle: "h23" })}`];
  if (lag) parts.push(`${counted(lag, "record", "records")} behind`);
  say(parts.join(" · "), lag > 1000 ? "late" : "good");
}

async function ask(path, state) {
  const answer = await fetch(`${path}?${new URLSearchParams(state)}`);
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  return answer.json();
}

async function poll() {
  const mine = ++asked;
  try {
    let page = await ask("api/page", parameters(chosen.model ?? first()));
    if (!page.detail && !chosen.model && page.models.length) {
      page = await ask("api/page", parameters(NAMES.map((name) => page.models[0][name])));
    }
    if (mine !== asked) return;
    latest = page;
    show();
    notices(page);
    sayState(page);
  } catch (error) {
    const since = latest ? `No news since ${new Date(latest.at).toLocaleTimeString([], { hourCycle: "h23" })}` : "No answer";
    if (mine === asked) say(`${since}: ${error.message}. Trying again.`, "bad");
  }
}

// The model that is shown while none is picked.
function first() {
  return latest?.detail ? NAMES.map((name) => latest.detail.result[name]) : null;
}

async function pollPast() {
  const mine = ++askedPast;
  try {
    const found = await ask("api/history", parameters(null));
    if (mine !== askedPast) return;
    past = new Map(found.models.map((model) => [keyOf(model), model.points]));
    steps = found.steps;
    if (latest) showList();
  } catch {
    // The page's own question fails as well, and says so.
  }
}

// -- choosing

function choose(model, remember = true) {
  chosen.model = model;
  if (remember) history.pushState(null, "", address(model));
  document.body.classList.toggle("picked", model !== null);
  poll();
}

function choices(id, name, values) {
  for (const value of values) {
    const button = make("button", "", value);
    button.type = "button";
    button.setAttribute("aria-pressed", String(chosen[name] === value));
    button.addEventListener("click", () => {
      chosen[name] = value;
      document.querySelectorAll(`#${id} button`).forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      history.replaceState(null, "", address(chosen.model));
      poll();
      pollPast();
    });
    $(id).append(button);
  }
}

choices("windows", "window", WINDOWS);
choices("bases", "by", BASES);
$("filter").value = chosen.filter;
$("order").value = chosen.order;
for (const name of ["filter", "order"]) {
  $(name).addEventListener("input", () => {
    chosen[name] = $(name).value.trim();
    history.replaceState(null, "", address(chosen.model));
    if (latest) showList();
  });
}
$("back").addEventListener("click", (event) => {
  event.preventDefault();
  choose(null);
});
$("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const links = [...$("models").querySelectorAll("a")];
  if (!step || event.target.tagName === "SELECT" || !links.length) return;
  event.preventDefault();
  const at = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
});
addEventListener("popstate", () => {
  const state = new URLSearchParams(location.search);
  choose(NAMES.every((name) => state.has(name)) ? NAMES.map((name) => state.get(name)) : null, false);
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !["INPUT", "SELECT"].includes(event.target.tagName)) {
    event.preventDefault();
    $("filter").focus();
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  poll();
  pollPast();
});
setInterval(() => document.hidden || poll(), POLL);
setInterval(() => document.hidden || pollPast(), SPARK);
poll();
pollPast();
