// The legend and the filters by class, by count and by reliability.

function showLegend() {
  const { entries, domain } = paint;
  const parts = [];
  if (domain) parts.push(scaleBar(domain));
  for (const [i, entry] of entries.entries()) if (entry.text && entry.n) parts.push(legendRow(i, entry));
  if (state.off.size) parts.push(button("Show all classes", () => setOff([]), { class: "more" }));
  byId("legend").replaceChildren(...parts);
}

function scaleBar({ low, high, clippedLow, clippedHigh, log }) {
  const text = state.column.kind === "date" ? formattedDate : formatted;
  const label = `Colours from ${text(low)} to ${text(high)}${log ? ", logarithmic" : ""}`;
  const bar = element("div", { class: "bar", role: "img", "aria-label": label });
  const colors = paint.entries.slice(0, STEPS).map(({ color }) => color);
  bar.style.background = `linear-gradient(to right, ${colors.join(",")})`;
  const ends = [(clippedLow ? "≤ " : "") + text(low)];
  const middle = log ? "log scale" : text((low + high) / 2);
  if (low < high) ends.push(middle, (clippedHigh ? "≥ " : "") + text(high));
  const below = element("div", { class: "ends" }, ...ends.map((end) => element("span", {}, end)));
  return element("div", { class: "scale" }, bar, below);
}

function legendRow(i, { color, text, n, quiet }) {
  const on = !state.off.has(i);
  const swatch = element("i", { "aria-hidden": "true" });
  swatch.style.background = color;
  const toggled = on ? [...state.off, i] : [...state.off].filter((one) => one !== i);
  const others = [...paint.entries.keys()].filter((one) => one !== i);
  const name = element("span", { dir: "auto", class: quiet ? "quiet" : null, title: text }, text);
  const pressed = { class: "entry", "aria-pressed": String(on), "data-entry": i };
  const toggle = button("", () => setOff(toggled, i), pressed);
  toggle.append(swatch, name, element("small", {}, wholeNumber.format(n)));
  const label = { class: "only", "aria-label": `Show only ${text}` };
  const only = button("only", () => setOff(others, i), label);
  return element("div", { class: "legend-row" }, toggle, only);
}

function setOff(entries, focused = null) {
  state.off = new Set(entries);
  refilter();
  showLegend();
  showSummary();
  if (focused !== null) byId("legend").querySelector(`[data-entry="${focused}"]`)?.focus();
}

function setColumn(name) {
  const colours = (column) => column.name === name && column.kind !== "text";
  state.column = state.space.columns.find(colours) ?? null;
  state.off = new Set();
  byId("color").value = state.column ? name : "";
  recolor();
  showLegend();
  showSummary();
  writeLink();
}

// Counts: the sliders are linear in the logarithm of the count.

const BARS = 40;
// logarithms of the least count and of the ratio of the largest to it
let counting = { low: 0, width: 1, rounded: Math.round };

function setCounting(counts) {
  const low = Math.log1p(smallest(counts));
  const rounded = counts.every(Number.isInteger) ? Math.round : Number;
  counting = { low, width: Math.log1p(largest(counts)) - low || 1, rounded };
}

const slid = (id) => Number(byId(id).value) / 1000; // share of the range below a slider
const countAt = (share) => counting.rounded(Math.expm1(counting.low + share * counting.width));
const shareOf = (count) => (Math.log1p(count) - counting.low) / counting.width;

function setCounts() {
  state.least = slid("least") === 0 ? 0 : countAt(slid("least"));
  state.most = slid("most") === 1 ? Infinity : countAt(slid("most"));
  refilter();
  showCounts();
  showSummary();
}

function showCounts() {
  const [low, high] = [slid("least"), slid("most")];
  const [least, most] = [formatted(countAt(low)), formatted(countAt(high))];
  byId("count-range").textContent = `${least} – ${most}`;
  byId("least").setAttribute("aria-valuetext", `at least ${least}`);
  byId("most").setAttribute("aria-valuetext", `at most ${most}`);
  panel.style.setProperty("--low", low);
  panel.style.setProperty("--high", high);
  for (const [i, bar] of [...byId("histogram").children].entries()) {
    bar.classList.toggle("out", (i + 1) / BARS <= low || i / BARS >= high);
  }
}

function showHistogram() {
  const bins = new Array(BARS).fill(0);
  const binOf = (count) => Math.min(BARS - 1, Math.floor(shareOf(count) * BARS));
  for (const count of state.space.counts) bins[binOf(count)] += 1;
  const tallest = Math.sqrt(Math.max(...bins));
  byId("histogram").replaceChildren(...bins.map((n) => {
    const bar = element("i");
    bar.style.height = `${n ? Math.max(6, (100 * Math.sqrt(n)) / tallest) : 0}%`;
    return bar;
  }));
}

for (const [id, other, sign] of [["least", "most", 1], ["most", "least", -1]]) {
  byId(id).addEventListener("input", (event) => {
    // one slider pushes the other, so that they never cross
    if (sign * (event.target.value - byId(other).value) > 0) byId(other).value = event.target.value;
    setCounts();
  });
}

// Reliability

const RELIABILITIES = [
  [1, "sure"],
  [0.5, "half noise"],
  [0, "faint: few rows or no effect, mostly noise"],
];

// Show what faint points are, and what another model would share.
function showReliability() {
  const samples = RELIABILITIES.map(([reliability, text]) => {
    const step = doubtOf(reliability), dot = element("i", { "aria-hidden": "true" });
    dot.style.opacity = kept(FAINTEST, step);
    dot.style.scale = kept(SMALLEST, step);
    return element("span", {}, dot, text);
  });
  byId("samples").replaceChildren(...samples);
  byId("overlap").textContent = state.space.overlap;
}

function setSurest() {
  state.surest = slid("surest");
  byId("surest-slider").style.setProperty("--low", state.surest);
  byId("surest-value").textContent = `at least ${state.surest.toFixed(2)}`;
  byId("surest").setAttribute("aria-valuetext", byId("surest-value").textContent);
  refilter();
  showSummary();
}

byId("surest").addEventListener("input", setSurest);

function resetFilters() {
  byId("least").value = 0;
  byId("most").value = 1000;
  byId("surest").value = 0;
  Object.assign(state, { least: 0, most: Infinity, off: new Set() });
  setSurest();
  if (state.space.counts) showCounts();
  showLegend();
  showSummary();
}
