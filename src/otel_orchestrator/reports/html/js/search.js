// Searching spans: every word has to be in the name, the ids, the kind, the outcome or an attribute.
const search = (() => {
  const { spans } = run.data;
  const lower = spans.texts.map((text) => text.toLowerCase());
  const STATES = { w: "working", p: "waiting", c: "container", "-": "" };
  let found = [];
  let current = -1;

  const input = dom.el("input", {
    type: "search", id: "search", placeholder: "Search spans  /", "aria-label": "Search spans",
    autocomplete: "off", spellcheck: "false",
    oninput: () => look(),
    onkeydown: (event) => {
      if (event.key === "Enter") { event.preventDefault(); go(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { event.stopPropagation(); clear(); }
    },
  });
  const told = dom.el("span", { class: "note", id: "found", role: "status" });
  const step = (text, label, way) =>
    dom.el("button", { type: "button", "aria-label": label, title: label, onclick: () => go(way) }, text);
  const element = dom.el(
    "form",
    { role: "search", class: "search", onsubmit: (event) => event.preventDefault() },
    input, told, step("‹", "Match before (N)", -1), step("›", "Next match (n)", 1),
  );

  // What a word is in, decided once for each text that spans share.
  function matcher(word) {
    const hits = new Uint8Array(lower.length);
    lower.forEach((text, n) => { if (text.includes(word)) hits[n] = 1; });
    return (n) => {
      if (hits[spans.name[n]] || hits[spans.category[n]] || hits[spans.outcome[n]]) return true;
      if (hits[spans.trace[n]] || STATES[spans.state[n]].includes(word)) return true;
      if (spans.id[n].includes(word)) return true;
      const values = spans.attributes[n];
      for (let at = 1; at < values.length; at++) if (hits[values[at]]) return true;
      return spans.shapes[values[0]].some((key) => hits[key] && lower[key].includes(word) && word.includes("."));
    };
  }

  function look() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    current = -1;
    if (!words.length) {
      found = [];
      told.textContent = "";
      waterfall.mark(null);
      return;
    }
    const tests = words.map(matcher);
    found = [];
    for (let n = 0; n < run.count; n++) if (tests.every((test) => test(n))) found.push(n);
    tell();
    waterfall.mark(found);
  }

  function tell() {
    const at = current < 0 ? "" : `${fmt.count(current + 1)} of `;
    told.textContent = found.length ? `${at}${fmt.count(found.length)}` : "nothing found";
  }

  // To the next match, or the one before; after the last comes the first.
  function go(way) {
    if (!found.length) return;
    current = current < 0 ? (way > 0 ? 0 : found.length - 1) : (current + way + found.length) % found.length;
    panels.choose(waterfall.reach(found[current]));
    waterfall.panel.scroller.scrollIntoView({ block: "nearest" });
    tell();
  }

  function clear() {
    input.value = "";
    look();
    input.blur();
  }

  return {
    element, input, go, clear,
    get isActive() { return input.value !== ""; },
    get found() { return found; },
  };
})();
