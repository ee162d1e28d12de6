// The defects that inspections found, where they are on the wafer.

import { ApiError, get, path } from "/web/api.js";
import { drawn, markOf } from "/web/charts/marks.js";
import { element, say, svg } from "/web/element.js";
import { count, counted, number, time } from "/web/format.js";
import { go, link } from "/web/router.js";
import { form, problem, table } from "/web/widgets.js";

const RADII_MM = [25, 38, 50, 75, 100, 150, 225]; // of wafers of 50 to 450 mm
const RADIUS_MIN_MM = 100; // a wafer is not taken for smaller than 200 mm because its defects lie in the middle
const POINTS_MAX = 5_000, LISTED = 50;

const NUMBERS = ["x", "y"], DIES = ["die_x", "die_y"];
const pair = (defect, names) => (names.every((name) => Number.isFinite(defect[name])) ? names.map((name) => defect[name]) : null);

/** Where defects are, and in which unit: mm from the centre of the wafer, or dies where none of them says mm; null: it says neither. */
export function placesOf(defects) {
  const inMm = defects.map((defect) => pair(defect, NUMBERS));
  if (inMm.some(Boolean)) return { unit: "mm", places: inMm };
  return { unit: "dies", places: defects.map((defect) => pair(defect, DIES)) };
}

function wafer(placed, types, radius, unit) {
  const size = radius * 1.06, mark = radius / 220;
  return svg("svg", { viewBox: `${-size} ${-size} ${2 * size} ${2 * size}`, class: "wafer", role: "img", "aria-label": `Wafer map: ${counted(placed.length, "defect")} of ${counted(types.length, "type")}` },
    svg("circle", { r: radius, class: "disc" }), svg("circle", { r: radius * 0.98, class: "ring" }),
    svg("path", { d: `M${-radius * 0.03} ${radius}L0 ${radius * 0.95}L${radius * 0.03} ${radius}Z`, class: "notch" }),
    svg("line", { x1: -radius, x2: radius, class: "axis" }), svg("line", { y1: -radius, y2: radius, class: "axis" }),
    ...placed.slice(0, POINTS_MAX).map(({ defect, at: [x, y] }) => {
      const i = types.indexOf(typeOf(defect));
      return svg("path", { d: markOf(i).path, class: `mark ${markOf(i).role}`, transform: `translate(${x} ${-y}) scale(${mark})` }, svg("title", {}, `${typeOf(defect)}, ${defect.severity ?? ""}: ${unit === "mm" ? `x ${number(x)} mm, y ${number(y)} mm` : `die ${x}, ${y}`}`));
    }));
}

const typeOf = (defect) => defect.defect_type ?? defect.type ?? "?";

class WaferView {
  constructor(root, query) {
    this.controls = element("div", {});
    this.body = element("div", { id: "wafer" });
    root.append(element("h1", { tabindex: "-1" }, "Wafer map"), this.controls, element("section", { class: "panel", "aria-label": "Wafer map" }, this.body));
    this.change(query);
  }

  change(query) {
    const id = query.get("id") ?? "";
    this.controls.replaceChildren(form([{ name: "id", label: "Inspection, or lot/wafer", value: id, max: 600, placeholder: "I-1 or B-7/3" }], "Show", async (values) => go("wafer", values), { inline: true }));
    if (id) this.load(id);
    else this.list();
  }

  /** The newest inspections, each of which leads to its map. */
  async list() {
    try {
      const { items } = await get(path("/wafer-maps", { limit: LISTED }));
      this.body.replaceChildren(items.length ? table("The newest inspections", [
        { head: "inspection", cell: (one) => element("a", { href: link("wafer", { id: one.inspection_id }) }, one.inspection_id) }, { head: "kind", cell: (one) => one.inspection_type }, { head: "status", cell: (one) => one.status },
        { head: "wafer", cell: (one) => (one.lot && one.wafer ? element("a", { href: link("wafer", { id: `${one.lot}/${one.wafer}` }) }, `${one.lot}/${one.wafer}`) : one.lot || "–") },
        { head: "defects", figure: true, cell: (one) => count(one.defects) }, { head: "score", figure: true, cell: (one) => number(one.quality_score, 3) }, { head: "when (UTC)", cell: (one) => time(one.event_time_ms) },
      ], items, { id: "inspections" }) : element("p", { class: "quiet" }, "No inspection has been published yet."));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.body.replaceChildren(problem(error));
    }
  }

  async load(id) {
    try {
      this.draw(id, await get(`/wafer-maps/${id.split("/").map(encodeURIComponent).join("/")}`));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.body.replaceChildren(problem(error));
    }
  }

  draw(id, found) {
    const defects = found.defects ?? found.items ?? [];
    const types = [...new Set(defects.map(typeOf))].sort();
    const { unit, places } = placesOf(defects);
    const all = defects.map((defect, i) => ({ defect, at: places[i] }));
    const placed = all.filter(({ at }) => at);
    const farthest = Math.max(0, ...placed.map(({ at }) => Math.hypot(...at)));
    const radius = unit === "dies" ? Math.max(1, farthest * 1.1) : RADII_MM.find((one) => one >= farthest && one >= RADIUS_MIN_MM) ?? farthest;
    const said = `${id}: ${counted(defects.length, "defect")}${placed.length < defects.length ? `, ${defects.length - placed.length} of them without a place on the wafer` : ""}.`;
    this.body.replaceChildren(element("p", { class: "headline" }, said),
      element("div", { class: "wafer-parts" }, wafer(placed, types, radius, unit),
        element("div", {}, element("p", { class: "quiet" }, unit === "mm" ? `Drawn as a wafer of ${number(2 * radius)} mm, notch down; x and y are the inspection tool's.` : "Drawn in dies: no defect says where it is in mm.", found.untold ? ` ${counted(found.untold, "defect")} more are not held.` : ""),
          element("ul", { class: "rules" }, ...types.map((type, i) => element("li", { class: "fired" }, drawn(i), element("span", {}, type), element("span", { class: "count" }, `${defects.filter((defect) => typeOf(defect) === type).length} ×`)))))),
      element("details", {}, element("summary", {}, "As a table"), table(`Defects of ${id}`, [
        { head: "type", cell: ({ defect }) => typeOf(defect) }, { head: "severity", cell: ({ defect }) => defect.severity ?? "–" },
        { head: "confidence", figure: true, cell: ({ defect }) => number(defect.confidence, 3) }, { head: `x, y (${unit})`, figure: true, cell: ({ at }) => (at ? at.map((v) => number(v)).join(", ") : "–") },
        { head: "location", cell: ({ defect }) => defect.location ?? "" }, { head: "chip", cell: ({ defect }) => defect.chip_id ?? "–" },
      ], all)));
    say(said);
  }
}

export function open(root, query) {
  const view = new WaferView(root, query);
  return { change: (next) => view.change(next) };
}
