// The list of models: its order, its filter, its rows.

import { sparkline } from "./charts.js";
import { $, bar, make } from "./dom.js";
import { ago, counted, mainScore, number, visible } from "./format.js";
import { byName, differences, keyOf, namesOf, otherNames } from "./names.js";

const AT_FIRST = 25; // rows: about as many as the page beside them is long

// Models with equal values are ordered by name; models without a value come last.
const ORDERS = {
  name: () => 0,
  // By the upper bound of the interval: models that are surely low, not models with three items.
  accuracy: (a, b) => (a.accuracy_high ?? 2) - (b.accuracy_high ?? 2),
  judged: (a, b) => b.judged - a.judged,
  coverage: (a, b) => (a.coverage ?? 2) - (b.coverage ?? 2),
};
const HOW = { accuracy: ", by the upper end of their accuracy’s interval" };

export class ModelList {
  // `address` gives the link of a model; `choose` is called with its names when it is selected.
  constructor(address, choose) {
    this.address = address;
    this.choose = choose;
    this.rows = new Map(); // model key -> {text, element}
    this.limit = AT_FIRST;
    $("more-models").addEventListener("click", () => {
      const first = $("models").children.length;
      this.limit = Infinity;
      this.show(...this.last);
      $("models").children[first]?.firstChild.focus();
    });
  }

  // `models` in any order; `current` is the key of the model beside the list, `past` holds points by
  // key over `steps`.
  show(models, { filter, order }, current, past, steps) {
    this.last = [models, { filter, order }, current, past, steps];
    const apart = differences(models);
    const found = ordered(matching(models, filter), order);
    // The chosen model is always among them.
    const chosen = found.findIndex((model) => keyOf(model) === current);
    const some = found.slice(0, Math.max(this.limit, chosen + 1));
    const rest = found.length - some.length;
    const seen = new Set();
    let before = null;
    for (const model of some) {
      const key = keyOf(model);
      const element = this.#row(model, key, apart.get(key), past.get(key), steps);
      const link = element.firstChild;
      if (key === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      const place = before ? before.nextSibling : $("models").firstChild;
      if (element !== place) $("models").insertBefore(element, place);
      before = element;
      seen.add(key);
    }
    for (const [key, known] of this.rows) {
      if (seen.has(key)) continue;
      known.element.remove();
      this.rows.delete(key);
    }
    const all = counted(models.length, "model", "models");
    $("count").textContent = (found.length === models.length ? all : `${number(found.length)} of ${all}`) + (HOW[order] ?? "");
    $("more-models").hidden = !rest;
    $("more-models").textContent = `Show ${number(rest)} more`;
  }

  // The row of a model, drawn again if the model has changed.
  #row(model, key, apart, columns, steps) {
    const address = this.address(namesOf(model));
    const text = JSON.stringify([model, apart, columns, steps, address]);
    const known = this.rows.get(key);
    if (known?.text === text) return known.element;
    const element = row(model, apart, columns, steps, address);
    element.firstChild.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.choose(namesOf(model));
    });
    if (known) {
      const focused = known.element.contains(document.activeElement);
      known.element.replaceWith(element);
      if (focused) element.firstChild.focus({ preventScroll: true });
    }
    this.rows.set(key, { text, element });
    return element;
  }
}

export function ordered(models, order) {
  return [...models].sort((a, b) => ORDERS[order](a, b) || byName(a, b));
}

function matching(models, filter) {
  const wanted = filter.toLowerCase();
  return models.filter((model) => namesOf(model).join("/").toLowerCase().includes(wanted));
}

function row(model, apart, columns, steps, address) {
  const names = make("span", "names", title(model, apart), make("small", "", otherNames(model)));
  names.title = namesOf(model).join("/");
  const main = mainScore(model);
  const figures = model.judged
    ? make("span", "share", make("b", "", main.brief), main.at && bar(main.at[0], main.at[2], main.at[1]),
      make("small", "", `${main.short === "accuracy" ? "" : `${main.short} `}of ${number(model.judged)}`))
    : make("span", "share", make("b", "", "–"), make("small", "", "no feedback"));
  if (model.age_seconds) names.append(make("small", "aged", `as of ${ago(model.age_seconds)}`));
  const link = make("a", "row", names, columns ? sparkline(columns, steps) : make("span", "spark"), figures);
  link.href = address;
  return make("li", "", link);
}

// The deployment, and what tells it from others of its name.
export function title(model, apart, tag = "b") {
  return make(tag, "", make("bdi", "", visible(model.deployment)), apart ? make("span", "apart", " ", make("bdi", "", apart)) : "");
}
