// What the viewer shows, as a PNG: picture, map, boxes, and below them what it is.

const STRIP = 34;

function drawFound(ink, width, height) {
  if (!$('show-boxes').checked) return;
  ink.lineWidth = 2;
  ink.font = '14px system-ui, sans-serif';
  for (const item of foundOf(current, currentMap).reverse()) {
    ink.strokeStyle = item.color;
    for (const points of item.outline) {
      ink.beginPath();
      for (let i = 0; i < points.length; i += 2) ink.lineTo(points[i] * width, points[i + 1] * height);
      ink.closePath();
      ink.stroke();
    }
    if (!item.box) continue;
    const [x1, y1, x2, y2] = item.box.map((value, i) => Math.min(1, Math.max(0, value)) * (i % 2 ? height : width));
    ink.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const wide = ink.measureText(title(item)).width + 8;
    const [left, top] = [Math.max(0, Math.min(x1 - 1, width - wide)), y1 < 20 ? y1 : y1 - 20];
    ink.fillStyle = item.color;
    ink.fillRect(left, top, wide, 20);
    ink.fillStyle = '#000';
    ink.fillText(title(item), left + 4, top + 15);
  }
}

/** Name of the picture, class and score, and the colours from cold to hot. */
function drawStrip(ink, width, top) {
  ink.fillStyle = '#fff';
  ink.fillRect(0, top, width, STRIP);
  const bar = currentMap && width >= 320 ? 96 : 0;
  const table = tables[look.colormap];
  for (let x = 0; x < bar; x++) {
    const level = 3 * Math.round((255 * x) / (bar - 1));
    ink.fillStyle = `rgb(${table[level]} ${table[level + 1]} ${table[level + 2]})`;
    ink.fillRect(width - bar - 10 + x, top + 10, 1, STRIP - 20);
  }
  ink.fillStyle = '#1b1f24';
  ink.font = '15px system-ui, sans-serif';
  const what = currentMap ? title(currentMap) + (currentMap.guess ? ' (a guess)' : '') : 'nothing predicted';
  ink.fillText(`${what}  ·  ${current.title}`, 10, top + 22, width - bar - 30);
}

function viewAsCanvas() {
  const { width, height } = $('map');
  const canvas = element('canvas', { width, height: height + STRIP });
  const ink = canvas.getContext('2d');
  ink.drawImage($('original'), 0, 0, width, height);
  ink.save();
  ink.beginPath();
  ink.rect(0, 0, (width * $('split').value) / 100, height);
  ink.clip();
  ink.globalAlpha = look.opacity;
  ink.drawImage($('map'), 0, 0);
  ink.restore();
  drawFound(ink, width, height);
  drawStrip(ink, width, height);
  return canvas;
}

/** Download the view. Of a page from a disk, browsers keep pictures that lie beside it to themselves: then the note says so. */
async function saveView() {
  let data = null;
  try {
    const canvas = viewAsCanvas();
    data = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  } catch (error) {
    if (error.name !== 'SecurityError') throw error;
  }
  $('save-note').hidden = Boolean(data);
  if (!data) return;
  const address = URL.createObjectURL(data);
  const words = [current.name, currentMap?.label].filter(Boolean).join('_').replace(/[^\p{L}\p{M}\p{N}_-]+/gu, '_');
  element('a', { href: address, download: `${words}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
