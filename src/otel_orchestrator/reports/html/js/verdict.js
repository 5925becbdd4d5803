// The verdict: which of the four suspects takes the time, and what to do about it.
const verdict = (() => {
  const { el } = dom;
  const told = run.data.verdict;
  const MARKS = { supported: "●", "not supported": "○", "cannot be told": "?" };

  // How much was measured, with a tick from which on it is the bottleneck.
  function gauge({ measure, threshold, standing, title }) {
    if (measure === null) return null;
    const fill = el("span", { class: standing === "supported" ? "fill strong" : "fill" });
    fill.style.width = `${Math.min(1, measure) * 100}%`;
    const tick = el("span", { class: "tick" });
    tick.style.left = `${threshold * 100}%`;
    const label = `${fmt.share(measure)} measured; from ${fmt.share(threshold)} on it is the bottleneck`;
    return el("div", { class: "gauge", role: "img", "aria-label": `${title}: ${label}`, title: label }, fill, tick);
  }

  function example(one) {
    const name = [one.name, one.task].filter(Boolean).join(" ");
    const text = `${name}, ${one.took}`;
    return el("li", {}, one.span < 0 ? text : details.spanButton(one.span, text));
  }

  const examples = (all, most = 2) =>
    all.length ? el("ul", { class: "examples", "aria-label": "The worst" }, ...all.slice(0, most).map(example)) : null;

  function finding(one) {
    const isSupported = one.standing === "supported";
    return el(
      "article",
      { class: isSupported ? "finding supported" : "finding" },
      el("h3", {}, el("span", { class: "mark", "aria-hidden": "true" }, MARKS[one.standing]), one.title,
        el("span", { class: isSupported ? "badge strong" : "badge" }, one.standing)),
      gauge(one),
      el("p", { class: "why" }, fmt.tied(one.judged)),
      isSupported && one.numbers ? el("p", { class: "note" }, fmt.tied(one.numbers)) : null,
      isSupported ? examples(one.examples) : null,
      one.advice.length ? el("ul", { class: "advice" }, ...one.advice.slice(0, 3).map((text) => el("li", {}, text))) : null,
    );
  }

  function bets() {
    const rows = told.bets.map((bet) => {
      if (bet.measured === undefined) return [bet.on, "", "?", bet.came_out];
      const range = `${Math.round(bet.low * 100)} to ${Math.round(bet.high * 100)} %`;
      return [bet.on, range, fmt.share(bet.measured), bet.came_out];
    });
    return el("details", {}, el("summary", {}, "What was expected of slot time"),
      el("p", { class: "note" }, `${told.bets_are}.`),
      dom.table("What was expected of slot time", ["on", ["expected", "number"], ["measured", "number"], "came out"], rows),
      el("p", { class: "note" }, told.rule));
  }

  function section() {
    if (told.doubt !== null) {
      return dom.section("verdict", "Verdict: what to optimise",
        el("p", { class: "doubt" }, el("span", { class: "mark" }, "?"), `No verdict: ${told.doubt}.`),
        ...[told.largest, told.shares].filter(Boolean).map((text) => el("p", { class: "note" }, fmt.tied(text))));
    }
    const order = { supported: 0, "cannot be told": 1, "not supported": 2 };
    const sorted = [...told.findings].sort((a, b) => order[a.standing] - order[b.standing]);
    return dom.section("verdict", "Verdict: what to optimise",
      told.largest ? el("p", { class: "why" }, fmt.tied(told.largest)) : null, ...sorted.map(finding), bets());
  }

  return { section, examples };
})();
