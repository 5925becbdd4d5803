// How things look on a canvas: colours and hatchings from the style sheet, bars, and text that fits.
const paint = (() => {
  const NAMES = [
    "paper", "ink", "quiet", "line", "strong-line", "hover", "chosen", "match", "on-work",
    "llm", "git", "tool", "http", "compute", "framework", "container",
    "wait", "wait-ground", "cycle", "cycle-ground", "dependency", "dependency-ground", "bad",
  ];
  const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const colours = {};
  let patterns = {};
  const widths = new Map();

  // Read the colours anew: the theme may have changed.
  function refresh() {
    const css = getComputedStyle(document.documentElement);
    for (const name of NAMES) colours[name] = css.getPropertyValue(`--${name}`).trim();
    patterns = {
      wait: hatching("wait", (ctx) => stripes(ctx, 1.6)),
      cycle: hatching("cycle", (ctx) => { stripes(ctx, 1.2); ctx.scale(-1, 1); ctx.translate(-6, 0); stripes(ctx, 1.2); }),
      dependency: hatching("dependency", (ctx) => ctx.fillRect(2, 2, 1.5, 1.5)),
    };
    view.redraw();
  }

  // A square of 6 pixels that repeats, at the screen's own resolution.
  function hatching(name, draw) {
    const ratio = window.devicePixelRatio || 1;
    const tile = document.createElement("canvas");
    tile.width = tile.height = Math.round(6 * ratio);
    const ctx = tile.getContext("2d");
    ctx.scale(tile.width / 6, tile.height / 6);
    ctx.fillStyle = ctx.strokeStyle = colours[name];
    draw(ctx);
    const pattern = ctx.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(6 / tile.width, 6 / tile.height));
    return pattern;
  }

  function stripes(ctx, width) {
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const at of [-6, 0, 6]) {
      ctx.moveTo(at - 1, 7);
      ctx.lineTo(at + 7, -1);
    }
    ctx.stroke();
  }

  // Make a canvas fit its place; returns what to draw on, in CSS pixels.
  function prepare(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.font = FONT;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.direction = "ltr";
    return ctx;
  }

  function clipped(ctx, x, y, width, height, draw) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, width, height);
    ctx.clip();
    draw();
    ctx.restore();
  }

  // A stretch of time: full colour works, hatched waits; what is too short to hatch is plain,
  // unless others go on with the hatching.
  function bar(ctx, kind, x, y, width, height, isShort = width < 3) {
    view.stats.bars += 1;
    const wide = Math.max(1, width);
    if (kind === "container") {
      const middle = y + height / 2;
      ctx.fillStyle = colours.container;
      ctx.fillRect(x, middle - 1, wide, 2);
      if (wide > 4) {
        ctx.fillRect(x, middle - 4, 1.5, 8);
        ctx.fillRect(x + wide - 1.5, middle - 4, 1.5, 8);
      }
      return;
    }
    const pattern = patterns[kind];
    if (!pattern) {
      ctx.fillStyle = colours[kind] || colours.compute;
      ctx.fillRect(x, y, wide, height);
      return;
    }
    ctx.fillStyle = isShort && kind !== "dependency" ? colours[kind] : colours[`${kind}-ground`];
    ctx.fillRect(x, y, wide, height);
    if (isShort) return;
    ctx.fillStyle = pattern;
    ctx.fillRect(x, y, wide, height);
  }

  function widthOf(ctx, text) {
    let width = widths.get(text);
    if (width === undefined) {
      if (widths.size > 5000) widths.clear();
      width = ctx.measureText(text).width;
      widths.set(text, width);
    }
    return width;
  }

  // Write a text as far as there is room for it; returns the room it took.
  function label(ctx, text, x, y, room, colour) {
    if (room < 8) return 0;
    const width = widthOf(ctx, text);
    let shown = text;
    if (width > room) {
      const fits = Math.floor((text.length * (room - 8)) / width);
      if (fits < 1) return 0;
      shown = `${text.slice(0, fits)}…`;
    }
    ctx.fillStyle = colour;
    ctx.fillText(shown, x, y);
    return Math.min(width, room);
  }

  return { colours, refresh, prepare, clipped, bar, label, widthOf };
})();
