// Frames

let awaited = false; // whether a frame is requested

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
  const [dx, dy] = [box.left, box.top];
  buttons = { left: left - dx, right: right - dx, top: top - dy, bottom: bottom - dy };
}

// Views

function wholeMap() {
  const gap = Math.max(18, Math.min(size.width, size.height) * 0.05);
  const [width, height] = state.space.extent;
  const fit = (side, extent) => (side - 2 * gap) / (extent || 1e-9);
  const k = Math.min(fit(size.width, width), fit(size.height, height), 1e5);
  return { k: Math.max(1, k), x: size.width / 2, y: size.height / 2 };
}

function setView({ k, x, y }) {
  view.k = Math.max(fitted.k * 0.6, Math.min(fitted.k * 400, k));
  // a part of the map always stays on the stage
  const [w, h] = state.space.extent.map((side) => (side * view.k) / 2);
  view.x = Math.max(40 - w, Math.min(size.width - 40 + w, x));
  view.y = Math.max(40 - h, Math.min(size.height - 40 + h, y));
  redraw();
}

function zoomBy(factor, x = size.width / 2, y = size.height / 2) {
  const k = Math.max(fitted.k * 0.6, Math.min(fitted.k * 400, view.k * factor));
  setView({ k, x: x - ((x - view.x) * k) / view.k, y: y - ((y - view.y) * k) / view.k });
}

const motions = { view: 0, place: 0 }; // numbers of the latest motions; a new motion ends the one before

// Call `step` with shares that rise to one, or once with one where the reader prefers no motion.
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

// The zoom that shows half of the neighbours around the category in the middle of the stage.
function zoomAround(id, neighbours) {
  const [x, y] = spot(id);
  const distance = ([u, v]) => Math.hypot(u - x, v - y);
  const gaps = neighbours.map(({ id: near }) => distance(spot(near))).sort((a, b) => a - b);
  const k = (0.3 * Math.min(size.width, free().height)) / (gaps[gaps.length >> 1] || 1e-9);
  return Math.max(fitted.k, Math.min(fitted.k * 60, k));
}

function inMiddle({ x, y }) {
  const { width, height } = free();
  return Math.abs(x / width - 0.5) < 0.36 && Math.abs(y / height - 0.5) < 0.36;
}

// The size of the stage without the part that the open panel covers on a phone.
function free() {
  const open = narrow.matches && panel.dataset.open === "true";
  const covered = open ? panel.offsetHeight - (innerHeight - stage.offsetHeight) : 0;
  return { width: size.width, height: Math.max(100, size.height - covered) };
}

// Move a point of the space to the middle of the free part of the stage, at zoom k.
function flyTo(k, x, y) {
  const { width, height } = free();
  const from = { ...view };
  const before = { x: view.x + view.k * x, y: view.y + view.k * y };
  animate("view", 420, (share) => {
    const now = from.k * (k / from.k) ** share;
    const left = before.x + (width / 2 - before.x) * share;
    const top = before.y + (height / 2 - before.y) * share;
    setView({ k: now, x: left - now * x, y: top - now * y });
  });
}

function spot(id) {
  const row = state.space.rows[id];
  return [state.space.x[row], state.space.y[row]];
}

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

// Change to another space; shared categories move from their old place to the new one.
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
