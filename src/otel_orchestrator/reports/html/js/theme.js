// Dark or light: as the system says, until somebody chooses.
const theme = (() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const followers = [];
  const tell = () => followers.forEach((follow) => follow());

  function toggle() {
    const isDark = root.dataset.theme === "auto" ? system.matches : root.dataset.theme === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
    tell();
  }

  system.addEventListener("change", tell);
  const button = () => dom.el(
    "button",
    { type: "button", title: "Dark or light (t)", "aria-label": "Dark or light", onclick: toggle },
    "◐",
  );
  return { toggle, button, onChange: (follow) => followers.push(follow) };
})();
