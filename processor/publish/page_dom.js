// Small helpers. Names and labels come from anybody's events: they enter the page as text only, never
// as markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const number = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
export const percent = (x, digits = 1) => (x === null ? "–" : `${(100 * x).toFixed(digits)}\u202f%`);
export const score = (x) => (x === null ? "–" : x.toFixed(3).replace("-", "\u2212"));
export const counted = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
export const items = (n) => counted(n, "item", "items");
export const range = (low, high) => `${percent(low)} to ${percent(high)}`;

export function heading(scope, ...children) {
  const element = make("th", "", ...children);
  element.scope = scope;
  return element;
}

export function label(text) {
  const element = make("span", "label", text === "" ? "(empty)" : text);
  element.title = text;
  return element;
}

// A bar from 0 to 1: an interval with its middle, or a share.
export function bar(from, to, at = null) {
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

const shown = new Map(); // element -> what it was made of

// What is unchanged is left alone: the reader may be selecting or scrolling in it.
export function update(element, content, build) {
  const text = JSON.stringify(content);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  const places = [...element.querySelectorAll(".scroll")].map((part) => [part.scrollLeft, part.scrollTop]);
  const open = [...element.querySelectorAll("details")].map((part) => part.open);
  element.replaceChildren(...build());
  element.querySelectorAll(".scroll").forEach((part, i) => places[i] && part.scrollTo(...places[i]));
  element.querySelectorAll("details").forEach((part, i) => { part.open = Boolean(open[i]); });
}
