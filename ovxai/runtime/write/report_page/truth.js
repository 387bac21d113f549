// Annotations beside predictions: right, wrong or missed; nothing of this shows in runs without them.

const OUTCOMES = { wrong: 'wrong', missed: 'missed', right: 'right', unjudged: 'not judged', none: 'not annotated' };
const MOST_LISTED = 8;

function outcome(picture) {
  return picture.truth?.outcome ?? 'none';
}

function hasTruth() {
  return pictures.some((picture) => picture.truth);
}

function passesTruth(picture) {
  const wanted = $('truth')?.value;
  return !wanted || outcome(picture) === wanted;
}

orders.truth = (a, b) => Object.keys(OUTCOMES).indexOf(outcome(a)) - Object.keys(OUTCOMES).indexOf(outcome(b));

function listed(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const all = [...counts].map(([label, count]) => (count > 1 ? `${label} ×${count}` : label));
  return all.length > MOST_LISTED ? `${all.slice(0, MOST_LISTED).join(', ')}, ...` : all.join(', ');
}

/** Of a picture, what it truly shows, for those who do not see the badge. */
function truthText(picture) {
  if (!picture.truth) return '';
  const labels = listed(picture.truth.things.map((thing) => thing.label));
  return `; ${OUTCOMES[outcome(picture)]}${labels ? `, truly ${labels}` : ''}`;
}

function truthBadge(picture) {
  if (!picture.truth) return [];
  const labels = listed(picture.truth.things.map((thing) => thing.label)) || 'nothing annotated';
  const badge = element('span', { className: 'badge', textContent: OUTCOMES[outcome(picture)] });
  badge.dataset.outcome = outcome(picture);
  return [element('span', { className: 'true' }, badge, element('span', { className: 'label', textContent: labels, title: labels }))];
}

/** What the viewer says of a picture and of the map that is shown. */
function truthRows(picture, map) {
  if (!picture.truth) return hasTruth() ? [['Truth', 'not annotated']] : [];
  const share = map && map.class !== null && !(map.number > 1) ? picture.truth.energy[map.class] : undefined;
  return [
    ['Truth', listed(picture.truth.things.map((thing) => thing.label)) || 'nothing annotated'],
    ['Right', listed(picture.truth.right)],
    ['Wrong', listed(picture.truth.wrong)],
    ['Missed', listed(picture.truth.missed)],
    ['Energy', share === undefined ? '' : `${Math.round(100 * share)} % of the map lies on its objects`],
  ];
}

/** Dashed boxes and outlines of a class, of all where the map is of no class; behind those of the predictions. */
function showTrue(picture, wanted, on) {
  const things = (on && picture.truth ? picture.truth.things : []).filter((thing) => wanted === null || thing.class === wanted);
  $('boxes').prepend(...things.filter((thing) => thing.box && !thing.outline.length).map(trueBox));
  $('outlines').append(...things.flatMap(trueOutlines));
}

function trueBox(thing) {
  const [x1, y1, x2, y2] = thing.box.map((value) => 100 * Math.min(1, Math.max(0, value)));
  const name = thing.outcome === 'missed' ? `${thing.label}: missed` : thing.label;
  const box = element('div', { className: 'box true-box' }, element('span', { textContent: name }));
  Object.assign(box.style, { left: `${x1}%`, top: `${y1}%`, width: `${x2 - x1}%`, height: `${y2 - y1}%` });
  box.classList.toggle('far', x1 > 60);
  box.classList.toggle('deep', y2 > 94);
  return box;
}

function trueOutlines(thing) {
  return thing.outline.map((points) => {
    const polygon = document.createElementNS('http://www.w3.org/2000/svg', 'polygon');
    polygon.setAttribute('points', points.join(' '));
    polygon.classList.add('true-outline');
    return polygon;
  });
}

function startTruth() {
  if (!hasTruth()) return;
  const counts = new Map();
  for (const picture of pictures) counts.set(outcome(picture), (counts.get(outcome(picture)) ?? 0) + 1);
  const select = element('select', { id: 'truth' }, element('option', { value: '', textContent: 'all' }));
  for (const [key, words] of Object.entries(OUTCOMES)) {
    if (counts.has(key)) select.append(element('option', { value: key, textContent: `${words} (${counts.get(key)})` }));
  }
  const order = $('order');
  order.closest('label').before(element('label', {}, element('span', { textContent: 'Truth' }), select));
  // What went wrong is what somebody who has the truth looks for.
  order.prepend(element('option', { value: 'truth', textContent: 'wrong first', defaultSelected: true, selected: true }));
}
