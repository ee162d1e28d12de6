// Scheduled jobs: when each is due, how its newest run stands, what its current version is; run now, cancel, the runs before.

import { ApiError, explain, get, path, send } from "/web/api.js";
import { element, say } from "/web/element.js";
import { count, counted, time } from "/web/format.js";
import { listed } from "/web/views/operations/listed.js";
import { dialog, problem, sign, table } from "/web/widgets.js";

const EVERY_MS = 2_000, SHOWN = 100;
const STATES = { waiting: ["learning", "waiting"], starting: ["learning", "starting"], running: ["learning", "running"], stopping: ["learning", "stopping"], done: ["good", "done"], failed: ["alarm", "failed"], cancelled: ["quiet", "cancelled"], skipped: ["quiet", "skipped"] };
const ENDED = ["done", "failed", "cancelled", "skipped"];

const at = (name, what = "") => `/jobs/${encodeURIComponent(name)}${what}`;
const state = (run) => sign(...(STATES[run.state] ?? ["quiet", run.state]));
const underWay = (job) => job.newest && !ENDED.includes(job.newest.state);

function standing(run) {
  if (!run) return "never run";
  const share = Math.round((run.progress ?? 0) * 100);
  const parts = [state(run)];
  if (!ENDED.includes(run.state)) parts.push(" ", element("progress", { max: 100, value: share, "aria-label": `progress of ${run.id}` }), ` ${share} % ${run.what}`);
  if (run.error) parts.push(element("details", {}, element("summary", {}, "why"), element("pre", {}, run.error)));
  return element("span", {}, ...parts);
}

function made(version) {
  if (!version) return "none yet";
  return element("details", {}, element("summary", {}, `v${version.version} since ${time(version.since_ms)}`), element("pre", {}, JSON.stringify(version.made, null, 2)));
}

async function history(job) {
  const body = element("div", {}, element("p", { class: "quiet" }, "asking …"));
  dialog(`Runs of ${job.name}`, body);
  try {
    const { items } = await get(path(at(job.name, "/runs"), { limit: SHOWN }));
    const columns = [
      { head: "due (UTC)", cell: (run) => time(run.due_ms) }, { head: "state", cell: standing }, { head: "by", cell: (run) => `${run.trigger}, ${run.by}` }, { head: "attempt", cell: (run) => count(run.attempt), figure: true },
      { head: "started (UTC)", cell: (run) => time(run.started_ms) }, { head: "ended (UTC)", cell: (run) => time(run.ended_ms) }, { head: "result", cell: (run) => (run.result ? element("details", {}, element("summary", {}, "result"), element("pre", {}, JSON.stringify(run.result, null, 2))) : "–") },
    ];
    body.replaceChildren(items.length ? table(`${counted(items.length, "run")}, newest first`, columns, items, { id: "runs" }) : element("p", { class: "quiet" }, "It has not run yet."));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    body.replaceChildren(problem(error));
  }
}

export function open(root) {
  const wrong = element("p", { class: "problem", role: "alert" });
  const button = (words, act) => element("button", { type: "button", onclick: async () => {
    wrong.textContent = "";
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      wrong.textContent = explain(error);
    }
  } }, words);
  const run = async (job) => {
    await send("POST", at(job.name, "/runs"));
    say(`${job.name}: a run is begun`);
    part.again();
  };
  const cancel = async (job) => {
    await send("DELETE", path(at(job.name, "/runs"), { id: job.newest.id }));
    say(`${job.name}: its run is told to end`);
    part.again();
  };
  const buttons = (job) => element("span", { class: "buttons" }, underWay(job) ? button("Cancel its run", () => cancel(job)) : button("Run now", () => run(job)), button("Runs", () => history(job)));
  const columns = [
    { head: "job", cell: (job) => job.name }, { head: "kind", cell: (job) => job.kind }, { head: "schedule", cell: (job) => (job.cron ? `${job.cron} (${job.zone})` : "by hand") }, { head: "due next (UTC)", cell: (job) => time(job.next_ms) },
    { head: "newest run", cell: (job) => standing(job.newest) }, { head: "current version", cell: (job) => made(job.current) }, { head: "by", cell: (job) => job.by }, { head: "", cell: buttons },
  ];
  const part = listed(root, EVERY_MS, async () => {
    const { items } = await get(path("/jobs", { limit: SHOWN }));
    return [items.length ? table(counted(items.length, "job"), columns, items, { id: "jobs" }) : element("p", { class: "quiet" }, "No job is defined. `chipquality job schedule` defines one.")];
  });
  root.append(wrong);
  return part;
}
