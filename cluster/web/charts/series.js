// What the page holds of a series, how a frame of the stream is joined to it, and its rows as one statistic judged them.

const POINT_COLUMNS = ["offset", "sample", "event_time_ms", "published_ms", "value", "lsl", "usl", "target", "lot", "wafer"];
const STATISTIC_COLUMNS = ["value", "centre", "lcl", "ucl"];
const LEARNS_AGAIN_ROWS = 10; // rows in a row without a verdict, at least, that are a Phase I again and not an open subgroup

/** Tell whether a row stands before another: by offset, then by sample of the record there. */
const before = (offset, sample, thenOffset, thenSample) => offset < thenOffset || (offset === thenOffset && sample < thenSample);

/** Append columns of rows that are newer than the last one held; keep the newest `limit`. */
function append(held, fresh, columns, limit) {
  const last = held.offset.length - 1;
  const start = fresh.offset.findIndex((offset, i) => last < 0 || before(held.offset[last], held.sample[last], offset, fresh.sample[i]));
  if (start < 0) return 0;
  for (const [to, from] of columns(held, fresh)) {
    to.push(...from.slice(start));
    if (to.length > limit) to.splice(0, to.length - limit);
  }
  return fresh.offset.length - start;
}

const pointColumns = (held, fresh) => POINT_COLUMNS.map((name) => [held[name], fresh[name]]);
const detectorColumns = (held, fresh) => [
  ...["offset", "sample", "signal", "valid"].map((name) => [held[name], fresh[name]]),
  ...held.statistics.flatMap((statistic, i) => STATISTIC_COLUMNS.map((name) => [statistic[name], fresh.statistics[i][name]])),
];

/** Join a frame to what is held, in place; returns the number of new rows. */
export function merge(chart, frame, limit = chart.points_max) {
  let fresh = 0;
  if (frame.points) fresh = append(chart.points, frame.points, pointColumns, limit);
  for (const detector of frame.detectors) {
    const held = chart.detectors.find((one) => one.detector === detector.detector);
    if (!held || held.identity !== detector.identity) {
      chart.detectors = chart.detectors.filter((one) => one.detector !== detector.detector).concat(detector);
      continue;
    }
    append(held, detector, detectorColumns, limit);
    held.phase_one_until = detector.phase_one_until;
    held.phase_one_sample = detector.phase_one_sample;
  }
  for (const name of ["capability", "histogram", "rows", "judged", "status", "open_alerts"]) {
    if (frame[name] !== undefined) chart[name] = frame[name];
  }
  return fresh;
}

/** One row per point, as one statistic of one detector judged it; the newest `newest`. */
export function rowsOf(chart, detector, which, newest) {
  const { points } = chart;
  const at = new Map(detector.offset.map((offset, i) => [`${offset}.${detector.sample[i]}`, i]));
  const until = detector.phase_one_until;
  const statistic = detector.statistics[which];
  const individual = statistic.name.toLowerCase() === "x";
  const bits = detector.rules.reduce((mask, rule, i) => (rule.statistic === which ? mask | (1 << i) : mask), 0);
  const rows = [];
  for (let i = Math.max(0, points.offset.length - newest); i < points.offset.length; i += 1) {
    const k = at.get(`${points.offset[i]}.${points.sample[i]}`);
    const has = k !== undefined;
    const judged = has && statistic.value[k] !== null ? statistic.value[k] : null;
    const learns = until === -1 || (until !== null && before(points.offset[i], points.sample[i], until, detector.phase_one_sample));
    rows.push({
      sequence: chart.rows - points.offset.length + i + 1,
      offset: points.offset[i],
      sample: points.sample[i],
      time: points.event_time_ms[i],
      value: points.value[i],
      statistic: judged === null && individual ? points.value[i] : judged,
      centre: has ? statistic.centre[k] : null,
      lcl: has ? statistic.lcl[k] : null,
      ucl: has ? statistic.ucl[k] : null,
      lsl: points.lsl[i],
      usl: points.usl[i],
      target: points.target[i],
      lot: points.lot[i],
      wafer: points.wafer[i],
      valid: has && detector.valid[k],
      signal: has ? (detector.signal[k] & bits) >>> 0 : 0,
      learning: learns ? "first" : null, // Phase I
      unjudged: has && !learns && points.value[i] !== null && !detector.valid[k],
    });
  }
  return againOf(rows);
}

/** Mark the rows of a Phase I that came again: long runs without a verdict, longer than it takes to close a subgroup. */
function againOf(rows) {
  const gaps = [];
  let run = 0;
  for (const row of rows) {
    if (row.valid) { gaps.push(run); run = 0; } else if (row.unjudged) run += 1;
  }
  gaps.sort((a, b) => a - b);
  const usual = gaps.length ? gaps[gaps.length >> 1] : 0;
  const least = Math.max(LEARNS_AGAIN_ROWS, 2 * usual + 1);
  let start = -1, length = 0;
  const close = (end) => {
    if (length >= least) for (let i = start; i < end; i += 1) rows[i].learning = "again";
    start = -1;
    length = 0;
  };
  rows.forEach((row, i) => {
    if (row.unjudged) { if (start < 0) start = i; length += 1; } else if (row.value !== null) close(i);
  });
  close(rows.length);
  return rows;
}

/** Stretches of rows in Phase I: { from, to, kind: "first" or "again" }. */
export function phasesOf(rows) {
  const phases = [];
  for (const row of rows) {
    const last = phases[phases.length - 1];
    if (row.learning && last?.open && last.kind === row.learning) last.to = row;
    else if (row.learning) phases.push({ kind: row.learning, from: row, to: row, open: true });
    else if (last) last.open = false;
  }
  return phases;
}
