// The workers of the app, and the one that serves the page: events read, feedback delay, requests over HTTP,
// dead letters.

import { distribution } from "./charts.js";
import { $, heading, make, scroller, update } from "./dom.js";
import { ago, counted, dateAndTime, number, short } from "./format.js";
import { requests } from "./work/ingress.js";

export function showWork(work) {
  $("work").hidden = false;
  update($("events"), [work.events, work.waiting], () => events(work));
  update($("delay"), work.feedback_delay, () => delay(work.feedback_delay));
  update($("requests"), work.ingress, () => requests(work.ingress));
  update($("letters"), [work.dead_letters, work.events.dead_letters], () => letters(work));
}

// -- the workers of the app; there are none in the page's data where this one is alone

const members = (workers) => workers.filter((worker) => worker.member);

// In a few words: how many workers there are, and how many of them answer.
export function crowd(workers) {
  const all = members(workers);
  const ok = all.filter((worker) => worker.ok).length;
  return ok === all.length ? counted(all.length, "worker", "workers") : `${ok} of ${all.length} workers answer`;
}

export function showWorkers(workers) {
  $("workers").hidden = !workers.length;
  const own = workers.find((worker) => worker.answering);
  $("work-title").textContent = own ? `This worker, ${own.id}` : "This worker";
  $("scope").textContent = `Shown: the models of ${own ? `all ${counted(members(workers).length, "worker", "workers")}` : "this worker"}.`;
  update($("workers").lastElementChild, workers, () => [scroller("Workers", table(workers))]);
}

function table(workers) {
  const head = ["Worker", "Partitions", "Models", "State"].map((title) => heading("col", title));
  return make("table", "scores", make("thead", "", make("tr", "", ...head)), make("tbody", "", ...workers.map(line)));
}

function line(worker) {
  const name = heading("row", worker.id, make("small", "", worker.address));
  const held = worker.partitions.length ? worker.partitions.join(", ") : "–";
  const state = make("td", `name ${worker.ok ? "good" : worker.member ? "bad" : ""}`, make("i", "dot"), stateOf(worker));
  if (!worker.ok) state.append(make("small", "", worker.reason));
  return make("tr", "", name, make("td", "", held), make("td", "", worker.models === null ? "–" : number(worker.models)), state);
}

function stateOf(worker) {
  if (worker.answering) return "shows this page";
  if (worker.ok) return "answers";
  const silent = worker.member ? "silent" : "left";
  return worker.age_seconds === null ? silent : `${silent}, last answer ${ago(worker.age_seconds)}`;
}

// What the reader must know of workers whose models are old, or not here.
export function workerNotices(page) {
  const { workers, missing_partitions: missing } = page;
  const silent = workers.filter((worker) => !worker.ok && worker.member);
  const aged = page.models.some((model) => model.age_seconds);
  const found = silent.map((worker) => ["warning", `${crowd(workers)}. ${worker.id}: ${worker.reason}; ` +
    (worker.models === null ? "its models are not known here."
      : `its ${counted(worker.models, "model is", "models are")} as of ${ago(worker.age_seconds)}.`)]);
  if (aged && !silent.length) found.push(["warning", "Some models are between two workers: they are shown as they were before."]);
  if (missing.length) {
    found.push(["warning", `No worker has the counts of ${counted(missing.length, "partition", "partitions")} ` +
      `(${missing.join(", ")}) yet: ${missing.length === 1 ? "its" : "their"} models are missing here.`]);
  }
  return found;
}

// -- this worker

function events(work) {
  const e = work.events;
  const pairs = make("dl", "pairs");
  const pair = (title, value) => pairs.append(make("dt", "", title), make("dd", "", number(value)));
  pair("Events read", e.read);
  const uncounted = { "Of other types": e.other, "Failed answers": e.failed, "Explanations": e.explanation };
  for (const [title, count] of Object.entries(uncounted)) if (count) pair(title, count);
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

// The place of a dead letter: the id for the command or, until it is known, the offset of its event.
function place(letter) {
  return letter.id === null ? `${letter.topic}/${letter.partition}@${letter.offset}` : `processor dead-letters show ${letter.id}`;
}

function letters(work) {
  const title = make("h3", "", "Dead letters, the newest");
  const total = Object.values(work.events.dead_letters).reduce((sum, n) => sum + n, 0);
  if (!total) return [title, make("p", "quiet", "None: every event was understood.")];
  const row = (letter) => make("li", "", make("b", "", letter.reason), make("span", "", ` ${letter.detail}`),
    make("span", "quiet", `${dateAndTime(letter.at)} · `, make("code", "", place(letter))));
  return [title, make("p", "quiet", `${number(total)} since its start`),
    scroller("Dead letters", make("ul", "letters", ...work.dead_letters.map(row)), "low")];
}
