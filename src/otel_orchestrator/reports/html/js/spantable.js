// The spans as a table: for screen readers, and for copying; of many, a page at a time.
const spantable = (() => {
  const { el } = dom;
  const PAGE = 200;
  let page = 0;
  const place = el("div", {});
  const told = el("span", { class: "note", role: "status" });
  const turn = (text, way) => el("button", { type: "button", onclick: () => { page += way; fill(); } }, text);
  const [before, next] = [turn("‹ before", -1), turn("next ›", 1)];

  function fill() {
    const chosen = search.isActive ? search.found : null;
    const whole = chosen ? chosen.length : run.count;
    const pages = Math.max(1, Math.ceil(whole / PAGE));
    page = Math.min(pages - 1, Math.max(0, page));
    const rows = [];
    for (let n = page * PAGE; n < Math.min(whole, (page + 1) * PAGE); n++) {
      const span = chosen ? chosen[n] : n;
      rows.push([
        details.spanButton(span), String(run.depth[span]), run.task(span) ?? "", run.state(span), run.category(span), run.outcome(span),
        fmt.instant(run.start[span], 1000), fmt.duration(run.took(span)), run.attribute(span, "orchestrator.wait.on") ?? "",
      ]);
    }
    const columns = ["span", ["depth", "number"], "task", "state", "category", "outcome", ["starts", "number"], ["took", "number"], "waits on"];
    place.replaceChildren(dom.table("Spans", columns, rows));
    told.textContent = `${fmt.plural(whole, "span")}${chosen ? " found" : ""}, page ${page + 1} of ${pages}`;
    before.disabled = page === 0;
    next.disabled = page === pages - 1;
  }

  function section() {
    const again = el("button", { type: "button", onclick: fill }, "only what the search found");
    const shown = el("details", { ontoggle: () => shown.open && fill() },
      el("summary", {}, "The spans as a table"), el("p", { class: "tools" }, told, before, next, again), place);
    return el("section", { class: "card", id: "table", "aria-label": "The spans as a table" }, shown);
  }

  return { section };
})();
