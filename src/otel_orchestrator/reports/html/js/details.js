// What is known of the span, or of the idle stretch, that was chosen.
const details = (() => {
  const { el } = dom;
  const element = document.getElementById("details");
  const PHASES = {
    client: "the program's own code",
    rate_limit: "waits for the rate limit",
    retry_backoff: "waits before another try",
    pool: "waits for a connection",
    connect: "connects",
    tls: "TLS handshake",
    send: "sends the request",
    server: "until the server's headers",
    first_token: "until the first token",
    answer: "the answer comes in",
    unknown: "nothing more is known of it",
  };
  const WAITS = new Set(["rate_limit", "retry_backoff", "pool"]);
  let before = null; // what had the focus

  const phaseKind = (name) => (WAITS.has(name) ? "wait" : `phase-${name}`);

  // The phases of an LLM call: [{ name, us, at }].
  function phasesOf(n) {
    const flat = run.phases.get(n) || [];
    const found = [];
    let at = run.start[n];
    for (let p = 0; p < flat.length; p += 2) {
      found.push({ name: run.data.phases[flat[p]], us: flat[p + 1], at });
      at += flat[p + 1];
    }
    return found;
  }

  function phaseBar(parts, label) {
    const whole = parts.reduce((sum, part) => sum + part.us, 0) || 1;
    const shown = parts.map(({ name, us }) => ({
      share: us / whole, kind: phaseKind(name), title: `${PHASES[name]}: ${fmt.duration(us)}`,
    }));
    return dom.bar(shown, label);
  }

  function phaseList(parts) {
    const items = parts.filter((p) => p.us >= 100).map(({ name, us }) =>
      el("li", {}, el("span", { class: `swatch kind ${phaseKind(name)}` }), PHASES[name], el("b", {}, fmt.duration(us))));
    return el("ul", { class: "phases" }, ...items);
  }

  const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];

  function spanButton(n, text = run.name(n)) {
    return dom.spanLink(text, () => panels.choose(waterfall.reach(n), { open: true }));
  }

  // The job of a task, or of a node, that something waited for.
  function jobNamed(on, from, to) {
    const fits = run.jobs.filter((j) => j.task === on || (j.task === null && j.name === on));
    return fits.find((j) => j.started <= to && j.ended >= from) || fits[0];
  }

  function spanBody(n, item) {
    const state = run.state(n);
    const outcome = run.outcome(n);
    const badges = [
      state && el("span", { class: `badge ${state}` }, state),
      run.category(n) && el("span", { class: "badge" }, run.category(n)),
      el("span", { class: `badge ${outcome === "ok" ? "" : "bad"}` }, outcome),
    ];
    const facts = [
      ...fact("took", fmt.duration(run.took(n)), outcome === "open" ? " so far: it has no end" : ""),
      ...fact("starts", `${fmt.instant(run.start[n], 1000)} into the run`),
      ...fact("at", fmt.clock(run.data.origin_ms + run.start[n] / 1000)),
    ];
    const onPath = (run.path.get(n) || []).reduce((sum, [from, to]) => sum + to - from, 0);
    if (onPath) facts.push(...fact("critical path", `${fmt.duration(onPath)} of it`));
    const task = run.task(n);
    if (task !== null) facts.push(...fact("task", task));
    const on = run.attribute(n, "orchestrator.wait.on");
    if (on !== null) {
      const job = jobNamed(on, run.start[n], run.end[n]);
      facts.push(...fact("waits on", job ? spanButton(job.span, on) : on));
    }
    const job = run.jobs[run.owner[n]];
    if (job && job.span === n) facts.push(...needs(job), ...holds(job));
    const calls = phasesOf(n);
    const above = [...run.ancestors(n)].reverse();
    return [
      el("p", { class: "badges" }, ...badges),
      item.reason && item.label && el("p", {}, `In this stretch: ${item.label}, ${fmt.duration(item.to - item.from)}.`),
      el("dl", {}, ...facts),
      state === "waiting" && meaning(run.category(n)),
      calls.length ? el("section", {}, el("h3", {}, "Phases of the call"), phaseBar(calls, "Phases of the call"), phaseList(calls)) : null,
      inside(n),
      el("section", {}, el("h3", {}, "Attributes"), attributes(n)),
      above.length ? el("section", {}, el("h3", {}, "Below"), el("ol", { class: "above" }, ...above.map((a) => el("li", {}, spanButton(a))))) : null,
    ];
  }

  function needs(job) {
    if (job.depends_on === null) return [];
    if (!job.depends_on.length) return fact("depends on", "nothing");
    const names = new Map(job.needs.map((number) => [run.jobName(run.jobs[number]), run.jobs[number]]));
    const each = job.depends_on.map((id) => (names.has(id) ? spanButton(names.get(id).span, id) : el("span", {}, id)));
    return fact("depends on", ...each.flatMap((one, n) => (n ? [", ", one] : [one])));
  }

  // Whom the barrier of the superstep kept that this job held open.
  function holds(job) {
    const number = run.jobs.indexOf(job);
    const superstep = run.supersteps.find((s) => s.straggler === number && s.jobs > 1);
    if (!superstep) return [];
    const waited = fact("straggler of", spanButton(superstep.span, `superstep ${superstep.index}`),
      `: results waited ${fmt.duration(superstep.results_waited)}`);
    const held = superstep.held.filter(([, us]) => us >= 1000).map(([other, us]) =>
      el("li", {}, spanButton(run.jobs[other].span, run.jobName(run.jobs[other])), ` ${fmt.duration(us)}`));
    return held.length ? [...waited, ...fact("held back", el("ul", {}, ...held))] : waited;
  }

  function meaning(category) {
    const text = Object.hasOwn(run.data.waits, category) ? run.data.waits[category] : "";
    return text ? el("p", { class: "meaning" }, text) : null;
  }

  // What is directly below it, by name, the longest first.
  function inside(n) {
    const groups = new Map();
    for (const child of run.children(n)) {
      const key = run.name(child);
      const group = groups.get(key) || { count: 0, us: 0, first: child };
      groups.set(key, { count: group.count + 1, us: group.us + run.took(child), first: group.first });
    }
    if (!groups.size) return null;
    const rows = [...groups].sort((a, b) => b[1].us - a[1].us).slice(0, 8)
      .map(([name, group]) => [spanButton(group.first, name), String(group.count), fmt.duration(group.us)]);
    return el("section", {}, el("h3", {}, "Inside"), dom.table("Inside", ["span", ["count", "number"], ["took", "number"]], rows));
  }

  function attributes(n) {
    const rows = [["span id", run.data.spans.id[n]], ["trace id", run.trace(n)], ...run.attributes(n)];
    return el("dl", { class: "attributes" }, ...rows.flatMap(([key, value]) => fact(key, value)));
  }

  function idleBody(item) {
    const facts = [
      ...fact("lasted", fmt.duration(item.to - item.from)),
      ...fact("starts", `${fmt.instant(item.from, 1000)} into the run`),
    ];
    const superstep = run.supersteps.find((s) => s.jobs > 1 && s.start <= item.from && item.from < s.end);
    const straggler = superstep && run.jobs[superstep.straggler];
    if (straggler && ["held", "barrier", "dependency"].includes(item.reason)) {
      facts.push(...fact("meanwhile", spanButton(straggler.span, run.jobName(straggler)), ` is the straggler of superstep ${superstep.index}`));
    }
    return [el("dl", {}, ...facts), meaning(item.reason)];
  }

  function jaegerLink(n) {
    const isWeb = /^https?:\/\//i.test(run.data.jaeger);
    const ids = [run.trace(n), run.data.spans.id[n]];
    if (!isWeb || !ids.every((id) => /^[0-9a-f]{1,32}$/i.test(id))) return null;
    const address = `${run.data.jaeger}/trace/${ids[0]}?uiFind=${ids[1]}`;
    return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, "Open in Jaeger");
  }

  function show(item, { open = false, focus = false } = {}) {
    if (!item || (element.hidden && !open)) return;
    if (element.hidden) before = document.activeElement;
    const isSpan = item.span >= 0;
    const title = isSpan ? run.name(item.span) : item.text.split("\n")[0];
    const zoom = el("button", { type: "button", onclick: () => zoomTo(item) }, "Zoom to it (z)");
    const close = el("button", { type: "button", class: "close", "aria-label": "Close details", onclick: hide }, "×");
    element.replaceChildren(
      el("header", {}, el("h2", {}, title), close),
      el("p", { class: "tools" }, zoom, isSpan && run.trace(item.span) ? jaegerLink(item.span) ?? "" : ""),
      ...(isSpan ? spanBody(item.span, item) : idleBody(item)).filter(Boolean),
    );
    element.hidden = false;
    element.scrollTop = 0;
    document.body.classList.add("has-details");
    if (focus) element.focus();
    if (isSpan) remember(item.span);
  }

  function zoomTo(item) {
    view.showInterval(item.from, item.to);
    document.getElementById("timeline").scrollIntoView({ block: "nearest" });
  }

  // The address leads to the span, where a file may have such an address.
  function remember(n) {
    try { history.replaceState(null, "", `#span=${run.data.spans.id[n]}`); } catch { /* not for this file */ }
  }

  function hide() {
    element.hidden = true;
    document.body.classList.remove("has-details");
    if (before?.isConnected) before.focus();
    panels.choose(null);
  }

  panels.onChoose((item, options) => show(item, options));
  return { element, hide, phasesOf, phaseBar, phaseList, spanButton, get isOpen() { return !element.hidden; } };
})();
