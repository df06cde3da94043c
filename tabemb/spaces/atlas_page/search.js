// Search

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
let folded = null; // texts without case and accents, made at the first search
let suggested = []; // ids of the suggestions
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
  // on press, because the field loses its focus before a click
  const onmousedown = (event) => { event.preventDefault(); pickSuggestion(i); };
  return element("li", { role: "option", id: `suggestion-${i}`, onmousedown },
    element("span", { dir: "auto" }, texts[id]), element("small", {}, countText(id)));
}

function suggest() {
  const wanted = fold(query.value.trim());
  const all = wanted ? matches(wanted) : [];
  suggested = all.slice(0, SUGGESTED);
  active = 0;
  const more = all.length - suggested.length;
  const prompt = `${wholeNumber.format(more)} more; keep typing to narrow the list`;
  const note = suggested.length ? prompt : "No category contains this text.";
  const showNote = more || !suggested.length;
  const notes = showNote ? [element("li", { class: "note", role: "presentation" }, note)] : [];
  suggestions.replaceChildren(...suggested.map(suggestion), ...notes);
  suggestions.hidden = !wanted;
  query.setAttribute("aria-expanded", String(Boolean(wanted)));
  if (wanted) announce(howMany(all.length, "category found", "categories found"));
  markActive();
}

function markActive() {
  const rows = suggestions.querySelectorAll("[role=option]");
  rows.forEach((row, i) => row.setAttribute("aria-selected", String(i === active)));
  if (suggested.length) query.setAttribute("aria-activedescendant", `suggestion-${active}`);
  else query.removeAttribute("aria-activedescendant");
}

function closeSuggestions() {
  suggestions.hidden = true;
  suggested = [];
  query.setAttribute("aria-expanded", "false");
  query.removeAttribute("aria-activedescendant");
}

function pickSuggestion(i) {
  if (i >= suggested.length) return;
  const id = suggested[i];
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
  if (event.key in steps && suggested.length) {
    event.preventDefault();
    active = (active + steps[event.key] + suggested.length) % suggested.length;
    markActive();
  } else if (event.key === "Enter") {
    event.preventDefault();
    pickSuggestion(active);
  } else if (event.key === "Escape") {
    event.preventDefault();
    if (!query.value) return surface.focus({ preventScroll: true });
    query.value = "";
    closeSuggestions();
  }
});
