// The points of the map. They are blended into pixels here: without a graphics card this draws 200,000
// points in some thirty milliseconds, many times faster than the functions of the canvas. Labels, rings and lines are on a second
// canvas above.

const stage = document.getElementById("stage");
const panel = document.getElementById("panel");
const ground = document.getElementById("points").getContext("2d", { alpha: false });
const marks = document.getElementById("marks").getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 760px)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const EDGE = 24; // pixels kept around the picture, so that no disc needs clipping
const LABEL_MARGIN = 40; // pixels kept free around a label of the whole map; zooming in lowers them
const MAX_TRIED = 1500; // labels tried at most, frequent categories first
const MAX_CHARACTERS = 32;

const state = {
  space: spaces[0],
  column: null, // the column that colours the points
  off: new Set(), // entries of the legend that are switched off
  least: 0, // categories with counts from here
  most: Infinity, // to here are shown
  surest: 0, // and with a reliability from here
  focus: null, // the picked category
  second: null, // the category it is compared with
  comparing: false, // whether the next category picked becomes the second
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
let buttons = null; // the box of the buttons on the stage, which labels leave free
let paint = { entries: [], entry: new Uint8Array(0) }; // legend entries; the entry of each row
let shown = new Uint8Array(0); // by row: 1 if the filters show it
let highlighted = null; // the highlighted rows
let shape = null; // corners of the rectangle or lasso being drawn

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
const mixed = (a, b, share) =>
  channels(a).map((value, i) => Math.round(value * (1 - share) + channels(b)[i] * share));

function scaleColor(share) {
  // on a dark ground the darkest fifth is invisible, on a light ground the lightest tenth
  const [from, to] = dark.matches ? [0.22, 1] : [0, 0.9];
  return pageData.scale[Math.round((from + share * (to - from)) * (pageData.scale.length - 1))];
}

// The colours of the points: each row has an entry of the legend. For numbers, each step of the scale
// is an entry.

const STEPS = 48;

function paintFor(column) {
  if (!column) return { entries: [{ color: ink.plain }], entry: new Uint8Array(state.space.size) };
  return column.levels ? classPaint(column) : numberPaint(column);
}

const quietEntry = (text) => ({ color: ink.nothing, text, quiet: true });

function classPaint(column) {
  const n = Math.min(column.levels.length, pageData.palette.length);
  const entries = pageData.palette.slice(0, n).map((color, i) => ({ color, text: column.levels[i] }));
  const rest = column.levels.length - n;
  entries.push(quietEntry(howMany(rest, "other", "others")), quietEntry("missing"));
  const entryOf = (code) => (code === MISSING ? n + 1 : Math.min(code, n));
  const entry = Uint8Array.from(state.space.ids, (id) => entryOf(column.values[id]));
  return counted({ entries, entry });
}

function numberPaint(column) {
  const values = Array.from(state.space.ids, (id) => column.values[id]);
  const sorted = Float64Array.from(values.filter((value) => value !== null)).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  // the ends are those of the middle 98 %: one price of a million must not make all other colours equal
  const domain = { low: at(0.01), high: at(0.99) };
  Object.assign(domain, { clippedLow: at(0) < domain.low, clippedHigh: at(1) > domain.high });
  domain.log = column.kind === "number" && domain.low > 0 && domain.high / domain.low > 50;
  const scaled = domain.log ? Math.log : (value) => value;
  const width = scaled(domain.high) - scaled(domain.low) || 1;
  const share = (value) => Math.max(0, Math.min(1, (scaled(value) - scaled(domain.low)) / width));
  const entryOf = (value) => (value === null ? STEPS : Math.round(share(value) * (STEPS - 1)));
  const entries = Array.from({ length: STEPS }, (_, i) => ({ color: scaleColor(i / (STEPS - 1)) }));
  entries.push(quietEntry("missing"));
  const entry = Uint8Array.from(values, entryOf);
  return counted({ entries, entry, domain: sorted.length ? domain : null });
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
  const { counts, reliability, size: n } = state.space;
  shown = new Uint8Array(n);
  for (let row = 0; row < n; row++) {
    const count = counts ? counts[row] : 0;
    const inRange = !counts || (count >= state.least && count <= state.most);
    const isSure = !reliability || reliability[row] >= state.surest;
    shown[row] = Number(inRange && isSure && !state.off.has(paint.entry[row]));
  }
  redraw();
}

const isShown = (id) => state.space.has(id) && shown[state.space.rows[id]] === 1;

// Sizes: the radius grows with the fourth root of the count, so that rare categories stay visible.
// Points of low reliability are smaller and fainter. Where points are crowded, all are smaller, until
// the reader zooms in.

const LEVELS = 12;
const DOUBTS = 16; // steps from sure to noise
const FAINTEST = 0.3; // share of the colour, and
const SMALLEST = 0.62; // of the radius, of what is noise
let level = new Uint8Array(0); // by row
let doubt = new Uint8Array(0); // by row
let typical = 0; // level that a quarter of the rows exceed or reach
let spacing = new Float32Array(0); // by row: side of a square that would hold one point, where it is

function setLevels() {
  const { counts, reliability, size: n } = state.space;
  const top = counts ? largest(counts) : 0;
  spacing = spacings(state.space);
  doubt = Uint8Array.from({ length: n }, (_, row) => doubtOf(reliability ? reliability[row] : 1));
  level = new Uint8Array(n);
  typical = 0;
  if (top <= 0) return;
  for (let row = 0; row < n; row++) level[row] = Math.round((LEVELS - 1) * (counts[row] / top) ** 0.25);
  typical = level.slice().sort()[Math.floor(0.75 * n)];
}

// Quarter the map until a part holds few points; the part around it says how much room each has.
function spacings({ x, y, size: n, extent }) {
  const made = new Float32Array(n);
  const split = (rows, left, top, side, room) => {
    if (rows.length <= FEW || side < NARROWEST) return rows.forEach((row) => { made[row] = room; });
    const half = side / 2, parts = [[], [], [], []];
    for (const row of rows) parts[(x[row] >= left + half) + 2 * (y[row] >= top + half)].push(row);
    const roomHere = side / Math.sqrt(rows.length);
    parts.forEach((part, i) => split(part, left + half * (i & 1), top + half * (i >> 1), half, roomHere));
  };
  const side = Math.max(...extent, NARROWEST);
  split(Array.from(x.keys()), -side / 2, -side / 2, side, side / Math.sqrt(n));
  return made;
}

const FEW = 6;
const NARROWEST = 1e-6; // share of the map

const doubtOf = (reliability) => Math.round((DOUBTS - 1) * (1 - reliability));
const kept = (least, step) => 1 - ((1 - least) * step) / (DOUBTS - 1);

const zoom = () => view.k / fitted.k;

function radius(step) {
  const crowd = Math.sqrt((size.width * size.height) / state.space.size);
  const base = Math.max(1.1, Math.min(4.5, 0.24 * crowd)) * Math.min(3.2, Math.max(0.6, zoom() ** 0.42));
  return Math.min(11, base * (state.space.counts ? 0.8 + 1.5 * (step / (LEVELS - 1)) : 1.1));
}

const TIGHTEST = 0.35; // share of the radius where points are most crowded
const ROOM = 3; // radii of a typical point that its square should have, for the full size

// Return the function that gives the radius of a row in this view.
function radiusOfRows() {
  const radii = Array.from({ length: LEVELS }, (_, step) => radius(step));
  const shares = Array.from({ length: DOUBTS }, (_, step) => kept(SMALLEST, step));
  const scale = view.k / (ROOM * radii[typical]);
  const share = (row) => Math.min(1, Math.max(TIGHTEST, spacing[row] * scale));
  return (row) => Math.max(LEAST, radii[level[row]] * shares[doubt[row]] * share(row));
}

const LEAST = 0.7; // pixels
const radiusOf = (row) => radiusOfRows()(row);

// A disc as offsets from the pixel of its centre: the pixels it fills, and those of its rim with their
// coverage in 256ths.
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

let discs = { stride: 0, made: [] }; // by radius in fifths of a pixel

function discOf(r) {
  if (discs.stride !== picture.width) discs = { stride: picture.width, made: [] };
  const fifths = Math.round(5 * r);
  return (discs.made[fifths] ??= disc(fifths / 5, discs.stride));
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

// Call a function for each step of doubt and join what it returns.
const byDoubt = (make) => Array.from({ length: DOUBTS }, (_, step) => make(step)).flat();

// Draw the points: first the grey ones, then the others from the least sure and rarest to the best,
// which lie on top, and last the highlighted ones. Discs and colours are made for each step of doubt.
function paintPoints() {
  const radiusAt = radiusOfRows();
  const discAt = (row) => discOf(radiusAt(row) * size.ratio);
  const colorsOf = (share) => byDoubt((step) => paint.entries.map(({ color }) =>
    packed(mixed(color, ink.paper, 1 - share * kept(FAINTEST, step)))));
  const colors = colorsOf(1);
  const faded = highlighted ? colorsOf(0.26) : colors;
  const quiet = Uint8Array.from(paint.entries, (entry) => Number(Boolean(entry.quiet)));
  pixels.fill(packed(channels(ink.paper)));
  drawn.points = 0;
  const { best } = state.space;
  for (const below of [1, 0]) {
    for (let i = best.length - 1; i >= 0; i--) {
      const row = best[i];
      const isTurn = quiet[paint.entry[row]] === below;
      if (shown[row] && isTurn && !highlighted?.has(row)) stampRow(row, discAt, faded);
    }
  }
  highlighted?.forEach((row) => { if (shown[row]) stampRow(row, discAt, colors); });
  ground.putImageData(picture, -EDGE, -EDGE);
}

function stampRow(row, discAt, colors) {
  const x = view.x + view.k * place.x[row], y = view.y + view.k * place.y[row];
  if (x < -8 || y < -8 || x > size.width + 8 || y > size.height + 8) return;
  const at = (Math.round(y * size.ratio) + EDGE) * picture.width + Math.round(x * size.ratio) + EDGE;
  stamp(at, discAt(row), colors[doubt[row] * paint.entries.length + paint.entry[row]]);
  drawn.points += 1;
}

// Collect the highlighted rows, between which the others fade; null where there are none.
function highlight() {
  const near = [...state.neighbours, ...state.secondNeighbours].map(({ id }) => id);
  const ids = [...state.chosen, ...near, state.focus, state.second].filter((id) => state.space.has(id));
  highlighted = ids.length ? new Set(ids.map((id) => state.space.rows[id])) : null;
}

const screenOf = (row) => ({ x: view.x + view.k * place.x[row], y: view.y + view.k * place.y[row] });

function screen(id) {
  const row = state.space.rows[id];
  return { ...screenOf(row), r: radiusOf(row) };
}
