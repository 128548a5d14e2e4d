// The installation itself: listeners, store, versions, and how it is doing: the figures to watch, as
// small plots of what came in while this page was open.

import {get} from './api.js';
import {chip, el, every, replace, setText} from './dom.js';
import {plot} from './plot.js';

const PERIOD = 5_000;

export const title = () => 'System';

const number = (digits) => (value) => value.toLocaleString(undefined, {maximumFractionDigits: digits});
const seconds = (value) => {
  if (value < 0.001) return `${number(0)(value * 1_000_000)} µs`;
  return value < 1 ? `${number(1)(value * 1_000)} ms` : `${number(2)(value)} s`;
};
const bytes = (value) => (value < 1 << 20 ? `${number(1)(value / 1024)} KiB` : `${number(1)(value / (1 << 20))} MiB`);
const percent = (value) => `${number(1)(value)} %`;
const perSecond = (value) => `${number(1)(value)}/s`;

// The figures: of the last answer and the one before it, as what happened in between.
const figures = [
  {name: 'Requests', shown: perSecond, of: (now, before, span) => rate(now, before, span, (metrics) => metrics.requests)},
  {name: 'Response time, of 99 in 100 at most', shown: seconds,
    of: (now, before) => quantile(now.metrics?.duration, before?.metrics?.duration, 0.99)},
  {name: 'First byte of targets, of 99 in 100 at most', shown: seconds,
    of: (now, before) => quantile(now.metrics?.firstByte, before?.metrics?.firstByte, 0.99)},
  {name: 'Look-ups answered from memory', shown: percent, of: fromMemory},
  {name: 'Failures', shown: perSecond,
    of: (now, before, span) => rate(now, before, span, (metrics) => total(metrics.failures))},
  {name: 'Connections', shown: number(0), of: (now) => now.metrics?.connections},
  {name: 'Memory or disk of the store', shown: bytes, of: (now) => now.store.usedBytes ?? NaN},
  {name: 'The store answers in', shown: (value) => seconds(value / 1_000), of: (now) => now.store.roundTripMs},
  {name: 'Days to the first end of a certificate', shown: number(0),
    of: (now) => (now.metrics?.firstEnd ? Math.floor((now.metrics.firstEnd - now.time / 1_000) / 86_400) : NaN)},
];

function total(counts) {
  return Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
}

function rate(now, before, span, of) {
  if (!now.metrics || !before?.metrics) return NaN;
  return Math.max(0, of(now.metrics) - of(before.metrics)) / span;
}

// The bound of the bucket that this part of what happened in between lies in.
function quantile(now, before, part) {
  if (!now || !before) return NaN;
  const count = now.count - before.count;
  if (count <= 0) return NaN;
  const bucket = now.buckets.find(([, sum], i) => sum - (before.buckets[i]?.[1] ?? 0) >= count * part);
  return bucket ? bucket[0] : now.buckets.at(-1)?.[0];
}

function fromMemory(now, before) {
  const hits = (data, tiers) => (data.metrics?.lookups ?? []).filter(
    ({tier}) => tiers(tier)).reduce((sum, one) => sum + one.hit, 0);
  if (!now.metrics || !before?.metrics) return NaN;
  const since = (tiers) => hits(now, tiers) - hits(before, tiers);
  const all = since(() => true);
  return all > 0 ? 100 * since((tier) => tier === 'cache' || tier === 'trie') / all : NaN;
}

export async function show({content, signal}) {
  const problem = el('p', {class: 'banner warn', role: 'status', hidden: true});
  const about = el('dl', {class: 'facts'});
  const listeners = el('dl', {class: 'facts'});
  const store = el('dl', {class: 'facts'});
  const certificates = el('dl', {class: 'facts'});
  const plots = figures.map((figure) => ({...figure, plot: plot(figure.name, figure.shown)}));
  const section = (id, heading, ...nodes) => el('section', {'aria-labelledby': id}, el('h2', {id}, heading), nodes);
  replace(content, problem,
    section('figures', 'Figures', el('div', {class: 'plots'}, plots.map((one) => one.plot.node))),
    section('about', 'Installation', about),
    section('listeners', 'Listeners', listeners),
    section('store', 'Store', store),
    section('certificates', 'Certificates', certificates));

  let before = null;
  const draw = (data) => {
    const span = before ? (data.time - before.time) / 1_000 : 1;
    for (const one of plots) one.plot.add(one.of(data, before, span));
    before = data;
    setText(problem, data.proxy.reachable ? '' : `The proxy does not say how it is doing: ${data.proxy.why}`);
    problem.hidden = data.proxy.reachable;
    facts(about, [['Version', data.version], ['Hosts', data.hosts.toLocaleString()],
      ['Proxy', data.proxy.reachable ? chip('ok', 'answers') : chip('warn', 'is not asked')]]);
    facts(listeners, [['Visitors, http', data.listeners.http], ['Visitors, https', data.listeners.https],
      ['Manager', [...data.listeners.manager, ...data.listeners.managerTls]],
      ['Metrics', data.listeners.metrics], ['Look-ups', data.listeners.lookup]]);
    facts(store, [['Address', el('code', {}, data.store.url)],
      ['State', data.store.reachable ? chip('ok', 'answers') : chip('bad', 'does not answer')],
      ['Why', data.store.why],
      ['Changes are told', `${data.store.events ? `by ${data.store.events}` : 'at once'}${data.store.lagMs > 0 ? `, ${data.store.lagMs} ms behind` : ''}`]]);
    facts(certificates, [...Object.entries(data.metrics?.certificates ?? {}), ...Object.entries(data.metrics?.attempts ?? {}).map(
      ([result, count]) => [`tries: ${result.replaceAll('_', ' ')}`, count])].map(([name, count]) => [name, String(count)]));
  };
  every(PERIOD, signal, () => get('/api/system', {signal}).then(({data}) => draw(data), (error) => {
    if (signal.aborted) return;
    setText(problem, error.message);
    problem.hidden = false;
  }));
}

function facts(list, pairs) {
  replace(list, pairs.filter(([, value]) => value && value.length !== 0).map(([term, value]) => el('div', {}, el('dt', {}, term),
    el('dd', {}, Array.isArray(value) ? value.map((one) => [el('code', {}, one), ' ']) : value))));
}
