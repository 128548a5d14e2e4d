// API tokens: what scripts show in place of a log-in. The secret is shown once, here, when it is made.

import {at, del, get, post} from './api.js';
import {confirmed, el, exactTime, keyed, paced, plainRow, replace, say, setText, table, time, warn} from './dom.js';
import {Form} from './form.js';
import {ROLES} from './users.js';

const COLUMNS = ['Name', 'Owner', 'May at most', 'Ends', 'Last used', ''];
const DAY = 86_400_000;

export const title = () => 'API tokens';

export async function show({content, signal, live}) {
  const list = table('API tokens', COLUMNS);
  const count = el('p', {role: 'status'}, 'Loading.');
  const secret = el('section', {class: 'banner ok', hidden: true, tabindex: '-1', 'aria-labelledby': 'secret'});
  const form = new Form({
    fields: [
      {name: 'name', label: 'Name', kind: 'text', required: true, help: 'What uses it.'},
      {name: 'role', label: 'May at most', kind: 'select', options: ROLES, help: 'Never more than you may yourself.'},
      {name: 'days', label: 'Ends after', kind: 'select', standard: '90',
        options: [['7', '7 days'], ['30', '30 days'], ['90', '90 days'], ['365', 'a year'], ['', 'never']]},
    ],
    label: 'Make token',
    async submit({name, role, days}, self) {
      const {data} = await post('/api/api-token', {
        name, role, ...(days ? {expires_at: Date.now() + Number(days) * DAY} : {}),
      });
      self.set({});
      reveal(name, data);
      await load();
    },
  });
  replace(content,
    el('p', {}, 'Scripts send one as ', el('code', {}, 'Authorization: Bearer prx_…'), '.'),
    secret, count, list.node,
    el('section', {'aria-labelledby': 'make'}, el('h2', {id: 'make'}, 'Make a token'), form.node));

  const reveal = (name, data) => {
    const text = data.token;
    const output = el('input', {id: 'made', readonly: true, value: text, spellcheck: 'false'});
    replace(secret, el('h2', {id: 'secret'}, `Secret of ${name}`),
      el('p', {}, 'Copy it now: it is not shown again.'),
      el('div', {class: 'bar'},
        el('div', {class: 'field wide'}, el('label', {for: 'made'}, 'Secret'), output),
        el('button', {onclick: async () => {
          output.select();
          await navigator.clipboard.writeText(text).then(() => say('Copied.'), () => say('Selected: copy it with the keyboard.'));
        }}, 'Copy'),
        el('button', {onclick: () => { replace(secret); secret.hidden = true; }}, 'I have it')));
    secret.hidden = false;
    secret.focus();
  };
  const button = (text, of, onclick, kind = null) => el('button', {class: kind, onclick},
    text, el('span', {class: 'unseen'}, ` ${of}`));
  const cells = (token) => [
    token.name, token.created_by, token.role,
    token.expires_at ? exactTime(token.expires_at) : 'never',
    time(token.last_used_on),
    el('div', {class: 'actions'},
      button('New secret', token.name, async () => {
        if (!await confirmed(`Make a new secret for ${token.name}? The old one ends at once.`, 'New secret')) return;
        try {
          reveal(token.name, (await post(at`/api/api-token/${token.id}/rotate`, {})).data);
          await load();
        } catch (error) {
          warn(error.message);
        }
      }),
      button('Delete', token.name, async () => {
        if (!await confirmed(`Delete ${token.name}? What uses it is refused from then on.`, 'Delete token')) return;
        try {
          await del(at`/api/api-token/${token.id}`);
          say(`${token.name} was deleted.`);
          await load();
        } catch (error) {
          warn(error.message);
        }
      }, 'danger')),
  ];
  const load = async () => {
    const {data} = await get('/api/api-token', {signal});
    keyed(list.body, data.results, (token) => token.id, plainRow(COLUMNS, cells));
    list.node.hidden = data.results.length === 0;
    setText(count, data.results.length === 0 ? 'There are none yet.' : `${data.results.length} of them.`);
  };
  await load();
  const again = paced(() => load().catch(() => {}));
  live.listen(signal, (model) => {
    if (model === null || model === 'ApiToken') again();
  });
}
