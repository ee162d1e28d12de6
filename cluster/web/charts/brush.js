// Dragging over a chart chooses a stretch of it; a press without a drag is a click.

import { element } from "/web/element.js";

const DRAG_PX = 6;

export class Brush {
  /** `inside([x, y])`: whether it may begin there; `zoom(fromX, toX)`; `click([x, y])`; all in px of the root. */
  constructor(root, { inside, zoom, click }) {
    this.busy = false; // the chart is not drawn anew meanwhile
    const band = element("div", { class: "brush", hidden: true });
    root.append(band);
    let start = null;
    const at = (event) => { const box = root.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    root.addEventListener("pointerdown", (event) => {
      const px = at(event);
      if (event.button !== 0 || !inside(px) || px[1] > root.clientHeight - 24) return; // below is the bar
      start = px;
    });
    root.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [x] = at(event);
      if (!this.busy && Math.abs(x - start[0]) < DRAG_PX) return;
      if (!this.busy) root.setPointerCapture(event.pointerId);
      this.busy = true;
      band.hidden = false;
      band.style.left = `${Math.min(x, start[0])}px`;
      band.style.width = `${Math.abs(x - start[0])}px`;
    });
    const end = (event) => {
      const began = start, dragged = this.busy;
      start = null;
      this.busy = false;
      band.hidden = true;
      if (!began || event.type === "pointercancel") return;
      if (dragged) zoom(began[0], at(event)[0]);
      else click(began);
    };
    root.addEventListener("pointerup", end);
    root.addEventListener("pointercancel", end);
  }
}
