"use strict";
// Resizes pictures and runs the model on them, beside the page, which so never stands still.
//
// The engine is LiteRT.js. This calls its WebAssembly the way its own `dist/index.js` (version
// 2.5.3) does, without the parts for graphics processors, and with an input that stays.
importScripts("pixels.js");

// (module (func (result v128) i32.const 1 i8x16.splat i32.const 2 i8x16.splat
//   i8x16.relaxed_swizzle)): only a browser with relaxed SIMD takes it.
const RELAXED_SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15,
  65, 2, 253, 15, 253, 128, 2, 11);
// More threads than this gain nothing for a network of this size, and each costs memory.
const MOST_THREADS = 4;

let wasm, environment, engine, model;

/** The engine's builds that this browser can run, best first. */
function builds(threads) {
  if (!WebAssembly.validate(RELAXED_SIMD)) return [{ name: "compat_", threads: 1 }];
  const threaded = self.crossOriginIsolated && threads > 1;
  return [...(threaded ? [{ name: "threaded_", threads }] : []), { name: "", threads: 1 }];
}

async function startEngine(most) {
  const threads = Math.min(most, MOST_THREADS, navigator.hardwareConcurrency || 1);
  // The threaded build starts as many workers as this says.
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads, configurable: true });
  let reason;
  for (const build of builds(threads)) {
    const file = `litert/litert_wasm_${build.name}internal`;
    try {
      importScripts(`${file}.js`);
      wasm = await self.ModuleFactory({
        locateFile: name => `litert/${name}`,
        mainScriptUrlOrBlob: new URL(`${file}.js`, self.location.href).href,
        // It reports on its start where a browser shows errors.
        printErr: text => /^(INFO|WARNING|VERBOSE)/.test(text) ? console.debug(text) : console.error(text),
      });
      wasm.setupLogging();
      environment = wasm.LiteRtEnvironment.create(null);
      const simd = build.name === "compat_" ? "SIMD" : "relaxed SIMD";
      engine = { threads: build.threads, simd, files: [`${file}.js`, `${file}.wasm`] };
      return;
    } catch (error) {
      reason = error;
    }
  }
  throw reason;
}

async function fetched(file, sha256) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  // Only pages from https: and from this machine may compute checksums.
  if (self.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = [...digest].map(byte => byte.toString(16).padStart(2, "0")).join("");
    if (found !== sha256) throw new Error(`${file} is damaged. Load the page again.`);
  }
  return bytes;
}

/** Load the one model of this worker; `app` is what app.json says, `entry` one of its models. */
async function open(app, entry, threads) {
  await startEngine(threads);
  const bytes = await fetched(entry.file, entry.sha256);
  const address = wasm._malloc(bytes.length);
  wasm.HEAPU8.set(bytes, address);
  const loaded = wasm.loadModel(environment, address, bytes.length);
  const compiled = await wasm.compileModel(environment, loaded, {
    environment, accelerator: "wasm", cpuOptions: { numThreads: engine.threads }, gpuOptions: {},
    webNNOptions: {} });
  const type = loaded.getInputTensorType(0, 0);
  const input = wasm.LiteRtTensorBuffer.createManaged(
    environment, wasm.LiteRtTensorBufferType.HOST_MEMORY, type, type.bytes());
  type.delete();
  model = { entry, compiled, input, resizer: new Resizer(app.size, app.resize_mode) };
  return engine;
}

/** A tensor's memory, open until `unlock`; the heap may move between two calls. */
function values(buffer, mode, type) {
  const address = buffer.lock(wasm.LiteRtTensorBufferLockMode[mode]), bytes = buffer.packedSize();
  return type === "uint8" ? new Uint8Array(wasm.HEAPU8.buffer, address, bytes)
    : new Float32Array(wasm.HEAPU8.buffer, address, bytes / 4);
}

async function classify(bitmap) {
  const { entry, compiled, input, resizer } = model;
  const started = performance.now();
  try {
    resizer.resize(bitmap, values(input, "WRITE", entry.input));
  } finally {
    input.unlock();
    bitmap.close();
  }
  const ready = performance.now();
  const outputs = await compiled.run(0, [input]);
  const invoked = performance.now();
  const raw = Array.from(values(outputs[0], "READ", entry.output));
  outputs[0].unlock();
  for (const output of outputs) output.delete();
  const scores = entry.scale ? raw.map(value => entry.scale * (value - entry.zero_point)) : raw;
  if (!scores.every(Number.isFinite)) throw new Error("The model gives NaN or infinite scores.");
  return { scores, resize_ms: ready - started, invoke_ms: invoked - ready };
}

// One after the other: the input is there only once.
let last = Promise.resolve();
self.onmessage = ({ data: { id, call, parameters } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, result: await { open, classify }[call](...parameters) });
    } catch (error) {
      self.postMessage({ id, error: error?.message ?? String(error) });
    }
  });
};
