"use strict";
/* Photos and frames of the browser's camera go to the server, which answers with scores. */
(() => {
  const GAP_MS = 100, LONGEST_PX = 960, QUALITY = 0.9, MOST_TRIED = 60;
  const box = document.getElementById("trying");
  const id = name => document.getElementById(name);

  if (!box) return;

  const model = box.dataset.model, video = id("video"), picture = id("picture");
  const percent = share => `${(100 * share).toFixed(1)} %`;
  let stream = null, playing = false;
  id("model").onchange = () => id("model").form.submit();

  function answerOf(found) {
    if (found.is_unknown) return "unknown: none of its labels";
    return found.answers.join(" + ") || "none of its labels";
  }

  function show(found) {
    const text = answerOf(found);
    if (id("answer").textContent !== text) id("answer").textContent = text;
    id("answer").classList.toggle("unknown", found.is_unknown || !found.answers.length);
    id("scores").replaceChildren(...found.categories.map(({ label, score }) => {
      const item = document.createElement("li"), name = document.createElement("span");
      const value = document.createElement("span"), bar = document.createElement("progress");
      item.className = found.answers.includes(label) ? "is" : "";
      name.textContent = label;
      value.textContent = percent(score);
      bar.value = score;
      bar.setAttribute("aria-label", label);
      item.append(name, value, bar);
      return item;
    }));
    id("set").hidden = !found.label_set;
    if (found.label_set) {
      id("set").textContent = `With ${100 * found.set_level} % it is ${found.label_set.join(" or ")}.`;
    }
    // Where a label for unknown photos says the same, its score stands above.
    const novelty = found.novelty === undefined ? "" : ` Novelty ${found.novelty.toFixed(2)}.`;
    id("took").textContent = `${found.took_ms.toFixed(1)} ms on this computer.${novelty}`;
  }

  async function classify(blob) {
    const query = new URLSearchParams({ model });
    const response = await studio.post(`/try/classify?${query}`, blob);
    return response.ok ? response.json() : Promise.reject(new Error(await response.text()));
  }

  function showPicture(url) {
    picture.src = url;
    picture.hidden = false;
    video.hidden = true;
    id("invitation").hidden = true;
  }

  async function tryPhoto(file) {
    const item = document.createElement("li"), figure = document.createElement("figure");
    const image = document.createElement("img"), caption = document.createElement("figcaption");
    const url = URL.createObjectURL(file);
    image.className = "photo";
    image.src = url;
    image.alt = "";
    // Formats that the browser does not show are classified anyway.
    image.onerror = () => image.removeAttribute("src");
    caption.textContent = "…";
    figure.append(image, caption);
    item.append(figure);
    id("tried").hidden = false;
    id("tried-list").prepend(item);
    while (id("tried-list").children.length > MOST_TRIED) id("tried-list").lastChild.remove();
    const name = document.createElement("small");
    name.textContent = file.name;
    try {
      if (file.size > box.dataset.mostMb * 1048576) {
        throw new Error(`Expected at most ${box.dataset.mostMb} MB. Received: more.`);
      }
      const found = await classify(file);
      const best = found.categories[0];
      const label = document.createElement("strong");
      label.textContent = answerOf(found);
      caption.replaceChildren(label, ` ${percent(best.score)}`, document.createElement("br"), name);
      if (!stream) {
        show(found);
        showPicture(url);
      }
      studio.say(`${file.name}: ${answerOf(found)}`);
    } catch (error) {
      const text = document.createElement("p");
      text.className = "bad";
      text.textContent = error.message;
      caption.replaceChildren(text, name);
    }
  }

  async function tryPhotos(files) {
    stopPlaying();
    // One after the other: the server has one model.
    for (const file of files) await tryPhoto(file);
  }

  id("photos").onchange = () => {
    const files = [...id("photos").files];
    tryPhotos(files);
    id("photos").value = "";
  };
  const drop = id("drop");
  addEventListener("dragover", event => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", event => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", event => {
    event.preventDefault();
    drop.classList.remove("over");
    tryPhotos([...event.dataTransfer.files]);
  });
  addEventListener("paste", event => {
    if (!studio.typing(event)) tryPhotos([...event.clipboardData.files]);
  });

  /* The browser's own camera. */
  async function frame() {
    const scale = Math.min(1, LONGEST_PX / Math.max(video.videoWidth, video.videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise(done => { canvas.toBlob(done, "image/jpeg", QUALITY); });
  }

  async function watch(own) {
    while (stream === own) {
      const begun = performance.now();
      try {
        if (video.videoWidth && !document.hidden) show(await classify(await frame()));
      } catch (error) {
        studio.notice(error.message === "Failed to fetch"
          ? "The server does not answer. Look whether pocketlens still runs." : error.message, "bad");
        closeCamera();
      }
      const rest = GAP_MS - (performance.now() - begun);
      await new Promise(done => { setTimeout(done, Math.max(0, rest)); });
    }
  }

  async function openCamera(device) {
    if (!navigator.mediaDevices) {
      studio.notice("A browser opens its camera only for pages of localhost or over HTTPS. "
        + "Choose a photo instead: a phone offers its camera for it.", "bad");
      return;
    }
    const wish = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
    try {
      const opened = await navigator.mediaDevices.getUserMedia({ video: wish, audio: false });
      closeCamera();
      stopPlaying();
      stream = opened;
    } catch (error) {
      studio.notice(`The camera cannot be opened: ${error.message || error.name}`, "bad");
      return;
    }
    stream.getVideoTracks()[0].onended = closeCamera;
    video.srcObject = stream;
    video.hidden = false;
    picture.hidden = true;
    id("invitation").hidden = true;
    await video.play();
    id("camera").textContent = "Close the camera";
    await listCameras();
    watch(stream);
  }

  async function listCameras() {
    const found = (await navigator.mediaDevices.enumerateDevices()).filter(d => d.kind === "videoinput");
    const used = stream?.getVideoTracks()[0].getSettings().deviceId;
    id("cameras").hidden = found.length < 2;
    id("cameras").replaceChildren(...found.map((device, number) => {
      const option = new Option(device.label || `Camera ${number + 1}`, device.deviceId);
      option.selected = device.deviceId === used;
      return option;
    }));
  }

  function closeCamera() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    video.hidden = true;
    id("invitation").hidden = !picture.hidden;
    id("cameras").hidden = true;
    id("camera").textContent = "Open the camera";
  }

  id("camera").onclick = () => stream ? closeCamera() : openCamera("");
  id("cameras").onchange = () => openCamera(id("cameras").value);

  /* The source that the studio was started with. */
  async function nextFrame() {
    const response = await studio.post("/try/source", { model }).catch(() => null);
    if (!response) studio.notice("The server does not answer.", "bad");
    if (!response || !await studio.told(response)) return false;
    const found = await response.json();
    if (stream) closeCamera();
    showPicture(found.picture);
    show(found);
    return true;
  }

  function stopPlaying() {
    playing = false;
    id("play")?.setAttribute("aria-pressed", "false");
  }

  if (id("next")) {
    id("next").onclick = async () => {
      stopPlaying();
      // A disabled button loses the focus, and giving it back takes it from where somebody is then.
      if (id("next").ariaDisabled === "true") return;
      id("next").ariaDisabled = "true";
      await nextFrame();
      id("next").ariaDisabled = "false";
    };
    id("play").onclick = async () => {
      if (playing) {
        stopPlaying();
        return;
      }
      playing = true;
      id("play").setAttribute("aria-pressed", "true");
      while (playing) {
        const begun = performance.now();
        if (!document.hidden && !await nextFrame()) stopPlaying();
        const rest = GAP_MS - (performance.now() - begun);
        await new Promise(done => { setTimeout(done, Math.max(0, rest)); });
      }
    };
  }
})();
