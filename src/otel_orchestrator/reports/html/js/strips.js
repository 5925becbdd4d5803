// Numbers over time: the queue of tasks, and LLM calls in flight.
const strips = (() => {
  const TALL = 54;
  const { area } = panels;

  // What each of some numbers was from each instant on: [{ at, values }], by time.
  function steps({ fields, rows }) {
    return { names: fields.slice(1), at: rows.map((row) => row[0]), values: rows.map((row) => row.slice(1)) };
  }

  function indexAt(at, series) {
    let [low, high] = [0, series.at.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (series.at[middle] <= at) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function make(id, title, note, series, kinds) {
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const most = Math.max(1, ...series.values.map(sum));
    const says = (values) => series.names.map((name, n) => `${values[n]} ${name}`).join(", ");
    const item = (row, at) => {
      const n = indexAt(at ?? view.from, series);
      if (n < 0) return null;
      const to = series.at[n + 1] ?? run.data.wall[1];
      return { key: `${id}${n}`, row, span: -1, n, from: series.at[n], to, text: says(series.values[n]) };
    };

    // Within one column of pixels the most that there was counts.
    function bars(ctx, row, y) {
      const first = Math.max(0, indexAt(view.from, series));
      for (let n = first; n < series.at.length && series.at[n] < view.to; ) {
        const x = Math.max(area.gutter, Math.round(area.x(series.at[n])));
        let values = series.values[n];
        let next = n + 1;
        while (next < series.at.length && area.x(series.at[next]) < x + 1) {
          if (sum(series.values[next]) > sum(values)) values = series.values[next];
          next += 1;
        }
        const right = Math.min(area.width, Math.round(area.x(series.at[next] ?? run.data.wall[1])));
        let top = y + TALL - 4;
        values.forEach((value, layer) => {
          const tall = (value / most) * (TALL - 10);
          if (tall) paint.bar(ctx, kinds[layer], x, top - tall, right - x, tall, false);
          top -= tall;
        });
        n = next;
      }
    }

    function label(ctx, row, y) {
      series.names.forEach((name, n) => {
        const highest = Math.max(0, ...series.values.map((v) => v[n]));
        const line = y + 10 + n * 15;
        paint.bar(ctx, kinds[n], 10, line - 4, 10, 8);
        paint.label(ctx, `${name}, at most ${highest}`, 26, line, area.gutter - 34, paint.colours.ink);
      });
    }

    return panels.make({
      id, title, note,
      label: `${title}. Left and right move through the changes.`,
      tallest: () => TALL,
      rows: {
        height: TALL,
        count: () => 1,
        label, bars, item,
        step: (row, from, way) => {
          const n = Math.min(series.at.length - 1, Math.max(0, (from?.n ?? -1) + way));
          return series.at.length ? item(row, series.at[n]) : null;
        },
      },
    });
  }

  function makeAll() {
    const made = [];
    if (run.data.queue.rows.length) {
      const note = "tasks that a node works for, that could start, and that need others first";
      made.push(make("queue", "Queue", note, steps(run.data.queue), ["llm", "wait", "dependency"]));
    }
    if (run.data.in_flight.rows.length) {
      made.push(make("in-flight", "LLM calls at once", "", steps(run.data.in_flight), ["llm"]));
    }
    return made;
  }

  return { makeAll };
})();
