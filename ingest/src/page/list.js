// The fleet: totals on top, then the plants, those that need someone first.
import { h, say, show } from './dom.js';
import { barChart, DAYLIGHT, hourLabel, spark } from './charts.js';
import { serverNow } from './api.js';
import { ago, balance, energy, energyParts, language, nameOf, number, peak, percent, powerParts, t, timeText } from './text.js';

const QUARTER_MS = 900_000;
let view = null;

/** Draws or refreshes the list in `main`. Rows are kept, so that focus and selection survive. */
export function renderList(main, fleet) {
  if (!view || view.root.parentNode !== main || view.lang !== language()) {
    view = skeleton();
    main.replaceChildren(view.root);
  }
  view.fleet = fleet;
  drawTotals(view, fleet);
  const calls = fleet.plants.filter((p) => p.needs.length > 0);
  const running = fleet.plants.filter((p) => p.needs.length === 0);
  const well = [...running.filter(isUnaccounted), ...running.filter((p) => !isUnaccounted(p))];
  show(view.empty, fleet.plants.length === 0);
  show(view.table, fleet.plants.length > 0);
  drawGroup(view, view.calls, calls, t('group_need'));
  drawGroup(view, view.well, well, t('group_well'));
  drawAges();
}

function skeleton() {
  const made = { lang: language(), rows: new Map(), calls: h('tbody'), well: h('tbody') };
  const columns = ['col_plant', 'col_power', 'col_today', 'col_energy', 'col_balance', 'col_peers', 'col_age'];
  const head = h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
    columns.map((key) => h('th', { scope: 'col', role: 'columnheader', class: key === 'col_peers' ? 'col-peers' : null }, t(key)))));
  for (const body of [made.calls, made.well]) body.setAttribute('role', 'rowgroup');
  made.table = h('table', { class: 'plants', role: 'table' }, h('caption', { class: 'visually-hidden' }, t('plants')), head, made.calls, made.well);
  made.empty = h('p', { class: 'empty' }, t('empty'));
  made.hero = hero(made);
  made.root = h('div', null, made.hero, made.empty, made.table);
  return made;
}

function hero(made) {
  const tile = (key) => {
    made[key] = { value: h('b', { class: 'num' }), note: h('span') };
    return h('div', null, h('span', null, t(key)), made[key].value, made[key].note);
  };
  made.power = { value: h('p', { class: 'hero-power num' }), note: h('p', { class: 'label num' }), gauge: h('i') };
  made.chart = h('div', { class: 'hero-chart' });
  return h('section', { class: 'hero', 'aria-label': t('plants') },
    h('div', null, h('p', { class: 'label' }, t('power_now')), made.power.value, h('div', { class: 'gauge', 'aria-hidden': 'true' }, made.power.gauge), made.power.note),
    made.chart,
    h('div', { class: 'tiles' }, tile('energy_today'), tile('balance'), tile('plants')));
}

function drawTotals(made, fleet) {
  const totals = fleet.totals;
  made.power.value.replaceChildren(...bigNumber(totals.ac_power_w, powerParts));
  made.power.gauge.style.inlineSize = `${Math.min(100, Math.max(0, (totals.ac_power_w ?? 0) / Math.max(1, totals.peak_w) * 100))}%`;
  say(made.power.note, totals.ac_power_w === null ? peak(totals.peak_w) : t('of_peak', percent(totals.ac_power_w / Math.max(1, totals.peak_w)), peak(totals.peak_w)));
  say(made.energy_today.value, totals.generated_today_wh === null ? '—' : energy(totals.generated_today_wh));
  say(made.energy_today.note, totals.generated_today_wh === null ? '' : t('specific', number(totals.generated_today_wh / Math.max(1, totals.peak_w), 2)));
  say(made.balance.value, balance(totals.imbalance_w));
  say(made.balance.note, totals.sites_known ? t('over_sites', number(totals.sites_known), number(totals.sites)) : t('sites_none'));
  say(made.plants.value, t('live_of', number(totals.plants_live), number(totals.plants)));
  const open = fleet.plants.filter(isUnaccounted).length;
  const calls = [totals.plants_needing_attention ? t('need', number(totals.plants_needing_attention)) : null, open ? t('records_call', number(open)) : null];
  say(made.plants.note, calls.filter((one) => one !== null).join(' · ') || t('all_well'));
  made.plants.note.className = totals.plants_needing_attention || open ? 'calls' : '';
  const key = JSON.stringify([fleet.day_start_ms, fleet.plants.map((p) => p.generated_quarters_wh)]);
  if (made.chartKey !== key) { made.chartKey = key; drawFleetDay(made, fleet); }
}

/** A number with its unit set smaller; a dash when it is unknown. */
function bigNumber(value, parts) {
  if (value === null) return ['—'];
  const [text, unit] = parts(value);
  return [text, h('small', null, unit)];
}

function drawFleetDay(made, fleet) {
  const elapsed = Math.min(96, Math.floor((fleet.now_ms - fleet.day_start_ms) / QUARTER_MS) + 1);
  const bars = Array.from({ length: 96 }, (_, i) => {
    const known = fleet.plants.map((p) => p.generated_quarters_wh[i]).filter((wh) => wh !== null && wh !== undefined);
    const value = known.length ? known.reduce((a, b) => a + b, 0) : i < elapsed - 1 && fleet.plants.length ? null : undefined;
    const from = timeText(fleet.day_start_ms + i * QUARTER_MS);
    const tip = value === undefined ? null : [from, value === null ? t('unknown') : energy(value)];
    return { value, tip, label: hourLabel(i, 4), edge: true };
  }).slice(DAYLIGHT.first, DAYLIGHT.end);
  const now = ((fleet.now_ms - fleet.day_start_ms) / QUARTER_MS - DAYLIGHT.first) / bars.length;
  const chart = barChart({ bars, label: t('fleet_today'), unit: t('kWh'), divide: 1000, now });
  made.chart.replaceChildren(h('p', { class: 'label' }, t('fleet_today')), chart);
}

function drawGroup(made, body, plants, title) {
  const heading = (made.headings ??= new Map()).get(body) ?? h('tr', { class: 'group', role: 'row' }, h('th', { colspan: 7, scope: 'rowgroup', role: 'rowheader' }));
  made.headings.set(body, heading);
  heading.classList.toggle('calls', body === made.calls);
  say(heading.firstChild, `${title} · ${number(plants.length)}`);
  const wanted = plants.length ? [heading, ...plants.map((plant) => rowOf(made, plant))] : [];
  if (wanted.length !== body.children.length || wanted.some((row, i) => body.children[i] !== row)) body.replaceChildren(...wanted);
}

function rowOf(made, plant) {
  let row = made.rows.get(plant.id);
  if (!row) {
    const cell = (name) => h('td', { class: `cell-${name}`, role: 'cell' });
    row = { name: h('th', { scope: 'row', role: 'rowheader' }), power: cell('power'), spark: cell('spark'), energy: cell('energy'), balance: cell('balance'), peers: cell('peers'), age: cell('age') };
    row.peers.classList.add('col-peers');
    row.element = h('tr', { class: 'row', role: 'row' }, row.name, row.power, row.spark, row.energy, row.balance, row.peers, row.age);
    made.rows.set(plant.id, row);
  }
  const { last_reading_age_s: _, ...lasting } = plant;
  const key = JSON.stringify(lasting);
  if (row.key !== key) { row.key = key; fillRow(row, plant); }
  return row.element;
}

function fillRow(row, plant) {
  row.element.classList.toggle('stale', plant.stale);
  const focused = row.name.contains(document.activeElement);
  row.name.replaceChildren(h('a', { href: `#plant=${encodeURIComponent(plant.id)}` }, nameOf(plant)),
    h('span', { class: 'sub' }, `${nameOf(plant.district)} · ${nameOf(plant.owner)} · ${peak(plant.peak_w)}`), chips(plant));
  if (focused) row.name.firstChild.focus();
  const share = Math.min(100, Math.max(0, (plant.ac_power_w ?? 0) / Math.max(1, plant.peak_w) * 100));
  const [value, unit] = plant.ac_power_w === null ? ['—', ''] : powerParts(plant.ac_power_w);
  const gauge = h('i');
  gauge.style.inlineSize = `${share}%`;
  row.power.replaceChildren(h('span', { class: 'num' }, h('b', null, value), h('small', null, ` ${unit}`)), h('span', { class: 'bar', 'aria-hidden': 'true' }, gauge));
  const made_wh = plant.generated_today_wh;
  row.spark.replaceChildren(spark(plant.generated_quarters_wh, plant.peak_w, made_wh === null ? t('unknown') : t('spark', energy(made_wh))));
  row.energy.dataset.label = t('col_today');
  row.energy.replaceChildren(h('span', { class: 'num' }, made_wh === null ? '—' : energyParts(made_wh).join(' ')),
    h('span', { class: 'sub soft' }, made_wh === null ? '' : `${number(made_wh / Math.max(1, plant.peak_w), 2)} ${t('kWh')}/${t('kWp')}`));
  row.balance.replaceChildren(balanceText(plant));
  row.peers.replaceChildren(plant.peer_yield_ratio === null ? h('span', { class: 'soft' }, '—') : h('span', { class: `num ${plant.needs.includes('underperforming') ? 'deficit' : ''}` }, percent(plant.peer_yield_ratio)));
  row.last_ms = plant.last_reading_ms;
}

/** The plant's balance as words, coloured by its direction. */
export function balanceText(plant) {
  const w = plant.imbalance_w;
  if (w === null) return h('span', { class: 'soft' }, t(plant.balance_metered ? 'unknown' : 'unmetered'));
  return h('span', { class: `num ${w >= 1 ? 'deficit' : w <= -1 ? 'surplus' : 'soft'}` }, balance(w));
}

/** Records of its devices are neither here nor anywhere that is known. While history comes in nothing is said: it may be among it. */
const isUnaccounted = (plant) => !plant.draining && plant.gaps?.unknown > 0;

/** What is the matter with a plant, or what it does. */
export function chips(plant) {
  const words = plant.needs.map((need) => h('span', { class: `chip ${need === 'underperforming' ? 'warn' : 'bad'}` }, t(need)));
  if (plant.needs.length === 0) {
    const tone = { producing: 'good', asleep: 'asleep' }[plant.state] ?? '';
    words.push(h('span', { class: `chip ${tone}` }, t(plant.state)));
  }
  if (plant.draining) words.push(h('span', { class: 'chip warn' }, t('draining')));
  else if (isUnaccounted(plant)) words.push(h('span', { class: 'chip warn' }, t('gaps_unknown', number(plant.gaps.unknown))));
  return h('span', { class: 'chips' }, words);
}

function drawAges() {
  if (!view?.root.isConnected) return;
  for (const row of view.rows.values()) {
    say(row.age, row.last_ms === null || row.last_ms === undefined ? t('never') : ago(serverNow() - row.last_ms));
  }
}

document.addEventListener('taraz-tick', drawAges);
