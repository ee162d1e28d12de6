// Topics: what they carry, how large they are, where their partitions stand.

import { get } from "/web/api.js";
import { element } from "/web/element.js";
import { bytes, count, counted, number, seconds } from "/web/format.js";
import { link } from "/web/router.js";
import { listed } from "/web/views/operations/listed.js";
import { placeOf, planButton } from "/web/views/operations/plan.js";
import { facts, problem, sign, table } from "/web/widgets.js";

const EVERY_MS = 5_000;

const under = (topic) => topic.under_replicated ?? topic.partitions.filter((one) => one.isr && one.replicas && one.isr.length < one.replicas.length).length;
const records = (topic) => topic.records ?? (topic.partitions.some((one) => one.high !== undefined) ? topic.partitions.reduce((sum, one) => sum + (one.high - one.low), 0) : null);

function state(topic) {
  if (topic.exists === false) return sign("lost", "is not there");
  if (topic.without_leader) return sign("lost", `${counted(topic.without_leader, "partition")} without a leader`);
  return under(topic) ? sign("alarm", `${counted(under(topic), "partition")} under-replicated`) : sign("good", "in sync");
}

const COLUMNS = [
  { head: "topic", cell: (one) => element("a", { href: link("operations", { part: "topics", name: one.name }) }, one.name) },
  { head: "carries", cell: (one) => one.doc ?? (one.ours === false ? "not one of ours" : "") }, { head: "state", cell: state },
  { head: "partitions", figure: true, cell: (one) => String(one.partitions.length) }, { head: "records", figure: true, cell: (one) => count(records(one)) }, { head: "size", figure: true, cell: (one) => bytes(one.size_bytes) },
  { head: "kept for", figure: true, cell: (one) => (one.retention_ms === undefined || one.retention_ms === null ? "–" : one.retention_ms < 0 || one.cleanup === "compact" ? "ever" : seconds(one.retention_ms / 1000)) }, { head: "cleanup", cell: (one) => one.cleanup ?? "–" },
];
const PARTITIONS = [
  { head: "partition", figure: true, cell: (one) => String(one.partition) }, { head: "leader", figure: true, cell: (one) => String(one.leader ?? "–") }, { head: "replicas", cell: (one) => (one.replicas ?? []).join(", ") || "–" },
  { head: "in sync", cell: (one) => (one.isr ? sign(one.isr.length < (one.replicas ?? []).length ? "alarm" : "good", one.isr.join(", ")) : "–") }, { head: "low", figure: true, cell: (one) => count(one.low) }, { head: "high", figure: true, cell: (one) => count(one.high) }, { head: "size", figure: true, cell: (one) => bytes(one.size_bytes) },
];

async function one(name) {
  const back = element("p", {}, element("a", { href: link("operations", { part: "topics" }) }, "← All topics"));
  try {
    const topic = await get(`/events/topics/${encodeURIComponent(name)}`);
    const configs = Object.entries(topic.configs ?? {}).map(([key, said]) => ({ key, value: said.value, usual: said.default }));
    const at = placeOf(`topic ${name}`);
    const remove = planButton("Delete this topic", `Delete ${topic.name}`, "A topic that is deleted is gone, with all of its records. Internal topics and those that hold state are refused.", () => [], () => ({ method: "DELETE", path: `/events/topics/${encodeURIComponent(name)}`, body: {} }), at);
    return [back, element("h3", {}, topic.name), element("p", {}, topic.doc ?? ""), element("p", { class: "controls" }, topic.ours ? element("span", { class: "quiet" }, "It is one of the product's: it is never deleted.") : remove), at, facts([["state", state(topic)], ["records", count(records(topic))], ["size", bytes(topic.size_bytes)], ["records a second", topic.rates ? number(topic.rates.in_per_s, 3) : "–"], ["key", topic.key ?? "–"], ["written by", listOf(topic.writers)], ["read by", listOf(topic.readers)]]),
      table("Partitions", PARTITIONS, topic.partitions), element("details", {}, element("summary", {}, counted(configs.length, "setting")), table("Settings", [{ head: "name", cell: (c) => c.key }, { head: "value", cell: (c) => String(c.value) }, { head: "else it would be", cell: (c) => (c.value === c.usual ? "the same" : String(c.usual)) }], configs))];
  } catch (error) {
    return [back, problem(error)];
  }
}

const listOf = (said) => (Array.isArray(said) ? said.join(", ") : said) || "–";

async function list() {
  const found = await get("/events/topics");
  return [table(`${counted(found.items.length, "topic")}`, COLUMNS, found.items, { id: "topics" })];
}

export function open(root, query) {
  let name = query.get("name");
  const shown = listed(root, EVERY_MS, () => (name ? one(name) : list()));
  return { close: shown.close, change: (next) => { name = next.get("name"); shown.again(); } };
}
