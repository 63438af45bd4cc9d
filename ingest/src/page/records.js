// What became of the records that a plant's devices have written: a balance, and the runs that are not here.
import { h, say, show } from './dom.js';
import { getJson } from './api.js';
import { clockText, digits, number, shortDay, t } from './text.js';

const REFETCH_MS = 30_000;
/** The most runs that are shown, the newest. */
const RUNS_MAX = 50;
const STATES = ['stored', 'held', 'pending', 'dropped', 'unknown'];

export function recordsPanel() {
  const made = { title: h('h2'), sum: h('span', { class: 'sum num' }), parts: h('dl', { class: 'balance' }), runs: h('div'), fetched: 0 };
  made.root = h('section', { class: 'panel records' }, h('div', { class: 'panel-head' }, made.title, made.sum), made.parts, made.runs);
  return made;
}

/** Draws the balance of a plant, and fetches its runs when something is not here. `isShown` says whether the plant still is. */
export function drawRecords(made, plant, isShown) {
  const gaps = plant.gaps;
  show(made.root, gaps !== null);
  if (gaps === null) return;
  say(made.title, t('records'));
  say(made.sum, t('records_written', number(gaps.written)));
  const part = (state, i) => h('div', { class: state === 'unknown' && gaps.unknown > 0 ? 'calls' : null },
    h('dt', null, `${i === 0 ? '=' : '+'} ${t(`records_${state}`)}`), h('dd', { class: 'num' }, number(gaps[state])));
  made.parts.replaceChildren(...STATES.map(part));
  if (gaps.pending + gaps.dropped + gaps.unknown === 0) made.runs.replaceChildren();
  else load(made, plant, isShown);
}

async function load(made, plant, isShown) {
  if (Date.now() - made.fetched < REFETCH_MS) return;
  made.fetched = Date.now();
  try {
    const heard = plant.devices.filter((device) => device.last_reading_ms !== null);
    const answers = await Promise.all(heard.map((device) => getJson(`/api/v1/gaps?device=${encodeURIComponent(device.id)}`)));
    if (isShown()) drawRuns(made, answers.flatMap((answer) => answer.devices));
  } catch (error) {
    made.fetched = 0;
    if (error.answered && isShown()) made.runs.replaceChildren(h('p', { class: 'empty' }, t('broken', error.message)));
  }
}

function drawRuns(made, devices) {
  const runs = devices.flatMap((device) => device.boots.flatMap((boot) => boot.gaps.map((gap) => ({ device: device.device, boot, gap }))));
  runs.sort((a, b) => newest(b) - newest(a));
  const columns = ['records_run', 'records_fate', 'records_after', 'records_before', 'devices', 'records_identity'];
  const when = (ms) => (ms === null ? t('records_open') : `${shortDay(ms)} ${clockText(ms)}`);
  const row = ({ device, boot, gap }) => h('tr', null,
    h('td', { class: 'num' }, number(gap.last - gap.first + 1)), h('td', null, t(`records_${gap.fate}`)),
    h('td', { class: 'num' }, when(gap.span.after_ms)), h('td', { class: 'num' }, when(gap.span.before_ms)),
    h('td', null, h('bdi', null, device)), h('td', { class: 'num' }, t('records_boot', digits(boot.boot), digits(gap.first), digits(gap.last))));
  const more = runs.length - RUNS_MAX;
  made.runs.replaceChildren(
    h('div', { class: 'scroll' }, h('table', { class: 'data' },
      h('thead', null, h('tr', null, columns.map((key) => h('th', { scope: 'col' }, t(key))))),
      h('tbody', null, runs.slice(0, RUNS_MAX).map(row)))),
    more > 0 ? h('p', { class: 'soft' }, t('records_more', number(more))) : '');
}

/** What is open behind is the newest; what nothing places in time comes last. */
const newest = ({ gap: { span } }) => span.before_ms ?? (span.after_ms === null ? -Infinity : Number.MAX_SAFE_INTEGER);
