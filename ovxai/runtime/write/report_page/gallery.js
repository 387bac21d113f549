// All pictures at a glance. Cards are made as they come into sight, so that long runs open quickly.

const CARDS_AT_ONCE = 48;
const CARD_SIDE = 240;
const GUESS = 'Not over the threshold: the best that there is.';

function makeCard(picture) {
  const map = leadingMap(picture);
  const text = map ? title(map) : 'nothing predicted';
  const picked = element('img', { src: picture.picture, alt: '', loading: 'lazy', decoding: 'async', draggable: false });
  const card = element(
    'button',
    { type: 'button', className: 'card' },
    element('span', { className: 'frame' }, picked, element('canvas'), smallBoxes(picture, map)),
    element('span', { className: 'name', textContent: picture.title, title: picture.source }),
    ...truthBadge(picture),
    element(
      'span',
      { className: 'best' },
      element('span', { className: 'label', textContent: map ? map.label : 'nothing predicted', title: map?.label ?? '' }),
      ...(map?.guess ? [element('span', { className: 'guess', textContent: 'guess', title: GUESS })] : []),
      element('span', { className: 'score', textContent: map ? scoreText(map.score) : '' }),
    ),
  );
  card.setAttribute('aria-label', `${picture.title}: ${text}${truthText(picture)}`);
  card.addEventListener('click', () => openViewer(picture));
  card.picture = picture;
  watchCards.observe(card);
  return element('li', {}, card);
}

/** Boxes of the class shown, on the picture as it lies in its frame. */
function smallBoxes(picture, map) {
  const [width, height] = picture.small;
  const drawing = drawn('svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' });
  for (const { box, color } of foundOf(picture, map).reverse()) {
    if (!box) continue;
    const [x1, y1, x2, y2] = box.map((value) => Math.min(1, Math.max(0, value)));
    const place = { x: x1 * width, y: y1 * height, width: (x2 - x1) * width, height: (y2 - y1) * height };
    drawing.append(drawn('rect', { ...place, stroke: color }));
  }
  return drawing;
}

function paintCard(card) {
  const [width, height] = card.picture.small;
  const scale = Math.min(1, CARD_SIDE / Math.max(width, height));
  const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  paintFor(card.querySelector('canvas'), card.picture, leadingMap(card.picture), ...size);
  card.painted = look.colormap;
}

/** Cards paint their map when they come near the window, and again when they come back in other colours. */
const watchCards = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      entry.target.near = entry.isIntersecting;
      if (entry.isIntersecting && entry.target.painted !== look.colormap) paintCard(entry.target);
    }
  },
  { rootMargin: '300px' },
);

function addCards(upTo = $('gallery').children.length + CARDS_AT_ONCE) {
  const from = $('gallery').children.length;
  $('gallery').append(...shown.slice(from, upTo).map(makeCard));
  $('further').hidden = $('gallery').children.length >= shown.length;
}

function showGallery() {
  watchCards.disconnect();
  $('gallery').replaceChildren();
  addCards();
}

function cards() {
  return [...document.querySelectorAll('.card')];
}

function focusCard(picture) {
  const index = shown.indexOf(picture);
  if (index < 0) return;
  addCards(Math.max(index + 1, $('gallery').children.length));
  cards()[index].focus();
}

/** Arrow keys from card to card; up and down by rows. */
function moveInGallery(key) {
  const all = cards();
  if (!all.length) return false;
  const here = all.indexOf(document.activeElement);
  const columns = getComputedStyle($('gallery')).gridTemplateColumns.split(' ').length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  if (here < 0) {
    if (key === 'ArrowUp' || key === 'ArrowDown') return false; // the page scrolls
    all[0].focus();
    return true;
  }
  const wanted = here + step;
  if (wanted >= all.length) addCards();
  (cards()[Math.max(0, Math.min(wanted, cards().length - 1))] ?? all[here]).focus();
  return true;
}

function startGallery() {
  listeners.shown.push(showGallery);
  listeners.look.push((change) => {
    if (change.colormap) cards().filter((card) => card.near).forEach(paintCard);
  });
  $('further').addEventListener('click', () => addCards());
  new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) addCards();
    },
    { rootMargin: '600px' },
  ).observe($('further'));
}
