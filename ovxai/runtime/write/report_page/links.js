// The picture and class that are open stand in the page's address: they can be linked to, and Back closes them.

function addressOf(picture, map) {
  const words = new URLSearchParams({ picture: picture.name });
  if (map) words.set('class', mapKey(map));
  return `#${words}`;
}

/** What the address says is open: a picture and one of its maps; null where it says none. */
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const picture = pictures.find((one) => one.name === wanted.get('picture'));
  if (!picture) return null;
  return { picture, map: picture.maps.find((one) => mapKey(one) === wanted.get('class')) ?? leadingMap(picture) };
}

const pageTitle = document.title;

/** Opening makes one entry in the history, whatever is looked at after; one that was closed is used again. */
function noteAddress() {
  document.title = `${current.title} (${pageTitle})`;
  const address = addressOf(current, currentMap);
  if (location.hash === address) return;
  const again = history.state?.viewer || fromAddress();
  history[again ? 'replaceState' : 'pushState']({ viewer: true }, '', address);
}

function leaveAddress() {
  document.title = pageTitle;
  if (fromAddress()) history.replaceState({ viewer: true }, '', location.href.split('#')[0]);
}

/** Show what the address says: at the start, after Back and Forward, and when a link was followed. */
function followAddress() {
  const open = fromAddress();
  if (!open) {
    if (viewer.open) viewer.close();
  } else if (!viewer.open || open.picture !== current || open.map !== currentMap) {
    openViewer(open.picture, open.map);
  }
}

function startLinks() {
  addEventListener('popstate', followAddress);
  addEventListener('hashchange', followAddress);
  followAddress();
}
