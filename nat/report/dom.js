"use strict";
// Elements, numbers as text, and what is selected. Text goes in as text nodes only: names and paths are anybody's.

const SVG = "http://www.w3.org/2000/svg";
const data = JSON.parse(document.getElementById("data").textContent);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) node.style.setProperty(key, to);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const name = (text) => el("bdi", {}, String(text)); // a name of anybody's, in whatever script

function section(id, title, ...children) {
  const place = document.getElementById(id);
  const heading = el("h2", { id: `${id}-title` }, title);
  place.setAttribute("aria-labelledby", heading.id);
  place.replaceChildren(heading, ...children.flat().filter(Boolean));
  return place;
}

const known = (value) => value !== null && value !== undefined;
const percent = (value, digits = 2) => (known(value) ? `${(100 * value).toFixed(digits)} %` : "–");
const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(digits)}`;
const points = (value, digits = 2) => `${signed(value, digits)} pp`;
const amount = (value) => (known(value) ? `${(value / 1e6).toFixed(value < 1e6 ? 3 : 2)} M` : "–");
const whole = (value) => Number(value).toLocaleString("en-US");
const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "–");
const range = (pair) => (pair ? `${(100 * pair[0]).toFixed(1)}–${percent(pair[1], 1)}` : "");

function duration(seconds) {
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function withUnit(value, column) {
  if (!known(value)) return "–";
  if (column.unit === "%") return percent(1 - value);
  const text = column.unit === "M" || column.unit === "MB" ? (value / 1e6).toFixed(3) : Number(value.toPrecision(4));
  return `${text} ${column.unit}`.trim();
}

// What is selected; listeners are called after each change.
const state = { selected: null, split: "test", budget: null, sort: "recall", listeners: [] };

function change(what) {
  Object.assign(state, what);
  for (const listener of state.listeners) listener(what);
}

function follow(draw) {
  state.listeners.push(draw);
  draw(state);
}

function select(id, show) {
  change({ selected: id });
  if (show) {
    const place = document.getElementById("subnet");
    place.scrollIntoView({ block: "start" });
    place.querySelector("select")?.focus({ preventScroll: true });
  }
}

const isName = (id) => data.nets[id]?.control === id; // of a control that is no subnet of the run
const idButton = (id) => el("button", { class: isName(id) ? "id name-of" : "id", type: "button", onclick: () => select(id, true) }, id);

function linked(sentence) {
  // The ids of nets in a sentence, as buttons.
  const ids = Object.keys(data.nets);
  return sentence.split(/\b([0-9a-f]{10})\b/).map((part) => (ids.includes(part) ? idButton(part) : part));
}

function titleOf(id) {
  const net = data.nets[id];
  return net.control && net.control !== id ? `${id}, ${net.control}` : id;
}

function table(label, columns, rows, attributes = {}) {
  // Columns: texts or nodes. Rows: arrays of cells, or {cells, current}.
  const head = el("tr", {}, columns.map((column) => el("th", { scope: "col" }, column)));
  const body = rows.map((row) =>
    el("tr", { "aria-current": row.current ? "true" : null }, (row.cells || row).map((cell) => el("td", {}, cell))),
  );
  const content = el("table", { "aria-label": label }, el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: rows.length > 12 ? "scroll" : "scroll all", tabindex: "0", role: "region", "aria-label": label, ...attributes }, content);
}
