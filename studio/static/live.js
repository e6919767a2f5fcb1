"use strict";
/* For pages that show a camera or what goes on: states as they come, and the newest picture. */
(() => {
  const SILENCE_MS = 8000, LONGEST_PAUSE_MS = 5000, PICTURE_MS = 15000;
  const wait = ms => new Promise(done => setTimeout(done, ms));

  async function answer(url, signal) {
    const response = await fetch(url, { signal });
    // The page that the server gives instead asks for the token.
    if (response.status === 401) location.reload();
    if (!response.ok) throw new Error(await response.text());
    return response;
  }

  async function read(url, take) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const response = await answer(url, silence.signal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new TypeError();
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const messages = (text + value).split("\n\n");
        text = messages.pop();
        messages.forEach(message => take(JSON.parse(message.replace("data: ", ""))));
      }
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  /* Give each state of `url` to `take`; `lost` is told why there is none for now. */
  studio.follow = async (url, take, lost) => {
    for (let pause = 500; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        await read(url, state => { pause = 500; take(state); });
      } catch (error) {
        lost(error.constructor === Error ? error.message : "The connection is lost.");
      }
      await wait(pause);
    }
  };

  /* Draw the newest picture of `url` on a canvas for as long as `live()` says so. */
  studio.look = async (canvas, url, live, failed) => {
    const context = canvas.getContext("bitmaprenderer");
    let after = "";
    for (let pause = 250; ;) {
      if (!live() || document.hidden) {
        await wait(100);
        continue;
      }
      try {
        const response = await answer(`${url}?after=${after}`, AbortSignal.timeout(PICTURE_MS));
        const number = response.headers.get("x-frame-number");
        const bitmap = await createImageBitmap(await response.blob());
        after = number;
        pause = 250;
        // What was asked for before the source fell silent must not come back after that.
        if (!live()) {
          bitmap.close();
          continue;
        }
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
        canvas.parentElement.style.setProperty("--shape", `${bitmap.width} / ${bitmap.height}`);
        context.transferFromImageBitmap(bitmap);
        canvas.dataset.number = number;
        failed("");
      } catch (error) {
        if (live() && error.constructor === Error) failed(error.message);
        await wait(pause);
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
      }
    }
  };
})();
