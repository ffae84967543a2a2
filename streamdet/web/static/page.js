// Draws spectrograms, plays clips, sends verdicts, and adds new events. No library, no build step.
"use strict";

const showMessage = (text) => {
  const line = document.getElementById("message");
  line.textContent = text;
  clearTimeout(showMessage.timer);
  showMessage.timer = setTimeout(() => { line.textContent = ""; }, 4000);
};

const decodeBytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

// dark violet over orange to pale yellow: even steps of lightness, readable without colour
const palette = Uint8ClampedArray.from({ length: 256 * 4 }, (_, i) => {
  const v = (i >> 2) / 255;
  return [255 * Math.min(1, 0.04 + 1.5 * v), 255 * Math.max(0.03, 1.5 * v - 0.55),
    255 * (0.07 + 1.1 * v * (1 - v) + Math.max(0, 2.4 * v - 1.7)), 255][i & 3];
});

// a score with two to four decimals, more where it is close to 0 or 1
const formatScore = (score) => {
  const decimals = 1 - Math.floor(Math.log10(Math.min(score, 1 - score) || 1));
  return score.toFixed(Math.min(4, Math.max(2, decimals)));
};

const drawSpectrogram = (context, levels, bands, x) => {
  const frames = levels.length / bands;
  if (!frames) return;
  const image = context.createImageData(frames, bands);
  for (let frame = 0; frame < frames; frame++) {
    for (let band = 0; band < bands; band++) {
      const from = levels[frame * bands + band] * 4;
      const to = ((bands - 1 - band) * frames + frame) * 4;
      for (let c = 0; c < 4; c++) image.data[to + c] = palette[from + c];
    }
  }
  context.putImageData(image, x, 0);
};

// ---- event cards: spectrograms, clips, verdicts

const visibleCanvases = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    visibleCanvases.unobserve(entry.target);
    loadSpectrogram(entry.target);
  }
}, { rootMargin: "200px" });

const loadSpectrogram = async (canvas) => {
  const card = canvas.closest("[data-event]");
  const response = await fetch(`/api/events/${card.dataset.event}/picture`);
  if (response.status !== 200) return;
  const { levels, bands, hop_s, onset_s } = await response.json();
  const decoded = decodeBytes(levels);
  canvas.width = decoded.length / bands;
  canvas.height = bands;
  const context = canvas.getContext("2d");
  drawSpectrogram(context, decoded, bands, 0);
  context.fillStyle = "#ffffffaa";
  context.fillRect(Math.round(onset_s / hop_s), 0, 1, bands);
  canvas.dataset.drawn = "";
};

const prepare = (root) => {
  for (const canvas of root.querySelectorAll("[data-spectrogram]")) visibleCanvases.observe(canvas);
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = `UTC; local time ${new Date(time.dateTime).toLocaleString()}`;
  }
};

const togglePlayback = (card) => {
  const player = document.getElementById("player");
  if (!("clip" in card.dataset)) { showMessage("This event has no clip."); return; }
  if (player.dataset.event === card.dataset.event && !player.paused) { player.pause(); return; }
  player.src = `/api/events/${card.dataset.event}/clip`;
  player.dataset.event = card.dataset.event;
  player.play().catch(() => showMessage("The clip can't be played."));
};

const reviewerName = () => {
  const field = document.querySelector("[data-reviewer]");
  return (field ? field.value : localStorage.getItem("reviewer")) || null;
};

const errorText = async (response) => {
  if (!response) return "The server does not answer. Try again.";
  const text = await response.text();
  try { return JSON.parse(text).error; } catch { return text; }
};

const sendVerdict = async (card, verdict, cause) => {
  const note = document.querySelector(`[data-note="${card.dataset.event}"] [name=note]`);
  const review = { verdict, reviewer: reviewerName() };
  if (note && note.value) review.note = note.value;
  if (verdict === "false") review.cause = cause || card.querySelector("[data-cause]").value;
  const response = await fetch(`/api/events/${card.dataset.event}/verdict`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Streamdet": "1" },
    body: JSON.stringify(review),
  }).catch(() => null);
  if (!response || !response.ok) {
    showMessage(`The verdict was not saved. ${await errorText(response)}`);
    return;
  }
  showVerdict(card, review.verdict, review.cause);
  showMessage(`Saved: ${review.verdict}${review.cause ? `, ${review.cause}` : ""}`);
};

const showVerdict = (card, verdict, cause) => {
  card.dataset.verdict = verdict;
  for (const button of card.querySelectorAll("[data-set-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.setVerdict === verdict));
  }
  const badge = card.querySelector("[data-badge]");
  badge.textContent = cause ? `${verdict}: ${cause}` : verdict;
  badge.className = `badge ${verdict}`;
  card.querySelector(".cause").hidden = verdict !== "false";
  if (cause) card.querySelector("[data-cause]").value = cause;
};

const deleteClip = async (id) => {
  const options = { method: "DELETE", headers: { "X-Streamdet": "1" } };
  const response = await fetch(`/api/events/${id}/clip`, options).catch(() => null);
  if (response && response.ok) location.reload();
  else showMessage(`The clip was not deleted. ${await errorText(response)}`);
};

document.addEventListener("click", (event) => {
  const card = event.target.closest("[data-event]");
  if (card && event.target.closest("[data-play]")) togglePlayback(card);
  const verdictButton = card && event.target.closest("[data-set-verdict]");
  if (verdictButton) sendVerdict(card, verdictButton.dataset.setVerdict);
  const deleteButton = event.target.closest("[data-delete-clip]");
  if (deleteButton && confirm("Delete the clip? The event stays.")) {
    deleteClip(deleteButton.dataset.deleteClip);
  }
});

document.addEventListener("change", (event) => {
  const card = event.target.closest("[data-event]");
  if (card && event.target.matches("[data-cause]")) sendVerdict(card, "false", event.target.value);
  if (event.target.matches("[data-reviewer]")) localStorage.setItem("reviewer", event.target.value);
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-note]")) event.preventDefault();
});

// ---- keyboard shortcuts

const allCards = () => [...document.querySelectorAll("[data-list] [data-event]")];
const focusedCard = () => document.activeElement.closest("[data-event]");
const isEventPage = () => document.querySelector(".list.single") !== null;

const moveFocus = (step) => {
  const link = document.querySelector(step > 0 ? "[data-older]" : "[data-newer]");
  if (link) { location.href = link.href; return; }
  const cards = allCards();
  if (!cards.length || isEventPage()) return;
  const index = cards.indexOf(focusedCard());
  const next = cards[index < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, index + step))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea")) return;
  if (event.key === " " && event.target.matches("button, a, summary")) return;
  const card = focusedCard() || (isEventPage() ? allCards()[0] : null);
  const cause = document.body.dataset.causes.split(" ")[event.key - 1];
  if (event.key === "?") document.getElementById("shortcuts").showModal();
  else if (event.key === "j") moveFocus(1);
  else if (event.key === "k") moveFocus(-1);
  else if (!card) return;
  else if (event.key === " ") togglePlayback(card);
  else if (event.key === "t") sendVerdict(card, "true");
  else if (event.key === "f") sendVerdict(card, "false");
  else if (event.key === "u") sendVerdict(card, "unsure");
  else if (card.dataset.verdict === "false" && cause) sendVerdict(card, "false", cause);
  else return;
  event.preventDefault();
});

// ---- live updates

const MAX_CARDS = 50;

const fetchCard = async (id, attempts = 15) => {
  for (let i = 0; i < attempts; i++) {
    const response = await fetch(`/events/${id}/card`);
    if (response.ok) {
      const template = document.createElement("template");
      template.innerHTML = await response.text();
      return template.content.querySelector("[data-event]");
    }
    await new Promise((done) => setTimeout(done, 100)); // the event is not in the store yet
  }
  return null;
};

const updateCard = async (id, isNew) => {
  const list = document.querySelector("[data-list]");
  if (!list) return;
  const findCard = () => list.querySelector(`[data-event="${id}"]`);
  if (!findCard() && !(isNew && "showNew" in list.dataset)) return;
  const card = await fetchCard(id);
  if (!card) return;
  const previous = findCard();
  if (previous) {
    const hadFocus = previous === focusedCard();
    previous.replaceWith(card);
    if (hadFocus) card.focus();
  } else {
    card.classList.add("new");
    list.prepend(card);
    while (list.children.length > MAX_CARDS) list.lastElementChild.remove();
    const placeholder = document.querySelector("[data-no-events]");
    if (placeholder) placeholder.hidden = true;
    showMessage(`Gunshot at ${card.querySelector(".source").textContent}`);
  }
  prepare(card);
};

const livePanels = new Map();

for (const section of document.querySelectorAll("[data-source]")) {
  const spectrogram = section.querySelector(".scroll");
  const chart = section.querySelector(".score");
  livePanels.set(section.dataset.source, {
    section, spectrogram: spectrogram.getContext("2d", { willReadFrequently: true }),
    chart: chart.getContext("2d"), scores: [],
  });
}

const liveArea = document.querySelector("[data-live]");
const stateWords = liveArea ? JSON.parse(liveArea.dataset.stateWords) : {};

const updatePanel = (update) => {
  const panel = livePanels.get(update.source);
  if (!panel) return;
  const { section, spectrogram } = panel;
  const connected = ["hearing", "silent"].includes(update.state);
  section.querySelector("[data-state]").textContent = stateWords[update.state] || update.state;
  section.querySelector("[data-level]").value = update.level_dbfs;
  section.querySelector("[data-level-text]").textContent =
    connected ? `${update.level_dbfs.toFixed(0)} dBFS` : "–";
  section.querySelector("[data-threshold]").textContent = formatScore(update.threshold);
  const columns = decodeBytes(update.columns);
  const bands = 64, count = columns.length / bands, { width } = spectrogram.canvas;
  if (count) spectrogram.drawImage(spectrogram.canvas, -count, 0);
  drawSpectrogram(spectrogram, columns, bands, width - count);
  const shownScores = Math.round((width * update.hop_s) / update.frame_s);
  panel.scores = panel.scores.concat(update.scores).slice(-shownScores);
  const highest = Math.max(...panel.scores.slice(-25));
  section.querySelector("[data-score]").textContent =
    connected && panel.scores.length ? formatScore(highest) : "–";
  drawScores(panel, update);
};

const drawScores = ({ chart, scores }, { threshold, frame_s, hop_s }) => {
  const style = getComputedStyle(document.documentElement);
  const { width, height } = chart.canvas, step = frame_s / hop_s;
  chart.clearRect(0, 0, width, height);
  chart.strokeStyle = style.getPropertyValue("--mark");
  chart.setLineDash([6, 4]);
  chart.beginPath();
  chart.moveTo(0, height * (1 - threshold));
  chart.lineTo(width, height * (1 - threshold));
  chart.stroke();
  chart.setLineDash([]);
  chart.strokeStyle = style.getPropertyValue("--ink");
  chart.lineWidth = 1.5;
  chart.beginPath();
  scores.forEach((score, i) => {
    chart.lineTo(width - (scores.length - 1 - i) * step, (height - 2) * (1 - score) + 1);
  });
  chart.stroke();
};

const connect = () => {
  if (!document.querySelector("[data-list], [data-live]")) return;
  const query = new URLSearchParams([...livePanels.keys()].map((name) => ["live", name]));
  const stream = new EventSource(`/api/stream?${query}`);
  stream.addEventListener("live", (event) => updatePanel(JSON.parse(event.data)));
  stream.addEventListener("event", (event) => updateCard(JSON.parse(event.data).id, true));
  stream.addEventListener("clip", (event) => updateCard(JSON.parse(event.data).id, false));
  stream.addEventListener("review", (event) => {
    const { id, verdict, cause } = JSON.parse(event.data);
    const card = document.querySelector(`[data-event="${id}"]`);
    if (card) showVerdict(card, verdict, cause);
  });
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return; // the browser connects again
    showMessage("The server refused live updates. The next try is in 10 seconds.");
    setTimeout(connect, 10000);
  });
};

const nameField = document.querySelector("[data-reviewer]");
if (nameField) nameField.value = localStorage.getItem("reviewer") || "";

prepare(document);
connect();
