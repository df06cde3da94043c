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
