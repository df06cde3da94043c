// The marks above the points: lines to the neighbours, rings and labels.

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

// Labels: the picked categories first, then the regions, then the sure and frequent categories. A label
// that overlaps an earlier one is dropped.

function paintLabels() {
  drawn.labels = [];
  const hovered = tip.hidden ? state.hover : null; // the tip beside the pointer shows the name already
  const asked = [...new Set([state.focus, state.second, hovered])].filter((id) => isShown(id));
  const neighbours = new Set([...state.neighbours, ...state.secondNeighbours].map(({ id }) => id));
  const near = [...neighbours].filter((id) => isShown(id) && !asked.includes(id));
  const taken = [buttons, ...[...asked, ...near].map(discBox)];
  for (const id of asked) label(id, taken, { bold: true, margin: 1, gap: 9, always: true });
  for (const id of near) label(id, taken, { margin: 1, gap: 8 });
  if (near.length) return;
  if (!state.chosen.length) paintRegions(taken);
  const margin = Math.max(3, LABEL_MARGIN / Math.sqrt(zoom()));
  let tried = 0;
  for (const row of state.chosen.length ? highlighted : state.space.best) {
    if (!shown[row] || !onStage(row)) continue;
    label(state.space.ids[row], taken, { margin, gap: 4 });
    if (++tried === MAX_TRIED) return;
  }
}

// Words for the regions that fill a fair part of the stage, the largest first. A word that already stands
// nearby is not repeated.
function paintRegions(taken) {
  const widest = WIDEST_REGION * Math.min(size.width, size.height);
  const named = [];
  for (const { text, row, radius } of state.space.regions) {
    const region = { text, r: view.k * radius, ...screenOf(row) };
    const fits = region.r >= NARROWEST_REGION && region.r <= widest && shown[row] && onStage(row);
    if (!fits || named.some((other) => isNear(other, region))) continue;
    if (regionLabel(region, taken)) named.push(region);
  }
}

const WIDEST_REGION = 0.45; // share of the stage's shorter side
const NARROWEST_REGION = 24; // pixels

const isNear = (a, b) =>
  a.text === b.text && Math.hypot(a.x - b.x, a.y - b.y) < 2 * Math.max(a.r, b.r);

function regionLabel({ text, x, y }, taken) {
  const font = "650 15px system-ui, sans-serif";
  const short = shortened(text), half = widthOf(short, font) / 2;
  const box = { left: x - half, right: x + half, top: y - 10, bottom: y + 10 };
  if (!isInStage(box) || !isFree(box, taken, 6)) return false;
  put({ id: null, text: short, ...box }, taken, font, 0.7);
  return true;
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
const wider = ({ left, right, top, bottom }, margin) =>
  ({ left: left - margin, right: right + margin, top: top - margin / 2, bottom: bottom + margin / 2 });

const widths = new Map(); // of labels, by weight and text

function widthOf(text, font) {
  const key = font + text;
  if (!widths.has(key)) {
    marks.font = font;
    widths.set(key, marks.measureText(text).width);
  }
  return widths.get(key);
}

function shortened(text) {
  const characters = [...text.replace(/\s+/gu, " ").trim().slice(0, 4 * MAX_CHARACTERS)];
  if (characters.length > MAX_CHARACTERS) characters.splice(MAX_CHARACTERS - 1, Infinity, "…");
  return characters.join("");
}

const shortTexts = texts.map(() => null);
const shortText = (id) => (shortTexts[id] ??= shortened(texts[id]));

const isInStage = ({ left, right, top, bottom }) =>
  left >= 6 && right <= size.width - 6 && top >= 0 && bottom <= size.height;
const isFree = (box, taken, margin) => taken.every((other) => apart(wider(box, margin), other));

function label(id, taken, { bold = false, margin, gap, always = false }) {
  const { x, y, r } = screen(id);
  const text = shortText(id);
  const boxes = (width) => [x + r + gap, x - r - gap - width]
    .map((left) => ({ left, right: left + width, top: y - 8, bottom: y + 8 }));
  const free = (box) => isInStage(box) && isFree(box, taken, margin);
  // measuring text is slow; its least possible width already shows that most labels have no free place
  if (!always && !boxes(3 * text.length).some(free)) return;
  const font = `${bold ? 600 : 400} 12px system-ui, sans-serif`;
  const places = boxes(widthOf(text, font));
  const box = places.find(free) ?? (always ? places.find(isInStage) : null);
  if (!box) return;
  put({ id, text, ...box }, taken, font, bold ? 1 : 0.92);
}

// Write a label in its box, which later labels leave free.
function put(made, taken, font, alpha) {
  taken.push(made);
  drawn.labels.push(made);
  write(made.text, made.left, (made.top + made.bottom) / 2, font, alpha);
}

function write(text, x, y, font, alpha) {
  marks.font = font;
  marks.textBaseline = "middle";
  marks.lineJoin = "round";
  marks.lineWidth = 3.5;
  marks.strokeStyle = ink.paper;
  marks.fillStyle = ink.ink;
  marks.globalAlpha = alpha;
  marks.strokeText(text, x, y + 0.5);
  marks.fillText(text, x, y + 0.5);
  marks.globalAlpha = 1;
}
