// What is shown stands in the address: "#/chart?series=…". A link, a reload and the back button show the same.

import { explain } from "/web/api.js";
import { byId, element, say } from "/web/element.js";

const FIRST = "overview";
let shown = null; // { name, close, change }
let turn = 0;

/** The view and its parameters that an address names. Addresses of older releases ("#series=…") are charts. */
export function read(hash = location.hash) {
  const bare = hash.replace(/^#/, "");
  if (!bare.startsWith("/")) {
    const query = new URLSearchParams(bare);
    return query.get("series") ? { name: "chart", query } : { name: FIRST, query: new URLSearchParams() };
  }
  const [name, ...rest] = bare.slice(1).split("?");
  return { name: name || FIRST, query: new URLSearchParams(rest.join("?")) };
}

export const link = (name, parameters = {}) => {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") query.append(key, one);
  return `#/${name}${query.size ? `?${query}` : ""}`;
};

/** Go to a view, as a link does. */
export const go = (name, parameters) => { location.hash = link(name, parameters); };

/** Write down what is shown without going anywhere. */
export const note = (name, parameters) => { history.replaceState(null, "", link(name, parameters)); };

export function titled(...parts) {
  document.title = [...parts, "chipquality"].filter(Boolean).join(" · ");
}

/** Show what the address names; `views`: name → { title, load: () => module with open(root, query) }. */
async function show(views, first) {
  const { name, query } = read();
  const view = views[name];
  for (const a of byId("views").querySelectorAll("a")) a.dataset.view === name ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
  if (shown?.name === name && shown.change) return shown.change(query);
  turn += 1;
  const mine = turn;
  for (const open of document.querySelectorAll("dialog[open]")) open.close(); // it belongs to what is left
  shown?.close?.();
  shown = null;
  const root = element("div", { class: `view ${view ? name : ""}` });
  byId("view").replaceChildren(root);
  titled(view?.title);
  if (!view) {
    root.append(element("h1", { tabindex: "-1" }, "There is no such view"), element("p", {}, `The address names “${name.slice(0, 80)}”. `, element("a", { href: link(FIRST) }, "Go to the overview.")));
  } else {
    try {
      const module = await view.load();
      if (turn !== mine) return;
      shown = { name, ...module.open(root, query) };
    } catch (error) {
      root.append(element("h1", { tabindex: "-1" }, view.title), element("p", { role: "alert", class: "problem" }, explain(error)));
      throw error;
    }
  }
  if (first) return;
  scrollTo(0, 0);
  (root.querySelector("h1") ?? byId("view")).focus({ preventScroll: true });
  say(view?.title ?? "There is no such view");
}

export function route(views) {
  addEventListener("hashchange", () => show(views, false));
  return show(views, true);
}
