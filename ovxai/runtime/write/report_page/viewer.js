// One picture, large: original against overlay, one map per class, boxes.

const CLASSES_AT_ONCE = 9;
const LEAST_SIDE = 480;
/** So many pixels a pointer may move in a click. */
const CLICK = 4;
const viewer = $('viewer');
let current = null;
let currentMap = null;

function openViewer(picture, map = leadingMap(picture)) {
  showPicture(picture, map);
  if (!viewer.open) viewer.showModal();
}

function showPicture(picture, map = leadingMap(picture)) {
  current = picture;
  currentMap = map ?? null;
  $('name').textContent = picture.title;
  const place = shown.indexOf(picture) + 1;
  $('place').textContent = place ? `${place} of ${shown.length}` : '';
  $('previous').disabled = shown.indexOf(picture) <= 0;
  $('next').disabled = shown.indexOf(picture) >= shown.length - 1;
  const [width, height] = picture.small;
  $('stage').style.setProperty('--aspect', width / height);
  $('original').src = picture.picture;
  $('original').alt = `${picture.title}, as it was`;
  showClasses(picture.maps.indexOf(currentMap) < CLASSES_AT_ONCE ? CLASSES_AT_ONCE : Infinity);
  showMap();
  showAbout();
}

function showClasses(most) {
  const { maps, more } = current;
  $('classes-name').textContent = maps.some(isOfBox) ? 'Boxes' : 'Classes';
  $('classes').replaceChildren(...maps.slice(0, most).map(classButton));
  $('all-classes').hidden = maps.length <= most;
  $('all-classes').textContent = `Show all ${maps.length} ${maps.some(isOfBox) ? 'boxes' : 'classes'}`;
  const notes = [];
  if (!maps.length) notes.push('Nothing was predicted for this picture.');
  if (more) notes.push(`${more} more ${more === 1 ? 'map is' : 'maps are'} in the folder, but not in this page.`);
  $('classes-note').textContent = notes.join(' ');
  $('classes-note').hidden = !notes.length;
  markClass();
}

function classButton(map, index) {
  const button = element(
    'button',
    { type: 'button', className: 'class', onclick: () => showMap(map) },
    element('kbd', { textContent: index < 9 ? index + 1 : '', ariaHidden: 'true' }),
    element('span', { className: 'label', textContent: map.label }),
    ...(map.guess ? [element('span', { className: 'guess', textContent: 'guess', title: GUESS })] : []),
    element('span', { className: 'score', textContent: scoreText(map.score) }),
    element('span', { className: 'bar', ariaHidden: 'true' }),
  );
  button.style.setProperty('--score', map.score ?? 0);
  button.map = map;
  return element('li', {}, button);
}

/** Show a class's map; without an argument the present one again. */
function showMap(map = currentMap) {
  currentMap = map;
  const [width, height] = current.small;
  const scale = Math.max(1, LEAST_SIDE / Math.max(width, height));
  paintFor($('map'), current, map, Math.round(width * scale), Math.round(height * scale));
  $('map').setAttribute('aria-label', map ? `Map of ${title(map)}` : 'No map');
  markClass();
  showFound();
}

function markClass() {
  for (const button of document.querySelectorAll('.class')) {
    button.setAttribute('aria-pressed', String(button.map === currentMap));
  }
}

/** Boxes and outlines of the class shown; of all where the map is of no class. */
function showFound() {
  // Beside the box whose map is shown, those whose maps a click would show.
  const found = isOfBox(currentMap) ? current.found.filter((item) => item.map !== undefined) : foundOf(current, currentMap);
  const on = $('show-boxes').checked;
  $('boxes').replaceChildren(...(on ? found.filter((item) => item.box).map(boxOf).reverse() : []));
  $('outlines').replaceChildren(...(on ? found.flatMap(outlinesOf) : []));
  showTrue(current, currentMap?.class ?? null, on);
  $('boxes-tick').hidden = !current.found.length && !current.truth?.things.length;
}

function boxOf(item) {
  const [x1, y1, x2, y2] = item.box.map((value) => 100 * Math.min(1, Math.max(0, value)));
  const box = element(
    'div',
    { className: 'box' },
    element(
      'span',
      {},
      element('span', { className: 'label', textContent: item.label, title: item.label }),
      element('span', { className: 'score', textContent: ` ${scoreText(item.score)}` }),
    ),
  );
  Object.assign(box.style, { left: `${x1}%`, top: `${y1}%`, width: `${x2 - x1}%`, height: `${y2 - y1}%` });
  box.style.setProperty('--color', item.color);
  box.map = current.maps[item.map];
  box.classList.toggle('other', isOfBox(currentMap) && box.map !== currentMap);
  box.classList.toggle('low', y1 < 6);
  box.classList.toggle('far', x1 > 60);
  return box;
}

function outlinesOf(item) {
  return item.outline.map((points) => {
    const polygon = drawn('polygon', { points: points.join(' ') });
    polygon.style.stroke = item.color;
    return polygon;
  });
}

/** The map of the box at a place of the stage: of several the smallest box's; undefined where there is none. */
function mapAt(event) {
  if (!$('show-boxes').checked) return undefined;
  const { left, top, width, height } = $('stage').getBoundingClientRect();
  const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
  const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  const here = current.found.filter(
    ({ map, box }) => map !== undefined && x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3],
  );
  return current.maps[here.sort((a, b) => area(a) - area(b))[0]?.map];
}

function showAbout() {
  const rows = [
    ['Source', current.source],
    ['Predicted', current.predicted.join(', ')],
    ...truthRows(current, currentMap),
    ['Size', `${current.size[0]} × ${current.size[1]}`],
    ['Map', currentMap ? `${currentMap.shape[1]} × ${currentMap.shape[0]}` : ''],
  ].filter(([, value]) => value);
  $('about').replaceChildren(...rows.map(([name, value]) => aboutRow(name, value)));
  noteAddress();
  $('about').append(aboutRow('Link', element('a', { href: addressOf(current, currentMap), textContent: `this picture and ${isOfBox(currentMap) ? 'box' : 'class'}` })));
  if (!currentMap?.file) return;
  const path = currentMap.file.split('/').map(encodeURIComponent).join('/');
  const link = element('a', { href: path, textContent: currentMap.file, target: '_blank', rel: 'noopener' });
  $('about').append(aboutRow('File', link));
}

function aboutRow(name, value) {
  return element('div', {}, element('dt', { textContent: name }), element('dd', {}, value));
}

function movePicture(step) {
  const next = shown[shown.indexOf(current) + step];
  if (!next) return;
  const focused = document.activeElement;
  showPicture(next);
  if (focused?.disabled || !focused?.isConnected) $('name').focus();
}

function pickClass(index) {
  const map = current.maps[index];
  if (!map) return;
  if (index >= $('classes').children.length) showClasses(Infinity);
  showMap(map);
  showAbout();
}

function moveClass(step) {
  const count = current.maps.length;
  if (!count) return;
  pickClass((current.maps.indexOf(currentMap) + step + count) % count);
  document.querySelector('.class[aria-pressed="true"]')?.scrollIntoView({ block: 'nearest' });
}

/** percent of the picture, from the left, lie under the map. */
function setSplit(percent) {
  $('split').value = percent;
  $('stage').style.setProperty('--split', `${$('split').value}%`);
  $('stage').style.setProperty('--share', $('split').value / 100);
}

function flipSplit() {
  setSplit(Number($('split').value) > 50 ? 0 : 100);
}

function dragSplit(event) {
  const { left, width } = $('stage').getBoundingClientRect();
  setSplit(Math.round((100 * (event.clientX - left)) / width));
}

/** Dragging lays the map over part of the picture; a click on a box that has a map of its own shows that. */
function startStage() {
  const stage = $('stage');
  let pressed = null;
  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    pressed = { x: event.clientX, y: event.clientY, map: mapAt(event) };
    if (!pressed.map) dragSplit(event);
  });
  stage.addEventListener('pointermove', (event) => {
    const under = mapAt(event);
    stage.classList.toggle('pick', Boolean(under));
    for (const box of $('boxes').children) box.classList.toggle('under', Boolean(under) && box.map === under);
    if (!pressed) return;
    if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > CLICK) pressed.map = undefined;
    if (!pressed.map) dragSplit(event);
  });
  stage.addEventListener('pointerup', () => {
    if (pressed?.map) pickClass(current.maps.indexOf(pressed.map));
    pressed = null;
  });
  stage.addEventListener('pointercancel', () => (pressed = null));
}

function startViewer() {
  setSplit(100);
  $('previous').addEventListener('click', () => movePicture(-1));
  $('next').addEventListener('click', () => movePicture(1));
  $('close').addEventListener('click', () => viewer.close());
  viewer.addEventListener('close', () => {
    leaveAddress();
    focusCard(current);
  });
  $('save').addEventListener('click', saveView);
  $('classes').addEventListener('click', showAbout);
  $('all-classes').addEventListener('click', () => {
    showClasses(Infinity);
    $('classes').children[CLASSES_AT_ONCE].firstChild.focus();
  });
  $('show-boxes').addEventListener('change', showFound);
  $('split').addEventListener('input', () => setSplit($('split').value));
  startStage();
  listeners.look.push((change) => {
    if (change.colormap && viewer.open) showMap();
    const ink = $('legend').querySelector('canvas').getContext('2d');
    const ramp = tables[look.colormap];
    const colors = Uint8ClampedArray.from({ length: 1024 }, (_, i) => (i % 4 === 3 ? 255 : ramp[3 * (i >> 2) + (i % 4)]));
    ink.putImageData(new ImageData(colors, 256, 1), 0, 0);
  });
}
