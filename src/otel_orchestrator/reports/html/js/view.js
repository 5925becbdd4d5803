// The window of time that all panels show, and the frame in which they draw it.
const view = (() => {
  const SHORTEST = 20; // µs: more than that is not known of a span
  const whole = [Math.min(0, run.data.wall[0]), Math.max(run.data.wall[1], run.data.end, 1)];
  let [from, to] = whole;

  // What was drawn, for tests and for the curious: frames, time in them, bars in the last one.
  const stats = { frames: 0, spent_ms: 0, longest_ms: 0, bars: 0 };
  const painters = new Set();
  const followers = new Set();
  const wanted = new Set();
  let asked = false;

  // Draw soon; however often this is asked, once a frame. All panels, or only some of them.
  function redraw(only) {
    for (const paintPanel of typeof only === "function" ? [only] : painters) wanted.add(paintPanel);
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => drawNow(wanted));
  }

  function drawNow(some = painters) {
    asked = false;
    const began = performance.now();
    stats.bars = 0;
    const drawn = [...some];
    wanted.clear();
    for (const paintPanel of drawn) paintPanel();
    const spent = performance.now() - began;
    stats.frames += 1;
    stats.spent_ms += spent;
    stats.longest_ms = Math.max(stats.longest_ms, spent);
  }

  function show(nextFrom, nextTo) {
    const length = Math.min(whole[1] - whole[0], Math.max(SHORTEST, nextTo - nextFrom));
    const earliest = Math.max(whole[0], Math.min(nextFrom, whole[1] - length));
    if (earliest === from && earliest + length === to) return;
    [from, to] = [earliest, earliest + length];
    for (const follow of followers) follow();
    redraw();
  }

  const showAll = () => show(...whole);
  const pan = (fraction) => show(from + fraction * (to - from), to + fraction * (to - from));

  // Zoom in by a factor, so that an instant stays where it is on the screen.
  function zoom(factor, at = (from + to) / 2) {
    const length = (to - from) / factor;
    const left = at - ((at - from) / (to - from)) * length;
    show(left, left + length);
  }

  // Show an interval with some room around it.
  function showInterval(start, end) {
    const room = Math.max((end - start) * 0.08, SHORTEST);
    show(start - room, end + room);
  }

  // Move as little as needed to see an interval.
  function reveal(start, end) {
    if (end > from && start < to) return;
    const middle = (start + end) / 2;
    const half = Math.max(to - from, end - start) / 2;
    show(middle - half, middle + half);
  }

  return {
    stats, redraw, drawNow, show, showAll, pan, zoom, showInterval, reveal, whole,
    get from() { return from; },
    get to() { return to; },
    get isWhole() { return from === whole[0] && to === whole[1]; },
    onDraw: (paintPanel) => painters.add(paintPanel),
    onChange: (follow) => followers.add(follow),
  };
})();
