// Schemas: subjects, their versions, and what has changed between two of them.

import { ApiError, all, get, path } from "/web/api.js";
import { element } from "/web/element.js";
import { counted } from "/web/format.js";
import { link } from "/web/router.js";
import { listed } from "/web/views/operations/listed.js";
import { form, problem, sign, table } from "/web/widgets.js";

const EVERY_MS = 10_000, PAGES_MAX = 4;
const KINDS = { added: ["good", "added"], removed: ["alarm", "removed"], changed: ["learning", "changed"] };
const COLUMNS = [
  { head: "subject", cell: (one) => element("a", { href: link("operations", { part: "schemas", subject: one.subject }) }, one.subject) }, { head: "record", cell: (one) => one.record ?? "not one of ours" }, { head: "topic", cell: (one) => one.topic ?? "–" },
  { head: "versions", cell: (one) => one.versions.join(", ") }, { head: "latest", cell: (one) => (one.latest ? `v${one.latest.version} (id ${one.latest.id})` : "–") }, { head: "compatibility", cell: (one) => one.compatibility ?? "the registry's default" },
];
const shown = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

async function diff(subject, from, to, at) {
  try {
    const { changes } = await get(path(`/events/schemas/${encodeURIComponent(subject)}/diff`, { from, to }));
    at.replaceChildren(changes.length ? table(`From version ${from} to ${to}`, [
      { head: "where", cell: (one) => one.path }, { head: "what", cell: (one) => sign(...(KINDS[one.kind] ?? ["quiet", one.kind])) }, { head: "before", cell: (one) => element("code", {}, shown(one.before)) }, { head: "after", cell: (one) => element("code", {}, shown(one.after)) },
      { head: "breaks", cell: (one) => (one.breaks?.length ? sign("alarm", one.breaks.join(" and ")) : "nothing") },
    ], changes) : element("p", {}, `Versions ${from} and ${to} say the same.`));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    at.replaceChildren(problem(error));
  }
}

async function one(subject) {
  const back = element("p", {}, element("a", { href: link("operations", { part: "schemas" }) }, "← All schemas"));
  let found;
  try {
    found = await get(`/events/schemas/${encodeURIComponent(subject)}`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [back, problem(error)];
  }
  const numbers = found.versions.map((version) => [String(version.version), `version ${version.version}`]), at = element("div", { id: "diff" });
  const last = numbers[numbers.length - 1]?.[0];
  const compare = numbers.length > 1 ? form([{ name: "from", label: "Compare", kind: "select", options: numbers, value: numbers[numbers.length - 2][0] }, { name: "to", label: "with", kind: "select", options: numbers, value: last }], "Show what changed", ({ from, to }) => diff(subject, from, to, at), { inline: true }) : element("p", { class: "quiet" }, "There is one version only.");
  return [back, element("h3", {}, found.subject), element("p", { class: "quiet" }, `Compatibility: ${found.compatibility ?? "the registry's default"}`), compare, at,
    ...[...found.versions].reverse().map((version) => element("details", {}, element("summary", {}, `Version ${version.version} (id ${version.id})`), element("pre", { class: "detail", tabindex: "0", role: "region", "aria-label": `Version ${version.version}` }, pretty(version.schema))))];
}

function pretty(schema) {
  try {
    return JSON.stringify(typeof schema === "string" ? JSON.parse(schema) : schema, null, 2);
  } catch {
    return String(schema);
  }
}

export function open(root, query) {
  let subject = query.get("subject");
  const list = async () => { const { items } = await all("/events/schemas", { limit: 500 }, PAGES_MAX); return [table(counted(items.length, "subject"), COLUMNS, items, { id: "schemas" })]; };
  const part = listed(root, EVERY_MS, () => (subject ? one(subject) : list()));
  return { close: part.close, change: (next) => { subject = next.get("subject"); part.again(); } };
}
