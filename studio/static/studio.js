"use strict";
/* What all pages share: requests that may write, notices, what a screen reader says. */
const studio = (() => {
  const SPEAK_MS = 1000, NOTICE_MS = 8000;
  const meta = () => document.querySelector("meta[name=csrf-token]");

  async function renew() {
    const response = await fetch("/session");
    if (!response.ok) return false;
    meta().content = (await response.json()).csrf;
    return true;
  }

  // A token ends when the server is started again; the page goes on with a new one.
  const stale = response => response.status === 403 && response.headers.has("x-csrf-stale");

  // A file goes as it is, all else as the fields of a form.
  async function post(url, values = {}) {
    const ask = () => fetch(url, {
      method: "POST", body: values instanceof Blob ? values : new URLSearchParams(values),
      headers: { "x-csrf-token": meta().content },
    });
    let response = await ask();
    if (stale(response) && await renew()) response = await ask();
    return response;
  }

  // What a page asks for may have to be said: an error's text is one sentence for people.
  async function told(response) {
    if (!response.ok) notice(await response.text(), "bad");
    return response.ok;
  }

  function notice(text, kind = "notice") {
    const box = document.createElement("p"), close = document.createElement("button");
    box.className = kind;
    box.append(text, close);
    close.textContent = "Close";
    close.onclick = () => box.remove();
    const notices = document.getElementById("notices");
    for (const other of [...notices.children]) {
      if (other.dataset.text === text) other.remove();
    }
    box.dataset.text = text;
    notices.append(box);
    setTimeout(() => box.remove(), NOTICE_MS);
  }

  // The last of what comes at once is spoken, and not more often than one can listen.
  const speech = { text: "", timer: 0 };
  function say(text) {
    speech.text = text;
    speech.timer ||= setTimeout(() => {
      speech.timer = 0;
      document.getElementById("said").textContent = speech.text;
    }, SPEAK_MS);
  }

  // Keys are for the page unless somebody writes, or a browser's own shortcut is meant.
  function typing(event) {
    return event.ctrlKey || event.altKey || event.metaKey || event.isComposing ||
      event.target.closest?.("input:not([type=checkbox], [type=radio]), select, textarea") !== null;
  }

  document.addEventListener("htmx:configRequest", event => {
    if (event.detail.verb !== "get") event.detail.headers["x-csrf-token"] = meta().content;
  });
  document.addEventListener("htmx:responseError", async event => {
    const { xhr, requestConfig, elt, target } = event.detail;
    if (xhr.status === 403 && xhr.getResponseHeader("x-csrf-stale") && !elt.dataset.renewed &&
        await renew()) {
      elt.dataset.renewed = "yes";
      await htmx.ajax(requestConfig.verb, requestConfig.path,
        { source: elt, target, values: Object.fromEntries(requestConfig.formData) });
      delete elt.dataset.renewed;
    } else {
      notice(xhr.responseText || `The server answered ${xhr.status}.`, "bad");
    }
  });
  document.addEventListener("htmx:sendError", () => {
    notice("The server does not answer. Look whether pocketlens still runs.", "bad");
  });

  return { post, told, notice, say, typing };
})();
