// All certificates that are kept, got and renewed: their state, what comes next, and their story.

import {at, get, query as queryOf} from './api.js';
import {debounced, el, keyed, plainRow, replace, setText, table} from './dom.js';
import {certificateChip, nextStep} from './health.js';
import {told} from './story.js';

const SIZE = 50;
const COLUMNS = ['Certificate', 'State', 'Next', 'Story'];

export const title = () => 'Certificates';

export async function show({content, signal, query, live}) {
  const search = el('input', {type: 'search', id: 'search', value: query.get('q') ?? '', autocomplete: 'off', spellcheck: 'false'});
  const filter = el('select', {id: 'filter'}, [
    ['', 'All'], ['failing', 'Failing'], ['waiting', 'Waiting'], ['working', 'Being issued'], ['valid', 'Valid'], ['idle', 'None wanted'],
  ].map(([value, text]) => el('option', {value}, text)));
  filter.value = query.get('state') ?? '';
  const count = el('p', {role: 'status'}, 'Loading.');
  const list = table('Certificates', COLUMNS);
  const more = el('button', {onclick: () => { size += SIZE; draw(); }}, 'Show more');
  replace(content,
    el('form', {role: 'search', class: 'bar', onsubmit: (event) => event.preventDefault()},
      el('div', {class: 'field'}, el('label', {for: 'search'}, 'Search names'), search),
      el('div', {class: 'field'}, el('label', {for: 'filter'}, 'Show'), filter)),
    count, list.node, el('div', {class: 'actions'}, more));

  let stories = [];
  let size = SIZE;
  const cellsOf = (story) => [
    story.host ? el('a', {href: at`/hosts/${story.host}`}, story.name) : story.name,
    certificateChip(story),
    nextStep(story),
    el('details', {}, el('summary', {}, 'Story', el('span', {class: 'unseen'}, ` of ${story.name}`)), told(story)),
  ];
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = stories.filter((story) => (!filter.value || story.state === filter.value) && story.name.includes(wanted));
    keyed(list.body, found.slice(0, size), (story) => story.name, plainRow(COLUMNS, cellsOf));
    list.node.hidden = found.length === 0;
    more.hidden = found.length <= size;
    setText(count, stories.length === 0
      ? 'There are no certificates yet. They are got for hosts once a CA is configured.'
      : `${found.length.toLocaleString()} of ${stories.length.toLocaleString()} certificates.`);
  };
  const load = async () => {
    stories = (await get('/api/cert', {signal})).data.results;
    draw();
  };
  const loaded = () => load().catch((error) => { if (!signal.aborted) setText(count, error.message); });
  const filtered = () => {
    size = SIZE;
    history.replaceState(null, '', `/certificates${queryOf({q: search.value.trim(), state: filter.value})}`);
    draw();
  };
  search.addEventListener('input', debounced(filtered));
  filter.addEventListener('change', filtered);
  await load();
  const again = debounced(loaded, 500);
  live.listen(signal, (model) => {
    if (model === null || model === 'Host' || model === 'Certificate') again();
  });
}
