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

// Labels: the picked categories first, then the sure and frequent ones. A label that overlaps an earlier
// one is dropped.

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
  const margin = Math.max(3, LABEL_MARGIN / Math.sqrt(zoom()));
  let tried = 0;
  for (const row of state.chosen.length ? highlighted : state.space.best) {
    if (!shown[row] || !onStage(row)) continue;
    label(state.space.ids[row], taken, { margin, gap: 4 });
    if (++tried === MAX_TRIED) return;
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

const shortened = texts.map(() => null);

function shortText(id) {
  if (shortened[id] === null) {
    const characters = [...texts[id].replace(/\s+/gu, " ").trim().slice(0, 4 * MAX_CHARACTERS)];
    if (characters.length > MAX_CHARACTERS) characters.splice(MAX_CHARACTERS - 1, Infinity, "…");
    shortened[id] = characters.join("");
  }
  return shortened[id];
}

function label(id, taken, { bold = false, margin, gap, always = false }) {
  const { x, y, r } = screen(id);
  const text = shortText(id);
  const boxes = (width) => [x + r + gap, x - r - gap - width]
    .map((left) => ({ left, right: left + width, top: y - 8, bottom: y + 8 }));
  const inStage = (box) =>
    box.left >= 6 && box.right <= size.width - 6 && box.top >= 0 && box.bottom <= size.height;
  const free = (box) => inStage(box) && taken.every((other) => apart(wider(box, margin), other));
  // measuring text is slow; its least possible width already shows that most labels have no free place
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
