// Who has changed what, the newest first.

import {get, query as queryOf} from './api.js';
import {el, exactTime, keyed, paced, plainRow, replace, setText, table} from './dom.js';

const COLUMNS = ['When', 'Who', 'What', 'Which', 'Changes'];
const SIZE = 50;

export const title = () => 'Audit';

export async function show({content, signal, live}) {
  const list = table('Changes', COLUMNS);
  const count = el('p', {role: 'status'}, 'Loading.');
  const more = el('button', {onclick: () => older()}, 'Show older ones');
  replace(content, count, list.node, el('div', {class: 'actions'}, more));

  let entries = [];
  let cursor = '';
  const cells = (entry) => [
    exactTime(entry.at), [entry.who, entry.how === 'token' && ' (token)'], entry.what,
    el('code', {}, String(entry.key).replace(/^proxy_[A-Za-z]+_/, '')), changes(entry.changes),
  ];
  const draw = () => {
    keyed(list.body, entries, (entry) => entry.id, plainRow(COLUMNS, cells));
    list.node.hidden = entries.length === 0;
    more.hidden = !cursor;
    setText(count, entries.length === 0 ? 'Nothing has been changed yet.' : `The last ${entries.length}.`);
  };
  const older = async () => {
    const {data} = await get(`/api/audit${queryOf({limit: SIZE, cursor})}`, {signal});
    entries = entries.concat(data.results);
    cursor = data.next ?? '';
    draw();
  };
  // The newest, in front of those that are shown.
  const newer = async () => {
    const {data} = await get(`/api/audit${queryOf({limit: SIZE})}`, {signal});
    const known = new Set(entries.map((entry) => entry.id));
    const fresh = data.results.filter((entry) => !known.has(entry.id));
    if (fresh.length === data.results.length && entries.length) {
      entries = data.results;
      cursor = data.next ?? '';
    } else {
      entries = [...fresh, ...entries];
    }
    draw();
  };
  await older();
  const again = paced(() => newer().catch((error) => { if (!signal.aborted) setText(count, error.message); }));
  live.listen(signal, () => again());
}

function changes(all) {
  const names = Object.entries(all ?? {});
  if (names.length === 0) return '';
  return el('details', {}, el('summary', {}, names.map(([name]) => name).join(', ')),
    el('dl', {class: 'facts'}, names.map(([name, [before, after]]) => el('div', {},
      el('dt', {}, name), el('dd', {}, el('del', {}, text(before)), ' ', el('ins', {}, text(after)))))));
}

function text(value) {
  return value === null || value === undefined || value === '' ? 'nothing' : String(value);
}
