// A small chart of a series for a wall of many: points, limits, signals. Drawn by hand: fifty of them cost less than one of the large.

import { colour } from "/web/theme.js";

const PAD = 6;

/** Draw rows (charts/series.js) on a canvas as large as it is shown; returns how many points it has. */
export function drawSmall(canvas, rows) {
  const ratio = Math.min(2, devicePixelRatio || 1), width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return 0;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const paint = canvas.getContext("2d");
  paint.setTransform(ratio, 0, 0, ratio, 0, 0);
  paint.clearRect(0, 0, width, height);
  const shown = rows.filter((row) => row.statistic !== null);
  if (!shown.length) return 0;
  const values = shown.flatMap((row) => [row.statistic, row.lcl, row.ucl]).filter((value) => value !== null);
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) [low, high] = [low - (Math.abs(low) * 0.01 || 1), high + (Math.abs(high) * 0.01 || 1)];
  const first = shown[0].sequence, reach = Math.max(1, shown[shown.length - 1].sequence - first);
  const x = (row) => PAD + ((row.sequence - first) / reach) * (width - 2 * PAD);
  const y = (value) => PAD + ((high - value) / (high - low)) * (height - 2 * PAD);
  const line = (column, role, dash) => {
    paint.strokeStyle = colour(role);
    paint.lineWidth = 1;
    paint.setLineDash(dash);
    paint.beginPath();
    let drawing = false;
    for (const row of shown) {
      if (row[column] === null) { drawing = false; continue; }
      if (drawing) paint.lineTo(x(row), y(row[column]));
      else paint.moveTo(x(row), y(row[column]));
      drawing = true;
    }
    paint.stroke();
  };
  line("ucl", "limit", []);
  line("lcl", "limit", []);
  line("centre", "centre", [3, 3]);
  paint.globalAlpha = 0.6;
  line("statistic", "point", []);
  paint.globalAlpha = 1;
  for (const row of shown) {
    paint.fillStyle = colour(row.signal ? "alarm" : "point");
    const at = [x(row), y(row.statistic)];
    paint.beginPath();
    if (row.signal) { // a diamond, larger than a point: not told by its colour alone
      paint.moveTo(at[0], at[1] - 5);
      for (const [dx, dy] of [[5, 0], [0, 5], [-5, 0]]) paint.lineTo(at[0] + dx, at[1] + dy);
    } else paint.arc(at[0], at[1], 1.6, 0, 7);
    paint.fill();
  }
  return shown.length;
}
