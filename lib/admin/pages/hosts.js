// All hosts: a page of them at a time, however many there are, searched by the manager. What
// changes elsewhere changes here, in place.

import {at, get, query as queryOf} from './api.js';
import {chip, debounced, el, every, keyed, plainRow, replace, setText, table} from './dom.js';
import {certificateChip, failingTargets, targetChip, targetsOf} from './health.js';

const SIZE = 50;
const COLUMNS = ['Host', 'Targets', 'Certificate', 'Options'];

export const title = () => 'Hosts';

export async function show({content, signal, query, live, session, go}) {
  const search = el('input', {type: 'search', id: 'search', value: query.get('q') ?? '', autocomplete: 'off',
    spellcheck: 'false', 'aria-describedby': 'count'});
  const filter = el('select', {id: 'filter'},
    el('option', {value: ''}, 'All hosts'),
    el('option', {value: 'down'}, 'Target down'),
    el('option', {value: 'certificate'}, 'Certificate failing'));
  filter.value = query.get('show') ?? '';
  const count = el('p', {id: 'count', role: 'status'}, 'Loading.');
  const list = table('Hosts', COLUMNS);
  const first = el('button', {onclick: () => turn('')}, 'First page');
  const next = el('button', {onclick: () => turn(cursor)}, 'Next page');
  const pager = el('nav', {class: 'actions', 'aria-label': 'Pages of hosts'}, first, next);
  replace(content,
    el('div', {class: 'bar'},
      el('form', {role: 'search', class: 'bar', onsubmit: (event) => { event.preventDefault(); searched(); }},
        el('div', {class: 'field'}, el('label', {for: 'search'}, 'Search names and targets'), search),
        el('div', {class: 'field'}, el('label', {for: 'filter'}, 'Show'), filter)),
      session.manager && el('a', {class: 'button primary', href: '/new-host'}, 'Add a host')),
    count, list.node, pager);

  let after = query.get('after') ?? '';
  let cursor = '';
  let shown = [];
  let failing = null;
  let stories = new Map();

  const cellsOf = ({host, targets, story}) => [
    el('a', {href: at`/hosts/${host.host}`}, host.host),
    el('ul', {class: 'plain'}, targets.map(({target, state}) => el('li', {}, el('code', {}, target), ' ',
      targetChip(target, state === null ? null : new Map(state ? [[target, state]] : []))))),
    certificateChip(story),
    [host.forcessl && chip('none', 'https only'), host.targetssl && chip('none', 'TLS to target')],
  ];
  const draw = () => keyed(list.body, shown.map((host) => ({
    host,
    targets: targetsOf(host).map((target) => ({target, state: failing ? failing.get(target) ?? 0 : null})),
    story: stories.get(host.host),
  })), ({host}) => host.host, plainRow(COLUMNS, cellsOf));

  const load = async () => {
    const wanted = {limit: SIZE, cursor: after, q: search.value.trim(), detail: 'true', show: filter.value};
    const {data} = await get(`/api/host${queryOf(wanted)}`, {signal});
    shown = data.results;
    cursor = data.next ?? data.cursor ?? '';
    stories = new Map(shown.filter((host) => host.certificate).map((host) => [host.host, host.certificate]));
    draw();
    first.hidden = !after;
    next.hidden = !cursor;
    pager.hidden = first.hidden && next.hidden;
    list.node.hidden = shown.length === 0;
    const total = data.total ?? shown.length;
    const what = `${total.toLocaleString()} ${total === 1 ? 'host' : 'hosts'}`;
    setText(count, total === 0 && !wanted.q && !wanted.show
      ? 'There are no hosts yet. Add the first one.'
      : `${what}${wanted.q ? ` with “${wanted.q}”` : ''}${shown.length < total ? `, ${shown.length} on this page` : ''}.`);
  };
  const loaded = () => load().catch((error) => { if (!signal.aborted) setText(count, error.message); });
  const address = () => `/hosts${queryOf({q: search.value.trim(), show: filter.value, after})}`;
  const searched = () => {
    after = '';
    history.replaceState(null, '', address());
    return loaded();
  };
  const turn = (to) => {
    after = to;
    return go(address());
  };
  search.addEventListener('input', debounced(searched));
  filter.addEventListener('change', searched);

  await load();
  const again = debounced(loaded, 500);
  live.listen(signal, (model) => {
    if (model === null || model === 'Host' || model === 'Certificate') again();
  });
  every(10_000, signal, async () => {
    failing = await failingTargets(signal).catch(() => null);
    if (!signal.aborted) draw();
  });
}
