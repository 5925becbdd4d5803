// The keyboard: what each key does, and the page that says so.
const keys = (() => {
  const { el } = dom;
  const ALL = [
    ["/", "search"],
    ["n, N", "next match, match before"],
    ["+, −", "zoom in, zoom out"],
    ["0", "the whole run"],
    ["Shift ← →", "move in time"],
    ["z", "zoom to what is chosen"],
    ["c", "only the critical path, or everything"],
    ["w", "only what runs in the window, or everything"],
    ["f, u", "fold everything, unfold everything"],
    ["Tab", "to the next panel"],
    ["↑ ↓ ← →", "in a panel: rows; folding, or stretches of a lane"],
    ["Home, End, Page ↑ ↓", "in a panel: far away"],
    ["Enter", "in a panel: details"],
    ["Esc", "close details, else clear the search, else the whole run"],
    ["t", "dark or light"],
    ["?", "this list"],
  ];
  const MOUSE = [
    ["Click", "details; on a triangle: fold"],
    ["Double click", "zoom to it"],
    ["Drag", "move in time; on the ruler: choose a window"],
    ["Ctrl wheel", "zoom"],
    ["Shift wheel", "move in time"],
  ];
  const LEGEND = [
    ["llm", "LLM call"], ["git", "git"], ["tool", "tool"], ["http", "HTTP"], ["compute", "your code"],
    ["wait", "waits: held, queue, barrier, back-off …"], ["cycle", "waits for Director and Strategist"],
    ["dependency", "waits for the plan's own order"], ["framework", "what lies between the nodes"],
  ];

  const list = (rows) => el("dl", { class: "keys" }, ...rows.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)]));
  const legend = () => el("ul", { class: "legend", "aria-label": "Colours" },
    ...LEGEND.map(([kind, text]) => el("li", {}, el("span", { class: `swatch kind ${kind}` }), text)),
    el("li", {}, el("span", { class: "swatch on-path" }), "on the critical path"));

  const dialog = el("dialog", { id: "help", "aria-label": "Keyboard and colours" },
    el("form", { method: "dialog" }, el("button", { class: "close", "aria-label": "Close" }, "×")),
    el("h2", {}, "Keyboard"), list(ALL), el("h2", {}, "Mouse"), list(MOUSE), el("h2", {}, "Colours"), legend());
  document.body.append(dialog);

  const help = () => (dialog.open ? dialog.close() : dialog.showModal());

  function escape() {
    if (details.isOpen) details.hide();
    else if (search.isActive) search.clear();
    else view.showAll();
  }

  const zoomToChosen = () => panels.chosen && view.showInterval(panels.chosen.from, panels.chosen.to);
  const GLOBAL = {
    "/": () => { search.input.focus(); search.input.select(); },
    "?": help,
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: view.showAll,
    n: () => search.go(1),
    N: () => search.go(-1),
    z: zoomToChosen,
    c: () => main.toggle("onlyPath"),
    w: () => main.toggle("onlyWindow"),
    f: () => waterfall.foldAll(true),
    u: () => waterfall.foldAll(false),
    t: theme.toggle,
    Escape: escape,
  };

  // Around what is chosen, as long as it is in sight.
  function zoom(factor) {
    const chosen = panels.chosen;
    const middle = chosen && (chosen.from + chosen.to) / 2;
    view.zoom(factor, middle > view.from && middle < view.to ? middle : undefined);
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.target.closest?.("input, textarea, select") && event.key !== "Escape") return;
    if (event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      view.pan(event.key === "ArrowLeft" ? -0.2 : 0.2);
      event.preventDefault();
    } else if (Object.hasOwn(GLOBAL, event.key)) {
      GLOBAL[event.key]();
      event.preventDefault();
    }
  });

  function inPanel(event, panel) {
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows, cursor, scroller } = panel;
    const screen = Math.max(1, Math.floor(scroller.clientHeight / rows.height) - 1);
    const far = { ArrowUp: -1, ArrowDown: 1, PageUp: -screen, PageDown: screen, Home: -Infinity, End: Infinity };
    if (event.key in far) {
      const row = Math.min(rows.count() - 1, Math.max(0, cursor.row + far[event.key]));
      const at = cursor.item && (cursor.item.from + cursor.item.to) / 2;
      panel.moveTo(row, rows.item(row, at, 0) || rows.item(row, null, 0));
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const item = rows.step(cursor.row, cursor.item, event.key === "ArrowLeft" ? -1 : 1);
      if (item) panel.moveTo(item.row, item);
    } else if (event.key === "Enter" || event.key === " ") {
      if (cursor.item) panels.choose(cursor.item, { open: true, focus: event.key === "Enter" });
    } else return;
    event.preventDefault();
    if (details.isOpen && panels.chosen && event.key.startsWith("Arrow") && cursor.item) panels.choose(cursor.item);
  }

  function inRuler(event) {
    const way = { ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key];
    if (way === undefined || event.shiftKey) return;
    view.pan(way);
    event.preventDefault();
  }

  return { help, legend, inPanel, inRuler };
})();
