// The requests at the ingress port of this worker: how many, what was refused, how long they took.

import { distribution } from "../charts.js";
import { make } from "../dom.js";
import { number, short } from "../format.js";

export function requests(ingress) {
  const title = make("h3", "", "Requests over HTTP, since its start");
  const total = Object.values(ingress.answers).reduce((sum, n) => sum + n, 0);
  if (!total && !ingress.in_flight) return [title, make("p", "quiet", "None.")];
  const pairs = make("dl", "pairs");
  const pair = (name, value) => pairs.append(make("dt", "", name), make("dd", "", number(value)));
  pair("Answered", total);
  for (const [reason, count] of Object.entries(ingress.refused)) pair(`Refused: ${reason.replaceAll("_", " ")}`, count);
  pair("In flight", ingress.in_flight);
  return [title, pairs, ...times(ingress.seconds)];
}

function times({ bounds, counts }) {
  const last = counts.findLastIndex((n) => n > 0);
  if (last < 0) return [];
  const first = counts.findIndex((n) => n > 0);
  const names = [...bounds.map((bound) => `up to ${brief(bound)}`), `over ${brief(bounds[bounds.length - 1])}`];
  return [make("h3", "", "Time to their answers"), distribution(names.slice(first, last + 1), counts.slice(first, last + 1))];
}

// Most answers take milliseconds.
const brief = (seconds) => (seconds < 1 ? `${number(Number((seconds * 1000).toPrecision(3)))}\u202fms` : short(seconds));
