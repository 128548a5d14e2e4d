// A list that is shown a page at a time, however long it is: searched and filtered by the manager,
// kept up to date in place, with what is looked for in the address.

import {get, query as queryOf} from './api.js';
import {debounced, el, keyed, paced, plainRow, replace, setText, table} from './dom.js';

const SIZE = 50;

// `page`: of app.js. `list`: {path, base (address), columns, search (label), filter: {parameter, options},
// keyOf, cellsOf(item), itemOf(result), noun: [one, many], empty (what is said if there is none at
// all), models (whose events matter), beside (nodes next to the search)}.
// Resolves, once the first page is there, to {draw, load, shown}: draw() shows the same results anew,
// load() asks for them anew, shown() is the filter's value.
export async function pagedList({content, signal, query, live, go}, list) {
  const search = el('input', {type: 'search', id: 'search', value: query.get('q') ?? '', autocomplete: 'off', spellcheck: 'false'});
  const {parameter, options} = list.filter;
  const filter = el('select', {id: 'filter'}, options.map(([value, text]) => el('option', {value}, text)));
  const given = query.get(parameter);
  filter.value = options.some(([value]) => value === given) ? given : '';
  const count = el('p', {role: 'status'}, 'Loading.');
  const rows = table(list.noun[1], list.columns);
  const first = el('button', {onclick: () => turn('')}, 'First page');
  const next = el('button', {onclick: () => turn(cursor)}, 'Next page');
  const pager = el('nav', {class: 'actions', 'aria-label': 'Pages', hidden: true}, first, next);
  replace(content,
    el('div', {class: 'bar'},
      el('form', {role: 'search', class: 'bar', onsubmit: (event) => { event.preventDefault(); searched(); }},
        el('div', {class: 'field'}, el('label', {for: 'search'}, list.search), search),
        el('div', {class: 'field'}, el('label', {for: 'filter'}, 'Show'), filter)),
      list.beside),
    count, rows.node, pager);

  let after = query.get('after') ?? '';
  let cursor = '';
  let results = [];
  let asked = 0;

  const draw = () => keyed(rows.body, results.map(list.itemOf ?? ((one) => one)), list.keyOf, plainRow(list.columns, list.cellsOf));
  const load = async () => {
    const turnOf = ++asked;
    const q = search.value.trim();
    const wanted = {detail: 'true', limit: SIZE, cursor: after, q, [parameter]: filter.value};
    const {data} = await get(list.path + queryOf(wanted), {signal});
    if (turnOf !== asked) return;  // something else has been asked for since
    results = data.results;
    cursor = data.next ?? '';
    draw();
    first.hidden = !after;
    next.hidden = !cursor;
    pager.hidden = !after && !cursor;
    rows.node.hidden = results.length === 0;
    const {total} = data;
    setText(count, total === 0 && !q && !filter.value
      ? list.empty
      : [`${total.toLocaleString()} ${list.noun[total === 1 ? 0 : 1]}`, q && ` with “${q}”`,
        results.length < total && `, ${results.length} on this page`, '.'].filter(Boolean).join(''));
  };
  const loaded = () => load().catch((error) => { if (!signal.aborted) setText(count, error.message); });
  const address = () => list.base + queryOf({q: search.value.trim(), [parameter]: filter.value, after});
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
  const again = paced(loaded);
  live.listen(signal, (model) => {
    if (model === null || list.models.includes(model)) again();
  });
  return {draw, load: loaded, shown: () => filter.value};
}
