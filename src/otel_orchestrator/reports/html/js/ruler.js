// The top of the timeline: the whole run in small with the window in it, loops, and a ruler.
const ruler = (() => {
  const [MAP, LOOPS, TICKS] = [34, 16, 18]; // heights
  const EDGE = 6; // pixels on either side of the window's edges that move them
  const { area } = panels;
  const canvas = dom.el("canvas", { "aria-hidden": "true" });
  const element = dom.el(
    "div",
    {
      class: "ruler", tabindex: "0", role: "application",
      "aria-label": "The whole run, and the window of it that is shown. Left and right move the window, plus and minus change its size.",
    },
    canvas,
  );
  const whole = view.whole;
  const mapX = (at) => area.gutter + ((at - whole[0]) / (whole[1] - whole[0])) * area.plot;
  const mapAt = (x) => whole[0] + ((x - area.gutter) / area.plot) * (whole[1] - whole[0]);
  let map = null; // drawn once for each size and theme

  // The step between two marks: 1, 2 or 5 times a power of ten, or parts of minutes and hours.
  function step() {
    const least = ((view.to - view.from) / area.plot) * 80;
    for (const s of [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400]) {
      if (s * 1e6 >= least && least > 5e5) return s * 1e6;
    }
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].map((f) => f * power).find((s) => s >= least);
  }

  function* ticks() {
    const length = step();
    for (let n = Math.ceil(view.from / length); n * length <= view.to; n++) yield [n * length, length];
  }

  // Thin lines below all marks, and a dashed one at each barrier of several jobs.
  function lines(ctx, tall) {
    ctx.fillStyle = paint.colours.line;
    for (const [at] of ticks()) ctx.fillRect(Math.round(area.x(at)), 0, 1, tall);
    ctx.fillRect(area.gutter - 1, 0, 1, tall);
    ctx.strokeStyle = paint.colours["strong-line"];
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    for (const superstep of run.supersteps) {
      const x = Math.round(area.x(superstep.end)) + 0.5;
      if (superstep.jobs < 2 || x < area.gutter || x > area.width) continue;
      ctx.moveTo(x, 0);
      ctx.lineTo(x, tall);
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  // How many slots worked, waited or had nothing to do, column by column.
  function drawMap() {
    const made = document.createElement("canvas");
    const ctx = paint.prepare(made, area.width, MAP);
    const tall = MAP - 4;
    const { slots } = run.data.slots;
    if (!slots.length) {
      const each = Math.max(1, tall / Math.max(1, run.count));
      for (let n = 0; n < run.count; n++) {
        const x = mapX(run.start[n]);
        paint.bar(ctx, run.kind(n), x, 2 + (n * tall) / run.count, mapX(run.end[n]) - x, each);
      }
      return made;
    }
    const each = tall / slots.length;
    slots.forEach((slot, n) => {
      for (const [start, end, job, state, reason] of slot.spells.rows) {
        const kind = job >= 0 ? "llm" : state === "waiting" ? run.waitKind(reason) : null;
        const x = mapX(start);
        if (kind) paint.bar(ctx, kind, x, 2 + n * each, mapX(end) - x, Math.max(1, each - 1));
      }
    });
    return made;
  }

  function drawLoops(ctx, y, x) {
    run.data.loops.forEach((from, n) => {
      const to = run.data.loops[n + 1] ?? run.data.wall[1];
      const [left, right] = [Math.max(area.gutter, x(from)), Math.min(area.width, x(to))];
      if (right - left < 1) return;
      ctx.fillStyle = paint.colours[n % 2 ? "line" : "hover"];
      ctx.fillRect(left, y, right - left, LOOPS - 2);
      paint.label(ctx, `loop ${n}`, left + 4, y + LOOPS / 2 - 1, right - left - 6, paint.colours.quiet);
    });
  }

  function draw() {
    const bars = view.stats.bars;
    if (!map) map = drawMap();
    view.stats.bars = bars;
    const tall = MAP + LOOPS + TICKS;
    const ctx = paint.prepare(canvas, area.width, tall);
    ctx.drawImage(map, 0, 0, area.width, MAP);
    drawWindow(ctx);
    drawLoops(ctx, MAP, area.x);
    for (const [at, length] of ticks()) {
      const x = area.x(at);
      ctx.fillStyle = paint.colours["strong-line"];
      ctx.fillRect(Math.round(x), tall - 5, 1, 5);
      const text = fmt.instant(at, length);
      const room = area.width - x - 2;
      paint.label(ctx, text, x + 3, tall - TICKS / 2 - 1, Math.min(room, 90), paint.colours.quiet);
    }
    const shown = view.isWhole ? "whole run" : `${fmt.duration(view.to - view.from)} of it`;
    paint.label(ctx, `${fmt.duration(whole[1] - whole[0])}, ${shown}`, 8, MAP / 2, area.gutter - 12, paint.colours.quiet);
    if (run.data.loops.length) paint.label(ctx, "loops", 8, MAP + LOOPS / 2 - 1, area.gutter - 12, paint.colours.quiet);
  }

  function drawWindow(ctx) {
    const [left, right] = [mapX(view.from), mapX(view.to)];
    ctx.fillStyle = paint.colours.paper;
    ctx.globalAlpha = 0.72;
    ctx.fillRect(area.gutter, 0, left - area.gutter, MAP);
    ctx.fillRect(right, 0, area.width - right, MAP);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = paint.colours.ink;
    ctx.lineWidth = 1;
    ctx.strokeRect(left + 0.5, 0.5, Math.max(1, right - left - 1), MAP - 1);
    if (view.isWhole) return;
    ctx.fillStyle = paint.colours.ink;
    for (const x of [left, right]) ctx.fillRect(x - 1.5, MAP / 2 - 7, 3, 14);
  }

  function spot(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const isMap = y < MAP;
    return { x, y, isMap, isLeft: x < area.gutter, at: isMap ? mapAt(x) : area.at(x) };
  }

  // In the small picture: move the window, one of its edges, or draw a new one; below it, a new one.
  let grip = null;
  function drag(event, pressed, spotOf, isOver) {
    const place = spotOf(event);
    grip ??= gripAt(pressed.place);
    if (grip === "window") {
      view.pan(((event.clientX - pressed.last) / area.plot) * ((whole[1] - whole[0]) / (view.to - view.from)));
    } else if (grip === "left") view.show(Math.min(place.at, view.to), view.to);
    else if (grip === "right") view.show(view.from, Math.max(place.at, view.from));
    else mark(grip.at, place.at, isOver);
    if (isOver) grip = null;
  }

  function gripAt(place) {
    if (place.isMap && !view.isWhole) {
      if (Math.abs(place.x - mapX(view.from)) < EDGE) return "left";
      if (Math.abs(place.x - mapX(view.to)) < EDGE) return "right";
      if (place.at > view.from && place.at < view.to) return "window";
    }
    return { at: place.at, isMap: place.isMap };
  }

  const marked = dom.el("div", { class: "marked", hidden: true });
  function mark(one, other, isOver) {
    const [from, to] = [Math.min(one, other), Math.max(one, other)];
    const isInside = to > from;
    marked.hidden = isOver || !isInside;
    const x = grip.isMap ? mapX : area.x;
    marked.style.left = `${x(from)}px`;
    marked.style.width = `${x(to) - x(from)}px`;
    if (isOver && isInside) view.show(from, to);
  }

  pointer.follow(canvas, {
    spot,
    drag,
    press: (place) => {
      if (!place.isMap || place.isLeft) return;
      const half = (view.to - view.from) / 2;
      view.show(place.at - half, place.at + half);
    },
    zoom: view.showAll,
  });
  element.append(marked);
  element.addEventListener("keydown", (event) => keys.inRuler(event));
  view.onDraw(draw);

  const forget = () => { map = null; };
  return { element, lines, forget };
})();
