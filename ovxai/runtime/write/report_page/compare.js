// Two maps over one picture, parted by one slider for all pictures.

const $ = (id) => document.getElementById(id);
const page = JSON.parse($('page').textContent);
const pairs = JSON.parse($('cards').textContent);
const tables = Object.fromEntries(Object.entries(page.colormaps).map(([name, table]) => [name, bytes(table)]));
const LEAST_SIDE = 320;
/** At how much of its opacity a map is painted at each grey level: cold parts fade. */
const shares = Uint8ClampedArray.from({ length: 256 }, (_, level) => 255 * (level / 255) ** page.fade);

/** An element with text (never HTML: names and labels come from files that nobody has checked). */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function said(side) {
  return side.top === null ? 'nothing' : `${side.top} ${side.score.toFixed(2)}`;
}

function number(value) {
  return value === null ? 'no such map' : value.toFixed(3);
}

function makePair(pair) {
  const { a, b } = pair;
  const stage = element(
    'div',
    { className: 'pair-stage' },
    element('img', { src: pair.picture, alt: `${pair.image}`, loading: 'lazy', decoding: 'async', draggable: false }),
    element('canvas', { className: 'of-a' }),
    element('canvas', { className: 'of-b' }),
    element('div', { className: 'line' }),
    element('span', { className: 'letter left', textContent: 'A' }),
    element('span', { className: 'letter right', textContent: 'B' }),
  );
  stage.style.setProperty('--aspect', pair.small[0] / pair.small[1]);
  const text = element(
    'div',
    { className: 'pair-text' },
    element('span', { className: 'name', textContent: pair.image, title: pair.source }),
    row('Map of', pair.label || 'whole picture'),
    row('Correlation', number(pair.correlation)),
    row('A says', said(a), !pair.same),
    row('B says', said(b), !pair.same),
  );
  const made = element('li', {}, stage, text);
  made.pair = pair;
  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    drag(stage, event);
  });
  stage.addEventListener('pointermove', (event) => {
    if (stage.hasPointerCapture(event.pointerId)) drag(stage, event);
  });
  watch.observe(made);
  return made;
}

function row(name, value, changed = false) {
  return element('span', { className: 'row' }, element('span', { textContent: name }), element('span', { className: changed ? 'changed' : '', textContent: value }));
}

function paintPair(made) {
  const [width, height] = made.pair.small;
  const scale = Math.max(1, LEAST_SIDE / Math.max(width, height));
  const size = [Math.round(width * scale), Math.round(height * scale)];
  for (const letter of ['a', 'b']) {
    const side = made.pair[letter];
    paint(made.querySelector(`.of-${letter}`), side.map, side.view, ...size, tables[$('colormap').value], false, shares);
  }
  made.painted = $('colormap').value;
}

/** Maps are painted when they come near the window. */
const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      entry.target.near = entry.isIntersecting;
      if (entry.isIntersecting && entry.target.painted !== $('colormap').value) paintPair(entry.target);
    }
  },
  { rootMargin: '400px' },
);

function setSplit(percent) {
  $('split').value = percent;
  document.documentElement.style.setProperty('--split', `${$('split').value}%`);
  $('share').textContent = `${$('split').value} : ${100 - $('split').value}`;
}

function drag(stage, event) {
  const { left, width } = stage.getBoundingClientRect();
  setSplit(Math.round((100 * (event.clientX - left)) / width));
}

const value = (pair) => pair.correlation ?? 2;
const orders = {
  different: (a, b) => value(a) - value(b),
  alike: (a, b) => (b.correlation ?? -2) - (a.correlation ?? -2),
  name: (a, b) => a.image.localeCompare(b.image, undefined, { numeric: true }),
};

function show() {
  const shown = pairs.filter((pair) => !$('changed').checked || !pair.same).sort(orders[$('order').value]);
  watch.disconnect();
  $('pairs').replaceChildren(...shown.map(makePair));
  const of = page.count > pairs.length ? ` of ${page.count}: the most different ones, compare.json has all` : '';
  $('count').textContent = `${shown.length} ${shown.length === 1 ? 'map' : 'maps'}${of}`;
}

function start() {
  for (const name of Object.keys(tables)) $('colormap').append(element('option', { value: name, textContent: name }));
  $('colormap').value = page.colormap;
  $('opacity').value = page.opacity;
  document.documentElement.style.setProperty('--opacity', page.opacity);
  setSplit(50);
  $('bar').addEventListener('submit', (event) => event.preventDefault());
  $('split').addEventListener('input', () => setSplit($('split').value));
  $('opacity').addEventListener('input', () => document.documentElement.style.setProperty('--opacity', $('opacity').value));
  $('colormap').addEventListener('change', () => {
    for (const made of $('pairs').children) {
      if (made.near) paintPair(made);
    }
  });
  $('order').addEventListener('change', show);
  $('changed').addEventListener('change', show);
  show();
}

start();
