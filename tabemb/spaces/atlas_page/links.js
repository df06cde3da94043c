// The address of what is shown: #space=…&colour=…&category=…&with=…, so that a reader can send it.

const HOME = { space: spaces[0].name, colour: pageData.color ?? "", category: null, with: null };
let isFollowing = false; // while an address is read, it is not written

const here = () => ({
  space: state.space.name,
  colour: state.column?.name ?? "",
  category: state.focus === null ? null : texts[state.focus],
  with: state.second === null ? null : texts[state.second],
});

// Write what differs from the page as it opens; the address is replaced, so that "back" leaves the page.
function writeLink() {
  if (isFollowing) return;
  const changed = Object.entries(here()).filter(([name, value]) => value !== HOME[name]);
  const hash = new URLSearchParams(changed.filter(([, value]) => value !== null)).toString();
  if (hash !== location.hash.slice(1)) location.replace(`#${hash}`);
}

// Show what the address says; a name that the page does not have is as if it were not there.
function followLink() {
  const asked = { ...HOME, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
  if (!spaces.some(({ name }) => name === asked.space)) asked.space = HOME.space;
  const now = here();
  if (Object.keys(HOME).every((name) => asked[name] === now[name])) return;
  isFollowing = true;
  if (asked.space !== now.space) {
    byId("space").value = asked.space;
    openSpace(asked.space);
  }
  if (asked.colour !== now.colour) setColumn(asked.colour);
  const [focus, second] = [asked.category, asked.with].map((text) => texts.indexOf(text));
  Object.assign(state, {
    focus: focus < 0 ? null : focus,
    second: focus < 0 || second < 0 ? null : second,
    comparing: false,
  });
  for (const id of [state.focus, state.second]) if (state.space.has(id)) reveal(id);
  refresh();
  if (state.focus !== null) openPanel(true);
  isFollowing = false;
}

addEventListener("hashchange", followLink);
