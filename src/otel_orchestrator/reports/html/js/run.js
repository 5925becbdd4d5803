// The run: what the page's data say, with the tree of spans taken apart for quick access.
// Instants are microseconds after the run's first span; a span is its place in the tree's order.
const run = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { spans } = data;
  const count = spans.id.length;
  const parent = new Int32Array(count);
  const depth = new Uint16Array(count);
  const start = new Float64Array(count);
  const end = new Float64Array(count);
  const last = new Int32Array(count); // the last span below each, itself if there is none
  for (let n = 0; n < count; n++) {
    parent[n] = spans.parent[n] ? n - spans.parent[n] : -1;
    const above = parent[n];
    depth[n] = above < 0 ? 0 : depth[above] + 1;
    start[n] = spans.start[n] + (above < 0 ? 0 : start[above]);
    end[n] = start[n] + spans.took[n];
  }
  for (let n = count - 1; n >= 0; n--) {
    last[n] = Math.max(last[n], n);
    if (parent[n] >= 0) last[parent[n]] = Math.max(last[parent[n]], last[n]);
  }

  const rowsOf = ({ fields, rows }) =>
    rows.map((row) => Object.fromEntries(row.map((value, n) => [fields[n], value])));
  const jobs = rowsOf(data.jobs);
  // The job that each span belongs to; -1 for those that hold jobs together.
  const owner = new Int32Array(count).fill(-1);
  for (let number = jobs.length - 1; number >= 0; number--) {
    for (const top of [jobs[number].span, ...jobs[number].within]) {
      if (top >= 0) owner.fill(number, top, last[top] + 1);
    }
  }
  const supersteps = rowsOf(data.supersteps);
  const path = new Map();
  for (const [span, from, to] of data.path.rows) {
    if (!path.has(span)) path.set(span, []);
    path.get(span).push([from, to]);
  }
  const phases = new Map(data.calls.rows);

  const name = (n) => spans.texts[spans.name[n]];
  const category = (n) => spans.texts[spans.category[n]];
  const outcome = (n) => spans.texts[spans.outcome[n]];
  const trace = (n) => spans.texts[spans.trace[n]];
  const state = (n) => ({ w: "working", p: "waiting", c: "container" })[spans.state[n]] || "";
  const operation = (n) => name(n).split(" ", 1)[0];
  const took = (n) => end[n] - start[n];
  const place = new Map(spans.id.map((id, n) => [id, n]));

  function attributes(n) {
    const [shape, ...values] = spans.attributes[n];
    return values.map((value, at) => [spans.texts[spans.shapes[shape][at]], spans.texts[value]]);
  }

  function attribute(n, key) {
    const at = spans.shapes[spans.attributes[n][0]].findIndex((k) => spans.texts[k] === key);
    return at < 0 ? null : spans.texts[spans.attributes[n][at + 1]];
  }

  function* children(n) {
    for (let child = n + 1; child <= last[n]; child = last[child] + 1) yield child;
  }

  function* ancestors(n) {
    for (let above = parent[n]; above >= 0; above = parent[above]) yield above;
  }

  // What a span is drawn as: a class of the style sheet.
  const WORK = new Set(["llm", "git", "tool", "http", "compute"]);
  function kind(n) {
    if (spans.state[n] === "p") return waitKind(category(n));
    if (spans.state[n] === "c") return "container";
    return WORK.has(category(n)) ? category(n) : "compute";
  }
  const waitKind = (reason) => (reason === "cycle" || reason === "dependency" ? reason : "wait");

  // The id of the task that a span works for, from itself or what it is below.
  function task(n) {
    const own = attribute(n, "orchestrator.task.id");
    if (own !== null) return own;
    for (const above of ancestors(n)) {
      const found = attribute(above, "orchestrator.task.id");
      if (found !== null) return found;
    }
    return null;
  }

  const jobName = (job) => job.task ?? job.name;

  return {
    data, count, parent, depth, start, end, last, jobs, owner, supersteps, path, phases, rowsOf,
    name, category, outcome, trace, state, operation, took, place, attributes, attribute, children,
    ancestors, kind, waitKind, task, jobName,
  };
})();
