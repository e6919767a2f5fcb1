"use strict";
/* What a job does: its log as it grows, its curves, its end; and ending it or going on. */
(() => {
  const LOOK_MS = 1000, AWAY_MS = 3000, SHOWN_LINES = 5000, NEAR_PX = 40;
  const PILLS = { running: "live", cancelling: "stale", done: "live", cancelled: "", failed: "stale",
    lost: "stale" };
  const box = document.getElementById("job");
  const part = name => document.getElementById(`job-${name}`);
  const log = part("log"), title = document.title;
  let from = 0, epochs = [], running = null, timer = 0;

  function duration(seconds) {
    const whole = Math.round(seconds), two = number => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`;
  }

  function addLog(text, skipped) {
    if (skipped) log.textContent = "… earlier lines are in the file log.txt of the job\n";
    if (!text) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
    log.append(text);
    if (log.childNodes.length > SHOWN_LINES) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function showSteps(steps) {
    part("steps").replaceChildren(...steps.map(step => {
      const link = document.createElement("a");
      link.className = "button main";
      link.href = step.url;
      link.textContent = step.text;
      return link;
    }));
  }

  function show(answer) {
    const ended = running !== false && !answer.running, seen = running === true;
    running = answer.running;
    from = answer.next;
    addLog(answer.log, answer.skipped);
    if (answer.epochs) {
      epochs = answer.epochs;
      const text = curves.show(epochs);
      if (text) studio.say(text);
    }
    document.getElementById("job-title").textContent = answer.command;
    part("line").textContent = answer.line;
    part("sentence").textContent = answer.sentence;
    part("state").dataset.state = PILLS[answer.state];
    const time = answer.seconds === null ? "" : ` ${duration(answer.seconds)}`;
    part("state").textContent = answer.state + time;
    part("cancel").hidden = answer.state !== "running";
    part("kill").hidden = answer.state !== "cancelling";
    part("resume").hidden = !answer.can_resume;
    showSteps(answer.next_steps);
    document.title = running ? `${answer.command} runs · ${title}` : title;
    if (seen && ended) studio.say(answer.sentence);
    if (ended) {
      box.dispatchEvent(new CustomEvent("ended", { detail: answer, bubbles: true }));
    }
  }

  async function look() {
    clearTimeout(timer);
    let wait = AWAY_MS;
    try {
      const query = new URLSearchParams({ from, epochs: epochs.length });
      const response = await fetch(`/train/job/${box.dataset.key}?${query}`);
      if (response.ok) {
        show(await response.json());
        wait = LOOK_MS;
      } else if (response.status === 404) {
        part("sentence").textContent = await response.text();
        return;
      }
    } catch {
      // The job goes on without the studio, and so does the page when it is there again.
      part("state").dataset.state = "stale";
      part("state").textContent = "no answer";
    }
    if (running !== false) timer = setTimeout(look, wait);
  }

  async function ask(button, url, values) {
    button.disabled = true;
    const response = await studio.post(url, { key: box.dataset.key, ...values }).catch(() => null);
    button.disabled = false;
    if (!response) studio.notice("The server does not answer.", "bad");
    else if (await studio.told(response)) return response.json();
    return null;
  }

  part("cancel").onclick = async () => {
    if (await ask(part("cancel"), "/train/cancel", {})) look();
  };
  part("kill").onclick = async () => {
    if (await ask(part("kill"), "/train/cancel", { at_once: "yes" })) look();
  };
  part("resume").onclick = async () => {
    const answer = await ask(part("resume"), "/train/resume", {});
    if (answer) location.assign(answer.url);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && running) look();
  });
  if (box?.dataset.key) look();
})();
