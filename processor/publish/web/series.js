// Points of a time series: from columns of numbers to objects, in runs that a line can connect.

// One point per step with something counted; `running` is the step that holds the present, whose
// numbers are not final.
export function points(columns, steps) {
  return columns.index.map((index, i) => ({
    index,
    running: index === steps - 1,
    predictions: columns.predictions[i],
    judged: columns.judged[i],
    correct: columns.correct[i],
    value: columns.value[i],
    low: columns.low[i],
    high: columns.high[i],
    meanPredicted: columns.mean_predicted?.[i] ?? null,
    meanActual: columns.mean_actual?.[i] ?? null,
  }));
}

// The points with a score, in runs without a gap.
export function judgedRuns(found) {
  const runs = [];
  let last = null;
  for (const point of found) {
    if (point.value === null) continue;
    if (last !== null && point.index === last + 1) runs[runs.length - 1].push(point);
    else runs.push([point]);
    last = point.index;
  }
  return runs;
}

// The stretches of a run to draw, each [class, points]. The stretch to the running step is dashed.
export function stretches(run) {
  const whole = run.filter((point) => !point.running);
  const found = [["line", whole]];
  if (whole.length < run.length) found.push(["line running", run.slice(-2)]);
  return found.filter(([, part]) => part.length > 1);
}
