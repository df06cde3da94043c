// The panel: search, what is shown, and what is known of the categories asked about. All text goes into the page as
// text, never as HTML.

const byId = (id) => document.getElementById(id);
const query = byId("query");
const suggestions = byId("suggestions");
const SUGGESTED = 8;
const PROMPT = "Now pick the category to compare with: on the map, in the list, or by search.";
const KEYS_TOLD = "Arrow keys move it, plus and minus zoom, slash searches, Escape clears.";
const LISTED = 200; // names of a selection that the panel lists; the CSV holds all

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const button = (text, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, text);
const say = (text) => { byId("live").textContent = text; };

function openPanel(open) {
  panel.dataset.open = String(open);
  byId("grip").setAttribute("aria-expanded", String(open));
}

// Search

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
let folded = null; // texts as compared, made at the first search
let found = []; // ids of the suggestions
let active = 0;

function matches(wanted) {
  folded ??= texts.map(fold);
  const starts = [], words = [], parts = [];
  for (const row of state.space.frequent) {
    const id = state.space.ids[row];
    const at = folded[id].indexOf(wanted);
    if (at < 0) continue;
    if (at === 0) starts.push(id);
    else if (/[^\p{L}\p{N}]/u.test(folded[id][at - 1])) words.push(id);
    else parts.push(id);
  }
  const exact = starts.filter((id) => folded[id] === wanted);
  return [...new Set([...exact, ...starts, ...words, ...parts])];
}

function suggestion(id, i) {
  // on press, for the field loses its focus before a click
  const onmousedown = (event) => { event.preventDefault(); pickFound(i); };
  return element("li", { role: "option", id: `suggestion-${i}`, onmousedown },
    element("span", { dir: "auto" }, texts[id]), element("small", {}, countText(id)));
}

function suggest() {
  const wanted = fold(query.value.trim());
  const all = wanted ? matches(wanted) : [];
  found = all.slice(0, SUGGESTED);
  active = 0;
  const more = all.length - found.length;
  const note = found.length ? `${wholeNumber.format(more)} more: type on` : "No category contains this text.";
  const notes = more || !found.length ? [element("li", { class: "note", role: "presentation" }, note)] : [];
  suggestions.replaceChildren(...found.map(suggestion), ...notes);
  suggestions.hidden = !wanted;
  query.setAttribute("aria-expanded", String(Boolean(wanted)));
  if (wanted) say(howMany(all.length, "category found", "categories found"));
  markActive();
}

function markActive() {
  const rows = suggestions.querySelectorAll("[role=option]");
  rows.forEach((row, i) => row.setAttribute("aria-selected", String(i === active)));
  if (found.length) query.setAttribute("aria-activedescendant", `suggestion-${active}`);
  else query.removeAttribute("aria-activedescendant");
}

function closeSuggestions() {
  suggestions.hidden = true;
  found = [];
  query.setAttribute("aria-expanded", "false");
  query.removeAttribute("aria-activedescendant");
}

function pickFound(i) {
  if (i >= found.length) return;
  const id = found[i];
  query.value = "";
  closeSuggestions();
  query.blur();
  reveal(id);
  pick(id, true);
  focusDetails();
}

function openSearch() {
  query.focus();
  query.select();
}

query.addEventListener("input", suggest);
query.addEventListener("focus", () => { if (query.value) suggest(); });
query.addEventListener("blur", closeSuggestions);
query.addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in steps && found.length) {
    event.preventDefault();
    active = (active + steps[event.key] + found.length) % found.length;
    markActive();
  } else if (event.key === "Enter") {
    event.preventDefault();
    pickFound(active);
  } else if (event.key === "Escape") {
    event.preventDefault();
    if (query.value) { query.value = ""; closeSuggestions(); } else surface.focus({ preventScroll: true });
  }
});

// Picking, comparing, choosing

// A category that is asked for by name is shown, whatever the filters say.
function reveal(id) {
  if (!isShown(id)) resetFilters();
}

function pick(id, fly = false) {
  if (state.comparing && id !== state.focus) Object.assign(state, { second: id, comparing: false });
  else Object.assign(state, { focus: id, second: null, comparing: false, k: 10, chosen: [] });
  answer();
  openPanel(true);
  if (fly) travel(id);
}

// Go to a category that was asked for by name; stay where it can be seen well already.
function travel(id) {
  if (id === state.second) return flyBetween(state.focus, id);
  const k = zoomAround(id, state.neighbours);
  if (!inMiddle(screen(id)) || view.k < k / 2) flyTo(Math.max(view.k, k), ...spot(id));
}

function answer() {
  const { space, focus, second, k } = state;
  state.neighbours = space.has(focus) ? space.nearest(focus, k) : [];
  state.secondNeighbours = space.has(second) ? space.nearest(second, k) : [];
  if (focus !== null) say(second === null ? nearestText() : similarityText());
  light();
  showDetails();
  redraw();
}

function nearestText() {
  const names = state.neighbours.slice(0, 3).map(({ id }) => texts[id]);
  return `${texts[state.focus]}. Nearest: ${names.join(", ")}`;
}

function similarityText() {
  const { space, focus, second } = state;
  if (!space.has(focus) || !space.has(second)) return "";
  return `${texts[focus]} and ${texts[second]}: similarity ${formattedSimilarity(space.similarity(focus, second))}`;
}

function choose(ids) {
  state.chosen = ids;
  answer();
  say(`${howMany(ids.length, "category", "categories")} selected`);
}

// The categories inside a shape that was drawn take the place of what was asked about.
function chooseDrawn(ids) {
  shape = null;
  Object.assign(state, { focus: null, second: null, comparing: false });
  chooseTool("move");
  choose(ids);
  if (ids.length) openPanel(true);
}

function clearFocus() {
  Object.assign(state, { focus: null, second: null, comparing: false, hover: null });
  answer();
}

function clearAll() {
  shape = null;
  state.chosen = [];
  clearFocus();
  chooseTool("move");
  say("Cleared");
}

// Details

const countText = (id) => { const n = state.space.count(id); return n === null ? "" : formatted(n); };

function showDetails() {
  const cards = [];
  if (state.chosen.length) cards.push(selectionCard());
  if (state.second !== null) cards.push(comparisonCard());
  else if (state.focus !== null) cards.push(categoryCard(state.focus));
  const held = byId("details").contains(document.activeElement);
  byId("details").replaceChildren(...cards);
  byId("scroll").scrollTop = 0;
  if (held) focusDetails(); // a key pressed on a card that is gone must not lose its place
}

const focusDetails = () => (byId("details").querySelector("h2") ?? surface).focus({ preventScroll: true });

const closeButton = (onclick, label) => button("", onclick, { class: "close", "aria-label": label, title: label });

const heading = (text, attributes = {}) => element("h2", { dir: "auto", tabindex: "-1", ...attributes }, text);

function categoryCard(id) {
  const card = element("article", { class: "card" }, heading(texts[id]), closeButton(clearFocus, "Clear"));
  if (!state.space.has(id)) {
    card.append(element("p", { class: "note" }, `Not a category of ${state.space.name}.`));
    return card;
  }
  const ids = [id, ...state.neighbours.map((one) => one.id)];
  const compare = state.comparing ? "Cancel" : "Compare with …";
  card.append(facts(id),
    ...(state.comparing ? [element("p", { class: "prompt" }, PROMPT)] : []),
    element("div", { class: "row" },
      button(compare, toggleComparing, { "aria-pressed": String(state.comparing) }),
      button(`Select these ${ids.length}`, () => choose(ids))),
    element("h3", {}, "Nearest", element("small", {}, "cosine similarity")), neighbourList(state.neighbours),
    ...moreButton(100));
  return card;
}

function toggleComparing() {
  state.comparing = !state.comparing;
  showDetails();
  say(state.comparing ? PROMPT : "");
}

function moreButton(most) {
  if (state.k >= Math.min(most, state.space.size - 1)) return [];
  return [button("Show more", () => { state.k += 15; answer(); }, { class: "more" })];
}

function facts(id) {
  const rows = state.space.columns.map((column) => [column.name, shownValue(column, id)]);
  const known = rows.filter(([, text]) => text !== null);
  const pair = ([name, text]) => [element("dt", {}, name), element("dd", { dir: "auto" }, text)];
  return element("dl", {}, ...known.flatMap(pair));
}

function neighbourList(neighbours, shared = new Set()) {
  const rows = neighbours.map((one) => neighbourRow(one, shared.has(one.id)));
  return element("ol", { class: "neighbours" }, ...rows.map((row) => element("li", {}, row)));
}

function neighbourRow({ id, similarity }, shared) {
  const [on, off] = [() => setHover(id), () => setHover(null)];
  const row = button("", () => { reveal(id); pick(id, true); },
    { class: shared ? "shared" : null, onmouseenter: on, onmouseleave: off, onfocus: on, onblur: off });
  row.append(element("span", { class: "name", dir: "auto", title: texts[id] }, texts[id]),
    ...(shared ? [element("span", { class: "unseen" }, "in both lists")] : []),
    element("i", { "aria-hidden": "true" }),
    element("data", { value: String(similarity) }, formattedSimilarity(similarity)));
  row.style.setProperty("--share", Math.max(0, similarity));
  return row;
}

function comparisonCard() {
  const { space, focus, second, neighbours, secondNeighbours } = state;
  const card = element("article", { class: "card" },
    heading("Comparison", { class: "unseen" }), closeButton(clearFocus, "Clear"));
  const absent = [focus, second].find((id) => !space.has(id));
  if (absent !== undefined) {
    card.append(element("p", { class: "note" }, `${texts[absent]} is not a category of ${space.name}.`));
    return card;
  }
  const ofSecond = new Set(secondNeighbours.map(({ id }) => id));
  const shared = new Set(neighbours.map(({ id }) => id).filter((id) => ofSecond.has(id)));
  const column = (id, list) =>
    element("div", {}, element("h3", { dir: "auto" }, texts[id]), neighbourList(list, shared));
  const overlap =
    `${shared.size || "None"} of the ${neighbours.length} nearest ${shared.size > 1 ? "are" : "is"} shared`;
  const similarity = formattedSimilarity(space.similarity(focus, second));
  card.append(
    element("p", { class: "similarity" },
      element("small", {}, "Similarity"), element("output", {}, similarity), element("small", {}, overlap)),
    element("div", { class: "columns" }, column(focus, neighbours), column(second, secondNeighbours)),
    ...moreButton(50));
  return card;
}

function selectionCard() {
  const { chosen } = state;
  const card = element("article", { class: "card" },
    heading(`${wholeNumber.format(chosen.length)} selected`), closeButton(clearAll, "Clear the selection"),
    element("div", { class: "row" },
      button("Copy as CSV", copyChosen, { id: "copy" }), button("Save as a file", () => save(csv(chosen)))));
  if (state.focus !== null) return card;
  const names = chosen.slice(0, LISTED).map((id) => button(texts[id], () => pick(id, true), { dir: "auto" }));
  card.append(element("ul", { class: "chosen" }, ...names.map((name) => element("li", {}, name))));
  const note = `The first ${LISTED} are listed; the CSV holds all.`;
  if (chosen.length > LISTED) card.append(element("p", { class: "note" }, note));
  return card;
}

// CSV

function csv(ids) {
  const { columns } = state.space;
  const names = ["category", ...columns.map(({ name }) => name)];
  const rows = ids.map((id) => [texts[id], ...columns.map((column) => rawValue(column, id))]);
  return [names, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function cell(value) {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function copyChosen() {
  const text = csv(state.chosen);
  try {
    await navigator.clipboard.writeText(text);
    byId("copy").textContent = "Copied";
    say(`${howMany(state.chosen.length, "row", "rows")} copied as CSV`);
  } catch {
    offer(text);
  }
}

// Where the clipboard is not allowed: the text to copy by hand, and a file.
function offer(text) {
  byId("export-text").value = text;
  byId("export").showModal();
  byId("export-text").select();
  byId("export-text").scrollTop = 0;
}

function save(text) {
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { download: "selection.csv", href }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

byId("export-save").addEventListener("click", () => save(byId("export-text").value));
byId("export-close").addEventListener("click", () => byId("export").close());

// Colours and their legend

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
  const told = `Colours from ${text(low)} to ${text(high)}${log ? ", logarithmic" : ""}`;
  const bar = element("div", { class: "bar", role: "img", "aria-label": told });
  const colors = paint.entries.slice(0, STEPS).map(({ color }) => color);
  bar.style.background = `linear-gradient(to right, ${colors.join(",")})`;
  const ends = [(clippedLow ? "≤ " : "") + text(low)];
  if (low < high) ends.push(log ? "log scale" : text((low + high) / 2), (clippedHigh ? "≥ " : "") + text(high));
  const below = element("div", { class: "ends" }, ...ends.map((end) => element("span", {}, end)));
  return element("div", { class: "scale" }, bar, below);
}

function legendRow(i, { color, text, n, quiet }) {
  const on = !state.off.has(i);
  const swatch = element("i", { "aria-hidden": "true" });
  swatch.style.background = color;
  const toggled = on ? [...state.off, i] : [...state.off].filter((one) => one !== i);
  const others = [...paint.entries.keys()].filter((one) => one !== i);
  const toggle = button("", () => setOff(toggled, i), { class: "entry", "aria-pressed": String(on), "data-entry": i });
  toggle.append(swatch, element("span", { dir: "auto", class: quiet ? "quiet" : null, title: text }, text),
    element("small", {}, wholeNumber.format(n)));
  const only = button("only", () => setOff(others, i), { class: "only", "aria-label": `Show only ${text}` });
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
  state.column = state.space.columns.find((column) => column.name === name && column.kind !== "text") ?? null;
  state.off = new Set();
  byId("color").value = state.column ? name : "";
  recolor();
  showLegend();
  showSummary();
}

// Counts: the sliders move in steps of their logarithm

const BARS = 40;
let counting = { low: 0, width: 1, rounded: Math.round }; // logarithms of the least count and of the range

function setCounting(counts) {
  const low = Math.log1p(smallest(counts));
  const rounded = counts.every(Number.isInteger) ? Math.round : Number;
  counting = { low, width: Math.log1p(largest(counts)) - low || 1, rounded };
}

const slid = (id) => Number(byId(id).value) / 1000; // the share of the range below a slider
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
  for (const count of state.space.counts) bins[Math.min(BARS - 1, Math.floor(shareOf(count) * BARS))] += 1;
  const tallest = Math.sqrt(Math.max(...bins));
  byId("histogram").replaceChildren(...bins.map((n) => {
    const bar = element("i");
    bar.style.height = `${n ? Math.max(6, (100 * Math.sqrt(n)) / tallest) : 0}%`;
    return bar;
  }));
}

for (const [id, other, sign] of [["least", "most", 1], ["most", "least", -1]]) {
  byId(id).addEventListener("input", (event) => {
    // the two sliders push, they do not cross
    if (sign * (event.target.value - byId(other).value) > 0) byId(other).value = event.target.value;
    setCounts();
  });
}

function resetFilters() {
  byId("least").value = 0;
  byId("most").value = 1000;
  Object.assign(state, { least: 0, most: Infinity, off: new Set() });
  refilter();
  if (state.space.counts) showCounts();
  showLegend();
  showSummary();
}

// The whole

function showSummary() {
  const n = shown.reduce((a, b) => a + b, 0);
  const all = howMany(state.space.size, "category", "categories");
  const dimensions = element("span", {}, `, ${howMany(state.space.d, "dimension", "dimensions")}`);
  const whole = n === state.space.size;
  byId("summary").replaceChildren(...(whole ? [all, dimensions] : [`${wholeNumber.format(n)} of ${all}`]));
}

const option = (name) => element("option", { value: name }, name);

function showSpace() {
  const offered = state.space.columns.filter((column) => column.kind !== "text");
  byId("color").replaceChildren(element("option", { value: "" }, "None"), ...offered.map(({ name }) => option(name)));
  byId("color-field").hidden = offered.length === 0;
  byId("sizes").hidden = !state.space.counts;
  byId("count-field").hidden = !state.space.counts || new Set(state.space.counts).size < 2;
  surface.setAttribute("aria-label", `Map of ${howMany(state.space.size, "category", "categories")}. ${KEYS_TOLD}`);
  if (!state.space.counts) return;
  setCounting(state.space.counts);
  showHistogram();
}

function openSpace(name) {
  const column = state.column?.name;
  changeSpace(spaces.find((space) => space.name === name));
  showSpace();
  setColumn(column);
  resetFilters();
  state.chosen = state.chosen.filter((id) => state.space.has(id));
  answer();
}

byId("space").append(...spaces.map(({ name }) => option(name)));
byId("space-field").hidden = spaces.length < 2;
byId("space").addEventListener("change", (event) => openSpace(event.target.value));
byId("color").addEventListener("change", (event) => setColumn(event.target.value));
byId("grip").addEventListener("click", () => openPanel(panel.dataset.open !== "true"));
query.addEventListener("focus", () => openPanel(true));

dark.addEventListener("change", () => { readColors(); recolor(); showLegend(); });
new ResizeObserver(() => {
  const box = stage.getBoundingClientRect();
  if (box.width === size.width && box.height === size.height) return;
  const share = view.k / fitted.k;
  const middle = { x: (size.width / 2 - view.x) / view.k, y: (size.height / 2 - view.y) / view.k };
  measure();
  const k = share * fitted.k;
  view.k = k;
  setView({ k, x: size.width / 2 - middle.x * k, y: size.height / 2 - middle.y * k });
  draw();
}).observe(stage);

// For scripts and tests: what is on the screen.
window.atlas = {
  get drawn() { return drawn.points; }, // points in the last picture
  get labels() { return drawn.labels; }, // their texts and boxes, in pixels of the map
  get milliseconds() { return drawn.milliseconds; }, // that the last picture took
  get opened() { return drawn.opened; }, // milliseconds from the start of the page to its first complete picture
  get view() { return { ...view }; },
  // where a category stands in the window
  at(text) {
    const { x, y } = screen(texts.indexOf(text)), { left, top } = stage.getBoundingClientRect();
    return { x: x + left, y: y + top };
  },
};

readColors();
measure();
Object.assign(view, fitted);
setLevels();
showSpace();
setColumn(given.color);
resetFilters();
draw();
