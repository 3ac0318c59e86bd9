// Points of a history: columns of numbers to objects, in runs that a line can go through.

// One point per step with something counted; `running` is the step that holds the present, whose
// numbers are not final.
export function points(columns, steps) {
  return columns.index.map((index, i) => ({
    index,
    running: index === steps - 1,
    predictions: columns.predictions[i],
    judged: columns.judged[i],
    correct: columns.correct[i],
    accuracy: columns.judged[i] ? columns.correct[i] / columns.judged[i] : null,
    low: columns.low[i],
    high: columns.high[i],
  }));
}

// The points with something judged, in runs without a gap.
export function judgedRuns(found) {
  const runs = [];
  let last = null;
  for (const point of found) {
    if (!point.judged) continue;
    if (last !== null && point.index === last + 1) runs[runs.length - 1].push(point);
    else runs.push([point]);
    last = point.index;
  }
  return runs;
}

// The stretches of a run to draw: [class, points]. What leads to the running step is dashed.
export function stretches(run) {
  const whole = run.filter((point) => !point.running);
  const found = [["line", whole]];
  if (whole.length < run.length) found.push(["line running", run.slice(-2)]);
  return found.filter(([, part]) => part.length > 1);
}
