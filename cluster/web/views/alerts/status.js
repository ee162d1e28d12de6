// Where the work on an alert stands. That its signal has ended is another thing: the alert's own state.

const STATUS = {
  open: ["alarm", "new: nobody has acknowledged it"],
  acknowledged: ["learning", "acknowledged"],
  caused: ["learning", "cause found"],
  in_ocap: ["learning", "in OCAP"],
  closed: ["good", "done"],
};

/** Status, style and words; a server without life cycles says nothing of it. */
export function statusOf(alert) {
  if (!alert.life) return { status: "", style: "quiet", words: "" };
  const { status, escalated, assigned } = alert.life;
  const [style, said] = STATUS[status] ?? ["quiet", status];
  return { status, style, words: [status === "open" ? "new" : said, escalated ? "escalated" : "", assigned ? `with ${assigned}` : ""].filter(Boolean).join(" · "), full: said };
}

/** What `name` can do, what comes next in the life cycle first. A cause is named before an alert is closed; who has it needs not take it over. */
export function actionsOf({ status, steps, assigned }, name) {
  const planned = (steps ?? []).some((step) => !step.done);
  return {
    open: ["acknowledge", "comment"],
    acknowledged: ["assign_cause", "plan_step", "comment", "acknowledge"],
    caused: ["plan_step", "close", "assign_cause", "comment", "acknowledge"],
    in_ocap: [...(planned ? ["do_step", "plan_step"] : ["close", "plan_step"]), "assign_cause", "comment", "acknowledge"],
    closed: ["reopen", "comment"],
  }[status]?.flatMap((action) => (planned && action === "plan_step" && status !== "in_ocap" ? ["do_step", action] : [action])).filter((action) => action !== "acknowledge" || status === "open" || assigned !== name) ?? ["comment"];
}
