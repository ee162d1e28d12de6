// Operations: what was started, how far each is, and how to stop one.

import { ApiError, explain, get, path, send } from "/web/api.js";
import { element, say } from "/web/element.js";
import { count, counted, time } from "/web/format.js";
import { listed } from "/web/views/operations/listed.js";
import { sign, table } from "/web/widgets.js";

const EVERY_MS = 1_000, SHOWN = 100;
const STATES = { running: ["learning", "running"], done: ["good", "done"], failed: ["alarm", "failed"], cancelled: ["quiet", "cancelled"] };

function progress(one) {
  const share = Math.round((one.progress ?? 0) * 100);
  return element("span", {}, element("progress", { max: 100, value: share, "aria-label": `progress of ${one.kind}` }), ` ${share} %${one.of ? ` (${count(one.done)} of ${count(one.of)})` : ""}`);
}

export function open(root) {
  const wrong = element("p", { class: "problem", role: "alert" });
  const cancel = (one) => element("button", { type: "button", onclick: async () => {
    try {
      await send("DELETE", `/operations/${encodeURIComponent(one.id)}`);
      say(`${one.kind}: cancelled`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      wrong.textContent = explain(error);
    }
    part.again();
  } }, "Cancel");
  const columns = [
    { head: "operation", cell: (one) => one.kind }, { head: "what", cell: (one) => one.what ?? "" }, { head: "state", cell: (one) => sign(...(STATES[one.state] ?? ["quiet", one.state])) }, { head: "progress", cell: progress }, { head: "error", cell: (one) => one.error ?? "none" },
    { head: "by", cell: (one) => one.by ?? "–" }, { head: "started (UTC)", cell: (one) => time(one.started_ms) }, { head: "ended (UTC)", cell: (one) => time(one.ended_ms) }, { head: "", cell: (one) => (one.state === "running" ? cancel(one) : "") },
  ];
  const part = listed(root, EVERY_MS, async () => {
    const { items } = await get(path("/operations", { limit: SHOWN }));
    return [items.length ? table(`${counted(items.length, "operation")}, newest first`, columns, items, { id: "operations" }) : element("p", { class: "quiet" }, "No operation was started.")];
  });
  root.append(wrong);
  return part;
}
