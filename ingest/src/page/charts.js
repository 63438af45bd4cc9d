// Bars in plain SVG. Unknown is never drawn as zero: it is hatched, or left out where it has not happened yet.
import { h, s } from './dom.js';
import { number, language } from './text.js';

/** The quarter-hours from 4 to 20 o'clock: no sun in Mazandaran before or after. */
export const DAYLIGHT = { first: 16, end: 80 };
const LEFT = 40, TOP = 22, BOTTOM = 22;

/** The next round value above, so that the scale's lines carry plain numbers. */
function ceiling(value) {
  if (value <= 0) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * step).find((m) => m >= value * 1.001) ?? 10 * step;
}

/** How many decimals a scale's value needs: half of 1.5 is 0.75, not 0.8. */
export function decimals(value) {
  return [0, 1, 2].find((digits) => Math.abs(value * 10 ** digits - Math.round(value * 10 ** digits)) < 1e-6) ?? 3;
}

/** The small picture of a day: one bar a quarter-hour, `null` in the past as a tick of its own. */
export function spark(quarters, peak_w, label) {
  const full = Math.max(...quarters.map((q) => q ?? 0), peak_w / 4 * 0.12, 1);
  const shown = quarters.slice(DAYLIGHT.first, DAYLIGHT.end);
  const bars = shown.map((wh, i) => wh === null
    ? s('rect', { class: 'gap', x: i, y: 29, width: 1, height: 5 })
    : wh > 0 ? s('rect', { class: 'made', x: i + 0.08, y: 34 - wh / full * 32, width: 0.84, height: wh / full * 32 }) : null);
  return s('svg', { class: 'spark', viewBox: `0 0 ${DAYLIGHT.end - DAYLIGHT.first} 34`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, bars);
}

/**
 * A bar chart that fills its box.
 *
 * bars: [{ value (null = unknown, undefined = not yet), line?, tip, label?, href?, current? }], unit factor and text for the scale.
 */
export function barChart({ bars, label, unit, divide, now }) {
  const box = h('div', { class: 'plot' });
  const draw = () => {
    const width = box.clientWidth, height = box.clientHeight;
    if (width > 0 && height > 0) box.replaceChildren(picture({ bars, label, unit, divide, now, width, height, box }), tipOf(box));
  };
  new ResizeObserver(draw).observe(box);
  return box;
}

function tipOf(box) {
  box.tip = h('div', { class: 'tip', lang: language(), hidden: true });
  return box.tip;
}

function picture({ bars, label, unit, divide, now, width, height, box }) {
  const top = ceiling(Math.max(0, ...bars.map((b) => Math.max(b.value ?? 0, b.line ?? 0))) / divide) * divide;
  const inner = { w: width - LEFT - 4, h: height - TOP - BOTTOM };
  const x = (i) => LEFT + i / bars.length * inner.w;
  const y = (v) => TOP + inner.h - v / top * inner.h;
  const hatch = s('pattern', { id: 'hatch', width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    s('path', { class: 'hatch-line', d: 'M0 0v6' }));
  const lines = [0.5, 1].map((part) => [
    s('line', { class: 'grid', x1: LEFT, x2: width - 4, y1: y(top * part), y2: y(top * part) }),
    s('text', { x: LEFT - 7, y: y(top * part) + 4, 'text-anchor': 'end' }, number(top * part / divide, decimals(top * part / divide))),
  ]);
  return s('svg', { role: 'group', 'aria-label': label }, s('defs', null, hatch), lines,
    s('text', { x: 0, y: 10, 'text-anchor': 'start' }, unit),
    bars.map((bar, i) => column({ bar, i, x, y, inner, height, box })),
    usedLine(bars, x, y),
    s('line', { class: 'base', x1: LEFT, x2: width - 4, y1: y(0), y2: y(0) }),
    now >= 0 && now <= 1 ? s('line', { class: 'now', x1: LEFT + now * inner.w, x2: LEFT + now * inner.w, y1: TOP - 4, y2: y(0) }) : null);
}

function column({ bar, i, x, y, inner, height, box }) {
  const wide = x(i + 1) - x(i);
  const gap = wide > 12 ? wide * 0.16 : Math.min(0.5, wide * 0.1);
  const parts = [s('rect', { class: 'hit', x: x(i), y: TOP, width: wide, height: inner.h, rx: wide > 12 ? 4 : 0 })];
  if (bar.value === null) parts.push(s('rect', { class: 'gap', x: x(i), y: TOP, width: wide, height: inner.h }));
  if (bar.value > 0) {
    const round = wide > 12 ? 3 : 1;
    parts.push(s('rect', { class: bar.spread ? 'made spread' : 'made', x: x(i) + gap, y: y(bar.value), width: wide - 2 * gap, height: y(0) - y(bar.value), rx: Math.min(round, (y(0) - y(bar.value)) / 2) }));
  }
  if (bar.label) parts.push(s('text', { class: 'under', x: bar.edge ? x(i) : x(i) + wide / 2, y: height - 5, 'text-anchor': 'middle' }, bar.label));
  const say = () => {
    if (!bar.tip) return;
    box.tip.replaceChildren(...bar.tip.map((line) => h('div', null, line)));
    box.tip.hidden = false;
    const half = box.tip.offsetWidth / 2;
    box.tip.style.left = `${Math.max(half, Math.min(box.clientWidth - half, x(i) + wide / 2))}px`;
    box.tip.style.top = `${y(Math.max(bar.value ?? 0, bar.line ?? 0)) - 4}px`;
  };
  const hide = () => { box.tip.hidden = true; };
  const events = { onpointerenter: say, onpointerleave: hide, onfocus: say, onblur: hide };
  if (!bar.href) return s('g', events, parts);
  return s('a', { href: bar.href, 'aria-label': bar.tip?.join(', '), 'aria-current': bar.current ? 'date' : null, ...events }, parts);
}

/** What was consumed, as a stepped line over the bars; it breaks where it is unknown. */
function usedLine(bars, x, y) {
  let path = '', open = false;
  bars.forEach((bar, i) => {
    if (bar.line === null || bar.line === undefined) { open = false; return; }
    path += `${open ? 'L' : 'M'}${x(i).toFixed(1)} ${y(bar.line).toFixed(1)}H${x(i + 1).toFixed(1)}`;
    open = true;
  });
  return path ? s('path', { class: 'used', d: path, 'pointer-events': 'none' }) : null;
}

/** Labels under the quarter-hours of a day, at every `every` hours. */
export function hourLabel(index, every) {
  if (index % 4 !== 0 || index / 4 % every !== 0) return null;
  return number(index / 4);
}
