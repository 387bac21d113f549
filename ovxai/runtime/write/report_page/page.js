// Keys, light and dark, and the start of it all.

const MOST_PRINTED = 500;
const OPACITIES = [0, 0.25, 0.5, 0.75, 1];

function stepOpacity(back) {
  const next = back
    ? OPACITIES.findLast((value) => value < look.opacity - 0.005)
    : OPACITIES.find((value) => value > look.opacity + 0.005);
  setLook({ opacity: next ?? (back ? 1 : 0) });
}

function stepColormap() {
  const names = Object.keys(tables);
  setLook({ colormap: names[(names.indexOf(look.colormap) + 1) % names.length] });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('ovxai-theme', theme);
  } catch {
    // Pages from a disk may have no storage; then the choice lasts as long as the page.
  }
}

function flipTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const now = document.documentElement.dataset.theme ?? (dark ? 'dark' : 'light');
  setTheme(now === 'dark' ? 'light' : 'dark');
}

function startTheme() {
  try {
    const kept = localStorage.getItem('ovxai-theme');
    if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept;
  } catch {
    // As above.
  }
}

function openHelp() {
  if (!$('help').open) $('help').showModal();
}

/** Paper has no scrolling: every card is made and painted, as far as that is sensible. */
function showAllForPrint() {
  if (viewer.open) return;
  addCards(Math.min(shown.length, MOST_PRINTED));
  for (const card of cards()) {
    card.querySelector('img').loading = 'eager';
    if (card.painted !== look.colormap) paintCard(card);
  }
}

const anywhere = {
  '?': openHelp,
  o: () => stepOpacity(false),
  O: () => stepOpacity(true),
  c: stepColormap,
  t: flipTheme,
};

const inViewer = {
  ArrowLeft: () => movePicture(-1),
  ArrowRight: () => movePicture(1),
  ArrowUp: () => moveClass(-1),
  ArrowDown: () => moveClass(1),
  x: flipSplit,
  b: () => $('show-boxes').click(),
  s: () => $('save').click(),
};

const inGallery = {
  ArrowLeft: () => moveInGallery('ArrowLeft'),
  ArrowRight: () => moveInGallery('ArrowRight'),
  ArrowUp: () => moveInGallery('ArrowUp'),
  ArrowDown: () => moveInGallery('ArrowDown'),
  '/': () => $('search').focus(),
};

/** Whether the focused field wants this key for itself. */
function isTaken(key) {
  const field = document.activeElement;
  if (field?.matches('input[type="search"], select')) return true;
  return Boolean(field?.matches('input[type="range"]') && /^(Arrow|Home|End|Page)/.test(key));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $('help').open || isTaken(event.key)) return;
  const here = viewer.open ? inViewer : inGallery;
  const action = here[event.key] ?? anywhere[event.key];
  if (viewer.open && /^[1-9]$/.test(event.key)) pickClass(Number(event.key) - 1);
  else if (!action || action() === false) return;
  event.preventDefault();
}

startTheme();
startTruth();
startFilter();
startLook();
startGallery();
startViewer();
$('theme').addEventListener('click', flipTheme);
$('ask').addEventListener('click', openHelp);
$('help-close').addEventListener('click', () => $('help').close());
document.addEventListener('keydown', onKey);
setLook({});
applyFilter();
startLinks();
addEventListener('beforeprint', showAllForPrint);
