// The summary, the choice of a space, and the start of the page.

function showSummary() {
  const n = shown.reduce((a, b) => a + b, 0);
  const all = howMany(state.space.size, "category", "categories");
  const dimensions = element("span", {}, `, ${howMany(state.space.d, "dimension", "dimensions")}`);
  const whole = n === state.space.size;
  const summary = whole ? [all, dimensions] : [`${wholeNumber.format(n)} of ${all}`];
  byId("summary").replaceChildren(...summary);
}

const option = (name) => element("option", { value: name }, name);

function showSpace() {
  const offered = state.space.columns.filter((column) => column.kind !== "text");
  const none = element("option", { value: "" }, "None");
  byId("color").replaceChildren(none, ...offered.map(({ name }) => option(name)));
  byId("color-field").hidden = offered.length === 0;
  byId("regions").hidden = state.space.regions.length === 0;
  byId("sizes").hidden = !state.space.counts;
  byId("count-field").hidden = !state.space.counts || new Set(state.space.counts).size < 2;
  byId("reliability-field").hidden = !state.space.reliability;
  if (state.space.reliability) showReliability();
  const content = howMany(state.space.size, "category", "categories");
  surface.setAttribute("aria-label", `Map of ${content}. ${KEY_HELP}`);
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
  refresh();
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

// The state of the screen, for scripts and tests.
window.atlas = {
  get drawn() { return drawn.points; }, // points in the last picture
  get labels() { return drawn.labels; }, // texts and boxes of the labels, in pixels of the map
  get milliseconds() { return drawn.milliseconds; }, // time taken by the last picture
  get opened() { return drawn.opened; }, // milliseconds from the start of the page to its first picture
  get view() { return { ...view }; },
  radius: (text) => radiusOf(state.space.rows[texts.indexOf(text)]), // in pixels
  // position of a category in the window
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
setColumn(pageData.color);
resetFilters();
followLink();
draw();
