// Low-resolution grey maps -> colours over a picture. The same sums as ovxai.runtime.feed.geometry.

/** Base64 -> bytes. */
function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function tent(distance) {
  return Math.max(0, 1 - distance);
}

/** Keys' cubic convolution. */
function keys(distance, a = -0.5) {
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance ** 2 + 1;
  return distance < 2 ? ((distance - 5) * distance + 8) * distance * a - 4 * a : 0;
}

/** Which cells give how much to each of `count` pixels that lie in start..start+extent (0..1). */
function weights(count, cells, start, extent, cubic) {
  const taps = cubic ? [-1, 0, 1, 2] : [0, 1];
  const kernel = cubic ? keys : tent;
  return Array.from({ length: count }, (_, i) => {
    const centre = (start + (extent * (i + 0.5)) / count) * cells - 0.5;
    const first = Math.floor(centre);
    return taps.map((tap) => [
      Math.min(cells - 1, Math.max(0, first + tap)),
      kernel(Math.abs(centre - first - tap)),
    ]);
  });
}

/** A map over the network's input -> grey values over the part of the picture that the network saw. */
function spread(map, content, width, height, cubic) {
  const [rows, columns] = map.grid;
  const grey = bytes(map.grey);
  const [left, top, innerWidth, innerHeight] = content;
  const across = weights(width, columns, left, innerWidth, cubic);
  const down = weights(height, rows, top, innerHeight, cubic);
  const [low, high] = [Math.min(...grey), Math.max(...grey)];
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (const [cell, weight] of across[x]) sum += weight * grey[row * columns + cell];
      wide[row * width + x] = sum;
    }
  }
  const values = new Uint8ClampedArray(width * height);
  for (let y = 0; y < height; y++) {
    const line = new Float32Array(width);
    for (const [cell, weight] of down[y]) {
      for (let x = 0; x < width; x++) line[x] += weight * wide[cell * width + x];
    }
    // Cubic weights overshoot at edges.
    values.set(line.map((value) => Math.min(high, Math.max(low, value))), y * width);
  }
  return values;
}

/**
 * Paint `map` on a canvas of width x height; clear where the network did not look.
 * table: 256 colours. shares: how much of it there is at each of 256 levels, 0..255; null: all of it.
 */
function paint(canvas, map, view, width, height, table, cubic, shares = null) {
  canvas.width = width;
  canvas.height = height;
  if (!map) return;
  const [[x1, y1, x2, y2], content] = view;
  const [left, top] = [Math.round(x1 * width), Math.round(y1 * height)];
  const seenWidth = Math.max(1, Math.round(x2 * width) - left);
  const seenHeight = Math.max(1, Math.round(y2 * height) - top);
  const values = spread(map, content, seenWidth, seenHeight, cubic);
  const image = new ImageData(seenWidth, seenHeight);
  for (let i = 0; i < values.length; i++) {
    const color = 3 * values[i];
    image.data[4 * i] = table[color];
    image.data[4 * i + 1] = table[color + 1];
    image.data[4 * i + 2] = table[color + 2];
    image.data[4 * i + 3] = shares ? shares[values[i]] : 255;
  }
  canvas.getContext('2d').putImageData(image, left, top);
}
