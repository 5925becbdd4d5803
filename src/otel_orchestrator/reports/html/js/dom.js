// Building the page. Whatever comes from the run goes in as text, never as markup.
const dom = (() => {
  // el("p", { class: "note", onclick: f, "aria-label": "…" }, "text", child, …)
  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  // Columns are texts, or [text, "number"] for those that stand to the right.
  function table(caption, columns, rows, attributes = {}) {
    const heads = columns.map((c) => (Array.isArray(c) ? c : [c, ""]));
    const head = heads.map(([text, kind]) => el("th", { scope: "col", class: kind || null }, text));
    const cell = (content, n) => {
      const isHead = n === 0;
      return el(isHead ? "th" : "td", { scope: isHead ? "row" : null, class: heads[n][1] || null }, content);
    };
    const body = rows.map((row) => el("tr", {}, ...row.map(cell)));
    return el(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": caption },
      el(
        "table",
        attributes,
        el("caption", { class: "unseen" }, caption),
        el("thead", {}, el("tr", {}, ...head)),
        el("tbody", {}, ...body),
      ),
    );
  }

  // A horizontal bar of parts: [{ share, kind, title }]; kinds are classes of the style sheet.
  function bar(parts, label) {
    const made = el("div", { class: "bar", role: "img", "aria-label": label });
    for (const part of parts) {
      const piece = el("span", { class: `kind ${part.kind}`, title: part.title });
      piece.style.width = `${Math.max(0, part.share) * 100}%`;
      made.append(piece);
    }
    return made;
  }

  // A button that shows a span.
  const spanLink = (text, onclick, attributes = {}) =>
    el("button", { type: "button", class: "link", onclick, ...attributes }, text);

  const section = (id, title, ...children) =>
    el("section", { class: "card", id, "aria-label": title }, el("h2", {}, title), ...children);

  function say(text) {
    document.getElementById("said").textContent = text;
  }

  return { el, table, bar, spanLink, section, say };
})();
