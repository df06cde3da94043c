// The cards of the panel: a category, a comparison of two, a selection and its CSV.

const countText = (id) => { const n = state.space.count(id); return n === null ? "" : formatted(n); };

function showDetails() {
  const cards = [];
  if (state.chosen.length) cards.push(selectionCard());
  if (state.second !== null) cards.push(comparisonCard());
  else if (state.focus !== null) cards.push(categoryCard(state.focus));
  const held = byId("details").contains(document.activeElement);
  byId("details").replaceChildren(...cards);
  byId("scroll").scrollTop = 0;
  if (held) focusDetails(); // the keyboard focus was on a card that is gone
}

function focusDetails() {
  (byId("details").querySelector("h2") ?? surface).focus({ preventScroll: true });
}

const closeButton = (onclick, label) =>
  button("", onclick, { class: "close", "aria-label": label, title: label });

const heading = (text, attributes = {}) =>
  element("h2", { dir: "auto", tabindex: "-1", ...attributes }, text);

const newCard = (title, ...children) => element("article", { class: "card" }, title, ...children);

function categoryCard(id) {
  const card = newCard(heading(texts[id]), closeButton(clearFocus, "Clear"));
  if (!state.space.has(id)) {
    card.append(element("p", { class: "note" }, `Not a category of ${state.space.name}.`));
    return card;
  }
  const ids = [id, ...state.neighbours.map((one) => one.id)];
  const compare = state.comparing ? "Cancel" : "Compare with …";
  const doubtful = state.space.reliability && state.space.sureness(id) < pageData.doubtful;
  card.append(facts(id),
    ...(doubtful ? [element("p", { class: "note doubtful" }, DOUBTFUL)] : []),
    ...(state.comparing ? [element("p", { class: "prompt" }, PROMPT)] : []),
    element("div", { class: "row" },
      button(compare, toggleComparing, { "aria-pressed": String(state.comparing) }),
      button(`Select these ${ids.length}`, () => choose(ids))),
    element("h3", {}, "Nearest", element("small", {}, state.space.reliability
      ? "similarity, reliability" : "cosine similarity")),
    neighbourList(state.neighbours),
    ...moreButton(100));
  return card;
}

function toggleComparing() {
  state.comparing = !state.comparing;
  showDetails();
  announce(state.comparing ? PROMPT : "");
}

function moreButton(most) {
  if (state.k >= Math.min(most, state.space.size - 1)) return [];
  return [button("Show more", () => { state.k += 15; refresh(); }, { class: "more" })];
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
    element("data", { value: String(similarity) }, formattedSimilarity(similarity)),
    ...sureness(id));
  row.style.setProperty("--share", Math.max(0, similarity));
  return row;
}

function sureness(id) {
  const reliability = state.space.sureness(id);
  if (reliability === null) return [];
  const label = `reliability ${reliability.toFixed(2)}`;
  const attributes = { class: "sure", "aria-label": label, title: label };
  return [element("small", attributes, reliability.toFixed(2))];
}

function comparisonCard() {
  const { space, focus, second, neighbours, secondNeighbours } = state;
  const card = newCard(heading("Comparison", { class: "unseen" }), closeButton(clearFocus, "Clear"));
  const absent = [focus, second].find((id) => !space.has(id));
  if (absent !== undefined) {
    card.append(element("p", { class: "note" }, `${texts[absent]} is not a category of ${space.name}.`));
    return card;
  }
  const ofSecond = new Set(secondNeighbours.map(({ id }) => id));
  const shared = new Set(neighbours.map(({ id }) => id).filter((id) => ofSecond.has(id)));
  const column = (id, list) =>
    element("div", {}, element("h3", { dir: "auto" }, texts[id]), neighbourList(list, shared));
  const verb = shared.size > 1 ? "are" : "is";
  const overlap = `${shared.size || "None"} of the ${neighbours.length} nearest ${verb} shared`;
  const similarity = formattedSimilarity(space.similarity(focus, second));
  card.append(
    element("p", { class: "similarity" },
      element("small", {}, "Similarity"), element("output", {}, similarity),
      element("small", {}, overlap)),
    element("div", { class: "columns" }, column(focus, neighbours), column(second, secondNeighbours)),
    ...moreButton(50));
  return card;
}

function selectionCard() {
  const { chosen } = state;
  const card = newCard(
    heading(`${wholeNumber.format(chosen.length)} selected`),
    closeButton(clearAll, "Clear the selection"),
    element("div", { class: "row" },
      button("Copy as CSV", copyChosen, { id: "copy" }),
      button("Save as a file", () => save(csv(chosen)))));
  if (state.focus !== null) return card;
  const nameButton = (id) => button(texts[id], () => pick(id, true), { dir: "auto" });
  const names = chosen.slice(0, LISTED).map(nameButton);
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

// Spreadsheets run a cell that begins like a formula, unless an apostrophe stands before it, as OWASP
// says of CSV injection. Numbers stay numbers.
const FORMULA = /^[=+\-@\t\r\uff0b\uff0d\uff1d\uff20]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function cell(value) {
  const plain = String(value ?? "");
  const text = FORMULA.test(plain) && !NUMBER.test(plain) ? `'${plain}` : plain;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function copyChosen() {
  const text = csv(state.chosen);
  try {
    await navigator.clipboard.writeText(text);
    byId("copy").textContent = "Copied";
    announce(`${howMany(state.chosen.length, "row", "rows")} copied as CSV`);
  } catch {
    offer(text);
  }
}

// Where the clipboard is not allowed, show the text to copy and offer a file.
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
