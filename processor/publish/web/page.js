// The live page: the reader's choices, the state of the worker, and polling for updates.

import { showDetail } from "./detail.js";
import { $, make } from "./dom.js";
import { counted, mainScore, number, timeOfDay } from "./format.js";
import { ModelList, ordered } from "./list.js";
import { NAMES, differences, keyOf, namesOf } from "./names.js";
import { crowd, showWork, showWorkers, workerNotices } from "./work.js";

const POLL = 2000; // milliseconds
const SPARK = 30000;
const BEHIND = 30; // seconds from which the counts are called old

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
  // The model that the reader has chosen; on a wide screen the first model is shown until then.
  model: NAMES.every((name) => query.has(name)) ? NAMES.map((name) => query.get(name)) : null,
};
let latest = null; // the last answer
let past = new Map(); // model key -> its points
let steps = 1;
let asked = 0; // number of the newest request: a slow answer to an older one is dropped
let askedPast = 0;
const list = new ModelList(address, (model) => {
  choose(model);
  // Scroll to the top, as a link does, even from the end of a long list.
  if ($("list").offsetParent === null || $("detail").getBoundingClientRect().top < 0) {
    $("detail").scrollIntoView();
    $("detail").focus({ preventScroll: true });
  }
});

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

// By time of feedback there are no predictions, so there is no coverage to order by.
function order() {
  const byFeedback = chosen.by === "feedback";
  $("order").querySelector("[value=coverage]").hidden = byFeedback;
  return byFeedback && chosen.order === "coverage" ? "name" : chosen.order;
}

function showList() {
  const current = latest.detail ? keyOf(latest.detail.result) : null;
  list.show(latest.models, { filter: chosen.filter, order: order() }, current, past, steps);
  document.body.classList.toggle("one", latest.models.length === 1);
}

// -- everything

function show() {
  const none = !latest.models.length;
  $("empty").hidden = !none;
  document.querySelector("main").hidden = none;
  if (none) emptyState(latest.ingress_url, latest.ingress_needs_token);
  else showList();
  document.body.classList.toggle("picked", chosen.model !== null);
  const { detail } = latest;
  $("detail").hidden = !detail;
  if (detail) showDetail(detail, latest.window, latest.by, differences(latest.models).get(keyOf(detail.result)), ageOf(detail.result));
  document.title = detail ? `${mainScore(detail.result).text} ${detail.result.deployment} · Model quality` : "Model quality";
  showWork(latest.work);
  showWorkers(latest.workers);
  $("json").href = `api/models?${new URLSearchParams(parameters(null))}`;
}

// Seconds since a model's worker answered; null if it answers now.
function ageOf(model) {
  const key = keyOf(model);
  return latest.models.find((each) => keyOf(each) === key)?.age_seconds ?? null;
}

// `ingress` is the URL of the worker's ingress, as seen from its own machine; null until it is open.
function emptyState(ingress, needsToken) {
  const [title, text, code] = $("empty").children;
  title.textContent = "No model yet";
  text.textContent = "As soon as this worker reads a prediction, its model is here. Events come from the source topics, or by HTTP" +
    (needsToken ? ", which needs the service's PROCESSOR_INGRESS_TOKEN in the environment" : "") +
    (ingress ? ":" : "; the address for that is here as soon as the worker takes events in.");
  code.hidden = !ingress;
  if (!ingress) return;
  const url = new URL(ingress);
  url.hostname = location.hostname; // the host name by which the reader reaches the worker
  code.textContent = `processor send events.ndjson --to ${url}`;
}

function say(text, kind) {
  $("status").lastChild.textContent = text;
  $("status").className = kind;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function notices(page) {
  const { work } = page;
  const found = [];
  const behind = work.counts_until === null ? 0 : (Date.parse(page.at) - Date.parse(work.counts_until)) / 1000;
  const { problems } = work.ready;
  if (!work.ready.ready && !problems.some((each) => each.unready)) found.push(["bad", `Not ready: ${work.ready.reason}.`]);
  for (const each of problems) {
    found.push([each.unready ? "bad" : "warning", `${capital(each.what)}, since ${timeOfDay(each.since)}: ${each.remedy}.`]);
  }
  if (!work.ready.bootstrap.complete) {
    const { documents, total, seconds_left: left } = work.ready.bootstrap;
    found.push(["warning", `Reading the archive: ${counted(documents, "document", "documents")} so far` +
      `${total ? ` of about ${number(total)}` : ""}${left ? `, ${Math.ceil(left / 60)}\u202fmin left` : ""}. ` +
      "Until it is done, history is missing here."]);
  }
  if (!work.ready.complete && work.ready.bootstrap.complete && !work.recovery_remaining) {
    found.push(["warning", "What was stored when this worker started is not all counted yet."]);
  }
  if (work.recovery_remaining) found.push(["warning", `Catching up with the log: ${counted(work.recovery_remaining, "record", "records")} to read.`]);
  if (work.held_deltas) found.push(["bad", `${counted(work.held_deltas, "change waits", "changes wait")} for one that is missing: counts are held back.`]);
  if (behind > BEHIND) found.push(["warning", `The counts include the log up to ${timeOfDay(work.counts_until)}, ${Math.round(behind)}\u202fs ago.`]);
  found.push(...workerNotices(page));
  if (chosen.model && !page.detail) found.push(["warning", missing(page)]);
  const text = JSON.stringify(found);
  if ($("notices").dataset.text === text) return;
  $("notices").dataset.text = text;
  $("notices").replaceChildren(...found.map(([kind, words]) => make("p", kind, words)));
}

// Why the chosen model has no details.
function missing(page) {
  const name = chosen.model.join("/");
  if (!page.workers.length) return `This worker does not hold ${name}: no event has named it yet.`;
  const known = page.models.some((model) => keyOf(model) === JSON.stringify(chosen.model));
  return known ? `The details of ${name} are not known: its worker does not answer.`
    : `No worker that answers holds ${name}.`;
}

function sayState(page) {
  const { lag } = page.work.ready;
  const parts = [`live, ${timeOfDay(page.at)}`];
  if (page.workers.length) parts.push(crowd(page.workers));
  if (lag) parts.push(`${counted(lag, "record", "records")} behind`);
  const silent = page.workers.some((worker) => worker.member && !worker.ok);
  say(parts.join(" · "), lag > 1000 || silent ? "late" : "good");
}

async function ask(path, state) {
  // Not relative to the document's own URL, whose login (me:TOKEN@host) fetch would refuse.
  const url = new URL(path, location.origin + location.pathname);
  const answer = await fetch(`${url}?${new URLSearchParams(state)}`);
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  return answer.json();
}

async function poll() {
  const mine = ++asked;
  try {
    let page = await ask("api/page", parameters(chosen.model ?? first()));
    if (!page.detail && !chosen.model && page.models.length) {
      const models = ordered(page.models, order());
      page = await ask("api/page", parameters(namesOf(models.find((model) => !model.age_seconds) ?? models[0])));
    }
    if (mine !== asked) return;
    // Left out where the app has one worker.
    latest = page = { workers: [], missing_partitions: [], ...page };
    show();
    notices(page);
    sayState(page);
  } catch (error) {
    const since = latest ? `No news since ${timeOfDay(latest.at)}` : "No answer";
    if (mine === asked) say(`${since}: ${error.message}. Trying again.`, "bad");
  }
}

// The model that is shown while none is chosen.
function first() {
  return latest?.detail ? namesOf(latest.detail.result) : null;
}

async function pollPast() {
  const mine = ++askedPast;
  try {
    const found = await ask("api/history", parameters(null));
    if (mine !== askedPast) return;
    past = new Map(found.models.map((model) => [keyOf(model), { ...model.points, measure: model.measure }]));
    steps = found.steps;
    if (latest) showList();
  } catch {
    // The request for the page's data fails as well, and that error is shown.
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
