// The player page: hls.js over a master playlist.
//
//   /#src=/v/{video}/{token}/{prefix}/hls/master.m3u8
//   /#video={id}&token={jwt}      asks for the status until it can be played
//
// What is behind # never reaches a server; the token is taken out of the
// address bar at once.
'use strict';

const video = document.getElementById('video');
const state = document.getElementById('state');
const field = (id) => document.getElementById(id);
let hls = null;
let round = 0;                        // a new source ends the old one's loop

function say(text) {
  state.textContent = text;
}

// From the beginning, or from second `at` on; `rest`: stay paused there.
function play(src, note, at = 0, rest = false) {
  if (hls) {
    hls.destroy();
    hls = null;
  }
  say(note || src);
  if (window.Hls && window.Hls.isSupported()) {
    hls = new window.Hls({startPosition: at});
    hls.on(window.Hls.Events.ERROR, (_, data) => {
      if (data.fatal) {
        say(`Cannot play: ${data.details}`);
      }
    });
    hls.loadSource(src);
    hls.attachMedia(video);
    document.body.dataset.player = 'hls.js';
  } else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    video.src = at ? `${src}#t=${at}` : src;    // the browser's own HLS
    document.body.dataset.player = 'native';
  } else {
    say('hls.js is not here and this browser has no HLS of its own.');
    return;
  }
  if (!rest) {
    video.play().catch(() => {});     // without a gesture it may not start
  }
}

async function follow(id, token) {
  const mine = ++round;
  let shown = null;
  for (;;) {
    const r = await fetch(`/api/v1/videos/${encodeURIComponent(id)}/status`,
                          {headers: {Authorization: `Bearer ${token}`}});
    if (mine !== round) {
      return;
    }
    const doc = await r.json();
    if (r.status === 429 || r.status === 503) {
      await new Promise((done) => setTimeout(done, 2000));
      continue;
    }
    if (!r.ok) {
      say(`${doc.title}: ${doc.detail}`);
      return;
    }
    if (doc.thumbnailUrl) {
      video.poster = doc.thumbnailUrl;
    }
    // While it is encoded only the first rendition plays.  The finished master
    // is taken up where that one has come to: players do not read a master
    // again, and it has the other renditions.
    if (doc.playbackUrl && doc.playbackUrl !== shown &&
        (shown === null || doc.status === 'completed' ||
         video.currentTime === 0)) {
      const first = shown === null || video.currentTime === 0;
      shown = doc.playbackUrl;
      if (first) {
        play(shown, doc.title);
      } else {
        play(shown, doc.title, video.ended ? 0 : video.currentTime,
             video.paused);
      }
    }
    if (doc.status === 'completed' || doc.status === 'failed') {
      say(doc.status === 'failed' ? `${doc.title}: ${doc.error}` : doc.title);
      return;
    }
    say(`${doc.title}: ${doc.status} ${doc.progress} %`);
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function start(src, id, token) {
  if (src) {
    ++round;
    play(src);
  } else if (id && token) {
    follow(id, token).catch((e) => say(`Cannot ask for the status: ${e}`));
  }
}

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has('token')) {
    const kept = new URLSearchParams(given);
    kept.delete('token');
    history.replaceState(null, '', `#${kept}`);
  }
  field('src').value = given.get('src') || '';
  field('id').value = given.get('video') || '';
  field('token').value = given.get('token') || field('token').value;
  start(given.get('src'), given.get('video'), given.get('token'));
}

field('form').addEventListener('submit', (e) => {
  e.preventDefault();
  start(field('src').value.trim(), field('id').value.trim(),
        field('token').value.trim());
});
window.addEventListener('hashchange', fromAddress);
fromAddress();
