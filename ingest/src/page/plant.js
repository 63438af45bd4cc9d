// One plant: its numbers, the energy of the last thirty days, and the quarter-hours of one of them.
import { h, say } from './dom.js';
import { barChart, hourLabel } from './charts.js';
import { getJson, serverNow } from './api.js';
import { balanceText, chips } from './list.js';
import { drawRecords, recordsPanel } from './records.js';
import { ago, clockText, dayText, energy, isoDay, language, nameOf, number, peak, percent, power, shortDay, t, timeText } from './text.js';

const DAYS = 30;
const DAY_MS = 86_400_000;
const QUARTER_MS = 900_000;
const REFETCH_MS = 30_000;
let view = null;

/** Draws or refreshes the plant `id` in `main`; `day` is YYYY-MM-DD or null for today. */
export function renderPlant(main, fleet, id, day) {
  const plant = fleet.plants.find((p) => p.id === id);
  if (!plant) {
    view = null;
    main.replaceChildren(backLink(), h('p', { class: 'empty' }, t('no_such')));
    return;
  }
  if (!view || view.id !== id || view.lang !== language() || view.root.parentNode !== main) {
    view = skeleton(id);
    main.replaceChildren(view.root);
  }
  const today = isoDay(fleet.now_ms);
  const wanted = day ?? today;
  if (view.day !== wanted) { view.day = wanted; view.dayFetched = 0; }
  view.fleet = fleet;
  view.plant = plant;
  drawHead(view);
  const shown = view;
  drawRecords(shown.records, plant, () => shown === view);
  load(view, today);
}

const backLink = () => h('a', { class: 'back', href: '#' }, language() === 'fa' ? `→ ${t('back')}` : `← ${t('back')}`);

function skeleton(id) {
  const made = { id, lang: language(), head: h('div', { class: 'plant-head' }), facts: h('dl', { class: 'facts' }), daysFetched: 0, dayFetched: 0 };
  made.days = panel();
  made.quarters = panel();
  made.records = recordsPanel();
  made.more = h('section', { class: 'panel more' });
  made.root = h('div', null, backLink(), made.head, made.facts, made.days.root, made.quarters.root, made.records.root, made.more);
  return made;
}

function panel() {
  const made = { title: h('h2'), steps: h('span', { class: 'steps' }), sum: h('span', { class: 'sum num' }), body: h('div') };
  made.root = h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, made.title, made.steps, made.sum), made.body);
  return made;
}

function drawHead(made) {
  const p = made.plant;
  const key = JSON.stringify({ ...p, last_reading_age_s: 0 });
  if (made.headKey === key) return;
  made.headKey = key;
  made.head.replaceChildren(h('h1', null, nameOf(p)), chips(p), h('p', null, `${nameOf(p.district)} · ${nameOf(p.owner)} (${t(p.owner.kind)})`));
  made.age = h('dd', { class: 'num' });
  const fact = (title, value, note) => h('div', null, h('dt', null, t(title)), h('dd', { class: 'num' }, value, note ? h('small', null, note) : null));
  made.facts.replaceChildren(
    fact('power_now', p.ac_power_w === null ? '—' : power(p.ac_power_w), p.ac_power_w === null ? null : t('of_peak', percent(p.ac_power_w / Math.max(1, p.peak_w)), peak(p.peak_w))),
    fact('energy_today', p.generated_today_wh === null ? '—' : energy(p.generated_today_wh), p.generated_today_wh === null ? null : t('specific', number(p.generated_today_wh / Math.max(1, p.peak_w), 2))),
    ...expectedFacts(p, fact),
    fact('balance', balanceText(p)),
    fact('col_peers', p.peer_yield_ratio === null ? '—' : percent(p.peer_yield_ratio)),
    h('div', null, h('dt', null, t('col_age')), made.age));
  drawMore(made);
  drawAge();
}

/** What a model expected of today so far, and the performance ratio where a sensor measures it. */
function expectedFacts(p, fact) {
  const e = p.expected;
  const share = e.made_of_today_wh > 0 ? t('of_expected', percent(e.made_today_wh / e.made_of_today_wh)) : null;
  return [
    e.today_wh === null ? null : fact('expected_today', energy(e.today_wh), share),
    e.performance_ratio_today === null ? null : fact('performance_ratio', percent(e.performance_ratio_today)),
  ].filter((one) => one !== null);
}

function drawMore(made) {
  const p = made.plant;
  const rows = [['where', nameOf(p.district)], ['owner', nameOf(p.owner)], ['capacity', peak(p.peak_w)], ['inverter', power(p.inverter_ac_w)],
    ['state', t(p.state)], ['sun', p.sun_elevation_deg === null ? '—' : `${number(p.sun_elevation_deg, 1)}°`]];
  const devices = p.devices.map((d) => h('tr', null, h('th', { scope: 'row' }, h('bdi', null, d.id)),
    h('td', null, d.last_reading_ms === null ? t('never') : whenText(d.last_reading_ms)), h('td', null, d.stale ? t('unclear') : '')));
  made.more.replaceChildren(
    h('table', { class: 'data' }, h('tbody', null, rows.map(([key, value]) => h('tr', null, h('th', { scope: 'row' }, t(key)), h('td', null, value))))),
    h('table', { class: 'data' }, h('thead', null, h('tr', null, [t('devices'), t('col_age'), t('state')].map((word) => h('th', { scope: 'col' }, word)))), h('tbody', null, devices)));
}

/** A time, with its day unless that is today. */
const whenText = (ms) => (isoDay(ms) === isoDay(serverNow()) ? '' : `${shortDay(ms)} `) + clockText(ms);

/** Fetches what is due; an answer for a plant or day that is no longer shown is dropped. */
async function load(made, today) {
  const now = serverNow();
  const first = isoDay(now - (DAYS - 1) * DAY_MS);
  const path = `/api/v1/plants/${encodeURIComponent(made.id)}/intervals`;
  const after = (day) => isoDay(Date.parse(`${day}T12:00:00+03:30`) + DAY_MS);
  const fetchPart = async (fetched, url, draw, box) => {
    if (Date.now() - made[fetched] < REFETCH_MS) return;
    made[fetched] = Date.now();
    const wanted = made.day;
    box.root.classList.add('busy');
    try {
      const answer = await getJson(url);
      if (made === view && (fetched !== 'dayFetched' || wanted === made.day)) draw(made, answer, today);
    } catch (error) {
      made[fetched] = 0;
      if (error.answered && made === view) box.body.replaceChildren(h('p', { class: 'empty' }, t('broken', error.message)));
    }
    box.root.classList.remove('busy');
  };
  const daysShown = made.daysFor === made.day;
  made.daysFor = made.day;
  if (!daysShown && made.daysAnswer) drawDays(made, made.daysAnswer);
  await Promise.all([
    fetchPart('daysFetched', `${path}?from=${first}&to=${after(today)}&step=1d`, drawDays, made.days),
    fetchPart('dayFetched', `${path}?from=${made.day}&to=${after(made.day)}&step=15m`, drawQuarters, made.quarters),
  ]);
}

function drawDays(made, answer) {
  made.daysAnswer = answer;
  const bars = answer.intervals.map((row, i) => {
    const day = isoDay(row.start_ms);
    const label = (answer.intervals.length - 1 - i) % 5 === 0 ? shortDay(row.start_ms) : null;
    return { value: row.generated_wh, tip: tipOf(row, dayText(row.start_ms)), label, current: day === made.day,
      href: `#plant=${encodeURIComponent(made.id)}&day=${day}` };
  });
  say(made.days.title, t('days', number(DAYS)));
  fill(made, made.days, answer, bars, t('chart_days'), shortDay);
}

function drawQuarters(made, answer) {
  const start = answer.from_ms;
  const now = serverNow();
  const bars = answer.intervals.map((row, i) => ({
    value: row.generated_wh === null && row.start_ms + QUARTER_MS > now ? undefined : row.generated_wh, line: row.consumed_wh,
    spread: row.spread, tip: row.start_ms > now ? null : tipOf(row, timeText(row.start_ms)), label: hourLabel(i, 3), edge: true,
  }));
  say(made.quarters.title, t('day', dayText(start)));
  const step = (days, key, path) => {
    const day = isoDay(start + DAY_MS / 2 + days * DAY_MS);
    return h('button', { type: 'button', 'aria-label': t(key), disabled: day > isoDay(now), onclick: () => { location.hash = `plant=${encodeURIComponent(made.id)}&day=${day}`; } },
      svgArrow(path));
  };
  made.quarters.steps.replaceChildren(step(-1, 'previous', 'M10 3 5 8l5 5'), step(1, 'next', 'M6 3l5 5-5 5'));
  fill(made, made.quarters, answer, bars, t('chart_day'), timeText, (now - start) / DAY_MS);
}

function svgArrow(path) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('width', '14');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(svg.namespaceURI, 'path');
  for (const [key, value] of Object.entries({ d: path, fill: 'none', stroke: 'currentColor', 'stroke-width': '2', 'stroke-linecap': 'round', 'stroke-linejoin': 'round' })) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}

function tipOf(row, when) {
  const lines = [when, row.generated_wh === null ? t('unknown') : `${t('generated')} ${energy(row.generated_wh)}`];
  if (row.consumed_wh !== null) lines.push(`${t('consumed')} ${energy(row.consumed_wh)}`);
  return lines.concat(remarks(row));
}

/** What must be known about an interval's numbers. */
function remarks(row) {
  const over = row.end_ms <= serverNow();
  const partly = over && row.generated_wh !== null && row.completeness < 0.995;
  // Meters read at slightly different instants may miss each other by a little.
  const negative = row.consumed_wh !== null && row.consumed_wh < -10;
  return [['spread', row.spread], ['reset', row.reset], ['held', row.held], ['assumed', row.assumed], ['settling', row.settling], ['partly', partly], ['negative', negative]].filter(([, applies]) => applies).map(([word]) => t(word));
}

function fill(made, box, answer, bars, label, when, now = -1) {
  const known = answer.intervals.filter((row) => row.generated_wh !== null);
  say(box.sum, known.length ? `${t('total')} ${energy(known.reduce((sum, row) => sum + row.generated_wh, 0))}` : '');
  if (known.length === 0) {
    box.body.replaceChildren(h('p', { class: 'empty' }, t('chart_none')));
    return;
  }
  const open = box.body.querySelector('details')?.open;
  const used = bars.some((bar) => bar.line !== null && bar.line !== undefined);
  const legend = h('p', { class: 'legend' }, h('span', null, h('i'), t('legend_generated')),
    bars.some((bar) => bar.spread && bar.value) ? h('span', null, h('i', { class: 'l-spread' }), t('spread')) : null,
    used ? h('span', null, h('i', { class: 'l-used' }), t('legend_consumed')) : null,
    bars.some((bar) => bar.value === null) ? h('span', null, h('i', { class: 'l-gap' }), t('legend_unknown')) : null);
  box.body.replaceChildren(barChart({ bars, label, unit: t('kWh'), divide: 1000, now }), legend, table(answer.intervals, when, open));
}

/** The chart's numbers for those who can't see it, or want to copy them. */
function table(intervals, when, open) {
  const columns = [['generated', 'generated_wh'], ['consumed', 'consumed_wh'], ['imported', 'import_wh'], ['exported', 'export_wh']]
    .filter(([word, key]) => word === 'generated' || intervals.some((row) => row[key] !== null));
  const imbalanced = intervals.some((row) => row.imbalance_wh !== null);
  const cell = (wh) => h('td', { class: 'num' }, wh === null ? t('unknown_interval') : energy(wh));
  const shown = intervals.filter((row) => row.start_ms <= serverNow());
  const head = h('tr', null, [t('interval'), ...columns.map(([word]) => t(word)), ...(imbalanced ? [t('imbalance')] : []), t('mark')].map((word) => h('th', { scope: 'col' }, word)));
  const rows = shown.map((row) => h('tr', null, h('th', { scope: 'row', class: 'num' }, when(row.start_ms)), columns.map(([, key]) => cell(row[key])),
    imbalanced ? h('td', { class: 'num' }, row.imbalance_wh === null ? t('unknown_interval') : inWords(row.imbalance_wh)) : null, h('td', null, remarks(row).join(language() === 'fa' ? '، ' : ', '))));
  return h('details', { open }, h('summary', null, t('table')), h('div', { class: 'scroll', tabindex: 0 }, h('table', { class: 'data' }, h('thead', null, head), h('tbody', null, rows))));
}

/** An imbalance of energy in words. */
function inWords(wh) {
  if (wh === 0) return t('even');
  return t(wh > 0 ? 'deficit' : 'surplus', energy(Math.abs(wh)));
}

function drawAge() {
  if (!view?.age?.isConnected || !view.plant) return;
  say(view.age, view.plant.last_reading_ms === null ? t('never') : ago(serverNow() - view.plant.last_reading_ms));
}

document.addEventListener('taraz-tick', drawAge);
