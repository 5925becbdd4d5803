// The page, put together.
const main = (() => {
  const { el } = dom;
  const { data } = run;
  const button = (text, label, onclick, attributes = {}) =>
    el("button", { type: "button", title: label, "aria-label": label, onclick, ...attributes }, text);

  function header() {
    const told = data.run;
    const facts = [
      `${fmt.seconds(told.wall_s)} wall clock`, fmt.plural(told.loops, "loop"), fmt.plural(told.supersteps, "superstep"), fmt.plural(told.tasks, "task"),
      fmt.plural(told.llm_calls, "LLM call"), fmt.plural(told.spans, "span"), fmt.plural(told.errors, "error"),
    ];
    if (told.input_tokens || told.output_tokens) facts.push(`${fmt.count(told.input_tokens)} tokens in, ${fmt.count(told.output_tokens)} out`);
    const origin = [`run ${told.id}`, `started ${fmt.clock(told.start_unix_nano / 1e6).replace(/\.\d+/, "")}`];
    if (told.service) origin.push(`service ${told.service}`);
    if (told.label) origin.push(`label ${told.label}`);
    document.getElementById("header").append(
      el("div", { class: "title" },
        el("h1", {}, told.name, el("span", { class: told.outcome === "ok" ? "badge" : "badge bad" }, told.outcome)),
        el("p", {}, facts.join(" · ")), el("p", { class: "note" }, origin.join(" · "))),
      el("div", { class: "tools" }, theme.button(), button("?", "Keyboard and colours (?)", keys.help)),
    );
  }

  const pathButton = button("critical path", "Only the critical path (c)", () => toggle("onlyPath"), { id: "only-path" });
  const windowButton = button("in window", "Only what runs in the window (w)", () => toggle("onlyWindow"), { id: "only-window" });
  const host = el("div", { class: "panels" }, pointer.line);
  const head = el("div", { class: "timeline-head" });

  function timeline() {
    const tools = el("div", { class: "tools" }, search.element,
      button("−", "Zoom out (−)", () => view.zoom(1 / 1.5)), button("+", "Zoom in (+)", () => view.zoom(1.5)),
      button("whole run", "The whole run (0)", view.showAll), pathButton, windowButton,
      button("fold", "Fold everything (f)", () => waterfall.foldAll(true)), button("unfold", "Unfold everything (u)", () => waterfall.foldAll(false)));
    head.append(el("h2", {}, "Timeline"), tools, keys.legend());
    const made = [...strips.makeAll(), ...lanes.makeAll()];
    host.append(ruler.element, ...made.map((p) => p.element), waterfall.panel.element);
    return el("section", { class: "card", id: "timeline", "aria-label": "Timeline" }, head, host);
  }

  // What the list of spans is limited to: "onlyPath" or "onlyWindow".
  function toggle(which) {
    if (which === "onlyPath") waterfall.setOnlyPath(!waterfall.onlyPath);
    else waterfall.setOnlyWindow(!waterfall.onlyWindow);
  }

  function showToggles() {
    pathButton.setAttribute("aria-pressed", String(waterfall.onlyPath));
    windowButton.setAttribute("aria-pressed", String(waterfall.onlyWindow));
  }

  function restyle() {
    paint.refresh();
    panels.measure(host);
    ruler.forget();
    view.redraw();
  }

  // The address may name a span.
  function follow() {
    const id = new URLSearchParams(location.hash.slice(1)).get("span");
    if (id !== null && run.place.has(id)) panels.choose(waterfall.reach(run.place.get(id)), { open: true });
  }

  function start() {
    header();
    const place = document.getElementById("main");
    const warned = sections.warnings();
    place.append(...[
      warned,
      el("div", { class: "top" }, verdict.section(), el("div", { class: "column" }, whatif.section(), sections.advice())),
      timeline(),
      sections.columns(),
      spantable.section(),
    ].filter(Boolean));
    view.onDraw(showToggles);
    paint.refresh();
    panels.measure(host);
    new ResizeObserver(() => { ruler.forget(); panels.measure(host); }).observe(host);
    // The ruler stays in sight just below the head, however many lines that has.
    new ResizeObserver(() => host.style.setProperty("--head", `${head.offsetHeight - 1}px`)).observe(head);
    theme.onChange(restyle);
    follow();
    window.addEventListener("hashchange", follow);
  }

  // Whoever is curious, and the tests, may look in.
  window.otelOrchestrator = { view, panels, waterfall, search, fmt, run };
  return { start, toggle, restyle };
})();
main.start();
