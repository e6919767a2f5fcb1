"use strict";
// From a picture to a model's pixels, bit for bit as pocketlens does it when it trains and measures
// (runtime/pictures.py): exact halvings, then OpenCV's fixed-point bilinear interpolation. A canvas
// never scales here, since each browser does that in a way of its own.

// OpenCV's resize.cpp: coefficients of 11 bits, INTER_RESIZE_COEF_BITS.
const ONE = 2048;
// A canvas of an iPhone holds 16.7 megapixels; larger pictures are read in bands.
const BAND_PIXELS = 1 << 22;
const MAX_PIXELS = 100_000_000;

/** As Python rounds: a half goes to the even neighbour. */
function rounded(value) {
  return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

function scaled([width, height], scale) {
  return [Math.max(1, rounded(width * scale)), Math.max(1, rounded(height * scale))];
}

function centred([innerWidth, innerHeight], [width, height]) {
  return [Math.floor((width - innerWidth) / 2), Math.floor((height - innerHeight) / 2)];
}

/** What of a picture is taken, and where in the input it goes. */
function plan(width, height, size, mode) {
  let part = [width, height], inner = size, from = [0, 0], to = [0, 0];
  if (mode === "crop") {
    part = scaled(size, Math.min(width / size[0], height / size[1]));
    from = centred(part, [width, height]);
  } else if (mode === "pad") {
    inner = scaled([width, height], Math.min(size[0] / width, size[1] / height));
    to = centred(inner, size);
  }
  return { part, inner, from, to };
}

/** Where each of `count` pixels looks among `length` ones, and the weights of it and the next. */
function lookups(count, length, clamped) {
  const scale = 1 / (count / length);
  const at = new Int32Array(count), first = new Int32Array(count), second = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.fround((i + 0.5) * scale - 0.5);
    let left = Math.floor(place), share = Math.fround(place - left);
    if (clamped && (left < 0 || left >= length - 1)) {
      left = left < 0 ? 0 : length - 1;
      share = 0;
    }
    at[i] = left;
    first[i] = rounded(Math.fround(1 - share) * ONE);
    second[i] = rounded(share * ONE);
  }
  return { at, first, second };
}

/** Average 2x2 pixels: 32 bits a pixel, two of its bytes at a time. An odd last one is left out. */
function halved(pixels, stride, width, height) {
  const result = new Uint32Array(width * height);
  const even = 0x00ff00ff, half = 0x00020002;
  for (let y = 0, to = 0; y < height; y++) {
    let above = 2 * y * stride, below = above + stride;
    for (let x = 0; x < width; x++, above += 2, below += 2) {
      const a = pixels[above], b = pixels[above + 1], c = pixels[below], d = pixels[below + 1];
      const low = (a & even) + (b & even) + (c & even) + (d & even) + half;
      const high = (a >>> 8 & even) + (b >>> 8 & even) + (c >>> 8 & even) + (d >>> 8 & even) + half;
      result[to++] = low >>> 2 & even | (high >>> 2 & even) << 8;
    }
  }
  return result;
}

/** Write `pixels` (32 bits each, RGBA) into a place in `target` (RGB), interpolating. */
function interpolate(pixels, width, height, [toWidth, toHeight], target, start, targetWidth) {
  const bytes = new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength);
  const across = lookups(toWidth, width, true), down = lookups(toHeight, height, false);
  // Two rows that are interpolated across, and which ones they are.
  let upper = new Int32Array(3 * toWidth), lower = new Int32Array(3 * toWidth);
  let upperRow = -1, lowerRow = -1;
  const fill = (row, y) => {
    for (let x = 0, to = 0; x < toWidth; x++) {
      const left = 4 * (y * width + across.at[x]);
      const right = across.at[x] + 1 < width ? left + 4 : left;
      const a = across.first[x], b = across.second[x];
      row[to++] = bytes[left] * a + bytes[right] * b;
      row[to++] = bytes[left + 1] * a + bytes[right + 1] * b;
      row[to++] = bytes[left + 2] * a + bytes[right + 2] * b;
    }
  };
  for (let y = 0; y < toHeight; y++) {
    const top = Math.min(Math.max(down.at[y], 0), height - 1);
    const bottom = Math.min(Math.max(down.at[y] + 1, 0), height - 1);
    if (top === lowerRow) {
      [upper, lower, upperRow, lowerRow] = [lower, upper, lowerRow, upperRow];
    }
    if (top !== upperRow) fill(upper, upperRow = top);
    if (bottom !== lowerRow) fill(lower, lowerRow = bottom);
    const a = down.first[y], b = down.second[y];
    for (let x = 0, to = start + 3 * y * targetWidth; x < 3 * toWidth; x++, to++) {
      target[to] = (a * (upper[x] >> 4) >> 16) + (b * (lower[x] >> 4) >> 16) + 2 >> 2;
    }
  }
}

/** Write `pixels` (32 bits each, RGBA) into a place in `target` (RGB) as they are. */
function copy(pixels, width, height, target, start, targetWidth) {
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, to = start + 3 * y * targetWidth; x < width; x++) {
      const pixel = pixels[from++];
      target[to++] = pixel & 255;
      target[to++] = pixel >>> 8 & 255;
      target[to++] = pixel >>> 16 & 255;
    }
  }
}

/** Brings pictures to a model's size; `size` is width and height, `mode` stretch, crop or pad. */
class Resizer {
  constructor(size, mode) {
    this.size = size;
    this.mode = mode;
    this.canvas = new OffscreenCanvas(1, 1);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  /** Fill `target`, a typed array of height x width x 3 values, from an ImageBitmap. */
  resize(bitmap, target) {
    if (bitmap.width * bitmap.height > MAX_PIXELS) {
      throw new RangeError("The picture has more than 100 megapixels. Make it smaller.");
    }
    const { part, inner, from, to } = plan(bitmap.width, bitmap.height, this.size, this.mode);
    let [width, height] = part, stride = width;
    let pixels = this.read(bitmap, from, part);
    while (width >= 2 * inner[0] && height >= 2 * inner[1]) {
      [width, height] = [width >> 1, height >> 1];
      pixels = halved(pixels, stride, width, height);
      stride = width;
    }
    const start = 3 * (to[1] * this.size[0] + to[0]);
    if (this.mode === "pad") target.fill(0);
    if (width === inner[0] && height === inner[1]) {
      copy(pixels, width, height, target, start, this.size[0]);
    } else {
      interpolate(pixels, width, height, inner, target, start, this.size[0]);
    }
  }

  /** Return a part's pixels, 32 bits each, RGBA, with white under what is transparent. */
  read(bitmap, [left, top], [width, height]) {
    const rows = Math.min(height, Math.max(1, Math.floor(BAND_PIXELS / width)));
    if (this.canvas.width !== width || this.canvas.height !== rows) {
      [this.canvas.width, this.canvas.height] = [width, rows];
    }
    let pixels;
    for (let y = 0; y < height; y += rows) {
      const count = Math.min(rows, height - y);
      this.context.fillStyle = "#fff";
      this.context.fillRect(0, 0, width, count);
      this.context.drawImage(bitmap, left, top + y, width, count, 0, 0, width, count);
      const { data } = this.context.getImageData(0, 0, width, count);
      const band = new Uint32Array(data.buffer, data.byteOffset, width * count);
      if (count === height) return band;
      pixels ??= new Uint32Array(width * height);
      pixels.set(band, y * width);
    }
    return pixels;
  }
}
