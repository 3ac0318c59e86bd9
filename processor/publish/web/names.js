// What a model is called: four names, of which people see the deployment first.

import { visible } from "./format.js";

export const NAMES = ["namespace", "deployment", "predictor", "model"];

export const namesOf = (model) => NAMES.map((name) => model[name]);
export const keyOf = (model) => JSON.stringify(namesOf(model));

const collator = new Intl.Collator("en", { numeric: true });

// In the order of the names as they are read: the deployment, then what tells its models apart.
export function byName(a, b) {
  for (const name of ["deployment", "namespace", "predictor", "model"]) {
    const order = collator.compare(a[name], b[name]);
    if (order) return order;
  }
  return 0;
}

// For each model, by its key, what tells it from others whose deployment has the same name: one of its
// other names where that is enough, else all in which they differ. Empty for a deployment's only model.
export function differences(models) {
  const alike = new Map();
  for (const model of models) {
    if (!alike.has(model.deployment)) alike.set(model.deployment, []);
    alike.get(model.deployment).push(model);
  }
  const found = new Map();
  for (const group of alike.values()) {
    const values = (name) => new Set(group.map((model) => model[name])).size;
    const enough = ["predictor", "model", "namespace"].find((name) => values(name) === group.length);
    const differing = group.length === 1 ? [] : enough ? [enough]
      : ["namespace", "predictor", "model"].filter((name) => values(name) > 1);
    for (const model of group) found.set(keyOf(model), differing.map((name) => visible(model[name])).join(" · "));
  }
  return found;
}

// The names beside the title, on one line.
export const otherNames = (model) => [model.namespace, model.predictor, model.model].filter(Boolean).map(visible).join(" · ");
