// A panel: rows over the shared window of time, of which only those in sight are drawn.
//
// What the rows are is up to `rows`:
//   count()               how many; `height` is that of one, in pixels
//   label(ctx, row, y)    draw what stands to the left; bars(ctx, row, y) what stands over time
//   item(row, at, slack)  what is there at an instant, give or take: { row, span, from, to, text }
//   step(row, item, way)  the item before (-1) or after (1) it in the row, for the keyboard
//   press(row, x)         optional: somebody pressed to the left; true if that did something
//   most                  optional: how many rows there may be, for a panel that keeps its height
const panels = (() => {
  const BAR_ROOM = 14; // for a scroll bar, in every panel, so that all times stand below each other
  const all = [];
  const area = {
    width: 0, gutter: 0, plot: 0,
    x: (at) => area.gutter + ((at - view.from) / (view.to - view.from)) * area.plot,
    at: (x) => view.from + ((x - area.gutter) / area.plot) * (view.to - view.from),
    slack: () => (3 * (view.to - view.from)) / area.plot,
  };
  let hovered = null; // { panel, row }
  let chosen = null; // the item that details are shown of
  const chooseListeners = [];

  function measure(host) {
    area.width = Math.max(200, Math.floor(host.clientWidth) - BAR_ROOM);
    area.gutter = Math.round(Math.min(380, area.width * (area.width < 600 ? 0.38 : 0.3)));
    area.plot = area.width - area.gutter;
    view.redraw();
  }

  function choose(item, options = {}) {
    chosen = item;
    for (const listen of chooseListeners) listen(item, options);
    view.redraw();
  }

  function make({ id, title, note = "", label, rows, tallest }) {
    const canvas = dom.el("canvas", { "aria-hidden": "true" });
    const spacer = dom.el("div", { class: "spacer" }, canvas);
    const scroller = dom.el(
      "div",
      { class: "scroller", tabindex: "0", role: "application", "aria-label": label },
      spacer,
    );
    const noted = dom.el("span", { class: "note" }, note);
    const heading = dom.el("summary", {}, dom.el("h3", {}, title), noted);
    const element = dom.el("details", { class: "panel", id, open: true }, heading, scroller);
    const cursor = { row: 0, item: null };
    const panel = { id, element, scroller, rows, cursor, draw, reveal, moveTo, paintRows };

    function height() {
      return Math.min((rows.most ?? rows.count()) * rows.height, tallest());
    }

    function draw() {
      if (!element.open) return;
      const tall = scroller.clientHeight || height();
      spacer.style.height = `${rows.count() * rows.height}px`;
      scroller.style.maxHeight = `${tallest()}px`;
      if (rows.most) {
        scroller.style.height = `${height()}px`;
        noted.textContent = rows.count() < rows.most ? `${rows.count()} of ${rows.most} in the window` : note;
      }
      const seen = Math.min(tall, rows.count() * rows.height);
      const ctx = paint.prepare(canvas, area.width, seen);
      paintRows(ctx, scroller.scrollTop, seen);
    }

    // Draw the rows that stand between two heights.
    function paintRows(ctx, top, tall) {
      const first = Math.floor(top / rows.height);
      const beyond = Math.min(rows.count(), Math.ceil((top + tall) / rows.height));
      const each = (draw) => {
        for (let row = first; row < beyond; row++) draw(row, row * rows.height - top);
      };
      each((row, y) => ground(ctx, row, y));
      ruler.lines(ctx, tall);
      paint.clipped(ctx, 0, 0, area.gutter - 4, tall, () => each((row, y) => rows.label(ctx, row, y)));
      paint.clipped(ctx, area.gutter, 0, area.plot, tall, () => each((row, y) => rows.bars(ctx, row, y)));
    }

    function ground(ctx, row, y) {
      const isCursor = document.activeElement === scroller && cursor.row === row;
      const isHovered = hovered !== null && hovered.panel === panel && hovered.row === row;
      const tint = rows.isMarked?.(row) ? "match" : null;
      if (isCursor || isHovered || tint || rows.isChosen?.(row)) {
        ctx.fillStyle = paint.colours[tint || (rows.isChosen?.(row) ? "chosen" : "hover")];
        ctx.fillRect(0, y, area.width, rows.height);
      }
      if (isCursor) {
        ctx.strokeStyle = paint.colours.ink;
        ctx.lineWidth = 1;
        ctx.setLineDash([2, 2]);
        ctx.strokeRect(0.5, y + 0.5, area.width - 1, rows.height - 1);
        ctx.setLineDash([]);
      }
    }

    function reveal(row) {
      const top = row * rows.height;
      const tall = scroller.clientHeight;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + rows.height > scroller.scrollTop + tall) scroller.scrollTop = top + rows.height - tall;
      view.redraw(draw);
    }

    // Put the keyboard's cursor somewhere, and say what is there.
    function moveTo(row, item) {
      if (!rows.count()) return;
      cursor.row = Math.min(rows.count() - 1, Math.max(0, row));
      cursor.item = item;
      reveal(cursor.row);
      if (item) {
        view.reveal(item.from, item.to);
        dom.say(item.text);
      }
    }

    function spot(event) {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top + scroller.scrollTop];
      const row = Math.floor(y / rows.height);
      const isThere = row >= 0 && row < rows.count();
      const at = area.at(x);
      const isLeft = x < area.gutter;
      const item = isThere ? rows.item(row, isLeft ? null : at, area.slack()) : null;
      return { x, row, at, isLeft, item };
    }

    const pointing = pointer.follow(canvas, {
      spot,
      hover: (place) => {
        hovered = place && place.item !== undefined ? { panel, row: place.row } : null;
        view.redraw(draw);
      },
      press: (place) => {
        cursor.row = place.row;
        cursor.item = place.item;
        if (place.isLeft && rows.press?.(place.row, place.x)) return;
        if (place.item) choose(place.item, { open: true });
      },
      zoom: (place) => place.item && view.showInterval(place.item.from, place.item.to),
    });
    scroller.addEventListener("scroll", () => { pointing.forget(); view.redraw(draw); });
    scroller.addEventListener("focus", () => {
      if (cursor.item === null && rows.count()) cursor.item = rows.item(cursor.row, null, 0);
      view.redraw(draw);
    });
    scroller.addEventListener("blur", () => view.redraw(draw));
    scroller.addEventListener("keydown", (event) => keys.inPanel(event, panel));
    element.addEventListener("toggle", () => view.redraw(draw));
    new ResizeObserver(() => view.redraw(draw)).observe(scroller);
    view.onDraw(draw);
    all.push(panel);
    return panel;
  }

  return {
    all, area, make, measure, choose,
    onChoose: (listen) => chooseListeners.push(listen),
    get chosen() { return chosen; },
    get chosenJob() { return chosen && chosen.span >= 0 ? run.jobs[run.owner[chosen.span]] : null; },
  };
})();
