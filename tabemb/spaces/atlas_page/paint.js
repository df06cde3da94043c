// The picture. Points are blended into pixels by hand: at 37,000 of them this is many times faster than a canvas'
// own drawing where there is no graphics card. Labels, rings and lines lie on a second canvas above.

const stage = document.getElementById("stage");
const panel = document.getElementById("panel");
const ground = document.getElementById("points").getContext("2d", { alpha: false });
const marks = document.getElementById("marks").getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 760px)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const EDGE = 24; // pixels kept around the picture, so that no disc needs clipping
const LOOSE = 40; // pixels kept free around a label when the whole map is shown; fewer as one zooms in
const TRIED = 1500; // labels tried at most, the frequent first
const MAX_CHARACTERS = 32;

const state = {
  space: spaces[0],
  column: null, // what colours the points
  off: new Set(), // entries of the legend that are switched off
  least: 0, // counts between which categories are shown
  most: Infinity,
  focus: null, // the category asked about
  second: null, // and the one it is compared with
  comparing: false, // the next category picked becomes the second
  neighbours: [], // of the focus
  secondNeighbours: [],
  chosen: [], // the selection
  hover: null,
  k: 10,
};

const view = { k: 1, x: 0, y: 0 }; // a point of a space stands at (x + k * space.x, y + k * space.y)
const drawn = { points: 0, labels: [], milliseconds: 0, opened: null };
let size = { width: 0, height: 0, ratio: 1 };
let place = { x: state.space.x, y: state.space.y }; // by row; between two spaces while the points move
let pixels, picture, fitted;
let buttons = null; // the box of those on the stage, which labels keep clear of
let paint = { entries: [], entry: new Uint8Array(0) }; // legend entries; the entry of each row
let shown = new Uint8Array(0); // by row: is it drawn?
let lit = null; // the rows that stand out
let shape = null; // of a rectangle or lasso being drawn

// Colours

const ink = {};

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "plain", "nothing", "accent"]) {
    ink[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
const mixed = (a, b, share) => channels(a).map((value, i) => Math.round(value * (1 - share) + channels(b)[i] * share));

function scaleColor(share) {
  // the darkest fifth cannot be seen on a dark ground, the lightest tenth not on a light one
  const [from, to] = dark.matches ? [0.22, 1] : [0, 0.9];
  return given.scale[Math.round((from + share * (to - from)) * (given.scale.length - 1))];
}

// What colours the points: an entry of the legend for each row. Numbers have an entry a step of the scale.

const STEPS = 48;

function paintFor(column) {
  if (!column) return { entries: [{ color: ink.plain }], entry: new Uint8Array(state.space.size) };
  return column.levels ? classPaint(column) : numberPaint(column);
}

const quietEntry = (text) => ({ color: ink.nothing, text, quiet: true });

function classPaint(column) {
  const n = Math.min(column.levels.length, given.palette.length);
  const entries = given.palette.slice(0, n).map((color, i) => ({ color, text: column.levels[i] }));
  const rest = column.levels.length - n;
  entries.push(quietEntry(howMany(rest, "other", "others")), quietEntry("missing"));
  const entryOf = (code) => (code === MISSING ? n + 1 : Math.min(code, n));
  return counted({ entries, entry: Uint8Array.from(state.space.ids, (id) => entryOf(column.values[id])) });
}

function numberPaint(column) {
  const values = Array.from(state.space.ids, (id) => column.values[id]);
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  // the ends are those of the middle 98 %: one price of a million must not make all others equal
  const domain = { low: at(0.01), high: at(0.99), clippedLow: at(0) < at(0.01), clippedHigh: at(1) > at(0.99) };
  domain.log = column.kind === "number" && domain.low > 0 && domain.high / domain.low > 50;
  const scaled = domain.log ? Math.log : (value) => value;
  const width = scaled(domain.high) - scaled(domain.low) || 1;
  const share = (value) => Math.max(0, Math.min(1, (scaled(value) - scaled(domain.low)) / width));
  const entryOf = (value) => (value === null ? STEPS : Math.round(share(value) * (STEPS - 1)));
  const entries = Array.from({ length: STEPS }, (_, i) => ({ color: scaleColor(i / (STEPS - 1)) }));
  entries.push(quietEntry("missing"));
  return counted({ entries, entry: Uint8Array.from(values, entryOf), domain: sorted.length ? domain : null });
}

function counted(made) {
  for (const one of made.entries) one.n = 0;
  for (const e of made.entry) made.entries[e].n += 1;
  return made;
}

function recolor() {
  paint = paintFor(state.column);
  refilter();
}

function refilter() {
  const { counts, size: n } = state.space;
  shown = new Uint8Array(n);
  for (let row = 0; row < n; row++) {
    const count = counts ? counts[row] : 0;
    shown[row] = Number((!counts || (count >= state.least && count <= state.most)) && !state.off.has(paint.entry[row]));
  }
  redraw();
}

const isShown = (id) => state.space.has(id) && shown[state.space.rows[id]] === 1;

// Sizes: the radius grows with the fourth root of the count, so that rare categories stay visible.

const LEVELS = 12;
let level = new Uint8Array(0); // by row

function setLevels() {
  const { counts, size: n } = state.space;
  const top = counts ? largest(counts) : 0;
  level = new Uint8Array(n);
  if (top > 0) for (let row = 0; row < n; row++) level[row] = Math.round((LEVELS - 1) * (counts[row] / top) ** 0.25);
}

const zoom = () => view.k / fitted.k;

function radius(step) {
  const crowd = Math.sqrt((size.width * size.height) / state.space.size);
  const base = Math.max(1.1, Math.min(4.5, 0.24 * crowd)) * Math.min(3.2, Math.max(0.6, zoom() ** 0.42));
  return Math.min(11, base * (state.space.counts ? 0.8 + 1.5 * (step / (LEVELS - 1)) : 1.1));
}

const radiusOf = (row) => radius(level[row]);

// A disc as places in the pixels around its centre: those it fills, and those of its rim with their coverage in 256ths.
function disc(r, stride) {
  const full = [], rim = [], cover = [];
  const reach = Math.min(EDGE - 1, Math.ceil(r));
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const share = r + 0.5 - Math.hypot(dx, dy);
      if (share >= 1) full.push(dy * stride + dx);
      else if (share > 0.04) { rim.push(dy * stride + dx); cover.push(Math.round(256 * share)); }
    }
  }
  return { full: Int32Array.from(full), rim: Int32Array.from(rim), cover: Int32Array.from(cover) };
}

function stamp(at, { full, rim, cover }, color) {
  for (let i = 0; i < full.length; i++) pixels[at + full[i]] = color;
  const b = (color >> 16) & 255, g = (color >> 8) & 255, r = color & 255;
  for (let i = 0; i < rim.length; i++) {
    const under = pixels[at + rim[i]], a = cover[i], rest = 256 - a;
    pixels[at + rim[i]] = 0xff000000
      | ((((under >> 16) & 255) * rest + b * a) >> 8) << 16
      | ((((under >> 8) & 255) * rest + g * a) >> 8) << 8
      | (((under & 255) * rest + r * a) >> 8);
  }
}

// Points: those without a colour of their own first, then the rare, so that frequent ones lie on top; those that the
// reader asked about last.
function paintPoints() {
  const discs = Array.from({ length: LEVELS }, (_, step) => disc(radius(step) * size.ratio, picture.width));
  const colors = paint.entries.map(({ color }) => packed(channels(color)));
  const faded = lit ? paint.entries.map(({ color }) => packed(mixed(color, ink.paper, 0.74))) : colors;
  const quiet = Uint8Array.from(paint.entries, (entry) => Number(Boolean(entry.quiet)));
  pixels.fill(packed(channels(ink.paper)));
  drawn.points = 0;
  const { frequent } = state.space;
  for (const below of [1, 0]) {
    for (let i = frequent.length - 1; i >= 0; i--) {
      const row = frequent[i];
      if (shown[row] && quiet[paint.entry[row]] === below && !lit?.has(row)) stampRow(row, discs, faded);
    }
  }
  lit?.forEach((row) => { if (shown[row]) stampRow(row, discs, colors); });
  ground.putImageData(picture, -EDGE, -EDGE);
}

function stampRow(row, discs, colors) {
  const x = view.x + view.k * place.x[row], y = view.y + view.k * place.y[row];
  if (x < -8 || y < -8 || x > size.width + 8 || y > size.height + 8) return;
  const at = (Math.round(y * size.ratio) + EDGE) * picture.width + Math.round(x * size.ratio) + EDGE;
  stamp(at, discs[level[row]], colors[paint.entry[row]]);
  drawn.points += 1;
}

// The rows that stand out while the rest fades; null where none does.
function light() {
  const near = [...state.neighbours, ...state.secondNeighbours].map(({ id }) => id);
  const ids = [...state.chosen, ...near, state.focus, state.second].filter((id) => state.space.has(id));
  lit = ids.length ? new Set(ids.map((id) => state.space.rows[id])) : null;
}

function screen(id) {
  const row = state.space.rows[id];
  return { x: view.x + view.k * place.x[row], y: view.y + view.k * place.y[row], r: radiusOf(row) };
}

// Marks: lines to the neighbours, rings, labels

function paintMarks() {
  marks.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  marks.clearRect(0, 0, size.width, size.height);
  paintLines(state.focus, state.neighbours);
  paintLines(state.second, state.secondNeighbours);
  for (const { id } of [...state.neighbours, ...state.secondNeighbours]) ring(id, 1.2, 1);
  for (const id of [state.focus, state.second]) ring(id, 2.5, 2.2);
  ring(state.hover, 2.5, 1.6);
  paintLabels();
  paintShape();
}

function paintLines(id, neighbours) {
  if (!isShown(id)) return;
  const from = screen(id);
  marks.strokeStyle = ink.ink;
  marks.lineWidth = 1;
  marks.globalAlpha = 0.28;
  marks.beginPath();
  for (const { id: other } of neighbours.filter((one) => isShown(one.id))) {
    const to = screen(other);
    const length = Math.hypot(to.x - from.x, to.y - from.y);
    if (length <= from.r + to.r) continue;
    const part = (share) => [from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share];
    marks.moveTo(...part(from.r / length)); // from rim to rim
    marks.lineTo(...part(1 - to.r / length));
  }
  marks.stroke();
  marks.globalAlpha = 1;
}

function ring(id, gap, width) {
  if (!isShown(id)) return;
  const { x, y, r } = screen(id);
  for (const [color, extra] of [[ink.paper, 2], [ink.ink, 0]]) {
    marks.strokeStyle = color;
    marks.lineWidth = width + extra;
    marks.beginPath();
    marks.arc(x, y, r + gap, 0, 7);
    marks.stroke();
  }
}

function paintShape() {
  if (!shape) return;
  marks.strokeStyle = ink.accent;
  marks.fillStyle = ink.accent;
  marks.lineWidth = 1.5;
  marks.beginPath();
  for (const [x, y] of shape) marks.lineTo(x, y);
  marks.closePath();
  marks.globalAlpha = 0.12;
  marks.fill();
  marks.globalAlpha = 1;
  marks.stroke();
}

// Labels: the categories asked about first, then the frequent ones; one that meets a label placed before is dropped.

function paintLabels() {
  drawn.labels = [];
  const hovered = tip.hidden ? state.hover : null; // beside the pointer its name stands already
  const asked = [...new Set([state.focus, state.second, hovered])].filter((id) => isShown(id));
  const neighbours = new Set([...state.neighbours, ...state.secondNeighbours].map(({ id }) => id));
  const near = [...neighbours].filter((id) => isShown(id) && !asked.includes(id));
  const taken = [buttons, ...[...asked, ...near].map(discBox)];
  for (const id of asked) label(id, taken, { bold: true, air: 1, gap: 9, always: true });
  for (const id of near) label(id, taken, { air: 1, gap: 8 });
  if (near.length) return;
  const air = Math.max(3, LOOSE / Math.sqrt(zoom()));
  let tried = 0;
  for (const row of state.chosen.length ? lit : state.space.frequent) {
    if (!shown[row] || !onStage(row)) continue;
    label(state.space.ids[row], taken, { air, gap: 4 });
    if (++tried === TRIED) return;
  }
}

function onStage(row) {
  const x = view.x + view.k * place.x[row], y = view.y + view.k * place.y[row];
  return x > 0 && y > 0 && x < size.width && y < size.height;
}

function discBox(id) {
  const { x, y, r } = screen(id);
  return { left: x - r, right: x + r, top: y - r, bottom: y + r };
}

const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
const wider = ({ left, right, top, bottom }, air) =>
  ({ left: left - air, right: right + air, top: top - air / 2, bottom: bottom + air / 2 });

const widths = new Map(); // of labels, by weight and text

function widthOf(text, font) {
  const key = font + text;
  if (!widths.has(key)) {
    marks.font = font;
    widths.set(key, marks.measureText(text).width);
  }
  return widths.get(key);
}

const shortened = texts.map(() => null);

function shortText(id) {
  if (shortened[id] === null) {
    const characters = [...texts[id].replace(/\s+/gu, " ").trim().slice(0, 4 * MAX_CHARACTERS)];
    if (characters.length > MAX_CHARACTERS) characters.splice(MAX_CHARACTERS - 1, Infinity, "…");
    shortened[id] = characters.join("");
  }
  return shortened[id];
}

function label(id, taken, { bold = false, air, gap, always = false }) {
  const { x, y, r } = screen(id);
  const text = shortText(id);
  const boxes = (width) => [x + r + gap, x - r - gap - width]
    .map((left) => ({ left, right: left + width, top: y - 8, bottom: y + 8 }));
  const inStage = (box) => box.left >= 6 && box.right <= size.width - 6 && box.top >= 0 && box.bottom <= size.height;
  const free = (box) => inStage(box) && taken.every((other) => apart(wider(box, air), other));
  // measuring is slow: most labels that find no place are known by the least width that they may have
  if (!always && !boxes(3 * text.length).some(free)) return;
  const font = `${bold ? 600 : 400} 12px system-ui, sans-serif`;
  const places = boxes(widthOf(text, font));
  const box = places.find(free) ?? (always ? places.find(inStage) : null);
  if (!box) return;
  taken.push(box);
  drawn.labels.push({ id, text, ...box });
  write(text, box.left, y, font, bold);
}

function write(text, x, y, font, bold) {
  marks.font = font;
  marks.textBaseline = "middle";
  marks.lineJoin = "round";
  marks.lineWidth = 3.5;
  marks.strokeStyle = ink.paper;
  marks.fillStyle = ink.ink;
  marks.globalAlpha = bold ? 1 : 0.92;
  marks.strokeText(text, x, y + 0.5);
  marks.fillText(text, x, y + 0.5);
  marks.globalAlpha = 1;
}

// Frames

let awaited = false; // a frame

function redraw() {
  if (awaited) return;
  awaited = true;
  requestAnimationFrame(() => { awaited = false; draw(); });
}

function draw() {
  const start = performance.now();
  paintPoints();
  paintMarks();
  drawn.milliseconds = performance.now() - start;
  drawn.opened ??= performance.now();
}

function measure() {
  const box = stage.getBoundingClientRect();
  size = { width: box.width, height: box.height, ratio: Math.min(2, devicePixelRatio || 1) };
  for (const { canvas } of [ground, marks]) {
    canvas.width = Math.round(size.width * size.ratio);
    canvas.height = Math.round(size.height * size.ratio);
  }
  picture = new ImageData(ground.canvas.width + 2 * EDGE, ground.canvas.height + 2 * EDGE);
  pixels = new Uint32Array(picture.data.buffer);
  fitted = wholeMap();
  const { left, right, top, bottom } = document.getElementById("tools").getBoundingClientRect();
  buttons = { left: left - box.left, right: right - box.left, top: top - box.top, bottom: bottom - box.top };
}

// Views

function wholeMap() {
  const gap = Math.max(18, Math.min(size.width, size.height) * 0.05);
  const [width, height] = state.space.extent;
  const k = Math.min((size.width - 2 * gap) / (width || 1e-9), (size.height - 2 * gap) / (height || 1e-9), 1e5);
  return { k: Math.max(1, k), x: size.width / 2, y: size.height / 2 };
}

function setView({ k, x, y }) {
  view.k = Math.max(fitted.k * 0.6, Math.min(fitted.k * 400, k));
  // the map never leaves the stage altogether
  const [w, h] = state.space.extent.map((side) => (side * view.k) / 2);
  view.x = Math.max(40 - w, Math.min(size.width - 40 + w, x));
  view.y = Math.max(40 - h, Math.min(size.height - 40 + h, y));
  redraw();
}

function zoomBy(factor, x = size.width / 2, y = size.height / 2) {
  const k = Math.max(fitted.k * 0.6, Math.min(fitted.k * 400, view.k * factor));
  setView({ k, x: x - ((x - view.x) * k) / view.k, y: y - ((y - view.y) * k) / view.k });
}

const motions = { view: 0, place: 0 }; // how many have begun; a new one ends the one before

// Run `step` with shares rising to one; at once where the reader wants no motion.
function animate(kind, milliseconds, step) {
  const mine = ++motions[kind];
  if (calm.matches) return step(1);
  const start = performance.now();
  const tick = (now) => {
    if (mine !== motions[kind]) return;
    const share = Math.max(0, Math.min(1, (now - start) / milliseconds));
    step(share * share * (3 - 2 * share));
    if (share < 1) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

// A zoom at which half of the neighbours stand around the category in the middle of the stage.
function zoomAround(id, neighbours) {
  const [x, y] = spot(id);
  const gaps = neighbours.map((one) => spot(one.id)).map(([u, v]) => Math.hypot(u - x, v - y)).sort((a, b) => a - b);
  const k = (0.3 * Math.min(size.width, free().height)) / (gaps[gaps.length >> 1] || 1e-9);
  return Math.max(fitted.k, Math.min(fitted.k * 60, k));
}

function inMiddle({ x, y }) {
  const { width, height } = free();
  return Math.abs(x / width - 0.5) < 0.36 && Math.abs(y / height - 0.5) < 0.36;
}

// The part of the stage that the open panel of a phone leaves free.
function free() {
  const open = narrow.matches && panel.dataset.open === "true";
  const covered = open ? panel.offsetHeight - (innerHeight - stage.offsetHeight) : 0;
  return { width: size.width, height: Math.max(100, size.height - covered) };
}

// Bring a place of the space to the middle of what is free, at zoom k.
function flyTo(k, x, y) {
  const { width, height } = free();
  const from = { ...view };
  const before = { x: view.x + view.k * x, y: view.y + view.k * y };
  animate("view", 420, (share) => {
    const now = from.k * (k / from.k) ** share;
    const at = { x: before.x + (width / 2 - before.x) * share, y: before.y + (height / 2 - before.y) * share };
    setView({ k: now, x: at.x - now * x, y: at.y - now * y });
  });
}

const spot = (id) => { const row = state.space.rows[id]; return [state.space.x[row], state.space.y[row]]; };

function flyBetween(a, b) {
  const [[ax, ay], [bx, by]] = [spot(a), spot(b)];
  const { width, height } = free();
  const [dx, dy] = [Math.abs(ax - bx) || 1e-9, Math.abs(ay - by) || 1e-9];
  const k = Math.min(view.k, (0.5 * width) / dx, (0.6 * height) / dy);
  flyTo(Math.max(fitted.k, k), (ax + bx) / 2, (ay + by) / 2);
}

function flyHome() {
  const from = { ...view };
  animate("view", 320, (share) => {
    const k = from.k * (fitted.k / from.k) ** share;
    setView({ k, x: from.x + (fitted.x - from.x) * share, y: from.y + (fitted.y - from.y) * share });
  });
}

// Shared categories move from their place in the one space to that in the other.
function changeSpace(next) {
  const old = state.space, from = place;
  state.space = next;
  fitted = wholeMap();
  setView(fitted);
  setLevels();
  animate("place", 700, (share) => {
    place = share === 1 ? { x: next.x, y: next.y } : between(old, from, next, share);
    redraw();
  });
}

function between(old, from, next, share) {
  const moved = (axis) => Float32Array.from(next.ids, (id, row) => {
    const before = old.has(id) ? from[axis][old.rows[id]] : next[axis][row];
    return before + (next[axis][row] - before) * share;
  });
  return { x: moved("x"), y: moved("y") };
}
