// Two groups of runs: what got slower, why, and how sure that is.
const comparison = (() => {
  const { el } = dom;
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEAST = -0.6; // changes from -60 % to +150 % are drawn; what is beyond is cut off
  const MOST = 1.5;

  const list = (lines, tag = "ul") => el(tag, {}, ...lines.map((text) => el("li", {}, fmt.tied(text))));

  function place(piece, from, to) {
    piece.style.left = `${from * 100}%`;
    if (to !== undefined) piece.style.width = `${Math.max(0, to - from) * 100}%`;
    return piece;
  }

  // One dot for each run: hollow before, full after.
  function dots({ values, title }) {
    const all = values.flat().map((v) => v.value);
    const [least, most] = [Math.min(...all), Math.max(...all)];
    const room = (most - least) * 0.06 || most * 0.05 || 1;
    const at = (value) => (value - least + room) / (most - least + 2 * room);
    const rows = values.map((group, n) => {
      const name = ["before", "after"][n];
      const told = group.map((v) => v.told).join(", ");
      const row = el("div", { class: `dots ${name}`, role: "img", "aria-label": `${title}, ${name}: ${told}` });
      for (const { value, told: text } of group) row.append(place(el("span", { title: `${name}: ${text}` }), at(value)));
      return row;
    });
    return el("div", {}, ...rows);
  }

  // The change with its interval, the line of no change, and the one from which on it counts.
  function interval({ change, threshold, title }) {
    if (change === null || change.estimate === null) return null;
    const cut = (share) => Math.min(1, Math.max(0, (share - LEAST) / (MOST - LEAST)));
    const label = [change.told, change.span && `from ${change.span}`].filter(Boolean).join(", ");
    const made = el("div", { class: "interval", role: "img", "aria-label": `${title}: ${label}`, title: label });
    made.append(place(el("span", { class: "none" }), cut(0)), place(el("span", { class: "limit" }), cut(threshold)));
    if (change.low !== null) made.append(place(el("span", { class: "range" }), cut(change.low), cut(change.high)));
    made.append(place(el("span", { class: "expected" }), cut(change.estimate)));
    return made;
  }

  function judged(one) {
    const isWorse = one.standing === "regression";
    return el("article", { class: isWorse ? "finding supported" : "finding" },
      el("h3", {}, one.title, el("span", { class: isWorse ? "badge strong" : "badge" }, one.standing)),
      el("p", { class: "why" }, `${one.before} → ${one.after}`, one.change ? el("b", {}, ` ${one.change.told}`) : null,
        el("span", { class: "note" }, one.change?.span ? ` from ${one.change.span}` : "")),
      el("div", { class: "pair" }, dots(one), interval(one)),
      el("p", { class: "note" }, one.verdict));
  }

  function tableOf(table) {
    const columns = table.columns.map((name, n) => (table.numbers[n] ? [name, "number"] : name));
    const body = el("div", {});
    const fill = (wanted) => {
      const rows = table.rows.filter((row) => row.join(" ").toLowerCase().includes(wanted.toLowerCase()));
      body.replaceChildren(dom.table(table.title, columns, rows));
    };
    fill("");
    const isLong = table.rows.length > 20;
    const input = el("input", {
      type: "search", placeholder: "Filter  /", "aria-label": `Filter ${table.title}`, oninput: () => fill(input.value),
    });
    return dom.section(`table-${table.title.toLowerCase().replace(/[^a-z]+/g, "-")}`, table.title,
      isLong ? el("p", { class: "tools" }, input) : null, body, ...table.notes.map((text) => el("p", { class: "note" }, text)));
  }

  function runs() {
    const rows = data.groups.flatMap(({ name, runs: group }) => group.map((r) => [
      r.id, name, r.label ?? "", r.outcome, fmt.clock(r.start_ms).replace(/\.\d+/, ""), fmt.seconds(r.wall_s), fmt.count(r.spans),
    ]));
    const columns = ["run", "group", "label", "outcome", "started", ["wall clock", "number"], ["spans", "number"]];
    return dom.section("runs", "Runs", dom.table("Runs", columns, rows));
  }

  function jaeger() {
    const links = data.links.filter(({ url }) => /^https?:\/\//i.test(url)).map(({ text, url }) =>
      el("li", {}, el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text)));
    return links.length ? dom.section("jaeger", "In Jaeger, if the runs were sent there", el("ul", {}, ...links)) : null;
  }

  function start() {
    document.getElementById("header").append(
      el("div", { class: "title" }, el("h1", {}, fmt.tied(data.answer)), el("p", { class: "note" }, data.title)),
      el("div", { class: "tools" }, theme.button()));
    const all = data.tables.map(tableOf);
    const [wide, narrow] = [all.filter((t) => t.id === "table-paths"), all.filter((t) => t.id !== "table-paths")];
    const column = (first) => el("div", { class: "column" }, ...[...narrow, runs()].filter((_, n) => n % 2 === first));
    document.getElementById("main").append(...[
      el("div", { class: "top" },
        dom.section("judged", "Judged", ...data.judged.map(judged), el("p", { class: "note" }, "Each dot is a run. Bar: from … to; dot: the change; thin line: none; dashed: from there on it counts."),
          ...data.judged_notes.map((text) => el("p", { class: "note" }, `${text[0].toUpperCase()}${text.slice(1)}.`))),
        el("div", { class: "column" },
          data.causes.length ? dom.section("why", data.why, list(data.causes, "ol")) : null,
          dom.section("how-sure", "How sure", list(data.sureness)),
          jaeger() ?? "")),
      el("div", { class: "grid" }, column(0), column(1)),
      ...wide,
    ]);
  }

  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "t") theme.toggle();
    else if (event.key === "/") document.querySelector("input[type=search]")?.focus();
    else return;
    event.preventDefault();
  });
  return { start };
})();
comparison.start();
