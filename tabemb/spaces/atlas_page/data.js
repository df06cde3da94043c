// The data of the page: categories, columns that describe them, and spaces with their vectors.
// The id of a category is its index in `texts`; its row is its index in one space.

const pageData = JSON.parse(document.getElementById("data").textContent);
const texts = pageData.texts;
const MISSING = -1; // code of a missing class

function decoded(base64, Type) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

// Math.min and Math.max of a spread array fail when it has more values than a call may have arguments.
const smallest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

class Space {
  constructor(made) {
    const { name, d, counts, reliability, overlap } = made;
    Object.assign(this, { name, d, counts, reliability, overlap, packed: made });
    this.ids = Int32Array.from(made.members ?? texts.keys());
    this.rows = new Int32Array(texts.length).fill(-1);
    this.ids.forEach((id, row) => { this.rows[id] = row; });
    this.place(decoded(made.xy, Float32Array), made.regions);
    this.rank();
  }

  get size() { return this.ids.length; }

  // The columns that describe its categories: those of the page, and its counts and reliability if no
  // column has their name.
  get columns() {
    const { counts: count, reliability } = this;
    const free = ([name, values]) => values && !pageData.columns.some((column) => column.name === name);
    const measured = Object.entries({ count, reliability }).filter(free);
    const made = measured.map(([name, values]) => this.column(name, values));
    return (this.described ??= [...made, ...pageData.columns]);
  }

  column(name, byRow) {
    const values = new Array(texts.length).fill(null);
    this.ids.forEach((id, row) => { values[id] = byRow[row]; });
    return { name, kind: "number", values };
  }

  // Centre the coordinates and scale the longer side to one; y grows downwards, as on the screen.
  place(xy, regions) {
    const sides = [0, 1].map((axis) => xy.filter((_, i) => i % 2 === axis));
    const lows = sides.map(smallest), highs = sides.map(largest);
    const longest = Math.max(highs[0] - lows[0], highs[1] - lows[1]) || 1;
    const [x, y] = sides.map((side, axis) => {
      const middle = (lows[axis] + highs[axis]) / 2;
      return side.map((value) => (value - middle) / longest);
    });
    this.x = x;
    this.y = y.map((value) => -value);
    this.extent = highs.map((high, axis) => (high - lows[axis]) / longest);
    this.regions = regions.map((region) => ({ ...region, radius: region.radius / longest }));
  }

  // Sort the rows from the most frequent to the rarest; ties keep the order of the space. The best ones
  // are the most reliable, to one decimal, and of these the most frequent.
  rank() {
    const rows = Int32Array.from(this.ids.keys());
    this.frequent = this.counts ? rows.sort((a, b) => this.counts[b] - this.counts[a] || a - b) : rows;
    const tenths = (row) => (this.reliability ? Math.round(10 * this.reliability[row]) : 0);
    this.best = this.frequent.slice().sort((a, b) => tenths(b) - tenths(a));
  }

  has(id) { return id !== null && this.rows[id] >= 0; }

  count(id) { return this.counts && this.has(id) ? this.counts[this.rows[id]] : null; }

  sureness(id) { return this.reliability && this.has(id) ? this.reliability[this.rows[id]] : null; }

  // Unit vectors, times the root of their reliability, as 16-bit integers with one scale for each row,
  // decoded when they are first needed.
  get vectors() {
    this.codes ??= decoded(this.packed.vectors, Int16Array);
    this.scales ??= decoded(this.packed.scales, Float32Array);
    return this.codes;
  }

  similarities(id) {
    const { vectors, scales, d, size } = this;
    const start = this.rows[id] * d;
    const similarities = new Float64Array(size);
    for (let row = 0, at = 0; row < size; row++) {
      let dot = 0;
      for (let j = 0; j < d; j++) dot += vectors[start + j] * vectors[at++];
      similarities[row] = Math.max(-1, Math.min(1, dot * scales[this.rows[id]] * scales[row]));
    }
    return similarities;
  }

  similarity(a, b) { return this.similarities(a)[this.rows[b]]; }

  // The k nearest categories, the nearest first; ties keep the order of the space.
  nearest(id, k) {
    const similarities = this.similarities(id);
    similarities[this.rows[id]] = -Infinity;
    const least = similarities.slice().sort()[Math.max(0, this.size - k)];
    const rows = [];
    similarities.forEach((value, row) => {
      if (value >= least && row !== this.rows[id]) rows.push(row);
    });
    rows.sort((a, b) => similarities[b] - similarities[a] || a - b);
    return rows.slice(0, k).map((row) => ({ id: this.ids[row], similarity: similarities[row] }));
  }
}

const spaces = pageData.spaces.map((made) => new Space(made));

const plainNumber = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: "min2" });
// min2: four digits stay together, because 1998 may be a year
const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: "min2" });
const wholeNumber = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const formatted = (value) => (Number.isInteger(value) ? integer : plainNumber).format(value);
const formattedDate = (value) => new Date(value).toISOString().slice(0, 10);
const formattedSimilarity = (value) => value.toFixed(3).replace("-", "\u2212");
const howMany = (n, one, many) => `${wholeNumber.format(n)} ${n === 1 ? one : many}`;

// The text of a column for a category, null where it is missing. A column of classes holds codes of
// levels.
function shownValue(column, id) {
  const value = column.values[id];
  if (column.levels) return value === MISSING ? null : column.levels[value];
  if (value === null) return null;
  return column.kind === "date" ? formattedDate(value) : formatted(value);
}

function rawValue(column, id) {
  return column.kind === "number" ? column.values[id] : shownValue(column, id);
}
