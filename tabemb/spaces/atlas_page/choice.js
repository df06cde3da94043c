// Picking a category, comparing two, and selecting many.

// Show a category that was asked for by name, even if the filters hide it.
function reveal(id) {
  if (!isShown(id)) resetFilters();
}

function pick(id, fly = false) {
  if (state.comparing && id !== state.focus) Object.assign(state, { second: id, comparing: false });
  else Object.assign(state, { focus: id, second: null, comparing: false, k: 10, chosen: [] });
  refresh();
  openPanel(true);
  if (fly) travel(id);
}

// Move to a category that was asked for by name, unless it is in good view already.
function travel(id) {
  if (id === state.second) return flyBetween(state.focus, id);
  const k = zoomAround(id, state.neighbours);
  if (!inMiddle(screen(id)) || view.k < k / 2) flyTo(Math.max(view.k, k), ...spot(id));
}

function refresh() {
  const { space, focus, second, k } = state;
  state.neighbours = space.has(focus) ? space.nearest(focus, k) : [];
  state.secondNeighbours = space.has(second) ? space.nearest(second, k) : [];
  if (focus !== null) announce(second === null ? nearestText() : similarityText());
  highlight();
  showDetails();
  redraw();
  writeLink();
}

function nearestText() {
  const names = state.neighbours.slice(0, 3).map(({ id }) => texts[id]);
  return `${texts[state.focus]}. Nearest: ${names.join(", ")}`;
}

function similarityText() {
  const { space, focus, second } = state;
  if (!space.has(focus) || !space.has(second)) return "";
  const similarity = formattedSimilarity(space.similarity(focus, second));
  return `${texts[focus]} and ${texts[second]}: similarity ${similarity}`;
}

function choose(ids) {
  state.chosen = ids;
  refresh();
  announce(`${howMany(ids.length, "category", "categories")} selected`);
}

// Select the categories inside a drawn shape in place of the picked ones.
function chooseDrawn(ids) {
  shape = null;
  Object.assign(state, { focus: null, second: null, comparing: false });
  chooseTool("move");
  choose(ids);
  if (ids.length) openPanel(true);
}

function clearFocus() {
  Object.assign(state, { focus: null, second: null, comparing: false, hover: null });
  refresh();
}

function clearAll() {
  shape = null;
  state.chosen = [];
  clearFocus();
  chooseTool("move");
  announce("Cleared");
}
