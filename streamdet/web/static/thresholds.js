// Moves the second threshold of each chart. The server has computed what to show at each position.
"use strict";

for (const slider of document.querySelectorAll("[data-steps]")) {
  const section = slider.closest("section");
  const steps = JSON.parse(slider.dataset.steps);
  const names = ["score", "expected", "events", "true", "false", "more"];
  const markers = section.querySelectorAll("line[data-other], circle[data-other]");
  const show = () => {
    const [x, y, ...texts] = steps[slider.value];
    const position = { x1: x, x2: x, cx: x, cy: y };
    for (const marker of markers) {
      for (const [name, percent] of Object.entries(position)) {
        if (marker.hasAttribute(name)) marker.setAttribute(name, `${percent}%`);
      }
      const visible = slider.value !== slider.defaultValue; // the threshold in force has its own
      marker.setAttribute("visibility", visible ? "visible" : "hidden");
    }
    names.forEach((name, i) => {
      for (const element of section.querySelectorAll(`[data-other-${name}]`)) {
        element.textContent = texts[i];
      }
    });
    const expected = texts[1] ? `, ${texts[1]} false alarms a day` : "";
    slider.setAttribute("aria-valuetext", `${texts[0]}${expected}; ${texts[2]} stored events`);
  };
  slider.addEventListener("input", show);
  slider.closest("[hidden]").hidden = false;
  show();
}
