// Durations, shares and counts as people read them: in the same words as the text report.
const fmt = (() => {
  // A duration of microseconds in four characters or so: 812 µs, 43 ms, 3.21 s, 4m 05s.
  function duration(us) {
    const seconds = us / 1e6;
    if (seconds < 0.001) return `${us.toFixed(0)} µs`;
    if (seconds < 0.9995) return `${(seconds * 1e3).toFixed(0)} ms`;
    if (seconds < 59.995) return `${seconds.toFixed(2)} s`;
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    if (minutes < 60) return `${minutes}m ${two(whole % 60)}s`;
    return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  }

  const seconds = (s) => duration(s * 1e6);
  const share = (fraction) => `${(Math.round(fraction * 1000) / 10 + 0).toFixed(1)} %`;
  const count = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
  const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

  // An instant after the run's start, as exact as the step between two marks of a ruler needs.
  function instant(us, step = 1) {
    if (us < 0) return `−${instant(-us, step)}`;
    const whole = Math.floor(us / 6e7);
    if (whole && step >= 1e6) {
      const rest = String(Math.round((us - whole * 6e7) / 1e6)).padStart(2, "0");
      return whole < 60 ? `${whole}m ${rest}s` : `${Math.floor(whole / 60)}h ${whole % 60}m ${rest}s`;
    }
    const decimals = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / 1e6))));
    return `${(us / 1e6).toFixed(decimals)} s`;
  }

  // An instant of the calendar, in the time zone of the report: UTC.
  const clock = (ms) => new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");

  // A text whose numbers stay on one line with their units.
  const tied = (text) => text.replace(/(\d) (?=(µs|ms|s|%|\d)(\W|\d|$))/g, "$1\u00a0");

  return { tied, duration, seconds, share, count, plural, instant, clock };
})();
