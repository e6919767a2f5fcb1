"use strict";
const SILENCE_MS = 8000, LONGEST_PAUSE_MS = 5000, SPEAK_MS = 4000, FIGURES_MS = 1000, EVENTS = 20;
const FIGURES = [
  ["Rate", s => rounded(s.fps, 1, " fps")],
  ["Capture", s => rounded(s.latency_ms?.capture, 1, " ms")],
  ["Resize", s => rounded(s.latency_ms?.resize, 1, " ms")],
  ["Invoke", s => rounded(s.latency_ms?.invoke, 1, " ms")],
  ["Post", s => rounded(s.latency_ms?.post, 1, " ms")],
  ["Dropped", s => rounded(s.dropped, 0, "")],
  ["Damaged", s => rounded(s.damaged, 0, "")],
  ["Times stale", s => rounded(s.stalls, 0, "")],
  ["Reopened", s => rounded(s.reconnects, 0, "")],
];
const MORE_PHOTOS = "or add photos from this place and train again.";
const ADVICE = {
  darker: `look at the lens and the light, ${MORE_PHOTOS}`,
  brighter: `look at the light and the camera's exposure, ${MORE_PHOTOS}`,
  blurred: `clean the lens and look at its focus, ${MORE_PHOTOS}`,
  grey: `look whether the camera is in night mode, ${MORE_PHOTOS}`,
  other: `look at the picture, ${MORE_PHOTOS}`,
};
const REASONS = {
  unsure: "unsure", unknown: "unknown", changed: "changed", shift: "shifted", random: "random",
};
const at = id => document.getElementById(id);
const wait = ms => new Promise(done => setTimeout(done, ms));
let connected = false, live = false, paused = false, figuresAt = -FIGURES_MS;

function rounded(value, digits, unit) {
  return value === undefined ? "–" : value.toFixed(digits) + unit;
}

function percent(score) {
  return `${Math.round(100 * score)} %`;
}

function write(element, text) {
  // Writing what is there already would wake screen readers and the layout.
  if (element.textContent !== text) element.textContent = text;
}

function status(state, text) {
  at("status").dataset.state = state;
  write(at("status"), text);
}

function veil(text) {
  at("picture").hidden = Boolean(text);
  at("veil").hidden = !text;
  write(at("veil"), text);
}

// The label is spoken when it changes, and not more often than one can listen.
const speech = { text: "", said: "", timer: 0 };
function speak(text) {
  speech.text = text;
  if (speech.timer || text === speech.said) return;
  speech.said = text;
  write(at("spoken"), text);
  speech.timer = setTimeout(() => { speech.timer = 0; speak(speech.text); }, SPEAK_MS);
}

function showState(state) {
  // After an update of the server its page is another one.
  if (state.version !== document.body.dataset.version) location.reload();
  if (state.state === "starting") veil("Waiting for the first picture …");
  if (state.state === "live" && !live && paused) veil("The picture is paused.");
  live = state.state === "live";
  status(live ? "live" : state.state === "stale" ? "stale" : "waiting",
    { live: "Live", stale: "Stale", starting: "Starting" }[state.state] ?? state.state);
  if (state.state === "stale") veil(`No fresh picture: ${state.reason ?? ""}`);
  write(at("label"), state.text ?? "–");
  // Of several labels the bars say the scores.
  const single = state.decision.length === 1 && !(state.label_set?.length > 1);
  write(at("score"), single ? percent(state.decision[0].score) : "");
  showBars(state.categories);
  showShift(state.shift);
  showKeeping(state.keeping);
  if (state.text !== null) speak(state.text);
  else if (state.state === "stale") speak("No fresh picture");
  if (performance.now() - figuresAt > FIGURES_MS) {
    figuresAt = performance.now();
    showFigures(state);
  }
  write(at("model"), state.model);
  write(at("source"), state.source);
  if (live) document.title = `${state.text ?? "–"} · pocketlens`;
  else document.title = "pocketlens";
}

function showShift(shift) {
  at("shift").hidden = !shift;
  write(at("shift"), shift ? `${shift.text} Answers may be wrong: ${ADVICE[shift.shift]}` : "");
}

function showKeeping(keeping) {
  at("keeping").hidden = at("kept").hidden = !keeping;
  if (!keeping) return;
  // The zip file has those of earlier runs, too.
  at("kept").hidden = !keeping.pictures;
  const reasons = Object.entries(keeping.kept).filter(([, count]) => count)
    .map(([reason, count]) => `${count} ${REASONS[reason] ?? reason}`);
  const sum = Object.values(keeping.kept).reduce((all, count) => all + count, 0);
  const parts = [`Kept for labelling: ${sum}${sum ? ` (${reasons.join(", ")})` : ""}.`,
    `In the folder: ${keeping.pictures}, ${(keeping.bytes / 1e6).toFixed(1)} of ` +
    `${keeping.limit_bytes / 1e6} MB.`];
  if (keeping.unsent) parts.push(`Not sent yet: ${keeping.unsent}.`);
  if (keeping.lost) parts.push(`Lost: ${keeping.lost}.`);
  if (keeping.trouble) parts.push(keeping.trouble);
  write(at("keeping"), parts.join(" "));
  at("keeping").classList.toggle("trouble", Boolean(keeping.trouble));
}

function showBars(categories) {
  const bars = at("bars");
  while (bars.children.length > categories.length) bars.lastChild.remove();
  categories.forEach(({ label, score }, row) => {
    let bar = bars.children[row];
    if (!bar) {
      bar = bars.appendChild(document.createElement("li"));
      bar.append(document.createElement("span"), document.createElement("span"));
      bar.firstChild.dir = "auto";
    }
    write(bar.firstChild, label);
    write(bar.lastChild, percent(score));
    bar.style.setProperty("--share", Math.min(1, Math.max(0, score)).toFixed(3));
  });
}

function showFigures(state) {
  const list = at("figures");
  if (!list.children.length) {
    for (const [name] of FIGURES) {
      const pair = list.appendChild(document.createElement("div"));
      pair.appendChild(document.createElement("dt")).textContent = name;
      pair.appendChild(document.createElement("dd"));
    }
  }
  FIGURES.forEach(([, value], row) => write(list.children[row].lastChild, value(state)));
}

function showEvent(event) {
  const list = at("events");
  if ([...list.children].some(entry => entry.dataset.id === event.id)) return;
  list.querySelector(".none")?.remove();
  const entry = document.createElement("li"), time = document.createElement("time");
  const text = document.createElement("span");
  entry.dataset.id = event.id;
  time.dateTime = event.at;
  time.textContent = new Date(event.at).toLocaleTimeString();
  text.dir = "auto";
  text.textContent = event.text ??
    (event.state === "stale" ? `Stale: ${event.reason ?? ""}` : "Live again");
  if (event.state === "stale") text.className = "stale";
  entry.append(time, text);
  list.prepend(entry);
  while (list.children.length > EVENTS) list.lastChild.remove();
}

function take(message) {
  let kind = "", data = "";
  for (const line of message.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    if (line.startsWith("data: ")) data = line.slice(6);
  }
  if (kind === "state") showState(JSON.parse(data));
  if (kind === "event") showEvent(JSON.parse(data));
}

async function answer(url, signal) {
  const response = await fetch(url, { signal });
  // The page that the server gives instead asks for the token.
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(await response.text());
  return response;
}

async function follow() {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await answer("events", silence.signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new TypeError();
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      connected = true;
      const messages = (text + value).split("\n\n");
      text = messages.pop();
      messages.forEach(take);
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

async function followForEver() {
  for (let pause = 500; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      await follow();
    } catch (error) {
      if (connected) pause = 500;
      connected = live = false;
      const told = error.constructor === Error ? error.message : "The connection is lost.";
      status("waiting", "Connecting");
      veil(`${told} Trying again …`);
      write(at("label"), "–");
      write(at("score"), "");
      showBars([]);
      showShift(null);
      speak("Connection lost");
    }
    await wait(pause);
  }
}

async function lookForEver() {
  const canvas = at("picture"), context = canvas.getContext("bitmaprenderer");
  let after = "";
  for (let pause = 250; ;) {
    if (!live || paused || document.hidden) {
      await wait(100);
      continue;
    }
    try {
      const response = await answer(`snapshot.jpg?after=${after}`, AbortSignal.timeout(15000));
      const number = response.headers.get("x-frame-number");
      const bitmap = await createImageBitmap(await response.blob());
      after = number;
      pause = 250;
      // What was asked for before the source fell silent must not come back after that.
      if (!live) {
        bitmap.close();
        continue;
      }
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      // The frame keeps its place when the picture goes away.
      canvas.parentElement.style.setProperty("--shape", `${bitmap.width} / ${bitmap.height}`);
      context.transferFromImageBitmap(bitmap);
      canvas.dataset.number = number;
      veil("");
    } catch (error) {
      if (live && error.constructor === Error) veil(error.message);
      await wait(pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
});
followForEver();
lookForEver();
