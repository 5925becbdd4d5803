// The run, span by span: a tree to the left, bars over time to the right.
const waterfall = (() => {
  const HEIGHT = 20;
  const TOOK_ROOM = 58;
  const MANY = 1000; // from so many spans on, nodes are folded at first
  const DETAILS = ["orchestrator.loop.index", "orchestrator.superstep.index", "orchestrator.task.id", "orchestrator.node.attempt"];
  const { area } = panels;
  const folded = new Uint8Array(run.count);
  const matched = new Uint8Array(run.count);
  let onlyPath = false;
  let onlyWindow = run.count > MANY;
  let hasMatches = false;
  let panel = null;
  let visible = [];
  let rowOf = new Int32Array(run.count);

  // Of spans on the critical path, or holding such: to show nothing else.
  const holdsPath = new Uint8Array(run.count);
  for (const n of run.path.keys()) {
    holdsPath[n] = 1;
    for (const above of run.ancestors(n)) holdsPath[above] = 1;
  }

  function foldAtFirst() {
    const leaves = run.count > MANY ? ["node", "chat", "git"] : ["chat", "git"];
    for (let n = 0; n < run.count; n++) {
      if (run.last[n] > n && leaves.includes(run.operation(n))) folded[n] = 1;
    }
  }

  // What has a row, in order. What is at the top of the panel stays there.
  function list() {
    const top = panel ? visible[Math.floor(panel.scroller.scrollTop / HEIGHT)] : undefined;
    visible = [];
    rowOf.fill(-1);
    for (let n = 0; n < run.count; n = folded[n] ? run.last[n] + 1 : n + 1) {
      if (onlyPath && !holdsPath[n]) continue;
      if (onlyWindow && (run.end[n] < view.from || run.start[n] > view.to)) continue;
      rowOf[n] = visible.length;
      visible.push(n);
    }
    if (panel) {
      const { cursor } = panel;
      if (cursor.item) cursor.row = Math.max(0, rowOf[cursor.item.span]);
      const row = top === undefined ? 0 : visible.findIndex((n) => n >= top);
      panel.scroller.firstChild.style.height = `${visible.length * HEIGHT}px`;
      panel.scroller.scrollTop = row * HEIGHT + (panel.scroller.scrollTop % HEIGHT);
    }
    view.redraw();
  }

  function fold(n, isFolded = !folded[n]) {
    if (run.last[n] === n) return;
    folded[n] = isFolded ? 1 : 0;
    list();
  }

  function foldAll(isFolded) {
    folded.fill(isFolded ? 1 : 0);
    if (isFolded) {
      for (let n = 0; n < run.count; n++) {
        if (["invoke_workflow", "loop", "superstep"].includes(run.operation(n))) folded[n] = 0;
      }
    }
    list();
  }

  // Make a span have a row; returns that row.
  function unfold(n) {
    for (const above of run.ancestors(n)) folded[above] = 0;
    if (onlyPath && !holdsPath[n]) onlyPath = false;
    if (onlyWindow && (run.end[n] < view.from || run.start[n] > view.to)) view.reveal(run.start[n], run.end[n]);
    list();
    return rowOf[n];
  }

  function setOnlyPath(isOn) {
    onlyPath = isOn;
    list();
  }

  function setOnlyWindow(isOn) {
    onlyWindow = isOn;
    list();
  }

  function mark(spans) {
    matched.fill(0);
    hasMatches = spans !== null;
    for (const n of spans || []) matched[n] = 1;
    view.redraw();
  }

  const details = Array.from({ length: run.count });
  function detailOf(n) {
    details[n] ??= DETAILS.filter((key) => !(key === "orchestrator.task.id" && run.operation(n) === "node"))
      .map((key) => run.attribute(n, key))
      .filter((value) => value !== null)
      .join(" ");
    return details[n];
  }

  function textOf(n) {
    const state = run.state(n);
    const waits = state === "waiting" ? `, waits on ${run.attribute(n, "orchestrator.wait.on") ?? "?"}` : "";
    const outcome = run.outcome(n) === "ok" ? "" : `, ${run.outcome(n)}`;
    const name = [run.name(n), detailOf(n)].filter(Boolean).join(" ");
    const when = `from ${fmt.instant(run.start[n], 1000)}`;
    return `${name}, ${fmt.duration(run.took(n))}${waits}${outcome}\n${state || "no state"}${run.category(n) ? ` ${run.category(n)}` : ""}, ${when}`;
  }

  const itemOf = (n) => ({ isOfTree: true, key: `span ${n}`, row: rowOf[n], span: n, from: run.start[n], to: run.end[n], text: textOf(n) });
  const indent = () => (area.width < 600 ? 5 : 11);
  const left = (n) => 6 + run.depth[n] * indent();

  function label(ctx, row, y) {
    const n = visible[row];
    const middle = y + HEIGHT / 2;
    const x = left(n);
    const isDim = hasMatches && !matched[n];
    ctx.globalAlpha = isDim ? 0.45 : 1;
    if (run.last[n] > n) triangle(ctx, x + 3, middle, folded[n]);
    const isWide = area.gutter > 200;
    const end = area.gutter - 8 - (isWide ? TOOK_ROOM : 0);
    let at = x + 12;
    const isBad = run.outcome(n) !== "ok";
    if (isBad) {
      cross(ctx, at + 3, middle);
      at += 11;
    }
    const state = run.state(n);
    const colour = state === "container" ? "quiet" : "ink";
    at += paint.label(ctx, run.name(n), at, middle, end - at, paint.colours[colour]) + 5;
    const more = [detailOf(n), isBad ? run.outcome(n) : ""].filter(Boolean).join(" ");
    if (more) paint.label(ctx, more, at, middle, end - at, paint.colours[isBad ? "bad" : "quiet"]);
    if (isWide) {
      const took = fmt.duration(run.took(n));
      paint.label(ctx, took, area.gutter - 8 - paint.widthOf(ctx, took), middle, TOOK_ROOM, paint.colours.quiet);
    }
    ctx.globalAlpha = 1;
  }

  function triangle(ctx, x, y, isFolded) {
    ctx.fillStyle = paint.colours.quiet;
    ctx.beginPath();
    if (isFolded) { ctx.moveTo(x - 2, y - 4); ctx.lineTo(x + 3, y); ctx.lineTo(x - 2, y + 4); }
    else { ctx.moveTo(x - 4, y - 2); ctx.lineTo(x + 4, y - 2); ctx.lineTo(x, y + 3); }
    ctx.fill();
  }

  function cross(ctx, x, y) {
    ctx.strokeStyle = paint.colours.bad;
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.moveTo(x - 3, y - 3); ctx.lineTo(x + 3, y + 3);
    ctx.moveTo(x + 3, y - 3); ctx.lineTo(x - 3, y + 3);
    ctx.stroke();
  }

  function bars(ctx, row, y) {
    const n = visible[row];
    ctx.globalAlpha = hasMatches && !matched[n] ? 0.35 : 1;
    const x = Math.max(area.gutter - 3, area.x(run.start[n]));
    const right = Math.min(area.width + 3, area.x(run.end[n]));
    if (right >= area.gutter - 3 && x <= area.width + 3) {
      paint.bar(ctx, run.kind(n), x, y + 4, right - x, HEIGHT - 10);
      firstToken(ctx, n, y);
      if (folded[n]) hint(ctx, n, right, y);
    } else away(ctx, right < area.gutter, y);
    ctx.globalAlpha = 1;
    for (const [from, to] of run.path.get(n) || []) {
      const begin = Math.max(area.gutter, area.x(from));
      const wide = Math.min(area.width, area.x(to)) - begin;
      ctx.fillStyle = paint.colours.ink;
      if (wide >= 1) ctx.fillRect(begin, y + HEIGHT - 4, wide, 2);
    }
  }

  // A notch where the first token came: left of it the call waits for the model, right of it reads.
  function firstToken(ctx, n, y) {
    const phases = run.phases.get(n);
    if (!phases) return;
    const answer = run.data.phases.indexOf("answer");
    if (phases[phases.length - 2] !== answer) return;
    const x = area.x(run.end[n] - phases[phases.length - 1]);
    ctx.fillStyle = paint.colours.paper;
    if (area.x(run.end[n]) - x > 2) ctx.fillRect(x, y + 4, 1.5, HEIGHT - 10);
  }

  function hint(ctx, n, right, y) {
    const below = run.last[n] - n;
    paint.label(ctx, `+${below}`, right + 4, y + HEIGHT / 2, 40, paint.colours.quiet);
  }

  // An arrow to where the span is, out of sight.
  function away(ctx, isLeft, y) {
    const text = isLeft ? "‹" : "›";
    const x = isLeft ? area.gutter + 4 : area.width - 10;
    paint.label(ctx, text, x, y + HEIGHT / 2, 10, paint.colours.quiet);
  }

  const rows = {
    height: HEIGHT,
    count: () => visible.length,
    label, bars,
    item: (row) => itemOf(visible[row]),
    isMarked: (row) => hasMatches && matched[visible[row]] === 1,
    isChosen: (row) => panels.chosen?.span === visible[row],
    press(row, x) {
      const n = visible[row];
      if (run.last[n] === n || x < left(n) - 4 || x > left(n) + 11) return false;
      fold(n);
      return true;
    },
    // As in every tree: right unfolds or goes down, left folds or goes up.
    step(row, item, way) {
      const n = visible[row];
      if (way > 0) {
        if (folded[n]) fold(n, false);
        else if (run.last[n] > n && row + 1 < visible.length) return itemOf(visible[row + 1]);
      } else if (run.last[n] > n && !folded[n]) fold(n, true);
      else if (run.parent[n] >= 0) return itemOf(run.parent[n]);
      return itemOf(n);
    },
  };

  foldAtFirst();
  list();
  view.onChange(() => onlyWindow && list());
  panel = panels.make({
    id: "spans",
    title: "Spans",
    note: "",
    label: "Spans as a tree. Up and down move, right unfolds, left folds, Enter shows details.",
    tallest: () => Math.max(240, Math.round(window.innerHeight * 0.72)),
    rows,
  });

  // Show a span wherever it is: unfold, scroll, and move the window of time if need be.
  function reach(n) {
    const row = unfold(n);
    panel.element.open = true;
    panel.moveTo(row, itemOf(n));
    return itemOf(n);
  }

  // What is chosen elsewhere is brought into sight here.
  panels.onChoose((item) => {
    if (item && item.span >= 0 && !item.isOfTree) panel.reveal(unfold(item.span));
  });

  return {
    panel, reach, mark, fold, foldAll, setOnlyPath, setOnlyWindow,
    get onlyPath() { return onlyPath; },
    get onlyWindow() { return onlyWindow; },
    get visible() { return visible; },
  };
})();
