"use strict";
const SPEAK_MS = 4000, FIGURES_MS = 500, SHOWN = 5, CONTROL_MS = 5000;
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 } };
const CAMERA_ERRORS = {
  NotAllowedError: "This page may not use the camera. Allow it in the browser's settings.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program uses the camera.",
};
const OLD = "This browser is too old. It needs Chrome or Edge 97, Firefox 105 or Safari 16.4, or newer.";
const at = id => document.getElementById(id);

let app, engine, entry, stream = null, photo = null, photoUrl = "", facing = "environment";
let opened = 0;
let figuresAt = -FIGURES_MS, lastFrameAt = 0, rate = 0;

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
  at("veil").hidden = !text;
  write(at("veil"), text);
}

// The answer is spoken when it changes, and not more often than one can listen.
const speech = { text: "", said: "", timer: 0 };
function speak(text) {
  speech.text = text;
  if (speech.timer || text === speech.said) return;
  speech.said = text;
  write(at("spoken"), text);
  speech.timer = setTimeout(() => { speech.timer = 0; speak(speech.text); }, SPEAK_MS);
}

// What the worker is asked, and who waits for the answer.
const waiting = new Map();
let worker, asked = 0;
function ask(call, parameters, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, call, parameters }, transfer);
  });
}

/** Start a worker for a model; the memory of the one before is given back with its worker. */
function startWorker() {
  worker?.terminate();
  waiting.clear();
  worker = new Worker("worker.js");
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  };
  worker.onerror = event => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || OLD));
    waiting.clear();
  };
}

/** A score for each label: a binary model gives only that of the second one. */
function labelScores(scores) {
  return app.task === "binary" ? [1 - scores[0], scores[0]] : scores;
}

/** The labels that are the answer, best first, by the task and the threshold. */
function answersOf(scores) {
  if (app.task === "binary") return [scores[0] >= app.threshold ? 1 : 0];
  const order = ranked(scores).filter(index => scores[index] >= app.threshold);
  return app.task === "multilabel" ? order : order.slice(0, 1);
}

function ranked(scores) {
  return [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
}

function show(scores) {
  const each = labelScores(scores), answers = answersOf(scores);
  const order = [...answers, ...ranked(each).filter(index => !answers.includes(index))];
  const nothing = app.task === "multilabel" ? "None of the labels" : "Not sure";
  const text = answers.map(index => app.labels[index]).join(", ") || nothing;
  write(at("label"), text);
  write(at("score"), answers.length === 1 ? percent(each[answers[0]]) : "");
  showBars(order.slice(0, Math.max(SHOWN, answers.length)), each, answers);
  document.title = `${text} · ${app.name}`;
  speak(text);
}

function clear() {
  write(at("label"), "–");
  write(at("score"), "");
  showBars([], [], []);
  at("figures").replaceChildren();
  document.title = app.name;
}

function showBars(order, scores, answers) {
  const bars = at("bars");
  while (bars.children.length > order.length) bars.lastChild.remove();
  order.forEach((index, row) => {
    let bar = bars.children[row];
    if (!bar) {
      bar = bars.appendChild(document.createElement("li"));
      bar.append(document.createElement("span"), document.createElement("span"));
      bar.firstChild.dir = "auto";
    }
    bar.className = answers.includes(index) ? "answered" : "";
    write(bar.firstChild, app.labels[index]);
    write(bar.lastChild, percent(scores[index]));
    bar.style.setProperty("--share", Math.min(1, Math.max(0, scores[index])).toFixed(3));
  });
}

function showPairs(list, pairs) {
  pairs.forEach(([name, value], row) => {
    let pair = list.children[row];
    if (!pair) {
      pair = list.appendChild(document.createElement("div"));
      pair.append(document.createElement("dt"), document.createElement("dd"));
    }
    write(pair.firstChild, name);
    write(pair.lastChild, value);
  });
  while (list.children.length > pairs.length) list.lastChild.remove();
}

function showFigures({ resize_ms, invoke_ms }, framesPerSecond) {
  if (performance.now() - figuresAt < FIGURES_MS && framesPerSecond) return;
  figuresAt = performance.now();
  const pairs = [["Resize", `${resize_ms.toFixed(1)} ms`], ["Model", `${invoke_ms.toFixed(1)} ms`]];
  if (framesPerSecond) pairs.push(["Rate", `${framesPerSecond.toFixed(1)} fps`]);
  showPairs(at("figures"), pairs);
}

function showFacts() {
  const tasks = { multiclass: "one label", binary: "yes or no", multilabel: "any number of labels" };
  showPairs(at("facts"), [
    ["Format", entry.format],
    ["Size", `${(entry.bytes / 1e6).toFixed(2)} MB`],
    ["Input", `${app.size[0]} × ${app.size[1]}, ${app.resize_mode}`],
    ["Labels", String(app.labels.length)],
    ["Answer", tasks[app.task]],
    ["Threshold", String(app.threshold)],
    ["Threads", String(engine.threads)],
    ["Engine", engine.simd],
  ]);
}

function shape(width, height) {
  at("frame").style.setProperty("--shape", `${width} / ${height}`);
}

/** Classify a bitmap, which is gone afterwards. */
function classify(bitmap) {
  return ask("classify", [bitmap], [bitmap]);
}

function bitmapOf(picture) {
  // Training, too, takes a photo's bytes as they are, whatever colour profile is named in it.
  return createImageBitmap(picture, { colorSpaceConversion: "none" });
}

async function openPhoto(file) {
  const number = ++opened;
  closeCamera();
  let bitmap;
  try {
    bitmap = await bitmapOf(file);
  } catch {
    forgetPhoto();
    clear();
    veil(`This browser cannot read ${file.name || "this"} as a picture. Try a JPEG or PNG file.`);
    speak(at("veil").textContent);
    return;
  }
  if (number !== opened) return bitmap.close();
  shape(bitmap.width, bitmap.height);
  forgetPhoto();
  photo = file;
  photoUrl = URL.createObjectURL(file);
  at("photo").src = photoUrl;
  at("photo").alt = file.name || "Pasted picture";
  at("photo").hidden = false;
  veil("");
  try {
    const result = await classify(bitmap);
    if (number !== opened) return;
    show(result.scores);
    showFigures(result);
  } catch (error) {
    fail(error);
  }
}

function forgetPhoto() {
  URL.revokeObjectURL(photoUrl);
  photo = null;
  at("photo").hidden = true;
  at("photo").removeAttribute("src");
}

async function openCamera() {
  const number = ++opened;
  closeCamera();
  let asked;
  try {
    if (!navigator.mediaDevices) throw new Error("it needs a page from https: or this machine.");
    asked = await navigator.mediaDevices.getUserMedia({ video: { ...CAMERA, facingMode: facing } });
  } catch (error) {
    forgetPhoto();
    clear();
    veil(CAMERA_ERRORS[error.name] ?? `The camera cannot be opened: ${error.message}`);
    speak(at("veil").textContent);
    return;
  }
  if (number !== opened) return asked.getTracks().forEach(track => track.stop());
  stream = asked;
  forgetPhoto();
  clear();
  const video = at("video");
  video.srcObject = stream;
  await video.play().catch(() => {});
  stream.getVideoTracks()[0].addEventListener("ended", () => {
    if (stream !== asked) return;
    closeCamera();
    veil("The camera is gone.");
  });
  video.hidden = false;
  veil("");
  at("camera").className = "active";
  write(at("camera"), "Close the camera");
  status("live", "Live");
  watch(video, asked);
  const devices = await navigator.mediaDevices.enumerateDevices();
  at("turn").hidden = devices.filter(({ kind }) => kind === "videoinput").length < 2;
}

function closeCamera() {
  if (!stream) return;
  stream.getTracks().forEach(track => track.stop());
  stream = null;
  at("video").srcObject = null;
  at("video").hidden = true;
  at("turn").hidden = true;
  at("camera").className = "";
  write(at("camera"), "Open the camera");
  status("ready", "Ready");
  clear();
  veil("Drop a photo here, paste one, or open the camera.");
}

function nextFrame(video) {
  return new Promise(done => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
    else requestAnimationFrame(done);
  });
}

async function watch(video, watched) {
  lastFrameAt = rate = 0;
  while (stream === watched) {
    await nextFrame(video);
    if (stream !== watched) return;
    try {
      shape(video.videoWidth, video.videoHeight);
      const result = await classify(await createImageBitmap(video));
      if (stream !== watched) return;
      const now = performance.now();
      const current = lastFrameAt ? 1000 / (now - lastFrameAt) : 0;
      rate = rate ? 0.9 * rate + 0.1 * current : current;
      lastFrameAt = now;
      show(result.scores);
      showFigures(result, rate);
    } catch (error) {
      closeCamera();
      fail(error);
    }
  }
}

async function get(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: ${response.status} ${response.statusText}`);
  return response;
}

/** Compare this device's scores for the test pictures with those of the computer that made this. */
async function check() {
  closeCamera();
  const buttons = [at("check"), at("model")];
  buttons.forEach(button => { button.disabled = true; });
  write(at("checked"), "Checking …");
  try {
    const golden = await (await get("golden.json")).json();
    const expected = golden.models[entry.file];
    let largest = 0;
    for (const [row, name] of golden.images.entries()) {
      const picture = await (await get(name)).blob();
      const { scores } = await classify(await bitmapOf(picture));
      scores.forEach((score, index) => {
        largest = Math.max(largest, Math.abs(score - expected.scores[row][index]));
      });
    }
    const good = largest <= expected.tolerance;
    write(at("checked"), `${good ? "The same scores" : "Other scores"} as on the computer that made `
      + `this, for ${golden.images.length} test pictures: ${good ? "within" : "they differ by"} `
      + `${largest.toFixed(4)}.`
      + (good ? "" : " Does this browser change pictures that a page reads, against tracking?"));
  } catch (error) {
    write(at("checked"), `This cannot be checked: ${error.message}`);
  } finally {
    buttons.forEach(button => { button.disabled = false; });
  }
}

function fail(error) {
  status("failed", "Failed");
  clear();
  veil(error.message);
  speak(error.message);
}

async function openModel(index) {
  const buttons = [at("choose"), at("camera"), at("check"), at("model")];
  buttons.forEach(button => { button.disabled = true; });
  opened++;
  closeCamera();
  status("waiting", "Loading");
  entry = app.models[index];
  write(at("checked"), "");
  startWorker();
  try {
    engine = await ask("open", [app, entry, threadsWanted()]);
  } catch (error) {
    fail(error);
    at("model").disabled = false;
    return;
  }
  buttons.forEach(button => { button.disabled = false; });
  status("ready", "Ready");
  showFacts();
  if (photo) await openPhoto(photo);
  else veil("Drop a photo here, paste one, or open the camera.");
  write(at("offline"), await isKept() ? "This page works offline." : "");
}

/** Whether the service worker has what it takes to show this model without a network. */
async function isKept() {
  if (!navigator.serviceWorker?.controller) return false;
  const files = [...engine.files, entry.file].map(file => new URL(file, location.href).href);
  return (await Promise.all(files.map(file => caches.match(file)))).every(Boolean);
}

/** As many threads as there are cores, or as ?threads= says. */
function threadsWanted() {
  return Number(new URLSearchParams(location.search).get("threads")) || navigator.hardwareConcurrency;
}

/** Let the service worker stand before all requests; true if the page is being loaded again. */
async function control() {
  const workers = navigator.serviceWorker;
  if (!workers) return false;
  const had = workers.controller;
  const controlled = new Promise(done => workers.addEventListener("controllerchange", done));
  // A newer version of the page has taken over.
  if (had) controlled.then(() => location.reload());
  try {
    await workers.register("service-worker.js");
  } catch {
    return false;
  }
  if (!had) await Promise.race([controlled, new Promise(done => setTimeout(done, CONTROL_MS))]);
  // Its answers are isolated from other pages, which threads need, also where the server's are not.
  if (workers.controller && !self.crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
    sessionStorage.setItem("reloaded", "1");
    location.reload();
    return true;
  }
  return false;
}

function listen() {
  at("choose").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => {
    const [file] = at("file").files;
    at("file").value = "";
    if (file) openPhoto(file);
  });
  at("camera").addEventListener("click", () => {
    if (stream) closeCamera();
    else openCamera();
  });
  at("turn").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    openCamera();
  });
  at("check").addEventListener("click", check);
  at("model").addEventListener("change", () => openModel(at("model").selectedIndex));
  const take = (event, data) => {
    const file = [...data?.files ?? []][0];
    if (!file) return;
    event.preventDefault();
    if (!at("choose").disabled) openPhoto(file);
  };
  document.addEventListener("paste", event => take(event, event.clipboardData));
  document.addEventListener("drop", event => {
    event.preventDefault();
    at("frame").classList.remove("target");
    take(event, event.dataTransfer);
  });
  document.addEventListener("dragover", event => {
    event.preventDefault();
    at("frame").classList.add("target");
  });
  document.addEventListener("dragleave", event => {
    if (!event.relatedTarget) at("frame").classList.remove("target");
  });
}

async function start() {
  if (!self.OffscreenCanvas || !self.createImageBitmap || !self.WebAssembly) throw new Error(OLD);
  if (await control()) return;
  app = await (await get("app.json")).json();
  app.models.forEach(({ file, format, bytes }) => {
    const option = at("model").appendChild(document.createElement("option"));
    const twice = app.models.filter(other => other.format === format).length > 1;
    option.textContent = `${format}, ${(bytes / 1e6).toFixed(1)} MB${twice ? `, ${file}` : ""}`;
  });
  at("choice").hidden = app.models.length < 2;
  listen();
  await openModel(0);
}

app = { name: document.title };
start().catch(fail);
