// Where two detectors agree and differ, on the rows that both were asked about: what a promotion stands on.

import { ApiError, get, path } from "/web/api.js";
import { element } from "/web/element.js";
import { count, number } from "/web/format.js";
import { link, note } from "/web/router.js";
import { facts, form, problem, table } from "/web/widgets.js";

const DIGITS = 4;

/** `query`: name, against. */
export function open(root, query) {
  let turn = 0;
  const body = element("div", { id: "compared" });
  const ask = element("div", {});
  root.append(element("p", {}, element("a", { href: link("operations", { part: "detectors" }) }, "All detectors")), ask, body);

  const change = async (to) => {
    const name = to.get("name") ?? "", against = to.get("against") ?? "";
    const mine = (turn += 1);
    ask.replaceChildren(form([{ name: "name", label: "Deployment", value: name, required: true }, { name: "against", label: "against", value: against, placeholder: "what it replaces" }], "Compare", async (asked) => {
      note("operations", { part: "compare", ...asked });
      await change(new URLSearchParams(asked));
    }, { inline: true }));
    body.replaceChildren(element("p", { class: "quiet" }, "comparing …"));
    try {
      const found = await get(path(`/deployments/${encodeURIComponent(name)}/compare`, { against }));
      if (mine === turn) body.replaceChildren(...compared(found));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (mine === turn) body.replaceChildren(problem(error));
    }
  };
  change(query);
  return { close: () => { turn += 1; }, change };
}

function compared(found) {
  const { a, b } = found;
  const spans = Object.entries(found.offsets).map(([partition, { from, to }]) => `${partition}:${count(from)} to ${count(to)}`).join(", ");
  const sides = [
    ["rows judged", count(found.judged.a), count(found.judged.b), count(found.judged.both)],
    ["signals, alone", count(found.signals.only_a), count(found.signals.only_b), count(found.signals.both)],
    ["alerts, alone", count(found.alerts.only_a), count(found.alerts.only_b), count(found.alerts.both)],
    ["µs a row, as examined", number(a.us_per_row, DIGITS), number(b.us_per_row, DIGITS), "–"],
    ["ms a step, now", number(a.step_ms, DIGITS), number(b.step_ms, DIGITS), "–"],
  ];
  const columns = ["", a.name, b.name, "both"].map((head, i) => ({ head, figure: i > 0, cell: (row) => row[i] }));
  return [
    facts([["rows that both were asked about", count(found.rows)], ["offsets", spans || "none"], [a.name, a.detector], [b.name, b.detector]]),
    found.alerts_held_back ? element("p", { class: "quiet" }, `Open transactions hold ${count(found.alerts_held_back)} records of alerts back: compare again.`) : "",
    table("Side by side", columns, sides, { id: "sides" }),
    statistics(found),
    ...examples("Signals of one alone", found.signal_examples, found),
    ...examples("Alerts of one alone", found.alert_examples, found),
  ];
}

function statistics({ statistics: of, a, b }) {
  const rows = Object.entries(of);
  if (!rows.length) return element("p", { class: "quiet" }, "No statistic has the same name in both.");
  const worst = ({ at }) => (at ? element("span", {}, chart(at), ` at ${at.partition}:${count(at.offset)}: ${number(at.a, DIGITS)} of ${a.name}, ${number(at.b, DIGITS)} of ${b.name}`) : "–");
  return table("Statistics of the same name", [
    { head: "statistic", cell: ([name]) => name }, { head: "equal, bit for bit", figure: true, cell: ([, said]) => count(said.equal) }, { head: "different", figure: true, cell: ([, said]) => count(said.different) },
    { head: "apart at most", figure: true, cell: ([, said]) => number(said.max_abs_difference, DIGITS) }, { head: "where", cell: ([, said]) => worst(said) },
  ], rows, { id: "statistics" });
}

function examples(title, { only_a: left, only_b: right }, { a, b }) {
  const rows = [...left.map((one) => [a.name, one]), ...right.map((one) => [b.name, one])];
  if (!rows.length) return [];
  const columns = [
    { head: "of", cell: ([name]) => name }, { head: "series", cell: ([, one]) => chart(one) }, { head: "at", cell: ([, one]) => `${one.partition}:${count(one.offset)}` },
    { head: "what", cell: ([, one]) => one.rule ?? (one.value === null ? "–" : `value ${number(one.value, DIGITS)}`) },
  ];
  return [table(`${title}: examples`, columns, rows)];
}

const chart = (one) => element("a", { href: link("chart", { series: one.series }) }, one.series);
