// The list of models: its order, its filter, its rows.

import { sparkline } from "./charts.js";
import { $, bar, make } from "./dom.js";
import { counted, number, percent, visible } from "./format.js";
import { byName, differences, keyOf, namesOf, otherNames } from "./names.js";

const AT_FIRST = 25; // rows: about as many as the page beside them is long

// Models whose order is equal follow each other by name; those without the number come last.
const ORDERS = {
  name: () => 0,
  // By the upper end of the interval: what is surely low, not what has had three items.
  accuracy: (a, b) => (a.accuracy_high ?? 2) - (b.accuracy_high ?? 2),
  judged: (a, b) => b.judged - a.judged,
  coverage: (a, b) => (a.coverage ?? 2) - (b.coverage ?? 2),
};
const HOW = { accuracy: ", by the upper end of their accuracy’s interval" };

export class ModelList {
  // `address` gives a model's link, `choose` is called with its names when it is picked.
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
    // The chosen one is among them, wherever it stands.
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

  // The row of a model, made anew where it has changed.
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
  const figures = model.judged
    ? make("span", "share", make("b", "", percent(model.accuracy)), bar(model.accuracy_low, model.accuracy_high, model.accuracy),
      make("small", "", `of ${number(model.judged)}`))
    : make("span", "share", make("b", "", "–"), make("small", "", "no feedback"));
  const link = make("a", "row", names, columns ? sparkline(columns, steps) : make("span", "spark"), figures);
  link.href = address;
  return make("li", "", link);
}

// The deployment, and what tells it from others of its name.
export function title(model, apart, tag = "b") {
  return make(tag, "", make("bdi", "", visible(model.deployment)), apart ? make("span", "apart", " ", make("bdi", "", apart)) : "");
}
