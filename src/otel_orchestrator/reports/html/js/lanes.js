// Lanes: what each worker slot did or why it was idle, and the life of each task.
const lanes = (() => {
  const HEIGHT = 24;
  const STRIP = 5; // below a bar: what was done inside
  const { area } = panels;
  const INSIDE = new Set(["llm", "git", "tool", "wait", "cycle", "dependency"]);
  const REASONS = {
    no_work: "nothing to do", framework: "between the nodes", dependency: "open dependencies",
    held: "held by a barrier", cycle: "Director, Strategist", queue: "queue", barrier: "barrier",
  };

  // Where each job is on the critical path.
  const pathOf = new Map();
  for (const [n, sections] of run.path) {
    const job = run.jobs[run.owner[n]];
    if (job) pathOf.set(job, [...(pathOf.get(job) || []), ...sections]);
  }

  // What a job did in a stretch of time: its calls, commands, tools and waits.
  function insideOf(job, from, to) {
    const found = [];
    for (const top of job.within) {
      for (let n = top; n <= run.last[top]; n++) {
        const kind = run.kind(n);
        if (!INSIDE.has(kind) || run.end[n] <= from || run.start[n] >= to) continue;
        const isPart = kind === "git" && run.kind(run.parent[n]) === "git";
        if (isPart) continue;
        found.push({ from: Math.max(from, run.start[n]), to: Math.min(to, run.end[n]), kind, span: n });
      }
    }
    return found.sort((a, b) => a.from - b.from);
  }

  // The first of pieces, by their start, that may still be seen: none is longer than the longest.
  function firstInSight(pieces, longest) {
    let [low, high] = [0, pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pieces[middle].from < view.from - longest) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const withLongest = (pieces) => ({
    pieces,
    longest: pieces.reduce((most, p) => Math.max(most, p.to - p.from), 0),
  });

  // Draw pieces; of those that share a pixel with the one before, only what is longer than that.
  function drawPieces(ctx, { pieces, longest }, y, tall, named) {
    let until = -1;
    for (let n = firstInSight(pieces, longest); n < pieces.length; n++) {
      const piece = pieces[n];
      if (piece.from > view.to) break;
      const x = Math.max(area.gutter - 2, area.x(piece.from));
      const right = Math.min(area.width + 2, area.x(piece.to));
      if (right < area.gutter || (right - x < 1 && right < until + 1)) continue;
      paint.bar(ctx, piece.kind, x, y, right - x, tall);
      if (named && piece.label && right - x > 30) {
        const left = Math.max(area.gutter, x) + 4;
        const colour = piece.isWork ? paint.colours["on-work"] : paint.colours.ink;
        const room = right - left - 2;
        if (!piece.isWork) plate(ctx, piece.label, left, y, tall, room);
        paint.label(ctx, piece.label, left, y + (tall - (piece.isWork ? STRIP : 0)) / 2, room, colour);
      }
      until = Math.max(until, right);
    }
  }

  // Something plain below a text, for hatching makes it hard to read.
  function plate(ctx, text, x, y, tall, room) {
    ctx.fillStyle = paint.colours.paper;
    ctx.globalAlpha = 0.8;
    ctx.fillRect(x - 2, y + 2, Math.min(room, paint.widthOf(ctx, text)) + 4, tall - 4);
    ctx.globalAlpha = 1;
  }

  function slotLane(slot) {
    const base = slot.spells.rows.map(([from, to, number, state, reason], n) => {
      const job = run.jobs[number];
      const key = `slot ${slot.number} ${n}`;
      if (job) {
        return {
          key, from, to, kind: "compute", isWork: true, label: run.jobName(job), span: job.span, job,
          text: `slot ${slot.number + 1}: ${run.jobName(job)}, ${fmt.duration(to - from)}`,
        };
      }
      const kind = state === "waiting" ? run.waitKind(reason) : state === "working" ? "framework" : "idle";
      const label = REASONS[reason] || reason;
      return {
        key, from, to, kind, label, span: -1, reason,
        text: `slot ${slot.number + 1} idle: ${label}, ${fmt.duration(to - from)}`,
      };
    });
    const inside = base.flatMap((b) => (b.job ? insideOf(b.job, b.from, b.to) : []));
    return {
      name: `slot ${slot.number + 1}`,
      left: `works ${fmt.share(slot.works)}`,
      base: withLongest(base.filter((b) => b.kind !== "idle")),
      inside: withLongest(inside),
      items: base,
    };
  }

  function taskLane(job) {
    const name = run.jobName(job);
    const stretch = (from, to, kind, what) =>
      to > from && {
        key: `task ${job.span} ${from}`, from, to, kind, span: job.span, job, reason: what, label: what,
        text: `${name}: ${what}, ${fmt.duration(to - from)}`,
      };
    const stretches = (ends, kind, whatOf) =>
      ends.flatMap((from, n) => (n % 2 ? [] : [stretch(from, ends[n + 1], kind, whatOf(n / 2))])).filter(Boolean);
    const attempts = stretches(job.attempts, "compute", (n) => (n ? `attempt ${n + 1}` : "works"))
      .map((worked) => ({ ...worked, isWork: true }));
    const base = [
      stretch(job.planned, job.deps_done, "dependency", "dependency"),
      stretch(job.deps_done, job.released, "wait", "held"),
      stretch(job.released, job.scheduled, "cycle", "cycle"),
      ...stretches(job.kept_by_reader, "wait", () => "consumer"),
      ...stretches(job.queued, "wait", () => "queue"),
      stretch(job.started, job.ended, "wait", "retry_backoff"),
      ...attempts,
      stretch(job.ended, job.barrier, "wait", "barrier"),
      stretch(job.barrier, job.observed, "cycle", "cycle"),
    ].filter(Boolean);
    return {
      name,
      job,
      left: fmt.duration(job.works),
      waits: job.waits >= 1000 ? fmt.duration(job.waits) : "",
      base: withLongest(base),
      inside: withLongest(attempts.flatMap((a) => insideOf(job, a.from, a.to))),
      items: base.filter((b) => !(b.reason === "retry_backoff" && attempts.length < 2)),
    };
  }

  // Rows of lanes for a panel. With `isFiltered` only those that have something in the window.
  function rowsOf(every, height, isFiltered) {
    const pad = 3;
    let all = every;
    if (isFiltered) {
      view.onChange(() => {
        all = every.filter((lane) => lane.items.some((i) => i.to > view.from && i.from < view.to));
      });
    }
    const itemOf = (row, n) => all[row].items[n] && { ...all[row].items[n], row, n };
    return {
      height,
      most: every.length,
      count: () => all.length,
      bars(ctx, row, y) {
        const lane = all[row];
        drawPieces(ctx, lane.base, y + pad, height - 2 * pad, true);
        drawPieces(ctx, lane.inside, y + height - pad - STRIP, STRIP, false);
        drawPath(ctx, lane, y + height - 2);
        frame(ctx, lane, y, height);
      },
      label(ctx, row, y) {
        const lane = all[row];
        const middle = y + height / 2;
        const isWide = area.gutter > 220;
        let right = area.gutter - 8;
        for (const text of isWide ? [lane.waits, lane.left] : [lane.left]) {
          if (text === undefined) continue;
          const width = paint.widthOf(ctx, text);
          const isWait = text === lane.waits;
          if (text) paint.label(ctx, text, right - width, middle, width + 1, paint.colours[isWait ? "wait" : "quiet"]);
          right -= isWide && lane.waits !== undefined ? 62 : width + 8;
        }
        paint.label(ctx, lane.name, 10, middle, right - 14, paint.colours.ink);
      },
      item(row, at, slack) {
        const { items } = all[row];
        if (at === null) return itemOf(row, Math.max(0, items.findIndex((i) => i.isWork)));
        let found = -1;
        items.forEach((i, n) => {
          if (i.from - slack <= at && at <= i.to + slack && (found < 0 || i.from <= at)) found = n;
        });
        return found < 0 ? null : itemOf(row, found);
      },
      step(row, item, way) {
        const { items } = all[row];
        const n = Math.min(items.length - 1, Math.max(0, (item?.n ?? -1) + way));
        return itemOf(row, n);
      },
      isChosen: (row) => Boolean(all[row].job) && all[row].job === panels.chosenJob,
    };
  }

  // A line below what is on the critical path.
  function drawPath(ctx, lane, y) {
    ctx.fillStyle = paint.colours.ink;
    for (const item of lane.items) {
      for (const [from, to] of (item.isWork && pathOf.get(item.job)) || []) {
        const x = Math.max(area.gutter, area.x(Math.max(from, item.from)));
        const wide = Math.min(area.width, area.x(Math.min(to, item.to))) - x;
        if (wide >= 1) ctx.fillRect(x, y, wide, 2);
      }
    }
  }

  // Frame what is chosen, or the job that it belongs to.
  function frame(ctx, lane, y, height) {
    if (lane.job || !panels.chosen) return;
    for (const item of lane.items) {
      if (item.key !== panels.chosen.key && !(item.job && item.job === panels.chosenJob)) continue;
      const x = area.x(item.from);
      ctx.strokeStyle = paint.colours.ink;
      ctx.lineWidth = 2;
      ctx.strokeRect(x, y + 2, Math.max(3, area.x(item.to) - x), height - 4);
    }
  }

  function makeAll() {
    const made = [];
    const { slots, count } = run.data.slots;
    if (slots.length) {
      const unused = count - slots.length;
      const note = unused > 0 ? `${fmt.plural(unused, "more slot")} never busy` : "";
      made.push(panels.make({
        id: "slots",
        title: "Worker slots",
        note,
        label: `Worker slots: ${slots.length} lanes. Up and down choose a slot, left and right what it did, Enter shows details.`,
        tallest: () => 330,
        rows: rowsOf(slots.map(slotLane), HEIGHT, false),
      }));
    }
    const told = run.jobs.filter((j) => j.slot);
    const workers = told.filter((j) => j.worker);
    const shown = workers.length ? workers : told;
    if (shown.length) {
      made.push(panels.make({
        id: "tasks",
        title: "Tasks",
        note: "from planned to seen by the Director",
        label: `Tasks: ${shown.length} lanes. Up and down choose a task, left and right a stretch of its life, Enter shows details.`,
        tallest: () => 330,
        rows: rowsOf(shown.map(taskLane), HEIGHT, true),
      }));
    }
    return made;
  }

  return { makeAll, REASONS };
})();
