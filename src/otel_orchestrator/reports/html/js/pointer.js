// The mouse, pen or finger on a canvas over time: a line through all panels where it points, a tip
// of what is there, dragging, the wheel.
const pointer = (() => {
  const DRAG_FROM = 4; // pixels
  const TIP_ROOM = 14;
  const line = dom.el("div", { class: "crosshair", hidden: true });
  const tip = dom.el("div", { class: "tip", hidden: true, role: "presentation" });
  document.body.append(tip);

  function point(event, place) {
    const host = line.parentElement.getBoundingClientRect();
    line.hidden = place.isLeft;
    line.style.left = `${event.clientX - host.left}px`;
    const lines = place.item ? place.item.text.split("\n") : [];
    if (!place.isLeft) lines.push(`at ${fmt.instant(place.at, (view.to - view.from) / 1000)}`);
    tip.hidden = lines.length === 0;
    tip.replaceChildren(...lines.map((text) => dom.el("div", {}, text)));
    const box = tip.getBoundingClientRect();
    const right = event.clientX + TIP_ROOM + box.width < window.innerWidth;
    const below = event.clientY + TIP_ROOM + box.height < window.innerHeight;
    tip.style.left = `${right ? event.clientX + TIP_ROOM : Math.max(4, event.clientX - TIP_ROOM - box.width)}px`;
    tip.style.top = `${below ? event.clientY + TIP_ROOM : Math.max(4, event.clientY - TIP_ROOM - box.height)}px`;
  }

  function leave() {
    line.hidden = true;
    tip.hidden = true;
  }

  // Follow it on a canvas. `spot(event)` says what is there; the others are called with that.
  function follow(canvas, { spot, hover, press, zoom, drag = panBy }) {
    let pressed = null;

    canvas.addEventListener("pointermove", (event) => {
      if (pressed && event.pointerId === pressed.id) {
        if (!pressed.isDrag && Math.abs(event.clientX - pressed.x) > DRAG_FROM) {
          pressed.isDrag = true;
          canvas.setPointerCapture(event.pointerId);
        }
        if (pressed.isDrag) {
          leave();
          drag(event, pressed, spot);
          pressed.last = event.clientX;
          return;
        }
      }
      const place = spot(event);
      point(event, place);
      hover?.(place);
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      pressed = { id: event.pointerId, x: event.clientX, last: event.clientX, isDrag: false, place: spot(event) };
    });
    canvas.addEventListener("pointerup", (event) => {
      if (pressed && !pressed.isDrag) press?.(spot(event));
      else if (pressed) drag(event, pressed, spot, true);
      pressed = null;
    });
    canvas.addEventListener("pointercancel", () => { pressed = null; leave(); });
    canvas.addEventListener("pointerleave", () => { leave(); hover?.(null); });
    canvas.addEventListener("dblclick", (event) => zoom?.(spot(event)));
    canvas.addEventListener("wheel", (event) => wheel(event, spot), { passive: false });
    return { forget: leave };
  }

  function panBy(event, pressed) {
    view.pan((pressed.last - event.clientX) / panels.area.plot);
  }

  function wheel(event, spot) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const place = spot(event);
      view.zoom(Math.exp(-event.deltaY / 200), place.isLeft ? undefined : place.at);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      view.pan((event.deltaX || event.deltaY) / panels.area.plot);
    }
  }

  return { follow, line };
})();
