// On paper there is no scrolling: every panel is drawn anew, in pieces that fit on a page.
const print = (() => {
  const ROWS_A_PIECE = 10;
  const ROWS_AT_MOST = 400;
  const WIDTH = 800;
  let screen = null;

  function before() {
    screen = { theme: document.documentElement.dataset.theme, width: panels.area.width };
    document.documentElement.dataset.theme = "light";
    paint.refresh();
    panels.measure({ clientWidth: WIDTH });
    ruler.forget();
    for (const panel of panels.all) {
      if (panel.element.open) panel.element.append(pieces(panel));
    }
    view.drawNow();
  }

  function pieces({ rows, paintRows }) {
    const made = dom.el("div", { class: "paper-only" });
    const shown = Math.min(rows.count(), ROWS_AT_MOST);
    for (let row = 0; row < shown; row += ROWS_A_PIECE) {
      const canvas = dom.el("canvas", {});
      const tall = Math.min(ROWS_A_PIECE, shown - row) * rows.height;
      paintRows(paint.prepare(canvas, panels.area.width, tall), row * rows.height, tall);
      canvas.style.width = "100%";
      canvas.style.height = "auto";
      made.append(canvas);
    }
    const more = rows.count() - shown;
    if (more > 0) made.append(dom.el("p", { class: "note" }, `… and ${fmt.plural(more, "more row")}: zoom or fold, and print again.`));
    return made;
  }

  function after() {
    if (screen === null) return;
    for (const piece of document.querySelectorAll(".paper-only")) piece.remove();
    document.documentElement.dataset.theme = screen.theme;
    screen = null;
    main.restyle();
  }

  window.addEventListener("beforeprint", before);
  window.addEventListener("afterprint", after);
  return {};
})();
