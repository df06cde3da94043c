// Elements of the panel. Data enter the page as text, never as HTML.

const byId = (id) => document.getElementById(id);
const query = byId("query");
const suggestions = byId("suggestions");
const SUGGESTED = 8;
const PROMPT = "Pick the category to compare with on the map, in the list or by search.";
const DOUBTFUL = "Hardly different from the average: its neighbours are mostly chance.";
const KEY_HELP = "Arrow keys move the map, plus and minus zoom, slash opens the search, Escape clears.";
const LISTED = 200; // categories of a selection that the panel lists; the CSV holds all

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const button = (text, onclick, attributes = {}) =>
  element("button", { type: "button", onclick, ...attributes }, text);
const announce = (text) => { byId("live").textContent = text; };

function openPanel(open) {
  panel.dataset.open = String(open);
  byId("grip").setAttribute("aria-expanded", String(open));
}
