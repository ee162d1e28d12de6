// Pieces that views share: panels, tables, forms, dialogs, and words for what is wrong.

import { explain } from "/web/api.js";
import { element, say } from "/web/element.js";

let made = 0;
export const freshId = (stem) => `${stem}-${(made += 1)}`;

/** A section with a heading. */
export function panel(title, attributes, ...children) {
  const id = freshId("panel");
  return element("section", { ...attributes, class: `panel ${attributes?.class ?? ""}`, "aria-labelledby": id }, element("h2", { id }, title), ...children);
}

const MANY = 6; // columns, that want a wide screen
const SHORT = 24; // characters that stay in one line
const SIGNS = { alarm: "▲", learning: "○", good: "●", lost: "✕", quiet: "·" };

/** A state: a sign and words in a colour, never the colour alone. */
export const sign = (style, words) => element("span", { class: `${style === "lost" ? "alarm" : style}${words.length < SHORT ? " keep" : ""}` }, `${SIGNS[style] ?? "·"} ${words}`);

/**
 * A table that is a list of cards on a phone. `columns`: { head, cell: (item) => text or element, figure: right-aligned number, keep: in one line }.
 */
export function table(caption, columns, items, { id, row } = {}) {
  const heads = columns.map((column) => element("th", { scope: "col", role: "columnheader", class: column.figure ? "figure" : "" }, column.head));
  const rows = items.map((item) => {
    const cells = columns.map((column) => element("td", { role: "cell", "data-label": column.head || null, class: column.figure ? "figure" : column.keep || column.head.endsWith("(UTC)") ? "keep" : "" }, column.cell(item) ?? "–"));
    return element("tr", { role: "row", ...row?.(item) }, ...cells);
  });
  return element("table", { class: columns.length > MANY ? "cards many" : "cards", role: "table", id },
    element("caption", {}, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
    element("tbody", { role: "rowgroup" }, ...rows));
}

/** Pairs of what and how much. */
export const facts = (pairs, attributes = {}) => element("dl", { ...attributes, class: "facts" }, ...pairs.filter(Boolean).map(([name, value, title]) => element("div", { title }, element("dt", {}, name), element("dd", {}, value ?? "–"))));

/** What is wrong, in words; a part that this server does not have is no alarm. */
export const problem = (error) => element("p", error.absent ? { class: "quiet absent" } : { class: "problem", role: "alert" }, explain(error));

/**
 * Fields with labels. `fields`: { name, label, kind: "text" (default), "area", "number", "datetime-local", "select", "check", "password", "search", required, value, options, hint, max }.
 * `submit(values, form)` may throw an ApiError, which is said in the form.
 */
export function form(fields, label, submit, { inline = false, cancel } = {}) {
  const wrong = element("p", { class: "problem", role: "alert" });
  const button = element("button", { type: "submit", class: "first-choice" }, label);
  const root = element("form", { class: inline ? "controls" : "form", novalidate: false }, ...fields.map(field), inline ? null : wrong,
    element("div", { class: "buttons" }, button, cancel ? element("button", { type: "button", onclick: cancel }, "Cancel") : null), inline ? wrong : null);
  root.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    button.disabled = true;
    try {
      await submit(valuesOf(root, fields), root);
    } catch (error) {
      wrong.textContent = explain(error);
    } finally {
      button.disabled = false;
    }
  });
  return root;
}

function field(one) {
  const id = freshId("field");
  const common = { id, name: one.name, required: one.required, maxlength: one.max ?? null, placeholder: one.placeholder ?? null, "aria-describedby": one.hint ? `${id}-hint` : null };
  const hint = one.hint ? element("span", { id: `${id}-hint`, class: "quiet" }, one.hint) : null;
  if (one.kind === "check") return element("p", { class: "check" }, element("label", { for: id }, element("input", { ...common, type: "checkbox", checked: one.value }), ` ${one.label}`), hint);
  let control;
  if (one.kind === "select") control = element("select", common, ...one.options.map(([value, words]) => element("option", { value, selected: value === one.value }, words)));
  else if (one.kind === "area") control = element("textarea", { ...common, rows: 3 }, one.value ?? "");
  else control = element("input", { ...common, type: one.kind ?? "text", step: one.kind === "number" ? "any" : null, value: one.value ?? null, autocomplete: "off", list: one.options ? `${id}-list` : null });
  const list = one.options && control.tagName === "INPUT" ? element("datalist", { id: `${id}-list` }, ...one.options.map((value) => element("option", { value }))) : null;
  return element("p", { class: "field" }, element("label", { for: id }, one.label), control, list, hint);
}

function valuesOf(root, fields) {
  const values = {};
  for (const one of fields) {
    const control = root.elements[one.name];
    values[one.name] = one.kind === "check" ? control.checked : one.kind === "number" ? (control.value === "" ? null : Number(control.value)) : control.value.trim();
  }
  return values;
}

/** Open a dialog over the page; the browser keeps the focus in it, Escape closes it. Returns it; `close()` takes it away. */
export function dialog(title, ...children) {
  const id = freshId("dialog");
  const root = element("dialog", { "aria-labelledby": id }, element("div", { class: "dialog-head" }, element("h2", { id }, title), element("button", { type: "button", "aria-label": "Close", onclick: () => root.close() }, "✕")), ...children);
  root.addEventListener("close", () => root.remove());
  document.body.append(root);
  root.showModal();
  root.querySelector("form input, form select, form textarea")?.focus();
  return root;
}

/** A button that opens a form in a dialog; `done` is called after it was sent. */
export function asks(words, title, fields, label, submit, done) {
  return element("button", { type: "button", onclick: () => {
    const open = dialog(title, form(fields(), label, async (values) => {
      await submit(values);
      open.close();
      say(`${title}: done`);
      await done?.();
    }, { cancel: () => open.close() }));
  } }, words);
}

/** "More" at the end of a paged list. */
export const more = (next, load) => (next ? element("p", {}, element("button", { type: "button", onclick: load }, "Show more")) : null);

/** Save text or a blob as a file. */
export function save(name, content, type = "text/csv;charset=utf-8") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const url = URL.createObjectURL(blob);
  const a = element("a", { href: url, download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
