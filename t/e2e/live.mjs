// Follows a video on the player page while it is encoded, through the change
// to the finished master and to the end; then tries what the finished master
// is for: every rendition, and seeking.  Prints what it saw as one line of
// JSON:  node live.mjs URL
//
// A picture is 32x18 grey pixels of the frame that is shown, in hex, with the
// time of that frame.
import { chromium } from 'playwright-core';

const [url] = process.argv.slice(2);
const SEEKS = [0.71, 0.08, 0.5, 0.97, 0.31];   // of the duration

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
const seen = { errors: [], failed: [], masters: [], levels: [], seeks: [] };

// Runs in the page.
function watch() {
  const v = document.getElementById('video');
  const log = { events: [], started: null };
  window.seenOfVideo = log;
  for (const name of ['playing', 'waiting', 'stalled', 'ended', 'emptied']) {
    v.addEventListener(name, () => {
      log.events.push({ name, wall: Date.now(), at: v.currentTime,
                        ahead: v.buffered.length
                          ? v.buffered.end(v.buffered.length - 1) : 0 });
      if (name === 'playing' && !log.started) log.started = Date.now();
    });
  }
  window.picture = () => new Promise((done, lost) => {
    const timer = setTimeout(() => lost(new Error('no frame is shown')), 15000);
    v.requestVideoFrameCallback((_, meta) => {
      clearTimeout(timer);
      const c = document.createElement('canvas');
      c.width = 32;
      c.height = 18;
      const g = c.getContext('2d');
      g.imageSmoothingQuality = 'high';
      g.drawImage(v, 0, 0, 32, 18);
      const d = g.getImageData(0, 0, 32, 18).data;
      let hex = '';
      for (let i = 0; i < d.length; i += 4) {
        const y = 0.2126 * d[i] + 0.7152 * d[i + 1] + 0.0722 * d[i + 2];
        hex += Math.round(y).toString(16).padStart(2, '0');
      }
      done({ time: meta.mediaTime, width: meta.width, height: meta.height,
             hex });
    });
  });
}

try {
  const page = await browser.newPage();
  page.on('console', (m) => {
    if (m.type() === 'error') seen.errors.push(m.text());
  });
  page.on('pageerror', (e) => seen.errors.push(String(e)));
  page.on('response', (r) => {
    if (r.status() >= 400) seen.failed.push(`${r.status()} ${r.url()}`);
    const name = r.url().split('/').pop().split('?')[0];
    if (name.endsWith('master.m3u8')) {
      seen.masters.push({ name, wall: Date.now() });
    }
  });
  await page.addInitScript(() => {
    document.addEventListener('DOMContentLoaded', () => window.startWatch());
  });
  await page.addInitScript(`window.startWatch = ${watch}`);
  await page.goto(url);

  // live: until the finished master is taken up
  await page.waitForFunction(() => window.seenOfVideo.started, null,
                             { timeout: 60000 });
  seen.first = await page.evaluate(() => window.picture());
  // hls.url is that of the master; `hls` is the page's own
  await page.waitForFunction(() => hls.url.endsWith('/master.m3u8'), null,
                             { timeout: 150000, polling: 20 });
  // what happened up to the change; a viewer who has seen it to the end
  // before that finds it paused
  const change = await page.evaluate(() => {
    const { events } = window.seenOfVideo;
    const n = events.findIndex((e, i) => e.name === 'emptied'
      && events.slice(0, i).some((x) => x.name === 'playing'));
    const v = document.getElementById('video');
    if (v.paused) v.play();
    return n;
  });
  seen.switched = await page.evaluate(
    (n) => window.seenOfVideo.events[n].wall, change);
  seen.live = await page.evaluate(
    (n) => window.seenOfVideo.events.slice(0, n), change);
  await page.waitForFunction(
    (n) => window.seenOfVideo.events.slice(n).some((e) => e.name === 'playing'),
    change, { timeout: 30000, polling: 20 });
  seen.resumed = await page.evaluate((n) => window.seenOfVideo.events.slice(n)
    .find((e) => e.name === 'playing'), change);
  seen.after = await page.evaluate(() => window.picture());

  // every rendition, without the player's own choice; far from the end, which
  // is where the viewer is when encoding takes about as long as watching
  const levels = await page.evaluate(() => {
    const v = document.getElementById('video');
    v.currentTime = v.duration * 0.3;
    return hls.levels.map((l) => l.height);
  });
  for (const i of [...levels.keys()].reverse()) {
    await page.evaluate((n) => { hls.currentLevel = n; }, i);
    await page.waitForFunction(
      (h) => document.getElementById('video').videoHeight === h, levels[i],
      { timeout: 20000 });
    seen.levels.push({ height: levels[i],
                       ...await page.evaluate(() => window.picture()) });
  }

  // seeking, paused: the frame at that time and no other
  await page.evaluate(() => document.getElementById('video').pause());
  for (const share of SEEKS) {
    const got = await page.evaluate(async (s) => {
      const v = document.getElementById('video');
      const frame = window.picture();
      const seeked = new Promise((done) =>
        v.addEventListener('seeked', done, { once: true }));
      const to = v.duration * s;
      v.currentTime = to;
      await seeked;
      return { to, ...await frame };
    }, share);
    seen.seeks.push(got);
  }

  await page.evaluate(() => {
    const v = document.getElementById('video');
    v.currentTime = v.duration - 3;
    return v.play();
  });
  await page.waitForFunction(() => document.getElementById('video').ended,
                             null, { timeout: 60000 });
  Object.assign(seen, await page.evaluate(() => {
    const v = document.getElementById('video');
    return { duration: v.duration, currentTime: v.currentTime,
             audioBytes: v.webkitAudioDecodedByteCount };
  }));
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
