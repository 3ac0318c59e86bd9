// The worker that serves the page: events read, feedback delay, dead letters.

import { distribution } from "./charts.js";
import { $, make, scroller, update } from "./dom.js";
import { dateAndTime, number, short } from "./format.js";

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
