"use strict";
const HELD_MS = 500, DIGITS = "1234567890";
const at = id => document.getElementById(id);
// Names this page among others, and after it was loaded again.
const page = sessionStorage.page ??= Array.from(crypto.getRandomValues(new Uint8Array(8)),
  byte => byte.toString(16).padStart(2, "0")).join("");
let live = false, state = null, held = null, timer = 0;

function write(element, text) {
  // Writing what is there already would wake screen readers and the layout.
  if (element.textContent !== text) element.textContent = text;
}

// What was asked for first arrives first: a release never before its hold.
let sent = Promise.resolve();
function send(path, values = {}) {
  const done = sent.then(async () => {
    try {
      return await studio.told(await studio.post(`/collect/${path}`, { page, ...values }));
    } catch {
      studio.notice("pocketlens does not answer. Look whether it still runs.", "bad");
      return false;
    }
  });
  sent = done;
  return done;
}

async function hold(label) {
  if (held !== null) return;
  held = label;
  mark();
  const again = async () => {
    if (held !== label) return;
    if (!await send("hold", { label })) return release();
    if (held === label) timer = setTimeout(again, HELD_MS);
  };
  await again();
}

function release() {
  if (held === null) return;
  const label = held;
  held = null;
  clearTimeout(timer);
  mark();
  send("release").then(() => {
    const entry = state?.labels.find(one => one.label === label);
    if (entry) studio.say(`${label}: ${entry.count} photos`);
  });
}

function mark() {
  const recording = held ?? state?.recording ?? null;
  for (const row of at("labels").children) {
    row.querySelector(".record").setAttribute("aria-pressed",
      String(row.dataset.label === recording));
  }
  at("recording").hidden = recording === null || !live;
  write(at("recording"), recording === null ? "" : `Recording ${recording}`);
}

function veil(text) {
  at("picture").hidden = Boolean(text);
  at("veil").hidden = !text;
  write(at("veil"), text);
}

function row(entry, place) {
  let row = [...at("labels").children].find(one => one.dataset.label === entry.label);
  if (row) return row;
  row = at("label").content.firstElementChild.cloneNode(true);
  row.dataset.label = entry.label;
  const button = row.querySelector(".record");
  button.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    hold(entry.label);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(end, release);
  }
  button.addEventListener("contextmenu", event => event.preventDefault());
  button.addEventListener("keydown", event => {
    if ((event.key !== " " && event.key !== "Enter") || event.repeat) return;
    event.preventDefault();
    hold(entry.label);
  });
  button.addEventListener("keyup", event => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    release();
  });
  // Screen readers press without a pointer or a key: one photo.
  button.addEventListener("click", event => {
    if (event.detail === 0 && held === null) hold(entry.label).then(release);
  });
  at("labels").insertBefore(row, at("labels").children[place] ?? null);
  return row;
}

function showLabel(entry, place) {
  const item = row(entry, place);
  if (at("labels").children[place] !== item) {
    at("labels").insertBefore(item, at("labels").children[place]);
  }
  const key = item.querySelector("kbd");
  key.hidden = place >= DIGITS.length;
  write(key, DIGITS[place] ?? "");
  const button = item.querySelector(".record");
  button.setAttribute("aria-keyshortcuts", DIGITS[place] ?? "");
  write(item.querySelector(".name"), entry.label);
  const photos = entry.count === 1 ? "1 photo" : `${entry.count} photos`;
  write(item.querySelector(".count"), photos);
  item.classList.toggle("enough", entry.enough);
  item.querySelector(".progress div").style.setProperty("--share",
    Math.min(1, entry.count / state.enough).toFixed(3));
  write(item.querySelector(".advice"), `${entry.advice} ${entry.left_out}`.trim());
  const warnings = item.querySelector(".warnings");
  if (warnings.dataset.text !== entry.warnings.join("\n")) {
    warnings.dataset.text = entry.warnings.join("\n");
    warnings.replaceChildren(...entry.warnings.map(text => {
      const warning = document.createElement("li");
      warning.textContent = text;
      return warning;
    }));
  }
  showPhotos(item.querySelector(".photos"), entry);
}

function showPhotos(list, entry) {
  const wanted = entry.photos.map(photo => String(photo.number));
  for (const photo of [...list.children]) {
    if (!wanted.includes(photo.dataset.number)) photo.remove();
  }
  for (const { number, undo } of entry.photos) {
    if ([...list.children].some(photo => photo.dataset.number === String(number))) continue;
    const item = document.createElement("li"), picture = document.createElement("img");
    item.dataset.number = number;
    picture.className = "photo";
    picture.alt = `Photo ${number} of ${entry.label}`;
    picture.src = `/collect/thumbnail/${number}`;
    item.append(picture);
    if (undo) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "×";
      button.setAttribute("aria-label", `Remove photo ${number} of ${entry.label}`);
      button.addEventListener("click", () => undoOne(number, entry.label));
      item.append(button);
    }
    // The newest first, where one looks.
    list.prepend(item);
  }
}

async function undoOne(number, label) {
  if (await send("undo", { number })) studio.say(`Removed a photo of ${label}`);
}

async function undo() {
  if (!state?.undo || held !== null) return;
  const { label, count } = state.undo;
  if (await send("undo")) studio.say(`Took back ${count} of ${label}`);
}

function show(now) {
  // A new run of the server numbers its photos anew.
  if (state && state.run !== now.run) {
    for (const list of document.querySelectorAll(".photos")) list.replaceChildren();
  }
  // Whoever still holds the button has to look at that first.
  if (now.problem && now.problem !== state?.problem) release();
  state = now;
  live = state.camera === "live";
  const texts = { live: "Live", stale: "Stale", starting: "Starting" };
  at("state").dataset.state = live && state.recording ? "recording" : state.camera;
  write(at("state"), live && state.recording ? "Recording" : texts[state.camera]);
  if (state.camera === "starting") veil("Waiting for the first picture …");
  if (state.camera === "stale") veil(`No fresh picture: ${state.reason}`);
  const problem = state.problem || (state.late
    ? `The disk is too slow: ${state.late} frames were not kept. Choose a lower --rate.` : "");
  at("problem").hidden = !problem;
  write(at("problem"), problem);
  state.labels.forEach(showLabel);
  const last = state.undo;
  at("undo").disabled = !last;
  write(at("undo").querySelector("span"),
    last ? `Undo ${last.count} of ${last.label}` : "Nothing to undo");
  mark();
}

studio.follow(`/collect/events?page=${page}`, show, reason => {
  live = false;
  at("state").dataset.state = "waiting";
  write(at("state"), "Connecting");
  veil(`${reason} Trying again …`);
  release();
});
studio.look(at("picture"), "/collect/snapshot.jpg", () => live, text => veil(text));

document.addEventListener("keydown", event => {
  if (studio.typing(event)) return;
  const place = DIGITS.indexOf(event.key);
  if (event.key.toLowerCase() === "z" && !event.repeat) undo();
  if (place >= 0 && state?.labels[place] && !event.repeat) hold(state.labels[place].label);
});
document.addEventListener("keyup", event => {
  const place = DIGITS.indexOf(event.key);
  if (place >= 0 && held === state?.labels[place]?.label) release();
});
// Whoever goes to another window lets go of the key there.
window.addEventListener("blur", release);
document.addEventListener("visibilitychange", () => { if (document.hidden) release(); });
at("undo").addEventListener("click", undo);
at("add").addEventListener("submit", async event => {
  event.preventDefault();
  const name = at("name").value;
  if (await send("label", { name })) {
    at("name").value = "";
    studio.say(`Added ${name}`);
    at("name").blur();
  }
});
