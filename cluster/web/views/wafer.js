// The defects that inspections found, where they are on the wafer.

import { ApiError, get } from "/web/api.js";
import { drawn, markOf } from "/web/charts/marks.js";
import { element, say, svg } from "/web/element.js";
import { counted, number } from "/web/format.js";
import { go } from "/web/router.js";
import { form, problem, table } from "/web/widgets.js";

const RADII_MM = [25, 38, 50, 75, 100, 150, 225]; // of wafers of 50 to 450 mm
const NUMBER = "(-?\\d+(?:\\.\\d+)?)";
const PLACE = new RegExp(`x\\s*[=:]\\s*${NUMBER}\\D+?y\\s*[=:]\\s*${NUMBER}`, "i");
const POINTS_MAX = 5_000;

/** Where a defect is, mm from the centre of the wafer; null where its location says no such thing. */
export function placeOf(defect) {
  if (Number.isFinite(defect.x) && Number.isFinite(defect.y)) return [defect.x, defect.y];
  const found = PLACE.exec(defect.location ?? "");
  return found ? [Number(found[1]), Number(found[2])] : null;
}

function wafer(placed, types, radius) {
  const size = radius * 1.06, mark = radius / 220;
  return svg("svg", { viewBox: `${-size} ${-size} ${2 * size} ${2 * size}`, class: "wafer", role: "img", "aria-label": `Wafer map: ${counted(placed.length, "defect")} of ${counted(types.length, "type")}` },
    svg("circle", { r: radius, class: "disc" }), svg("circle", { r: radius * 0.98, class: "ring" }),
    svg("path", { d: `M${-radius * 0.03} ${radius}L0 ${radius * 0.95}L${radius * 0.03} ${radius}Z`, class: "notch" }),
    svg("line", { x1: -radius, x2: radius, class: "axis" }), svg("line", { y1: -radius, y2: radius, class: "axis" }),
    ...placed.slice(0, POINTS_MAX).map(({ defect, at: [x, y] }) => {
      const i = types.indexOf(typeOf(defect));
      return svg("path", { d: markOf(i).path, class: `mark ${markOf(i).role}`, transform: `translate(${x} ${-y}) scale(${mark})` }, svg("title", {}, `${typeOf(defect)}, ${defect.severity ?? ""}: x ${number(x)} mm, y ${number(y)} mm`));
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
    this.controls.replaceChildren(form([{ name: "id", label: "Inspection, or lot/wafer", value: id, required: true, max: 400, placeholder: "I-1 or B-7/3" }], "Show", async (values) => go("wafer", values), { inline: true }));
    if (id) this.load(id);
    else this.body.replaceChildren(element("p", { class: "quiet" }, "Name an inspection, or a lot and a wafer, to see where its defects are."));
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
    const all = defects.map((defect) => ({ defect, at: placeOf(defect) }));
    const placed = all.filter(({ at }) => at);
    const farthest = Math.max(0, ...placed.map(({ at }) => Math.hypot(...at)));
    const radius = (found.diameter_mm ?? 0) / 2 || RADII_MM.find((one) => one >= farthest && one >= 100) || farthest || 150;
    const said = `${id}: ${counted(defects.length, "defect")}${placed.length < defects.length ? `, ${defects.length - placed.length} of them without a place on the wafer` : ""}.`;
    this.body.replaceChildren(element("p", { class: "headline" }, said),
      element("div", { class: "wafer-parts" }, wafer(placed, types, radius),
        element("div", {}, element("p", { class: "quiet" }, `Wafer of ${number(2 * radius)} mm, notch down.`),
          element("ul", { class: "rules" }, ...types.map((type, i) => element("li", { class: "fired" }, drawn(i), element("span", {}, type), element("span", { class: "count" }, `${defects.filter((defect) => typeOf(defect) === type).length} ×`)))))),
      element("details", {}, element("summary", {}, "As a table"), table(`Defects of ${id}`, [
        { head: "type", cell: ({ defect }) => typeOf(defect) }, { head: "severity", cell: ({ defect }) => defect.severity ?? "–" },
        { head: "confidence", figure: true, cell: ({ defect }) => number(defect.confidence, 3) }, { head: "x, y (mm)", figure: true, cell: ({ at }) => (at ? at.map((v) => number(v)).join(", ") : "–") },
        { head: "location", cell: ({ defect }) => defect.location ?? "" }, { head: "chip", cell: ({ defect }) => defect.chip_id ?? "–" },
      ], all)));
    say(said);
  }
}

export function open(root, query) {
  const view = new WaferView(root, query);
  return { change: (next) => view.change(next) };
}
