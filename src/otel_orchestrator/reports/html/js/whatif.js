// What if: sliders through estimates that were made beforehand, and the other changes beside them.
const whatif = (() => {
  const { el } = dom;
  const { grid } = run.data;
  const wall = run.data.run.wall_s;
  const known = run.data.what_if.filter((e) => e.expected_s !== null).sort((a, b) => b.saves - a.saves);
  // How far the axes reach: what lies beyond is cut off, and stands beside it in numbers.
  const REACH = { known: Math.max(wall * 1.1, ...known.map((e) => e.high_s)) || 1, sliders: wall * 2.2 || 1 };
  const speed = { at: Math.max(0, grid.speeds.indexOf(1)) };
  const workers = { at: Math.max(0, grid.workers.indexOf(grid.slots)) };

  // From … to as a band with the expected wall in it, and a line where the measured wall is.
  function band(low, expected, high, longest) {
    const label = told(low, expected, high);
    const made = el("div", { class: "band", role: "img", "aria-label": label, title: label });
    const place = (name, from, to) => {
      const piece = el("span", { class: name });
      piece.style.left = `${(from / longest) * 100}%`;
      if (to !== undefined) piece.style.width = `${(Math.max(0, to - from) / longest) * 100}%`;
      made.append(piece);
    };
    place("range", low, high);
    place("expected", expected);
    place("measured", wall);
    return made;
  }

  const told = (low, expected, high) =>
    `${fmt.seconds(expected)} expected, from ${fmt.seconds(low)} to ${fmt.seconds(high)}; measured ${fmt.seconds(wall)}`;

  function slider(id, name, values, state, say, update, fixed) {
    const output = el("output", { for: id }, say(values[state.at]));
    const input = el("input", {
      type: "range", id, min: "0", max: String(values.length - 1), step: "1", value: String(state.at),
      disabled: values.length < 2, "aria-valuetext": say(values[state.at]), title: fixed || null,
      oninput: () => {
        state.at = Number(input.value);
        output.textContent = say(values[state.at]);
        input.setAttribute("aria-valuetext", say(values[state.at]));
        update();
      },
    });
    return el("div", { class: "slider" }, el("label", { for: id }, name), input, output);
  }

  function saySpeed(value) {
    if (value === 1) return "as fast as they were";
    return value < 1 ? `${fmt.count(1 / value)} times as slow` : `${value} times as fast`;
  }

  const sayWorkers = (value) => (value === grid.slots ? `${value}, as it was` : `${value} instead of ${grid.slots}`);

  function sliders() {
    if (grid.reason) return [el("p", { class: "note" }, `Nothing can be estimated: ${grid.reason}.`)];
    const answer = el("p", { class: "answer", "aria-live": "polite" });
    const picture = el("div", {});
    const update = () => {
      const [low, expected, high] = grid.seconds[speed.at][workers.at];
      const isMeasured = grid.speeds[speed.at] === 1 && grid.workers[workers.at] === grid.slots;
      const saves = wall ? 1 - expected / wall : 0;
      const change = saves >= 0 ? `saves ${fmt.share(saves)}` : `costs ${fmt.share(-saves)}`;
      answer.replaceChildren(
        el("b", {}, fmt.seconds(expected)),
        isMeasured ? " as measured" : ` instead of ${fmt.seconds(wall)}: ${change}`,
        el("span", { class: "note" }, ` from ${fmt.seconds(low)} to ${fmt.seconds(high)}`),
      );
      picture.replaceChildren(band(low, expected, high, REACH.sliders));
    };
    update();
    return [
      slider("speed", "LLM calls", grid.speeds, speed, saySpeed, update),
      slider("workers", "Workers", grid.workers, workers, sayWorkers, update, grid.fixed),
      answer, picture,
      grid.fixed ? el("p", { class: "note" }, `The number of workers stays: ${grid.fixed}.`) : null,
    ];
  }

  function others() {
    const rows = known.map((e) => [
      el("span", { title: e.assumptions.join("; ") }, e.title),
      fmt.share(e.saves), fmt.seconds(e.expected_s),
      band(e.low_s, e.expected_s, e.high_s, REACH.known),
    ]);
    const reasons = new Map();
    for (const e of run.data.what_if.filter((one) => one.expected_s === null)) {
      reasons.set(e.reason, [...(reasons.get(e.reason) || []), e.title.split(":")[0]]);
    }
    const unknown = [...reasons].map(([reason, titles]) => el("li", {}, `${titles.join(", ")}: ${reason}`));
    return [
      rows.length ? dom.table("What each change would save", ["what if", ["saves", "number"], ["then", "number"], "from … to"], rows, { class: "bands" }) : null,
      unknown.length ? el("details", {}, el("summary", {}, "What cannot be told"), el("ul", {}, ...unknown)) : null,
      el("p", { class: "note" }, "Hatched: from … to. Dot: expected. Line: measured. From this run's own times."),
    ];
  }

  const section = () => dom.section("what-if", "What if", ...sliders(), ...others());
  return { section };
})();
