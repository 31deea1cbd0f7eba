// Opens the player page in Chromium, plays to the end, prints what it saw as
// one line of JSON:  node play.mjs URL [RATE]
import { chromium } from 'playwright-core';

const [url, rate = '1'] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
const seen = { errors: [], failed: [], requests: 0 };
try {
  const page = await browser.newPage();
  page.on('console', (m) => {
    if (m.type() === 'error') seen.errors.push(m.text());
  });
  page.on('pageerror', (e) => seen.errors.push(String(e)));
  page.on('response', (r) => {
    seen.requests++;
    if (r.status() >= 400) seen.failed.push(`${r.status()} ${r.url()}`);
  });
  await page.goto(url);
  await page.waitForFunction(
    () => document.getElementById('video').readyState >= 2, null,
    { timeout: 30000 });
  await page.evaluate((r) => {
    const v = document.getElementById('video');
    v.playbackRate = r;
    return v.play();
  }, Number(rate));
  await page.waitForFunction(
    () => document.getElementById('video').ended, null, { timeout: 120000 });
  Object.assign(seen, await page.evaluate(() => {
    const v = document.getElementById('video');
    const q = v.getVideoPlaybackQuality();
    return {
      player: document.body.dataset.player,
      address: location.href,
      duration: v.duration,
      currentTime: v.currentTime,
      ended: v.ended,
      width: v.videoWidth,
      height: v.videoHeight,
      frames: q.totalVideoFrames,
      audioBytes: v.webkitAudioDecodedByteCount,
      state: document.getElementById('state').textContent,
    };
  }));
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
