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
