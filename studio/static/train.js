"use strict";
/* The form of a command: the command line that it means, and starting it. */
(() => {
  const WAIT_MS = 250;
  const form = document.getElementById("command-form");
  const line = document.getElementById("form-line");
  const problem = document.getElementById("form-problem");
  const start = document.getElementById("start");
  const values = () => Object.fromEntries(new FormData(form));
  let timer = 0, asked = 0;

  function fail(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  async function showLine() {
    const number = ++asked;
    const response = await fetch(`/train/line?${new URLSearchParams(values())}`).catch(() => null);
    // Of several answers the last question's counts.
    if (!response || number !== asked) return;
    const text = await response.text();
    if (response.ok) line.textContent = text;
    fail(response.ok ? "" : text);
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(showLine, WAIT_MS);
  });
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (start.disabled) return;
    start.disabled = true;
    try {
      const response = await studio.post("/train/start", values());
      if (response.ok) {
        location.assign((await response.json()).url);
        return;
      }
      fail(await response.text());
    } catch {
      fail("The server does not answer. Look whether pocketlens still runs.");
    }
    start.disabled = false;
  });
  showLine();
})();
