"use strict";
/* The curves of a training: lines of the training and the validation photos, epoch by epoch. */
const curves = (() => {
  const WIDTH = 360, HEIGHT = 190, LEFT = 40, RIGHT = 8, TOP = 8, BOTTOM = 24, TICKS = 4, LETTER = 7;
  const SVG = "http://www.w3.org/2000/svg";

  function make(name, attributes, text = "") {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  }

  // A round step, so that at most so many lines stand between the bounds.
  function steps(low, high) {
    const rough = (high - low) / TICKS || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map(part => part * power).find(size => size >= rough);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
    return found;
  }

  function bounds(epochs, names, share) {
    const all = epochs.flatMap(epoch => names.map(name => epoch[name])).filter(v => v !== null);
    if (!all.length) return [0, 1];
    const low = Math.min(...all), high = Math.max(...all);
    if (share) return [Math.max(0, Math.min(low, high - 0.05)), Math.min(1, Math.max(high, 0.05))];
    return [0, high || 1];
  }

  function path(epochs, name, x, y) {
    let text = "", pen = "M";
    epochs.forEach((epoch, index) => {
      if (epoch[name] === null) {
        pen = "M";
        return;
      }
      text += `${pen}${x(index).toFixed(1)} ${y(epoch[name]).toFixed(1)}`;
      pen = "L";
    });
    return text;
  }

  // `share`: values are shares of 1, shown in percent.
  function draw(box, epochs, [train, validation], share) {
    const [low, high] = bounds(epochs, [train, validation], share);
    const inner = WIDTH - LEFT - RIGHT, tall = HEIGHT - TOP - BOTTOM;
    const x = index => LEFT + (epochs.length < 2 ? inner / 2 : index / (epochs.length - 1) * inner);
    const y = value => TOP + tall - (value - low) / (high - low || 1) * tall;
    const format = value => share ? `${(100 * value).toFixed(1)} %` : value.toFixed(3);
    const last = epochs[epochs.length - 1];
    const told = name => last[name] === null ? "–" : format(last[name]);
    const text = `Epoch ${epochs.length}: training ${told(train)}, validation ${told(validation)}`;
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text });
    for (const value of steps(low, high)) {
      const at = y(value);
      svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at, class: "rule" }));
      const label = share ? `${+(100 * value).toFixed(1)} %` : `${+value.toPrecision(3)}`;
      svg.append(make("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, label));
    }
    epochs.forEach((epoch, index) => {
      if (index && epoch.phase === epochs[index - 1].phase) return;
      const at = index ? (x(index) + x(index - 1)) / 2 : LEFT;
      if (index) svg.append(make("line", { x1: at, x2: at, y1: TOP, y2: TOP + tall, class: "phase" }));
      // A short phase at the end has its name before its line.
      const end = at + 4 + LETTER * epoch.phase.length > WIDTH;
      const place = end ? { x: WIDTH, "text-anchor": "end" } : { x: at + 4 };
      svg.append(make("text", { ...place, y: HEIGHT - 8 }, epoch.phase));
    });
    for (const [name, kind] of [[train, "training"], [validation, "validation"]]) {
      svg.append(make("path", { d: path(epochs, name, x, y), class: kind }));
      if (last[name] !== null) {
        svg.append(make("circle", { cx: x(epochs.length - 1), cy: y(last[name]), r: 3.5, class: kind }));
      }
    }
    const legend = document.createElement("p");
    legend.className = "legend";
    for (const [kind, name] of [["training", train], ["validation", validation]]) {
      const entry = document.createElement("span");
      entry.className = kind;
      entry.textContent = `${kind} ${told(name)}`;
      legend.append(entry);
    }
    box.replaceChildren(svg, legend);
    return text;
  }

  function show(epochs) {
    document.getElementById("curves").hidden = !epochs.length;
    if (!epochs.length) return "";
    draw(document.getElementById("loss-chart"), epochs, ["loss", "val_loss"], false);
    return draw(document.getElementById("accuracy-chart"), epochs, ["accuracy", "val_accuracy"], true);
  }

  return { show };
})();
