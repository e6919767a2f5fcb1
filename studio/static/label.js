"use strict";
/* Labelling by keys: a list of photos of which one is current and any are selected. What a key does
   is shown at once, sent in order, and taken back where the server refuses it. */
(() => {
  const POLL_MS = 3000, ABOUT_MS = 70, MOST_AT_ONCE = 500, CORNER_PX = 44;
  const root = document.querySelector(".labelling");
  const list = document.getElementById("tiles");
  const about = document.getElementById("about");
  const view = root.dataset.view, place = root.dataset.place, unknown = root.dataset.unknown;
  const who = (() => {
    const made = "studio-" + Math.random().toString(16).slice(2, 6).padEnd(4, "0");
    // The journal's name for this browser; one that keeps nothing has another each time.
    try {
      const kept = localStorage.getItem("pocketlens-who") ?? made;
      localStorage.setItem("pocketlens-who", kept);
      return kept;
    } catch { return made; }
  })();
  let current = null, anchor = null, number = 0;
  // Tiles that were sent away, by key: undoing brings them back to where they were.
  const gone = new Map();
  let expected = Number(root.dataset.count), busy = 0, waiting = Promise.resolve();

  const tiles = () => [...list.querySelectorAll(".tile")];
  const selected = () => tiles().filter(tile => tile.ariaSelected === "true");
  const targets = () => {
    const chosen = selected();
    return chosen.length ? chosen : current ? [current] : [];
  };
  const counted = n => n === 1 ? "1 photo" : `${n} photos`;

  // ---- which one is current, which are selected
  function adopt() {
    for (const tile of tiles()) tile.order ??= number++;
    if (!current?.isConnected) go(tiles()[0] ?? null, { focus: false });
    show();
  }

  function go(tile, { focus = true, select = false } = {}) {
    if (select && current) {
      mark(current, true);
      if (tile) mark(tile, true);
    }
    current?.classList.remove("current");
    if (current) current.tabIndex = -1;
    current = tile;
    if (tile) {
      tile.classList.add("current");
      tile.tabIndex = 0;
      if (focus) tile.focus({ preventScroll: true });
      if (focus) tile.scrollIntoView({ block: "nearest" });
      near(tile);
    }
    tell();
    show();
  }

  function mark(tile, on) {
    tile.ariaSelected = String(on);
  }

  function neighbours() {
    const all = tiles(), at = all.indexOf(current);
    const top = all[0]?.offsetTop;
    const columns = Math.max(1, all.findIndex(tile => tile.offsetTop !== top));
    return { all, at, columns: all.at(-1)?.offsetTop === top ? all.length : columns };
  }

  function move(step, options) {
    const { all, at } = neighbours();
    const to = Math.min(Math.max(at + step, 0), all.length - 1);
    if (all[to] && to !== at) go(all[to], options);
  }

  // The next ones are asked for before somebody gets there.
  function near(tile) {
    const all = tiles(), next = list.querySelector(".next");
    if (next && all.indexOf(tile) > all.length - 30) htmx.trigger(next, "revealed");
    const following = all[all.indexOf(tile) + 1];
    if (following) new Image().src = `/label/large/${following.dataset.key}`;
  }

  function show() {
    const chosen = selected(), box = document.getElementById("chosen"), its = targets();
    const agree = document.getElementById("agree");
    box.textContent = chosen.length ? `${counted(chosen.length)} selected` : "";
    const said = new Set(its.map(tile => tile.dataset.proposal).filter(Boolean));
    if (agree) {
      agree.textContent = said.size === 1 ? `Agree: ${[...said][0]}` : "Agree";
      agree.closest("button").disabled = !said.size;
    }
    for (const button of root.querySelectorAll(".bar button:not([data-do=undo], [data-do=agree])")) {
      button.disabled = !its.length;
    }
    const group = root.querySelector(".bar [data-do=group]");
    if (group) group.disabled = !current || Number(current.dataset.size) < 2;
    const left = tiles().length || list.querySelector(".next");
    list.hidden = !left;
    document.getElementById("empty").hidden = Boolean(left);
  }

  // ---- what is known about the current one
  let aboutTimer = 0;
  function tell() {
    clearTimeout(aboutTimer);
    about.hidden = !current;
    const key = current?.dataset.key;
    if (!key) { about.replaceChildren(); return; }
    aboutTimer = setTimeout(async () => {
      const response = await fetch(`/label/about/${key}?view=${view}`).catch(() => null);
      if (current?.dataset.key !== key || !response?.ok) return;
      about.innerHTML = await response.text();
    }, ABOUT_MS);
  }

  // ---- changes: in the order of the keys, one after the other
  function send(url, values, done) {
    busy += 1;
    saving();
    waiting = waiting.then(async () => {
      let answer = null;
      try {
        const response = await studio.post(url, { ...values, who });
        const text = await response.text();
        try { answer = JSON.parse(text); } catch { answer = { error: text }; }
      } catch {
        answer = { error: "The server does not answer. Look whether pocketlens still runs." };
      }
      busy -= 1;
      saving();
      done(answer);
      refresh(answer);
    });
  }

  function saving() {
    root.dataset.busy = busy ? "yes" : "";
  }

  function take(tile) {
    const following = tile.nextElementSibling ?? tile.previousElementSibling;
    gone.set(tile.dataset.key, tile);
    if (tile === current) {
      const next = following?.classList.contains("tile") ? following :
        tile.previousElementSibling?.classList.contains("tile") ? tile.previousElementSibling : null;
      go(next);
    }
    tile.remove();
    mark(tile, false);
  }

  function bring(tile) {
    const after = tiles().find(other => other.order > tile.order);
    list.insertBefore(tile, after ?? list.querySelector(".next"));
    tile.classList.remove("current");
    mark(tile, false);
    gone.delete(tile.dataset.key);
  }

  function change(url, pairs) {
    const open = pairs.filter(([tile]) => tile.dataset.key);
    for (let start = 0; start < open.length; start += MOST_AT_ONCE) {
      const some = open.slice(start, start + MOST_AT_ONCE);
      const changes = some.map(([tile, label]) => [tile.dataset.key, label]);
      // From the last on, so that the one behind all of them becomes the current one.
      for (const [tile] of [...some].reverse()) if (tile !== current) take(tile);
      for (const [tile] of some) if (tile.isConnected) take(tile);
      send(url, { changes: JSON.stringify(changes) }, answer => settle(answer, changes));
    }
    show();
  }

  function settle(answer, changes) {
    const done = new Set((answer.changed ?? []).map(entry => entry.key));
    const told = new Map((answer.conflicts ?? []).map(entry => [entry.key, entry]));
    for (const [key] of changes) {
      const tile = gone.get(key), conflict = told.get(key);
      if (done.has(key) || !tile) continue;
      bring(tile);
      if (conflict) disagree(tile, conflict);
    }
    if (!current) go(tiles()[0] ?? null, { focus: false });
    for (const text of new Set([...told.values()].map(entry => entry.text))) studio.notice(text, "bad");
    if (answer.error) studio.notice(answer.error, "bad");
    if (answer.said) studio.say(answer.said);
    show();
  }

  // Somebody else was faster: the label that they gave is shown, and changing it is another step.
  function disagree(tile, conflict) {
    const now = conflict.now;
    const text = now ? now.label ? `now ${now.label}` : "now without a label" : "gone";
    tile.dataset.key = now?.key.startsWith("deleted.") ? "" : now?.key ?? "";
    tile.dataset.label = now?.label ?? "";
    tile.classList.add("conflict");
    tile.ariaLabel = `${text}, by somebody else`;
    const line = tile.querySelector(".line");
    line.textContent = now?.key.startsWith("deleted.") ? "now deleted" : text;
  }

  function refresh(answer) {
    for (const [name, count] of Object.entries(answer.counts ?? {})) {
      const box = root.querySelector(`[data-count-of=${name}]`);
      if (box) box.textContent = count;
    }
    if (answer.counts) expected = answer.counts[place];
    const group = document.getElementById("labels");
    if (!answer.labels || !group) return;
    const others = group.querySelector("[data-do=other]"), known = document.getElementById("known");
    const names = Object.keys(answer.labels);
    const shown = [...group.querySelectorAll("[data-label]")].map(button => button.dataset.label);
    if (names.join("\n") !== shown.join("\n")) {
      group.replaceChildren(...names.map((name, at) => labelButton(name, at)), others);
      known.replaceChildren(...names.map(name => new Option("", name)));
    }
    for (const button of group.querySelectorAll("[data-label]")) {
      const count = button.querySelector("small"), text = answer.labels[button.dataset.label];
      count.textContent = text;
      count.ariaLabel = counted(text);
    }
  }

  function labelButton(name, at) {
    const button = document.createElement("button"), text = document.createElement("span");
    const digit = name === unknown ? "0" : at < 9 ? String(at + 1) : "";
    button.type = "button";
    button.dataset.label = name;
    if (digit) {
      const key = document.createElement("kbd");
      key.textContent = digit;
      key.ariaHidden = "true";
      button.setAttribute("aria-keyshortcuts", digit);
      button.append(key, " ");
    }
    text.textContent = name;
    button.append(text, " ", document.createElement("small"));
    return button;
  }

  // ---- what one can do
  const give = label => change("/label/place", targets().map(tile => [tile, label]));
  const actions = {
    agree() {
      const its = targets().filter(tile => tile.dataset.proposal);
      if (its.length) change("/label/place", its.map(tile => [tile, tile.dataset.proposal]));
      else studio.notice("The model has not said anything about this photo.");
    },
    keep() { change("/label/place", targets().map(tile => [tile, tile.dataset.label])); },
    delete() { change("/label/delete", targets().map(tile => [tile, ""])); },
    restore() {
      for (const tile of targets()) {
        const key = tile.dataset.key;
        take(tile);
        send("/label/restore", { key }, answer => settle(answer, [[key, ""]]));
      }
    },
    undo() {
      send("/label/undo", {}, answer => {
        const back = answer.changed ?? [];
        let last = null;
        for (const entry of back) {
          const tile = gone.get(entry.now);
          if (tile) { bring(tile); last = tile; }
        }
        if (last) go(last);
        for (const entry of answer.conflicts ?? []) studio.notice(entry.text, "bad");
        if (answer.error) studio.notice(answer.error, back.length ? "bad" : "notice");
        if (back.length) {
          const said = `Undone: ${counted(back.length)}`;
          studio.say(said);
          if (!last) studio.notice(`${said}. Sort again to see what is back.`);
        }
        show();
      });
    },
    async group() {
      if (!current || Number(current.dataset.size) < 2) return;
      const response = await fetch(`/label/group/${current.dataset.key}?view=${view}`);
      if (!await studio.told(response)) return;
      const box = document.createElement("template");
      box.innerHTML = await response.text();
      const first = current;
      let order = first.order, before = first;
      for (const tile of [...box.content.querySelectorAll(".tile")]) {
        const key = tile.dataset.key, there = document.getElementById(tile.id);
        // What has a label by now has left the group; what is moved here comes no second time.
        if (gone.has(key)) continue;
        const its = there ?? tile;
        if (its !== first) {
          its.order = (order += 1e-6);
          before.after(its);
          before = its;
        }
        mark(its, true);
      }
      studio.say(`${counted(selected().length)} selected`);
      go(first);
    },
    async again() {
      await waiting;
      location.reload();
    },
    help() { document.getElementById("help").showModal(); },
    other() {
      if (!targets().length) return;
      const dialog = document.getElementById("other");
      dialog.querySelector("input").value = "";
      dialog.showModal();
    },
    close() { document.getElementById("other").close(); },
  };

  document.getElementById("other").addEventListener("close", event => {
    const dialog = event.target, label = dialog.querySelector("input").value.trim();
    if (dialog.returnValue === "give" && label) give(label);
    dialog.returnValue = "";
  });

  root.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button?.dataset.do) actions[button.dataset.do]?.();
    else if (button?.dataset.label !== undefined) give(button.dataset.label);
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const box = tile.getBoundingClientRect();
    const corner = event.clientX - box.left < CORNER_PX && event.clientY - box.top < CORNER_PX;
    if (event.shiftKey && anchor?.isConnected) {
      const all = tiles(), ends = [all.indexOf(anchor), all.indexOf(tile)].sort((a, b) => a - b);
      for (const other of all.slice(ends[0], ends[1] + 1)) mark(other, true);
    } else if (corner || event.ctrlKey || event.metaKey) {
      mark(tile, tile.ariaSelected !== "true");
    }
    anchor = tile;
    go(tile);
  });

  const arrows = {
    ArrowLeft: () => -1, ArrowRight: () => 1,
    ArrowUp: () => -neighbours().columns, ArrowDown: () => neighbours().columns,
    Home: () => -Infinity, End: () => Infinity,
  };
  const keys = { z: "undo", g: "group", x: "delete", Delete: "delete", n: "other", r: "again", "?": "help" };
  document.addEventListener("keydown", event => {
    if (studio.typing(event) || document.querySelector("dialog[open]")) return;
    const key = event.key, onButton = event.target.closest?.("button, a, summary");
    let act = null;
    if (arrows[key]) act = () => move(arrows[key](), { select: event.shiftKey });
    else if (key === "Escape") act = () => { for (const tile of selected()) mark(tile, false); show(); };
    else if (key === "a" && event.shiftKey) return;
    else if (onButton && (key === "Enter" || key === " ")) return;
    else if (key === " ") act = () => { if (current) mark(current, current.ariaSelected !== "true"); show(); };
    else if (key === "Enter") act = place === "deleted" ? actions.restore : actions.agree;
    else if (/^[0-9]$/.test(key)) {
      const button = root.querySelector(`#labels [aria-keyshortcuts="${key}"]`);
      if (button) act = () => give(button.dataset.label);
    } else if (key === "k" && place === "doubtful") act = actions.keep;
    else if (keys[key] && root.querySelector(`[data-do=${keys[key]}]`)) act = actions[keys[key]];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // ---- what comes meanwhile: more photos, answers of the model
  const pill = document.getElementById("progress"), again = document.getElementById("again");
  async function poll() {
    if (document.hidden || busy) return;
    const response = await fetch("/label/state").catch(() => null);
    if (!response?.ok || busy) return;
    const state = await response.json();
    const looking = state.done < state.total;
    pill.hidden = !looking && !state.problem;
    pill.dataset.state = state.problem ? "stale" : "live";
    pill.textContent = state.problem ? "The model cannot be used" :
      `${state.model ? "Asking the model" : "Comparing photos"}: ${state.done} of ${state.total}`;
    pill.title = state.problem;
    const more = state.counts[place] - expected;
    if (more > 0) offer(`Show ${more} more`);
    else if (!looking && place !== "deleted" && state.version > Number(root.dataset.version)) {
      offer("Sort again");
    }
    else if (more < 0) expected = state.counts[place];
    const kept = expected;
    refresh(state);
    expected = kept;
  }

  function offer(text) {
    again.querySelector("span").textContent = text;
    again.hidden = false;
  }

  // A tile that a group has brought here already is not there twice.
  document.addEventListener("htmx:afterSwap", () => {
    const seen = new Set();
    for (const tile of tiles()) {
      const key = tile.dataset.key;
      if (key && (seen.has(key) || gone.has(key))) tile.remove();
      seen.add(key);
    }
    adopt();
  });
  list.addEventListener("error", event => {
    if (event.target.matches?.("img")) event.target.classList.add("broken");
  }, true);
  window.addEventListener("beforeunload", event => { if (busy) event.preventDefault(); });
  adopt();
  setInterval(poll, POLL_MS);
  poll();
})();
