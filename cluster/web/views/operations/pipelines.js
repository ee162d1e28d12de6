// Pipelines and consumer groups: how far each is behind, whether it goes on, and which slot on which node owns what.

import { get } from "/web/api.js";
import { element } from "/web/element.js";
import { count, counted, milliseconds, seconds } from "/web/format.js";
import { listed } from "/web/views/operations/listed.js";
import { placeOf, planButton } from "/web/views/operations/plan.js";
import { facts, sign, table } from "/web/widgets.js";

const EVERY_MS = 3_000;
const MEANING = {
  OK: ["good", "OK: it keeps up"], WARNING: ["learning", "WARNING: its lag grows"], STALLED: ["alarm", "STALLED: it commits, but does not move on"], STOPPED: ["lost", "STOPPED: it has not committed for a while, and there is lag"],
  REWIND: ["learning", "REWIND: its commits went back"], UNKNOWN: ["quiet", "UNKNOWN: watched for too short a time"],
};

/** The status of a group or a partition, in words. */
export function statusWords(status) {
  if (!status) return "–";
  const [style, words] = MEANING[status] ?? ["quiet", status];
  return sign(style, words);
}

const unfolded = new Set(); // groups whose partitions are shown

function partitions(group) {
  const columns = [
    { head: "topic", cell: (one) => one.topic }, { head: "partition", figure: true, cell: (one) => String(one.partition) }, { head: "committed", figure: true, cell: (one) => count(one.committed) }, { head: "end", figure: true, cell: (one) => count(one.end) },
    { head: "lag", figure: true, cell: (one) => count(one.lag) }, { head: "lag in time", figure: true, cell: (one) => seconds(one.lag_s) }, { head: "status", cell: (one) => statusWords(one.status) },
    { head: "owner", cell: (one) => (one.owner ? `slot ${one.owner.slot} on ${one.owner.node ?? "?"}, ${one.owner.state ?? ""}` : "–") },
  ];
  const shown = element("details", { open: unfolded.has(group.group), ontoggle: (event) => (event.target.open ? unfolded.add(group.group) : unfolded.delete(group.group)) }, element("summary", {}, counted(group.partitions.length, "partition")));
  shown.append(table(`Partitions of ${group.group}`, columns, group.partitions));
  return shown;
}

const at = (when) => new Date(`${when}Z`).toISOString();
const TIME = (name, label, hint) => ({ name, label, kind: "datetime-local", hint });

/** What can be done: a pipeline's records are judged again beside it; a plain group's offsets are set. */
function controls(group) {
  const said = placeOf(`group ${group.group}`);
  const replay = () => planButton("Judge again", `Judge again with ${group.group}`, "A stretch of the input is judged with this pipeline's detectors into topics of its own, next to the live ones. Every series begins in Phase I.", () => [
    { name: "output", label: "Name of the output", required: true, max: 31, hint: "small letters, digits and hyphens; its topics are <name>.charts and so on" },
    TIME("from", "From (UTC)", "published since; empty = the earliest that is kept"), TIME("to", "To (UTC)", "empty = as far as it reaches when it begins"),
  ], ({ output, from, to }) => ({ path: "/events/replay", body: { pipeline: group.group, output, from: from ? { time: at(from) } : "earliest", ...(to ? { to: { time: at(to) } } : {}) } }), said);
  const reset = () => planButton("Set its offsets", `Set the offsets of ${group.group}`, "From there on the group reads, when it starts again. A group with members is refused: stop it first.", () => [
    { name: "to", label: "To", kind: "select", options: [["earliest", "the earliest record"], ["latest", "behind the latest record"], ["time", "what was published since"]] }, TIME("time", "Since (UTC)", "for “what was published since”"),
  ], ({ to, time }) => ({ path: "/events/reset", body: { group: group.group, to: to === "time" ? { time: time ? at(time) : "" } : to } }), said);
  return [element("p", { class: "controls" }, group.kind === "pipeline" ? replay() : reset()), said];
}

function groupOf(group) {
  const lag = group.lag ?? group.partitions.reduce((sum, one) => sum + (one.lag ?? 0), 0);
  return element("article", { class: "group", "data-group": group.group }, element("h3", {}, group.group, element("span", { class: "quiet" }, group.kind === "pipeline" ? " pipeline" : " consumer group")),
    element("p", {}, group.status ? statusWords(group.status) : "", group.why ? ` ${group.why}` : ""),
    facts([["lag", `${count(lag)} records`], group.lag_s !== undefined ? ["lag in time", seconds(group.lag_s)] : null, ["state", group.state ?? "–"], ["members", group.members === undefined ? "–" : Array.isArray(group.members) ? String(group.members.length) : String(group.members)]]),
    ...controls(group), partitions(group));
}

const OWNERS = [
  { head: "slot", figure: true, cell: (one) => String(one.slot) }, { head: "state", cell: (one) => sign(one.state === "live" ? "good" : "lost", one.state) }, { head: "incarnation", figure: true, cell: (one) => String(one.incarnation ?? "–") },
  { head: "node", cell: (one) => one.node ?? "–" }, { head: "pid", figure: true, cell: (one) => String(one.pid ?? "–") }, { head: "partitions", cell: (one) => Object.keys(one.partitions ?? {}).join(", ") || "none" },
  { head: "rows", figure: true, cell: (one) => count(one.rows) }, { head: "step", figure: true, cell: (one) => milliseconds(one.step_ms) }, { head: "commit", figure: true, cell: (one) => milliseconds(one.commit_ms) }, { head: "last error", cell: (one) => one.last_error ?? "none" },
];

async function load() {
  const found = await get("/events/consumers");
  return [
    element("p", { class: "headline" }, `Pipeline ${found.pipeline}: ${found.lag === null ? "its lag is not known" : `${counted(found.lag, "record")} behind`}.`),
    found.owners_trouble ? element("p", { class: "problem" }, `Its owners: ${found.owners_trouble}`) : "",
    found.owners.length ? table(`Slots${found.deal ? `, deal ${found.deal.deal}` : ""}`, OWNERS, found.owners, { id: "owners" }) : element("p", { class: "quiet" }, "No slot is known: the pipeline's supervisor does not answer."),
    element("h3", {}, counted(found.total, "group")), ...found.items.map(groupOf),
  ].filter(Boolean);
}

export const open = (root) => listed(root, EVERY_MS, load);
