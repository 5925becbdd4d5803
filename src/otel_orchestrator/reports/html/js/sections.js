// What is told in tables below the timeline.
const sections = (() => {
  const { el } = dom;
  const { data } = run;
  const SHOWN = 12;

  const partName = ({ state, category }) =>
    state === "waiting" ? `wait ${category}` : state === "idle" ? "no work for a slot" : category;
  const partKind = ({ state, category }) => (state === "waiting" ? run.waitKind(category) : state === "idle" ? "idle" : category);

  // The four views: a bar each, and a table with all of their numbers.
  function accounting() {
    const bars = data.views.map((view_) => {
      const parts = view_.parts.map((p) => ({ share: p.share, kind: partKind(p), title: `${partName(p)}: ${fmt.share(p.share)}, ${fmt.seconds(p.seconds)}` }));
      return el("div", { class: "view" }, el("p", {}, view_.told, el("span", { class: "note" }, ` ${fmt.seconds(view_.whole_s)}`)), dom.bar(parts, view_.told));
    });
    const names = new Map();
    for (const view_ of data.views) {
      for (const part of view_.parts) {
        const name = partName(part);
        if (!names.has(name)) names.set(name, { part, shares: {} });
        names.get(name).shares[view_.name] = part.share;
      }
    }
    const order = { working: 0, waiting: 1, idle: 2 };
    const sorted = [...names].filter(([, { shares }]) => Math.max(...Object.values(shares)) >= 0.0005)
      .sort(([, a], [, b]) => order[a.part.state] - order[b.part.state] || (b.shares.wall ?? 0) - (a.shares.wall ?? 0));
    const rows = sorted.map(([name, { part, shares }]) => [
      el("span", {}, el("span", { class: `swatch kind ${partKind(part)}` }), name),
      ...data.views.map((view_) => (shares[view_.name] ? fmt.share(shares[view_.name]) : "")),
    ]);
    const columns = ["share of", ...data.views.map((view_) => [view_.name, "number"])];
    return dom.section("accounting", "Time, accounted for", ...bars, dom.table("Time, accounted for", columns, rows));
  }

  function advice() {
    const items = data.advice.map((one) =>
      el("li", {}, el("b", {}, one.what), el("p", { class: "note" }, fmt.tied(one.saves)), verdict.examples(one.examples)));
    const none = el("p", { class: "note" }, "Nothing was seen that would save 1 % of the wall.");
    return dom.section("to-do", "What to do", items.length ? el("ul", { class: "todo" }, ...items) : none);
  }

  const modelOf = (n) => run.attribute(n, "gen_ai.request.model") ?? run.name(n).split(" ").slice(1).join(" ");

  // Phases of many calls, added up: [{ name, us }] in the order in which they follow on each other.
  function phasesTogether(calls) {
    const sums = new Map(data.phases.map((name) => [name, 0]));
    for (const n of calls) for (const { name, us } of details.phasesOf(n)) sums.set(name, sums.get(name) + us);
    return [...sums].filter(([, us]) => us > 0).map(([name, us]) => ({ name, us }));
  }

  function llm() {
    const calls = [...run.phases.keys()];
    if (!calls.length) return null;
    const columns = [
      ["calls", (m) => fmt.count(m.calls)], ["failed", (m) => m.failed && fmt.count(m.failed)],
      ["from cache", (m) => m.from_cache && fmt.count(m.from_cache)], ["time", (m) => fmt.seconds(m.took_s)],
      ["first token", (m) => m.first_token_median_s !== null && fmt.seconds(m.first_token_median_s)],
      ["tokens/s", (m) => m.output_tokens_per_s !== null && fmt.count(Math.round(m.output_tokens_per_s))],
      ["in", (m) => m.input_tokens && fmt.count(m.input_tokens)], ["cached", (m) => m.cached_tokens && fmt.count(m.cached_tokens)],
      ["out", (m) => m.output_tokens && fmt.count(m.output_tokens)], ["reasoning", (m) => m.reasoning_tokens && fmt.count(m.reasoning_tokens)],
      ["cost", (m) => m.cost !== null && m.cost.toFixed(m.cost >= 1 ? 2 : 4)],
    ].filter(([, value]) => data.models.some(value));
    const rows = data.models.map((m) => [m.model, ...columns.map(([, value]) => value(m) || "")]);
    const models = [...new Set(calls.map(modelOf))];
    const phases = models.map((model) => {
      const parts = phasesTogether(calls.filter((n) => modelOf(n) === model));
      return el("div", { class: "view" }, el("p", {}, `${model}: what its calls took, phase by phase`), details.phaseBar(parts, `Phases of the calls of ${model}`), details.phaseList(parts));
    });
    const slowest = calls.sort((a, b) => run.took(b) - run.took(a)).slice(0, SHOWN).map((n) => [
      details.spanButton(n), run.task(n) ?? "", fmt.duration(run.took(n)), details.phaseBar(details.phasesOf(n), `Phases of ${run.name(n)}`),
    ]);
    return dom.section("llm", "LLM calls",
      dom.table("LLM calls by model", ["model", ...columns.map(([name]) => [name, "number"])], rows),
      ...phases,
      el("h3", {}, "The slowest"),
      dom.table("The slowest LLM calls", ["call", "task", ["took", "number"], "phases"], slowest, { class: "bands" }));
  }

  function git() {
    if (!data.git.length) return null;
    const whole = Math.max(...data.git.map((g) => g.total_s)) || 1;
    const rows = data.git.map((g) => {
      const failed = [g.failed || "", ...g.locks.map((lock) => `lock ${lock}`)].filter(Boolean).join(", ");
      return [
        details.spanButton(g.span, g.name), fmt.count(g.count), failed, fmt.seconds(g.total_s), fmt.seconds(g.p50_s), fmt.seconds(g.p95_s), fmt.seconds(g.max_s),
        dom.bar([{ share: g.total_s / whole, kind: "git", title: fmt.seconds(g.total_s) }], `${g.name}: ${fmt.seconds(g.total_s)}`),
      ];
    });
    const columns = ["command", ...["count", "failed", "total", "p50", "p95", "longest"].map((c) => [c, "number"]), ""];
    return dom.section("git", "git", dom.table("git commands", columns, rows, { class: "bands" }),
      el("p", { class: "note" }, "A command leads to its longest one."));
  }

  function supersteps() {
    const told = run.supersteps.filter((s) => s.jobs > 1 || s.held.some(([, us]) => us >= 1000));
    if (!told.length) return null;
    const rows = told.map((s) => {
      const straggler = run.jobs[s.straggler];
      const held = s.held.filter(([, us]) => us >= 1000);
      const whom = held.slice(0, 3).map(([job]) => run.jobName(run.jobs[job])).join(", ");
      const more = held.length > 3 ? ` +${held.length - 3}` : "";
      const heldUs = s.held.reduce((sum, [, us]) => sum + us, 0);
      return [
        details.spanButton(s.span, String(s.index ?? "?")), String(s.jobs),
        straggler ? details.spanButton(straggler.span, run.jobName(straggler)) : "",
        straggler ? fmt.duration(straggler.ended - straggler.scheduled) : "",
        s.results_waited >= 1000 ? fmt.duration(s.results_waited) : "",
        held.length ? `${fmt.duration(heldUs)} (${whom}${more})` : "",
      ];
    });
    const columns = ["step", ["tasks", "number"], "straggler", ["took", "number"], ["results waited", "number"], "held back"];
    return dom.section("supersteps", "Supersteps", dom.table("Supersteps", columns, rows));
  }

  function categories() {
    const rows = data.categories.map((c) => [
      el("span", {}, el("span", { class: `swatch kind ${c.is_wait ? run.waitKind(c.category) : c.category}` }), c.is_wait ? `wait ${c.category}` : c.category),
      fmt.count(c.count), ...[c.total_s, c.mean_s, c.p50_s, c.p95_s, c.p99_s].map(fmt.seconds), c.share_of_run ? fmt.share(c.share_of_run) : "",
    ]);
    const columns = ["category", ...["count", "total", "mean", "p50", "p95", "p99", "share of run"].map((c) => [c, "number"])];
    return dom.section("categories", "Spans by category", dom.table("Spans by category", columns, rows),
      el("p", { class: "note" }, "Share: the part of the run in which at least one went on; they overlap."));
  }

  function warnings() {
    if (!data.warnings.length) return null;
    return dom.section("warnings", "Warnings", el("ul", {}, ...data.warnings.map((text) => el("li", {}, text))));
  }

  // Two columns beside each other, each without gaps.
  function columns() {
    const column = (...all) => el("div", { class: "column" }, ...all);
    return el("div", { class: "grid" }, column(accounting(), supersteps()), column(llm(), git(), categories()));
  }

  return { advice, columns, warnings };
})();
