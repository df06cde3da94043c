// What the page was given: categories, columns that describe them, and spaces with their vectors.
// A category goes by its id, its place in `texts`; within a space it goes by its row.

const given = JSON.parse(document.getElementById("data").textContent);
const texts = given.texts;
const MISSING = -1; // the code of a missing class

function decoded(base64, Type) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

// Of more values than a call may have arguments.
const smallest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

class Space {
  constructor(made) {
    Object.assign(this, { name: made.name, d: made.d, counts: made.counts, packed: made });
    this.ids = Int32Array.from(made.members ?? texts.keys());
    this.rows = new Int32Array(texts.length).fill(-1);
    this.ids.forEach((id, row) => { this.rows[id] = row; });
    this.place(decoded(made.xy, Float32Array));
    this.rank();
  }

  get size() { return this.ids.length; }

  // What describes its categories: the columns given, and its counts where no column has their name.
  get columns() {
    const taken = !this.counts || given.columns.some(({ name }) => name === "count");
    return (this.described ??= [...(taken ? [] : [this.countColumn()]), ...given.columns]);
  }

  countColumn() {
    const values = new Array(texts.length).fill(null);
    this.ids.forEach((id, row) => { values[id] = this.counts[row]; });
    return { name: "count", kind: "number", values };
  }

  // Coordinates around zero, the longer side of length one; y grows downwards, as on the screen.
  place(xy) {
    const sides = [0, 1].map((axis) => xy.filter((_, i) => i % 2 === axis));
    const lows = sides.map(smallest), highs = sides.map(largest);
    const longest = Math.max(highs[0] - lows[0], highs[1] - lows[1]) || 1;
    const [x, y] = sides.map((side, axis) => side.map((value) => (value - (lows[axis] + highs[axis]) / 2) / longest));
    this.x = x;
    this.y = y.map((value) => -value);
    this.extent = highs.map((high, axis) => (high - lows[axis]) / longest);
  }

  // `frequent`: rows from the most frequent to the rarest; ties keep the order of the space.
  rank() {
    const rows = Int32Array.from(this.ids.keys());
    this.frequent = this.counts ? rows.sort((a, b) => this.counts[b] - this.counts[a] || a - b) : rows;
  }

  has(id) { return id !== null && this.rows[id] >= 0; }

  count(id) { return this.counts && this.has(id) ? this.counts[this.rows[id]] : null; }

  // Unit vectors as 16-bit integers and a scale a row; decoded at the first question.
  get vectors() {
    this.codes ??= decoded(this.packed.vectors, Int16Array);
    this.scales ??= decoded(this.packed.scales, Float32Array);
    return this.codes;
  }

  similarities(id) {
    const { vectors, scales, d, size } = this;
    const start = this.rows[id] * d;
    const found = new Float64Array(size);
    for (let row = 0, at = 0; row < size; row++) {
      let dot = 0;
      for (let j = 0; j < d; j++) dot += vectors[start + j] * vectors[at++];
      found[row] = Math.max(-1, Math.min(1, dot * scales[this.rows[id]] * scales[row]));
    }
    return found;
  }

  similarity(a, b) { return this.similarities(a)[this.rows[b]]; }

  // The k nearest categories, the nearest first; ties keep the order of the space.
  nearest(id, k) {
    const found = this.similarities(id);
    found[this.rows[id]] = -Infinity;
    const least = found.slice().sort()[Math.max(0, this.size - k)];
    const rows = [];
    found.forEach((value, row) => { if (value >= least && row !== this.rows[id]) rows.push(row); });
    rows.sort((a, b) => found[b] - found[a] || a - b);
    return rows.slice(0, k).map((row) => ({ id: this.ids[row], similarity: found[row] }));
  }
}

const spaces = given.spaces.map((made) => new Space(made));

const plainNumber = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: "min2" });
const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: "min2" }); // 1998 may be a year
const wholeNumber = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const formatted = (value) => (Number.isInteger(value) ? integer : plainNumber).format(value);
const formattedDate = (value) => new Date(value).toISOString().slice(0, 10);
const formattedSimilarity = (value) => value.toFixed(3).replace("-", "\u2212");
const howMany = (n, one, many) => `${wholeNumber.format(n)} ${n === 1 ? one : many}`;

// The text of a column at a category, and null where it is missing. Columns of classes hold codes into their levels.
function shownValue(column, id) {
  const value = column.values[id];
  if (column.levels) return value === MISSING ? null : column.levels[value];
  if (value === null) return null;
  return column.kind === "date" ? formattedDate(value) : formatted(value);
}

function rawValue(column, id) {
  return column.kind === "number" ? column.values[id] : shownValue(column, id);
}
