// What is shown: the pictures of the run, the filter, and how maps look.

const $ = (id) => document.getElementById(id);
const page = JSON.parse($('page').textContent);
const pictures = JSON.parse($('cards').textContent);
const tables = Object.fromEntries(Object.entries(page.colormaps).map(([name, table]) => [name, bytes(table)]));
/** At how much of its opacity a map is painted at each grey level: cold parts fade, unless the run was made with --style heat. */
const shares = Uint8ClampedArray.from({ length: 256 }, (_, level) => 255 * (level / 255) ** page.fade);
const look = { colormap: page.colormap in tables ? page.colormap : 'jet', opacity: page.opacity };
const listeners = { look: [], shown: [] };
/** The pictures that pass the filter, in the order wanted. */
let shown = pictures;

/** An element with text (never HTML: names and labels come from files that nobody has checked). */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** An SVG element. */
function drawn(tag, attributes = {}) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Boxes and outlines of the class of `map`, of a map per box its own; of all classes where it is of none. */
function foundOf(picture, map) {
  if (isOfBox(map)) return picture.found.filter((item) => picture.maps[item.map] === map);
  const wanted = map?.class ?? null;
  return picture.found.filter((item) => wanted === null || item.class === wanted);
}

function classKey(map) {
  return map.class === null ? 'image' : String(map.class);
}

/** Whether a map is of one box, not of a class. */
function isOfBox(map) {
  return map?.number !== undefined;
}

/** What tells a map from the others of its picture. */
function mapKey(map) {
  return map.number > 1 ? `${classKey(map)}_${map.number}` : classKey(map);
}

function scoreText(score) {
  return score === null ? '' : score.toFixed(2);
}

function title(map) {
  return map.score === null ? map.label : `${map.label} ${scoreText(map.score)}`;
}

/** Change how maps look, everywhere. */
function setLook(change) {
  Object.assign(look, change);
  document.documentElement.style.setProperty('--opacity', look.opacity);
  for (const control of document.querySelectorAll('[data-setting]')) control.value = look[control.dataset.setting];
  for (const output of document.querySelectorAll('[data-shows="opacity"]')) {
    output.textContent = `${Math.round(100 * look.opacity)} %`;
  }
  for (const listener of listeners.look) listener(change);
}

function paintFor(canvas, picture, map, width, height) {
  paint(canvas, map, picture.view, width, height, tables[look.colormap], page.interpolation === 'cubic', shares);
}

/** The map that a picture is shown with, and whose score counts: of the class filtered by, else its best. */
function leadingMap(picture) {
  const wanted = $('class').value;
  return picture.maps.find((map) => classKey(map) === wanted) ?? picture.maps[0];
}

/** For searches: small letters, and underscores as the spaces that they stand for. */
function spaced(text) {
  return text.toLowerCase().replaceAll('_', ' ');
}

function words(picture) {
  picture.words ??= spaced([picture.name, picture.source, ...picture.maps.map((map) => map.label)].join('\n'));
  return picture.words;
}

function passes(picture, filter) {
  if (!passesTruth(picture)) return false;
  if (!filter.words.every((word) => words(picture).includes(spaced(word)))) return false;
  if (filter.class && !picture.maps.some((map) => classKey(map) === filter.class)) return false;
  if (filter.low <= 0 && filter.high >= 1) return true;
  const score = leadingMap(picture)?.score ?? null;
  return score !== null && score >= filter.low && score <= filter.high;
}

function readFilter() {
  return {
    words: $('search').value.split(/\s+/).filter(Boolean),
    class: $('class').value,
    low: Number($('low').value),
    high: Number($('high').value),
  };
}

const orders = {
  high: (a, b) => (leadingMap(b)?.score ?? -1) - (leadingMap(a)?.score ?? -1),
  low: (a, b) => (leadingMap(a)?.score ?? 2) - (leadingMap(b)?.score ?? 2),
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
};

let applied = '';

function applyFilter() {
  const filter = readFilter();
  const asked = JSON.stringify([filter, $('order').value, $('truth')?.value]);
  if (asked === applied) return;
  applied = asked;
  shown = pictures.filter((picture) => passes(picture, filter));
  if (orders[$('order').value]) shown.sort(orders[$('order').value]);
  $('range').textContent = `${filter.low.toFixed(2)} to ${filter.high.toFixed(2)}`;
  const pair = $('low').parentElement;
  pair.style.setProperty('--low', filter.low);
  pair.style.setProperty('--high', filter.high);
  const all = `${pictures.length} ${pictures.length === 1 ? 'picture' : 'pictures'}`;
  $('count').textContent =
    shown.length === pictures.length ? all : shown.length ? `${shown.length} of ${all}` : `None of ${all} fits the filter.`;
  for (const listener of listeners.shown) listener();
}

/** Every class with the number of pictures that have its map, the most frequent first. */
function listClasses() {
  const classes = new Map();
  for (const picture of pictures) {
    for (const map of picture.maps) {
      if (map.number > 1) continue; // pictures are counted, not boxes
      const entry = classes.get(classKey(map)) ?? { label: map.label, count: 0 };
      entry.count += 1;
      classes.set(classKey(map), entry);
    }
  }
  const sorted = [...classes].sort(([, a], [, b]) => b.count - a.count || a.label.localeCompare(b.label));
  for (const [key, { label, count }] of sorted) {
    $('class').append(element('option', { value: key, textContent: `${label} (${count})` }));
  }
}

/** Two sliders on one track don't pass each other. */
function keepApart(moved) {
  const [low, high] = [$('low'), $('high')];
  if (Number(low.value) <= Number(high.value)) return;
  if (moved === low) high.value = low.value;
  else low.value = high.value;
}

function startFilter() {
  listClasses();
  $('scores').hidden = !pictures.some((picture) => picture.maps.some((map) => map.score !== null));
  $('filter').addEventListener('submit', (event) => event.preventDefault());
  // Selects say `change`; some programs that fill in forms say nothing else of any field.
  for (const kind of ['input', 'change']) {
    $('filter').addEventListener(kind, (event) => {
      if (event.target.dataset.setting) return;
      keepApart(event.target);
      applyFilter();
    });
  }
  $('filter').addEventListener('reset', () => {
    // The browser resets the fields after this event.
    setTimeout(() => {
      setLook({ colormap: page.colormap, opacity: page.opacity });
      applyFilter();
    });
  });
}

function startLook() {
  for (const select of document.querySelectorAll('select[data-setting="colormap"]')) {
    for (const name of Object.keys(tables)) select.append(element('option', { value: name, textContent: name }));
  }
  for (const control of document.querySelectorAll('[data-setting]')) {
    for (const kind of ['input', 'change']) {
      control.addEventListener(kind, () => {
        const value = control.type === 'range' ? Number(control.value) : control.value;
        if (look[control.dataset.setting] !== value) setLook({ [control.dataset.setting]: value });
      });
    }
  }
}
