// Elements. Names and labels come from anybody's events: they enter the page as text only, never as
// markup.

import { visible } from "./format.js";

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

export function heading(scope, ...children) {
  const element = make("th", "", ...children);
  element.scope = scope;
  return element;
}

export function label(text) {
  const element = make("bdi", "label", visible(text));
  element.title = visible(text);
  return element;
}

// A second line of a table's cell, for screens that have no room for its column.
export const below = (text) => make("small", "below", text);

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

// On the side where more of a box's content is than it shows, it fades out: the style's "more-left" and
// "more-right".
export function fadeEdges(box) {
  const look = () => {
    box.classList.toggle("more-left", box.scrollLeft > 1);
    box.classList.toggle("more-right", box.scrollLeft < box.scrollWidth - box.clientWidth - 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
}

// A box of its own for what may be larger than its place; the keyboard reaches it where it is.
export function scroller(name, content, kind = "") {
  const box = make("div", `scroll ${kind}`, content);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", name);
  fadeEdges(box);
  new ResizeObserver(() => {
    if (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }).observe(box);
  return box;
}

const shown = new Map(); // element -> what it was made of

// What is unchanged is left alone: the reader may be selecting or scrolling in it.
export function update(element, content, build) {
  const text = JSON.stringify(content);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const places = [...element.querySelectorAll(".scroll")].map((part) => [part.scrollLeft, part.scrollTop]);
  const open = [...element.querySelectorAll("details")].map((part) => part.open);
  element.replaceChildren(...build());
  element.querySelectorAll(".scroll").forEach((part, i) => places[i] && part.scrollTo(...places[i]));
  element.querySelectorAll("details").forEach((part, i) => { part.open = Boolean(open[i]); });
  if (focused?.isConnected) focused.focus({ preventScroll: true });
}
