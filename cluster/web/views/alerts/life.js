// One alert: its facts, its life, and the actions that move it on. Every action is a form, none a prompt.

import { ApiError, explain, get, onceKey, send, tagOf } from "/web/api.js";
import { element, say } from "/web/element.js";
import { count, detectorName, names, number, ruleName, time } from "/web/format.js";
import { link } from "/web/router.js";
import { actionsOf, statusOf } from "/web/views/alerts/status.js";
import { signedIn } from "/web/who.js";
import { facts, form, sign } from "/web/widgets.js";

const TEXT_MAX = 1_000;
const CAUSES = ["Tool: part worn or broken", "Tool: after maintenance", "Recipe or setting", "Material or gas", "Metrology", "Operator", "Common cause: none was found"];
const text = (label, required = false) => ({ name: "text", label, kind: "area", required, max: TEXT_MAX });
const plannedOf = (life) => (life.steps ?? []).flatMap((step, i) => (step.done ? [] : [[String(i + 1), `${i + 1}. ${step.text}`]]));

/** What each action asks for; `body`: what is sent, from what was filled in. */
const ACTIONS = {
  acknowledge: { words: "Acknowledge", again: "Take over", fields: () => [text("Comment")] },
  assign_cause: { words: "Assign cause", fields: () => [{ name: "cause", label: "Assignable cause", required: true, max: TEXT_MAX, options: CAUSES, hint: "where none was found, say that it is common cause" }, text("Comment")] },
  plan_step: {
    words: "Plan OCAP step", fields: () => [{ name: "kind", label: "Kind", kind: "select", options: [["checkpoint", "checkpoint: looks for the cause"], ["terminator", "terminator: takes the cause away"]] }, text("What is to be done", true), { name: "done", label: "it is done already", kind: "check" }],
    body: (values) => ({ action: "ocap_step", ...values }),
  },
  do_step: { words: "OCAP step done", fields: (life) => [{ name: "step", label: "Step", kind: "select", options: plannedOf(life) }, text("What was found")], body: ({ step, ...rest }) => ({ action: "ocap_step", step: Number(step), ...rest }) },
  close: { words: "Close", fields: () => [text("Result")] },
  comment: { words: "Comment", fields: () => [text("Comment", true)] },
  reopen: { words: "Reopen", fields: () => [text("Why", true)] },
};

const pathOf = (id) => `/alerts/${encodeURIComponent(id)}`;

export class Life {
  /** `root`: where it is shown; `known(alert)` hears of every newer state of it. */
  constructor(root, known) {
    this.root = root;
    this.known = known;
    this.id = null;
    this.show(null, null);
  }

  /** Show an alert: what the list knows of it at once, then all of it. */
  async show(id, listed) {
    if (this.id === id && id !== null) return;
    this.id = id;
    if (!id) return this.root.replaceChildren(element("p", { class: "quiet" }, "Choose an alert to see what it is and what became of it."));
    if (listed) this.draw(listed, "", false);
    else this.root.replaceChildren(element("p", { class: "quiet" }, "asking …"));
    this.loading = this.load(listed);
    await this.loading;
  }

  /** Ask for all of it and show it. A form that is open is not taken away, unless it is done with (`anyway`). */
  async load(listed, words = "", anyway = false) {
    const id = this.id;
    try {
      const alert = await get(pathOf(id));
      if (this.id !== id) return;
      if (anyway || this.root.querySelector("form") === null) this.draw(alert, words);
      else if (tagOf(pathOf(id)) !== this.tag) this.warn(alert);
      this.known(alert);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.id !== id) return;
      if (listed) this.draw(listed, error.absent ? "This server keeps no life cycle of alerts: what is done about them cannot be noted here." : explain(error), false);
      else this.root.replaceChildren(element("p", { class: "quiet" }, explain(error)));
    }
  }

  /** The stream says that it has changed: shown, but a form that is open is not taken away. */
  changed() {
    if (this.id) this.load(null);
  }

  /** Somebody did something while a form is open: what is sent from it is refused, for it was filled in for another state. */
  warn(alert) {
    const newest = alert.life?.history?.at(-1);
    const words = newest ? `${newest.by}: ${newest.action.toLowerCase().replaceAll("_", " ")}` : "its life cycle is another one";
    this.root.querySelector(".changed").replaceChildren(`It has changed since you opened this form (${words}). What you send now will be refused; `, element("button", { type: "button", onclick: () => this.load(null, "", true) }, "show how it stands"));
  }

  /** `whole`: all of it is known, and with it the version that an action is about; what the list knows can only be looked at. */
  draw(alert, words, whole = true) {
    this.tag = tagOf(pathOf(this.id)); // of what is shown: what is done is done about this, not about what came since
    const { what, where } = names(alert.series), open = alert.state === "OPEN";
    const status = statusOf(alert);
    this.root.replaceChildren(
      element("h2", { tabindex: "-1" }, `${what}: ${ruleName(alert.rule)}`),
      element("p", {}, alert.rule_doc || alert.rule),
      element("p", {}, sign(open ? "alarm" : "good", open ? "OPEN: the signal goes on" : "the signal has ended"), alert.life ? [" · ", sign(status.style, status.full)] : "", alert.life?.escalated ? [" · ", sign("alarm", "escalated: not acknowledged in time")] : ""),
      words ? element("p", { class: "notice", role: "alert" }, words) : "",
      facts([
        ["severity", alert.severity.toLowerCase()], ["where", where || "–"], ["detector", detectorName(alert.detector), alert.detector], ["value", number(alert.value, 6)],
        ["statistic", number(alert.statistic, 6)], ["LCL · CL · UCL", [alert.lcl, alert.centre, alert.ucl].map((v) => number(v, 6)).join(" · ")],
        ["first signal", `${time(alert.opened_time || alert.raised_ms)} UTC`], ["last signal", `${time(alert.last_time || null)} UTC`], ["rows with it", count(alert.rows)],
        ["lot · wafer", `${alert.lot || "–"} · ${alert.wafer || "–"}`], alert.life?.assigned ? ["with", alert.life.assigned] : null, alert.life?.cause ? ["cause", alert.life.cause] : null,
      ]),
      alert.detail ? element("pre", { class: "detail", tabindex: "0", role: "region", "aria-label": "Detail" }, alert.detail) : "",
      element("p", {}, element("a", { href: link("chart", { series: alert.series, tab: `${detectorName(alert.detector)}/` }) }, "Show its chart")),
      ...(alert.life && whole ? [this.actions(alert), steps(alert.life), history(alert.life)] : []));
  }

  actions(alert) {
    const at = element("div", { class: "action-form" }), changed = element("p", { class: "notice changed", role: "alert" });
    const words = (name) => (name === "acknowledge" && alert.life.status !== "open" ? ACTIONS[name].again : ACTIONS[name].words);
    const buttons = actionsOf(alert.life, signedIn.name).map((name, i) => element("button", {
      type: "button", class: i === 0 ? "first-choice" : "", "data-action": name, "aria-expanded": "false",
      onclick: (event) => {
        for (const other of buttons) other.setAttribute("aria-expanded", String(other === event.currentTarget));
        const sheet = form(ACTIONS[name].fields(alert.life), words(name), (values) => this.act(name, values), { cancel: () => { at.replaceChildren(); event.target.setAttribute("aria-expanded", "false"); event.target.focus(); } });
        at.replaceChildren(sheet);
        sheet.querySelector("input, textarea, select").focus();
      },
    }, words(name)));
    return element("div", { class: "actions" }, element("h3", {}, "What to do"), element("div", { class: "controls", role: "group", "aria-label": "Actions" }, ...buttons), changed, at);
  }

  async act(action, values) {
    await this.loading; // who is quick sends what the list said: its version is known only when all of it has come
    const filled = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== false));
    const body = ACTIONS[action].body?.(filled) ?? { action, ...filled };
    try {
      await send("POST", `${pathOf(this.id)}/actions`, body, { match: this.tag, once: onceKey() });
    } catch (error) {
      if (!(error instanceof ApiError) || ![409, 412].includes(error.status)) throw error;
      await this.load(null, explain(error), true); // how it stands now, and why nothing was done
      return;
    }
    await this.load(null, "", true);
    say(`${ACTIONS[action].words}: done`);
    this.root.querySelector("h2")?.focus();
  }
}

function steps(life) {
  if (!life.steps?.length) return element("p", { class: "quiet" }, "No step of the action plan yet.");
  return element("div", {}, element("h3", {}, "Action plan (OCAP)"), element("ol", { class: "plain" }, ...life.steps.map((step, i) => element("li", {}, sign(step.done ? "good" : "learning", `${i + 1}. ${step.text}: ${step.done ? "done" : "to do"}`), step.finding ? ` ${step.finding}` : "", element("span", { class: "quiet" }, ` ${[step.kind, step.by, step.at_ms ? `${time(step.at_ms)} UTC` : ""].filter(Boolean).join(", ")}`)))));
}

function history(life) {
  if (!life.history?.length) return element("p", { class: "quiet" }, "Nobody has done anything about it yet.");
  const words = (one) => [one.cause, one.text].filter(Boolean).join(": ");
  return element("div", {}, element("h3", {}, "What was done"), element("ol", { class: "plain history-list" }, ...[...life.history].reverse().map((one) => element("li", {}, element("b", {}, one.action.toLowerCase().replaceAll("_", " ")), ` by ${one.by}`, words(one) ? `: ${words(one)}` : "", element("span", { class: "quiet" }, ` ${time(one.at_ms)} UTC`)))));
}
