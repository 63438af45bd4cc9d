// Words, numbers and dates in both languages. Everything a person reads comes from here.

const WORDS = {
  en: {
    brand: 'Taraz', subtitle: 'solar plants, live', skip: 'Skip to the plants', language: 'Language',
    loading: 'Loading the plants…', foot: 'Energy per quarter-hour from the meters’ own registers.', metrics: 'metrics', health: 'health',
    power_now: 'Power now', energy_today: 'Energy today', balance: 'Balance', plants: 'Plants', fleet_today: 'Fleet today, per quarter-hour',
    of_peak: (share, peak) => `${share} of ${peak} installed`, live_of: (live, all) => `${live} of ${all} live`,
    need: (n) => n === '1' ? '1 needs someone' : `${n} need someone`, all_well: 'none needs anyone',
    deficit: (power) => `deficit ${power}`, surplus: (power) => `surplus ${power}`, even: 'even', unmetered: 'not metered', unknown: 'unknown',
    expected_today: 'Expected so far today', of_expected: (share) => `${share} of it made`, performance_ratio: 'Performance ratio today',
    over_sites: (n, all) => `${n} of ${all} sites known`, sites_none: 'no site with a known balance', specific: (v) => `${v} kWh per kWp`,
    group_need: 'Need someone', group_well: 'Running', col_plant: 'Plant', col_power: 'Power now', col_today: 'Today', col_energy: 'Energy today',
    col_balance: 'Balance', col_peers: 'Against peers', col_age: 'Last reading', never: 'never', draining: 'sending its history',
    silent: 'silent', fault: 'inverter fault', no_power_in_sun: 'no power in the sun', underperforming: 'below its neighbours',
    records: 'Records of its devices', records_written: (n) => `${n} written`, records_stored: 'stored', records_held: 'held back', records_pending: 'on their way',
    records_dropped: 'lost on the device', records_unknown: 'unaccounted for', records_run: 'Records', records_fate: 'What became of them',
    records_after: 'Written after', records_before: 'Written before', records_open: 'open', records_identity: 'Which',
    records_boot: (boot, first, last) => first === last ? `boot ${boot}, ${first}` : `boot ${boot}, ${first} to ${last}`,
    records_more: (n) => `and ${n} more runs: “taraz gaps” tells all`,
    records_call: (n) => n === '1' ? '1 with records unaccounted for' : `${n} with records unaccounted for`, gaps_unknown: (n) => `${n} records unaccounted for`,
    never_heard: 'never heard from', producing: 'producing', asleep: 'asleep, sun is down', idle: 'idle', throttled: 'throttled', unclear: 'no live value',
    municipality: 'municipality', village: 'village', agency: 'agency',
    offline: (since) => `The server does not answer since ${since}. What you see is as of then; trying again.`,
    broken: (what) => `The server answered with an error: ${what}`,
    backfill: (n, all) => `History is coming in: ${n} of ${all} plants are still sending what their devices kept.`,
    backfill_left: (n) => ` About ${n} records to go.`,
    back: 'All plants', days: (n) => `Energy per day, last ${n} days`, day: (date) => `${date}, per quarter-hour`, table: 'The same as a table',
    interval: 'From', generated: 'Generated', consumed: 'Consumed', imported: 'From the grid', exported: 'Into the grid', imbalance: 'Imbalance',
    mark: 'Remark', spread: 'spread over a gap', reset: 'a register fell', held: 'readings held back', unknown_interval: 'unknown', no_such: 'There is no such plant in the registry.',
    where: 'District', owner: 'Owner', capacity: 'Modules', inverter: 'Inverters, AC', state: 'State', sun: 'Sun elevation', devices: 'Devices',
    per_quarter: 'average', chart_days: 'Bar chart of energy per day; each bar opens its day', chart_day: 'Bar chart of energy per quarter-hour', chart_none: 'No readings in this span yet.',
    spark: (energy) => `Today by quarter-hour, ${energy} in all`, legend_generated: 'generated', legend_consumed: 'consumed', legend_unknown: 'unknown', total: 'sum', partly: 'partly known', assumed: 'a register that was never stated taken for 0', settling: 'late readings are being worked in', negative: 'consumption below 0 – an inverter that is not registered or a reversed current transformer?',
    now: 'now', page_title: (n) => n ? `(${n}) Taraz` : 'Taraz', empty: 'The registry has no plants yet: add them to fleet.toml.', previous: 'Day before', next: 'Day after',
    W: 'W', kW: 'kW', MW: 'MW', Wh: 'Wh', kWh: 'kWh', MWh: 'MWh', kWp: 'kWp', MWp: 'MWp', Wp: 'Wp',
  },
  fa: {
    brand: 'تراز', subtitle: 'نیروگاه‌های خورشیدی، زنده', skip: 'پرش به نیروگاه‌ها', language: 'زبان',
    loading: 'در حال دریافت نیروگاه‌ها…', foot: 'انرژی هر ربع ساعت از شمارندهٔ خود کنتورها.', metrics: 'سنجه‌ها', health: 'سلامت',
    power_now: 'توان اکنون', energy_today: 'انرژی امروز', balance: 'تراز', plants: 'نیروگاه‌ها', fleet_today: 'همهٔ نیروگاه‌ها، امروز به ربع ساعت',
    of_peak: (share, peak) => `${share} از ${peak} نصب‌شده`, live_of: (live, all) => `${live} از ${all} برخط`,
    need: (n) => `${n} نیازمند رسیدگی`, all_well: 'هیچ‌یک رسیدگی نمی‌خواهد',
    deficit: (power) => `کسری ${power}`, surplus: (power) => `مازاد ${power}`, even: 'سربه‌سر', unmetered: 'بی‌کنتور', unknown: 'نامعلوم',
    expected_today: 'انتظار امروز تا کنون', of_expected: (share) => `${share} آن تولید شد`, performance_ratio: 'ضریب عملکرد امروز',
    over_sites: (n, all) => `${n} از ${all} محل معلوم`, sites_none: 'تراز هیچ محلی معلوم نیست', specific: (v) => `${v} کیلووات‌ساعت بر کیلووات‌پیک`,
    group_need: 'نیازمند رسیدگی', group_well: 'در کار', col_plant: 'نیروگاه', col_power: 'توان اکنون', col_today: 'امروز', col_energy: 'انرژی امروز',
    col_balance: 'تراز', col_peers: 'در برابر همسایه‌ها', col_age: 'آخرین خوانش', never: 'هرگز', draining: 'در حال ارسال تاریخچه',
    silent: 'بی‌خبر', fault: 'خطای اینورتر', no_power_in_sun: 'بی‌توان در آفتاب', underperforming: 'کمتر از همسایه‌ها',
    records: 'رکوردهای دستگاه‌ها', records_written: (n) => `${n} نوشته‌شده`, records_stored: 'ذخیره‌شده', records_held: 'نگه‌داشته', records_pending: 'در راه',
    records_dropped: 'ازدست‌رفته در دستگاه', records_unknown: 'بی‌سرنوشت', records_run: 'رکوردها', records_fate: 'سرنوشت',
    records_after: 'نوشته‌شده پس از', records_before: 'نوشته‌شده پیش از', records_open: 'نامعلوم', records_identity: 'کدام‌ها',
    records_boot: (boot, first, last) => first === last ? `راه‌اندازی ${boot}، ${first}` : `راه‌اندازی ${boot}، ${first} تا ${last}`,
    records_more: (n) => `و ${n} رشتهٔ دیگر: همه را «taraz gaps» می‌گوید`,
    records_call: (n) => `${n} با رکورد بی‌سرنوشت`, gaps_unknown: (n) => `${n} رکورد بی‌سرنوشت`,
    never_heard: 'هنوز خبری نرسیده', producing: 'در حال تولید', asleep: 'خاموش، خورشید پایین است', idle: 'بیکار', throttled: 'محدودشده', unclear: 'مقدار زنده ندارد',
    municipality: 'شهرداری', village: 'دهیاری', agency: 'دستگاه اجرایی',
    offline: (since) => `سرور از ساعت ${since} پاسخ نمی‌دهد. آنچه می‌بینید از همان هنگام است؛ دوباره تلاش می‌شود.`,
    broken: (what) => `سرور خطا داد: ${what}`,
    backfill: (n, all) => `تاریخچه در راه است: ${n} از ${all} نیروگاه هنوز داده‌های نگه‌داشته را می‌فرستند.`,
    backfill_left: (n) => ` نزدیک ${n} رکورد مانده است.`,
    back: 'همهٔ نیروگاه‌ها', days: (n) => `انرژی روزانه، ${n} روز گذشته`, day: (date) => `${date}، به ربع ساعت`, table: 'همین‌ها در جدول',
    interval: 'از', generated: 'تولید', consumed: 'مصرف', imported: 'از شبکه', exported: 'به شبکه', imbalance: 'ناترازی',
    mark: 'یادداشت', spread: 'پخش‌شده بر یک وقفه', reset: 'شمارنده‌ای افت کرد', held: 'خوانش‌های نگه‌داشته', unknown_interval: 'نامعلوم', no_such: 'چنین نیروگاهی در فهرست نیست.',
    where: 'شهرستان', owner: 'مالک', capacity: 'ماژول‌ها', inverter: 'اینورتر، AC', state: 'وضعیت', sun: 'ارتفاع خورشید', devices: 'دستگاه‌ها',
    per_quarter: 'میانگین', chart_days: 'نمودار انرژی هر روز؛ هر میله روز خود را باز می‌کند', chart_day: 'نمودار انرژی هر ربع ساعت', chart_none: 'در این بازه هنوز خوانشی نیست.',
    spark: (energy) => `امروز به ربع ساعت، جمعاً ${energy}`, legend_generated: 'تولید', legend_consumed: 'مصرف', legend_unknown: 'نامعلوم', total: 'جمع', partly: 'بخشی معلوم است', assumed: 'رجیستر اعلام‌نشده صفر فرض شده', settling: 'قرائت‌های دیررس در حال اعمال', negative: 'مصرف منفی – اینورتر ثبت‌نشده یا ترانس جریان وارونه؟',
    now: 'اکنون', page_title: (n) => n ? `(${n}) تراز` : 'تراز', empty: 'هنوز نیروگاهی در فهرست نیست: آن‌ها را در fleet.toml بیفزایید.', previous: 'روز پیش', next: 'روز پس',
    W: 'وات', kW: 'کیلووات', MW: 'مگاوات', Wh: 'وات‌ساعت', kWh: 'کیلووات‌ساعت', MWh: 'مگاوات‌ساعت', kWp: 'کیلووات‌پیک', MWp: 'مگاوات‌پیک', Wp: 'وات‌پیک',
  },
};

const LOCALE = { en: 'en-GB', fa: 'fa-IR-u-ca-persian-nu-arabext' };
const ZONE = 'Asia/Tehran';
const KEY = 'taraz-lang';

let lang = 'en';
let formats = {};

/** The language of the address, else the remembered one, else the browser's. */
export function pickLanguage() {
  const asked = new URLSearchParams(location.search).get('lang');
  let kept = null;
  try { kept = localStorage.getItem(KEY); } catch { /* storage may be forbidden */ }
  const found = [asked, kept, navigator.language?.slice(0, 2)].find((l) => l === 'fa' || l === 'en');
  setLanguage(found ?? 'en', asked !== null);
}

/** Switches everything to a language, and remembers it when a person asked for it. */
export function setLanguage(next, remember) {
  lang = next;
  if (remember) try { localStorage.setItem(KEY, next); } catch { /* as above */ }
  const date = (options) => new Intl.DateTimeFormat(LOCALE[lang], { timeZone: ZONE, ...options });
  formats = {
    day: date({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }), short: date({ day: 'numeric', month: 'short' }),
    time: date({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }), hms: date({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
    ago: new Intl.RelativeTimeFormat(LOCALE[lang], { style: 'short', numeric: 'always' }),
  };
  document.documentElement.lang = lang;
  document.documentElement.dir = lang === 'fa' ? 'rtl' : 'ltr';
}

export const language = () => lang;

/** A word, or a sentence with its parts put in. */
export function t(key, ...parts) {
  const word = WORDS[lang][key];
  return typeof word === 'function' ? word(...parts) : word ?? key;
}

/** The name of a thing that has one in each language. */
export const nameOf = (thing) => (thing ? (lang === 'fa' ? thing.name_fa : thing.name) || thing.id : '');

export function number(value, digits = 0) {
  return new Intl.NumberFormat(LOCALE[lang], { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A number that names something: no separators. */
export const digits = (value) => new Intl.NumberFormat(LOCALE[lang], { useGrouping: false }).format(value);

export const percent = (share) => new Intl.NumberFormat(LOCALE[lang], { style: 'percent', maximumFractionDigits: 0 }).format(share);

/** Value and unit of a watt quantity at the scale that reads best: [text, unit key]. */
function scaled(value, units) {
  const size = Math.abs(value);
  if (size >= 999_500) return [number(value / 1e6, 2), units[2]];
  if (size >= 1_000) return [number(value / 1e3, size >= 99_950 ? 0 : 1), units[1]];
  return [number(value), units[0]];
}

export const powerParts = (w) => { const [v, u] = scaled(w, ['W', 'kW', 'MW']); return [v, t(u)]; };
export const energyParts = (wh) => { const [v, u] = scaled(wh, ['Wh', 'kWh', 'MWh']); return [v, t(u)]; };
export const power = (w) => powerParts(w).join(' ');
export const energy = (wh) => energyParts(wh).join(' ');
export const peak = (w) => { const [v, u] = scaled(w, ['Wp', 'kWp', 'MWp']); return `${v} ${t(u)}`; };

/** An imbalance in words: above zero consumption exceeds generation. */
export function balance(w) {
  if (w === null || w === undefined) return t('unknown');
  if (Math.abs(w) < 1) return t('even');
  return t(w > 0 ? 'deficit' : 'surplus', power(Math.abs(w)));
}

/** How long ago, in words. */
export function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 100) return formats.ago.format(-s, 'second');
  if (s < 5_940) return formats.ago.format(-Math.round(s / 60), 'minute');
  if (s < 172_800) return formats.ago.format(-Math.round(s / 3_600), 'hour');
  return formats.ago.format(-Math.round(s / 86_400), 'day');
}

/** A whole date. ICU's Persian pattern puts the year first; people write weekday, day, month, year. */
export function dayText(ms) {
  if (lang !== 'fa') return formats.day.format(ms);
  const part = Object.fromEntries(formats.day.formatToParts(ms).map((p) => [p.type, p.value]));
  return `${part.weekday} ${part.day} ${part.month} ${part.year}`;
}

export const shortDay = (ms) => formats.short.format(ms);
export const timeText = (ms) => formats.time.format(ms);
export const clockText = (ms) => formats.hms.format(ms);

/** The local date of an instant as YYYY-MM-DD, for the API. */
export const isoDay = (ms) => new Intl.DateTimeFormat('en-CA', { timeZone: ZONE, year: 'numeric', month: '2-digit', day: '2-digit' }).format(ms);
