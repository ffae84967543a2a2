// Draws spectrograms, plays clips, sends verdicts, and lets new events in. No library, no build.
"use strict";

const say = (words) => {
  const line = document.getElementById("said");
  line.textContent = words;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { line.textContent = ""; }, 4000);
};

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// dark violet over orange to pale yellow: even steps of lightness, readable without colour
const palette = Uint8ClampedArray.from({ length: 256 * 4 }, (_, i) => {
  const v = (i >> 2) / 255;
  return [255 * Math.min(1, 0.04 + 1.5 * v), 255 * Math.max(0.03, 1.5 * v - 0.55),
    255 * (0.07 + 1.1 * v * (1 - v) + Math.max(0, 2.4 * v - 1.7)), 255][i & 3];
});

const draw = (context, levels, bands, at) => {
  const frames = levels.length / bands;
  if (!frames) return;
  const picture = context.createImageData(frames, bands);
  for (let frame = 0; frame < frames; frame++) {
    for (let band = 0; band < bands; band++) {
      const level = levels[frame * bands + band] * 4;
      const to = ((bands - 1 - band) * frames + frame) * 4;
      for (let c = 0; c < 4; c++) picture.data[to + c] = palette[level + c];
    }
  }
  context.putImageData(picture, at, 0);
};

// ---- cards: pictures, sound, verdicts

const onScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    onScreen.unobserve(entry.target);
    showPicture(entry.target);
  }
}, { rootMargin: "200px" });

const showPicture = async (canvas) => {
  const card = canvas.closest("[data-event]");
  const answer = await fetch(`/api/events/${card.dataset.event}/picture`);
  if (answer.status !== 200) return;
  const { levels, bands, hop_s, onset_s } = await answer.json();
  const shown = bytes(levels);
  canvas.width = shown.length / bands;
  canvas.height = bands;
  const context = canvas.getContext("2d");
  draw(context, shown, bands, 0);
  context.fillStyle = "#ffffffaa";
  context.fillRect(Math.round(onset_s / hop_s), 0, 1, bands);
  canvas.dataset.drawn = "";
};

const prepare = (within) => {
  for (const canvas of within.querySelectorAll("[data-picture]")) onScreen.observe(canvas);
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = `UTC; here ${new Date(time.dateTime).toLocaleString()}`;
  }
};

const player = () => document.getElementById("player");

const play = (card) => {
  const sound = player();
  if (!("clip" in card.dataset)) { say("No sound was kept of it."); return; }
  const address = `/api/events/${card.dataset.event}/clip`;
  if (sound.dataset.playing === card.dataset.event && !sound.paused) { sound.pause(); return; }
  sound.src = address;
  sound.dataset.playing = card.dataset.event;
  sound.play().catch(() => say("It can't be played."));
};

const reviewer = () => {
  const field = document.querySelector("[data-reviewer]");
  return (field ? field.value : localStorage.getItem("reviewer")) || null;
};

const judge = async (card, verdict, cause) => {
  const note = document.querySelector(`[data-note="${card.dataset.event}"] [name=note]`);
  const told = { verdict, reviewer: reviewer() };
  if (note && note.value) told.note = note.value;
  if (verdict === "false") told.cause = cause || card.querySelector("[data-cause]").value;
  const answer = await fetch(`/api/events/${card.dataset.event}/verdict`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Streamdet": "1" },
    body: JSON.stringify(told),
  }).catch(() => null);
  if (!answer || !answer.ok) { say("It was not kept: the page does not answer. Try again."); return; }
  judged(card, told.verdict, told.cause);
  say(`Kept: ${told.verdict}${told.cause ? `, ${told.cause}` : ""}`);
};

const judged = (card, verdict, cause) => {
  card.dataset.verdict = verdict;
  for (const button of card.querySelectorAll("[data-say]")) {
    button.setAttribute("aria-pressed", String(button.dataset.say === verdict));
  }
  const badge = card.querySelector("[data-badge]");
  badge.textContent = cause ? `${verdict}: ${cause}` : verdict;
  badge.className = `badge ${verdict}`;
  card.querySelector(".cause").hidden = verdict !== "false";
  if (cause) card.querySelector("[data-cause]").value = cause;
};

document.addEventListener("click", (event) => {
  const card = event.target.closest("[data-event]");
  if (card && event.target.closest("[data-play]")) play(card);
  const said = card && event.target.closest("[data-say]");
  if (said) judge(card, said.dataset.say);
  const drop = event.target.closest("[data-drop]");
  if (drop && confirm("Delete the sound? The event stays.")) {
    fetch(`/api/events/${drop.dataset.drop}/clip`, { method: "DELETE", headers: { "X-Streamdet": "1" } })
      .then((answer) => (answer.ok ? location.reload() : say("It could not be deleted.")));
  }
});

document.addEventListener("change", (event) => {
  const card = event.target.closest("[data-event]");
  if (card && event.target.matches("[data-cause]")) judge(card, "false", event.target.value);
  if (event.target.matches("[data-reviewer]")) localStorage.setItem("reviewer", event.target.value);
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-note]")) event.preventDefault();
});

// ---- keys

const cards = () => [...document.querySelectorAll("[data-list] [data-event]")];
const here = () => document.activeElement.closest("[data-event]");

const step = (by) => {
  const other = document.querySelector(by > 0 ? "[data-older]" : "[data-newer]");
  if (other) { location.href = other.href; return; }
  const all = cards();
  if (!all.length) return;
  const at = all.indexOf(here());
  if (document.querySelector(".list.one")) return;
  const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea")) return;
  if (event.key === " " && event.target.matches("button, a, summary")) return;
  const card = here() || (document.querySelector(".list.one") ? cards()[0] : null);
  const causes = document.body.dataset.causes.split(" ");
  if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (!card) return;
  else if (event.key === " ") play(card);
  else if (event.key === "t") judge(card, "true");
  else if (event.key === "f") judge(card, "false");
  else if (event.key === "u") judge(card, "unsure");
  else if (card.dataset.verdict === "false" && causes[event.key - 1]) judge(card, "false", causes[event.key - 1]);
  else return;
  event.preventDefault();
});

// ---- what happens now

const fetchCard = async (id, tries = 15) => {
  for (let i = 0; i < tries; i++) {
    const answer = await fetch(`/events/${id}/card`);
    if (answer.ok) {
      const made = document.createElement("template");
      made.innerHTML = await answer.text();
      return made.content.querySelector("[data-event]");
    }
    await new Promise((done) => setTimeout(done, 100)); // the store writes it just now
  }
  return null;
};

const MOST_CARDS = 50;

const letIn = async (id, fresh) => {
  const list = document.querySelector("[data-list]");
  if (!list) return;
  const there = list.querySelector(`[data-event="${id}"]`);
  if (!there && !(fresh && "grows" in list.dataset)) return;
  const card = await fetchCard(id);
  if (!card) return;
  const had = list.querySelector(`[data-event="${id}"]`);
  if (had) {
    const focused = had === here();
    had.replaceWith(card);
    if (focused) card.focus();
  } else {
    card.classList.add("new");
    list.prepend(card);
    while (list.children.length > MOST_CARDS) list.lastElementChild.remove();
    const none = document.querySelector("[data-none]");
    if (none) none.hidden = true;
    say(`Gunshot at ${card.querySelector(".source").textContent}`);
  }
  prepare(card);
};

const sources = new Map();

for (const section of document.querySelectorAll("[data-source]")) {
  const scroll = section.querySelector(".scroll");
  const score = section.querySelector(".score");
  sources.set(section.dataset.source, {
    section, spectrum: scroll.getContext("2d", { willReadFrequently: true }),
    chart: score.getContext("2d"), scores: [],
  });
}

const live = (told) => {
  const source = sources.get(told.source);
  if (!source) return;
  const { section, spectrum, chart } = source;
  section.querySelector("[data-state]").textContent = told.state;
  section.querySelector("[data-level]").value = told.level_dbfs;
  section.querySelector("[data-level-text]").textContent = `${told.level_dbfs.toFixed(0)} dBFS`;
  section.querySelector("[data-threshold]").textContent = told.threshold.toFixed(2);
  const columns = bytes(told.columns);
  const bands = 64, count = columns.length / bands, { width, height } = spectrum.canvas;
  spectrum.drawImage(spectrum.canvas, -count, 0);
  draw(spectrum, columns, bands, width - count);
  source.scores = source.scores.concat(told.scores).slice(-Math.round((width * told.hop_s) / told.frame_s));
  if (!source.scores.length) return;
  section.querySelector("[data-score]").textContent = Math.max(...source.scores.slice(-25)).toFixed(2);
  const style = getComputedStyle(document.documentElement);
  const wide = chart.canvas.width, high = chart.canvas.height, step = told.frame_s / told.hop_s;
  chart.clearRect(0, 0, wide, high);
  chart.strokeStyle = style.getPropertyValue("--mark");
  chart.setLineDash([6, 4]);
  chart.beginPath();
  chart.moveTo(0, high * (1 - told.threshold));
  chart.lineTo(wide, high * (1 - told.threshold));
  chart.stroke();
  chart.setLineDash([]);
  chart.strokeStyle = style.getPropertyValue("--ink");
  chart.lineWidth = 1.5;
  chart.beginPath();
  source.scores.forEach((value, i) => {
    chart.lineTo(wide - (source.scores.length - 1 - i) * step, (high - 2) * (1 - value) + 1);
  });
  chart.stroke();
};

const listen = () => {
  if (!document.querySelector("[data-list], [data-live]")) return;
  const asked = new URLSearchParams([...sources.keys()].map((name) => ["live", name]));
  const stream = new EventSource(`/api/stream?${asked}`);
  stream.addEventListener("live", (event) => live(JSON.parse(event.data)));
  stream.addEventListener("event", (event) => letIn(JSON.parse(event.data).id, true));
  stream.addEventListener("clip", (event) => letIn(JSON.parse(event.data).id, false));
  stream.addEventListener("review", (event) => {
    const { id, verdict, cause } = JSON.parse(event.data);
    const card = document.querySelector(`[data-event="${id}"]`);
    if (card) judged(card, verdict, cause);
  });
};

// ---- the threshold's slider

const slider = document.getElementById("threshold");
if (slider) {
  const bins = JSON.parse(slider.dataset.bins);
  slider.addEventListener("input", () => {
    const at = Number(slider.value);
    const sums = { kept: [0, 0, 0], dropped: [0, 0, 0] };
    for (const [low, yes, no, rest] of bins) {
      const into = low >= at - 1e-9 ? sums.kept : sums.dropped;
      into[0] += yes + no + rest;
      into[1] += yes;
      into[2] += no;
    }
    document.getElementById("at").textContent = at.toFixed(3);
    for (const kind of ["kept", "dropped"]) {
      document.querySelectorAll(`[data-${kind}]`).forEach((cell, i) => { cell.textContent = sums[kind][i]; });
    }
    const cut = document.getElementById("cut");
    for (const end of ["x1", "x2"]) cut.setAttribute(end, String(at * bins.length));
  });
}

const name = document.querySelector("[data-reviewer]");
if (name) name.value = localStorage.getItem("reviewer") || "";

prepare(document);
listen();
