// What cannot be taken back: asked first what would be done, shown, and then exactly that is done, as an operation.

import { ApiError, onceKey, send } from "/web/api.js";
import { element, say } from "/web/element.js";
import { link } from "/web/router.js";
import { dialog, form, problem, table } from "/web/widgets.js";

const VALUE_CHARS = 2_000; // of one part of a plan

function words(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.map(words).join("; ") || "none";
  return typeof value === "object" ? Object.entries(value).map(([name, one]) => `${name.replaceAll("_", " ")}: ${words(one)}`).join(", ") || "none" : String(value);
}

/** A plan, name by name. */
const planTable = (plan) => table("The plan", [{ head: "what", cell: ([name]) => name.replaceAll("_", " ") }, { head: "value", cell: ([, value]) => words(value).slice(0, VALUE_CHARS) }], Object.entries(plan));

/**
 * Ask for the plan, show it, and apply it when it is confirmed. `asked`: { method ("POST"), path, body }; `begun(operation)` hears of the
 * operation. Throws the ApiError of a plan that cannot be made.
 */
export async function planned(title, explanation, { method = "POST", path, body }, begun) {
  const { plan, plan_hash: hash } = await send(method, path, { ...body, dry_run: true });
  const once = onceKey(); // a second click is the same operation
  const open = dialog(`${title}: this is what would be done`, element("p", {}, explanation), planTable(plan),
    form([], "Apply this plan", async () => {
      const operation = await send(method, path, { ...body, plan_hash: hash }, { once });
      open.close();
      say("The operation was started");
      await begun(operation);
    }, { cancel: () => open.close() }));
}

/** That an operation was started, and where one sees how far it is. */
export const started = (operation) => element("p", { role: "status" }, `Operation ${operation.id ?? ""} was started. `, element("a", { href: link("operations", { part: "running" }) }, "See how far it is"));

const places = new Map(), PLACES_MAX = 500; // name → where it is said what came of it; a list that is drawn anew keeps it

/** Where what is done about a topic or a group is said. */
export function placeOf(name) {
  if (places.size > PLACES_MAX) places.delete(places.keys().next().value);
  if (!places.has(name)) places.set(name, element("div", { class: "told" }));
  return places.get(name);
}

/**
 * A button for something that is planned first. `fields()`: what is asked for before, nothing where it returns an empty list;
 * `asked(values)`: what to send, see `planned`; `at`: where what came of it is said.
 */
export function planButton(label, title, explanation, fields, asked, at) {
  const begun = (operation) => at.replaceChildren(started(operation));
  const plan = (values) => planned(title, explanation, asked(values), begun);
  return element("button", { type: "button", onclick: async () => {
    const wanted = fields();
    if (wanted.length) {
      const open = dialog(title, element("p", {}, explanation), form(wanted, "Show the plan", async (values) => { await plan(values); open.close(); }, { cancel: () => open.close() }));
      return;
    }
    try {
      await plan({});
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      at.replaceChildren(problem(error));
    }
  } }, label);
}
