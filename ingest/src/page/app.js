// The page's loop: fetch, draw, wait, again. It also says when nothing answers.
import { getJson, serverNow, setServerNow } from './api.js';
import { h, say, show } from './dom.js';
import { clockText, dayText, language, number, pickLanguage, setLanguage, t } from './text.js';
import { renderList } from './list.js';
import { renderPlant } from './plant.js';

const REFRESH_MS = 5_000;

const main = document.getElementById('main');
const clock = document.getElementById('clock');
const offline = document.getElementById('offline');

/** What was fetched last, and what went wrong since. */
const state = { fleet: null, lost: false, error: null };
let timer = null;

async function refresh() {
  clearTimeout(timer);
  try {
    const fleet = await getJson('/api/v1/plants');
    setServerNow(fleet.now_ms);
    Object.assign(state, { fleet, lost: false, error: null });
  } catch (error) {
    state.lost = true;
    state.error = error.answered ? error.message : null;
  }
  draw();
  timer = setTimeout(refresh, REFRESH_MS);
}

function draw() {
  tick();
  drawBacklog();
  if (!state.fleet) return;
  const asked = new URLSearchParams(location.hash.slice(1));
  const plant = asked.get('plant');
  const needing = state.fleet.totals.plants_needing_attention;
  document.title = t('page_title', needing ? number(needing) : '');
  document.getElementById('loading')?.remove();
  if (plant) renderPlant(main, state.fleet, plant, asked.get('day'));
  else renderList(main, state.fleet);
}

/** The clock, and the banner when the server is silent. Runs every second. */
function tick() {
  const last = state.fleet ? clockText(state.fleet.now_ms) : '—';
  show(offline, state.lost);
  if (state.lost) say(offline, state.error ? t('broken', state.error) : t('offline', last));
  clock.classList.toggle('lost', state.lost);
  const now = serverNow();
  clock.replaceChildren(h('i', { class: 'dot' }), `${dayText(now)}${language() === 'fa' ? '،' : ','} `, h('b', { class: 'num' }, clockText(now)));
  document.dispatchEvent(new Event('taraz-tick'));
}

function drawBacklog() {
  const backlog = state.fleet?.backlog;
  const draining = backlog?.plants_draining > 0;
  show(document.getElementById('backfill'), draining);
  if (!draining) return;
  const left = backlog.records_remaining;
  const sentence = t('backfill', number(backlog.plants_draining), number(state.fleet.totals.plants));
  say(document.getElementById('backfill-text'), !left ? sentence : sentence + t('backfill_left', number(left)));
  const bar = document.getElementById('backfill-progress');
  bar.setAttribute('aria-label', sentence);
  if (backlog.progress_permille === null) bar.removeAttribute('value');
  else bar.value = backlog.progress_permille;
}

/** Puts the words of the language into what stands in the page from the start. */
function translate() {
  for (const element of document.querySelectorAll('[data-text]')) say(element, t(element.dataset.text));
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', t(element.dataset.label));
  for (const button of document.querySelectorAll('[data-lang]')) button.setAttribute('aria-pressed', button.dataset.lang === language());
}

for (const button of document.querySelectorAll('[data-lang]')) {
  button.addEventListener('click', () => {
    setLanguage(button.dataset.lang, true);
    const address = new URL(location.href);
    address.searchParams.set('lang', button.dataset.lang);
    history.replaceState(null, '', address);
    translate();
    main.replaceChildren();
    draw();
  });
}

addEventListener('hashchange', () => {
  draw();
  if (!new URLSearchParams(location.hash.slice(1)).get('day')) { scrollTo(0, 0); main.focus({ preventScroll: true }); }
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
pickLanguage();
translate();
setInterval(tick, 1_000);
refresh();
