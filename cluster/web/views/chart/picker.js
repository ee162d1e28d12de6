// The list of series, alarms first, and the search in it. It never moves what is aimed at, and never changes what is shown.

import { ApiError, explain, get, path } from "/web/api.js";
import { element, every, text } from "/web/element.js";
import { count, names, number } from "/web/format.js";

const LIST_MS = 2_000, SHOWN_MAX = 200;
const STATUS = { alarm: ["alarm", "▲"], learning: ["learning", "○"], "in control": ["good", "●"] };

/** The state of a series in a sign and words. */
export function stateOf(item) {
  const [style, sign] = STATUS[item.status] ?? ["quiet", "·"];
  return [style, item.status === "alarm" ? `${sign} ${item.open_alerts} open` : `${sign} ${item.status}`];
}

export class Picker {
  constructor(root, choose) {
    this.choose = choose;
    this.series = null;
    this.waiting = null; // who wants the first series of the list, once
    this.search = element("input", { id: "search", type: "search", placeholder: "words of its name", autocomplete: "off", maxlength: "200" });
    this.list = element("ol", { id: "series", class: "rows" });
    this.count = element("p", { id: "series-count", class: "quiet", role: "status" });
    root.append(element("label", { for: "search" }, "Series"), this.search, this.list, this.count);
    this.search.addEventListener("input", () => this.load());
    this.end = every(LIST_MS, () => this.load(true));
  }

  close() {
    this.end();
  }

  look(words) {
    this.search.value = words;
  }

  /** Call `take` with the first series that the list has, once. */
  first(take) {
    this.waiting = take;
    this.load();
  }

  mark(series) {
    this.series = series;
    this.waiting = null;
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.series === series));
  }

  async load(again = false) {
    const search = this.search.value;
    const aimedAt = this.list.matches(":hover") || this.list.contains(document.activeElement);
    if (again && aimedAt && this.list.childElementCount) return; // do not move what is aimed at
    try {
      const found = await get(path("/charts", { limit: SHOWN_MAX, search }));
      if (search !== this.search.value) return;
      this.list.replaceChildren(...found.items.map((item) => this.row(item)));
      text(this.count, words(found, search));
      const take = this.waiting;
      if (take && found.items.length) take(found.items[0].series);
      else if (this.series) this.mark(this.series);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      text(this.count, explain(error));
    }
  }

  row(item) {
    const { what, short } = names(item.series);
    const [style, said] = stateOf(item);
    return element("li", {}, element("button", { type: "button", "data-series": item.series, title: item.series, onclick: () => this.choose(item.series) },
      element("span", { class: "first" }, element("span", { class: "name" }, what), element("span", { class: "value" }, number(item.last_value))),
      element("span", { class: "second" }, element("span", {}, short), element("span", { class: `value ${style}` }, said))));
  }
}

function words(found, search) {
  if (!found.items.length) return search.trim() ? `No series has all of these words in its name: “${search.trim()}”.` : "There is no series yet: nothing has been measured.";
  if (found.total > found.items.length) return `${found.items.length} of ${count(found.total)} shown, alarms first: search for more`;
  return `${count(found.total)} series, alarms first`;
}
