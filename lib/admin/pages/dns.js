// DNS providers: accounts at DNS vendors, with which certificates are got. The form of each type
// comes from the manager; secrets go in and never come out again.

import {at, call, del, get, post, put} from './api.js';
import {confirmed, el, keyed, paced, replace, say, setText, warn} from './dom.js';
import {Form} from './form.js';

export const title = () => 'DNS providers';

export async function show({content, signal, live}) {
  const types = (await call('OPTIONS', '/api/dns', {signal})).data.results;
  const list = el('ul', {class: 'cards'});
  const count = el('p', {role: 'status'}, 'Loading.');
  const place = el('div');
  replace(content,
    el('section', {'aria-labelledby': 'known'}, el('h2', {id: 'known'}, 'Accounts'), count, list),
    el('section', {'aria-labelledby': 'add'}, el('h2', {id: 'add'}, 'Add a provider'), place));

  const fieldsOf = (type, {isNew}) => [
    {name: 'name', label: 'Name', kind: 'text', required: true, help: 'For people: whose account it is.'},
    ...Object.entries(type.fields).map(([name, field]) => ({
      name, label: field.displayName ?? name, kind: field.isPrivate ? 'password' : 'text',
      required: field.isRequired && (isNew || !field.isPrivate),
      autocomplete: field.isPrivate ? 'new-password' : 'off',
      help: [field.help, field.isPrivate && (isNew
        ? 'Is never shown again.' : 'Is kept as it is where nothing is given.')].filter(Boolean).join(' '),
    })),
  ];

  const addForm = (name) => {
    const type = types.find((one) => one.name === name) ?? types[0];
    const select = el('select', {id: 'type', onchange: () => { addForm(select.value); document.getElementById('type').focus(); }},
      types.map((one) => el('option', {value: one.name}, one.displayName ?? one.name)));
    select.value = type.name;
    const form = new Form({
      fields: fieldsOf(type, {isNew: true}),
      label: 'Check and add',
      async submit(values) {
        const {data} = await post('/api/dns', {...given(values), dnsProvider: type.name});
        addForm(type.name);
        await load();
        say(`${values.name} works and was added${data.domains?.length ? `: ${data.domains.length} domains` : ''}.`);
      },
    });
    replace(place, el('div', {class: 'field'}, el('label', {for: 'type'}, 'Vendor'), select), form.node);
  };

  const card = (first) => {
    let provider = first;
    const names = [];  // for those who listen: which provider a button is about
    const about = () => names[names.push(el('span', {class: 'unseen'})) - 1];
    const heading = el('h3', {});
    const facts = el('p', {});
    const domains = el('ul', {class: 'inline'});
    const result = el('p', {role: 'status'});
    const edit = el('details', {}, el('summary', {}, 'Change', about()));
    edit.addEventListener('toggle', () => {
      if (!edit.open || edit.querySelector('form')) return;
      const type = types.find((one) => one.name === provider.dnsProvider) ?? {fields: {}};
      const form = new Form({
        fields: fieldsOf(type, {isNew: false}), label: 'Save', values: plain(provider),
        async submit() {
          await put(at`/api/dns/${provider.id}`, given(form.changes()));
          edit.open = false;
          form.node.remove();
          await load();
          say(`${provider.name} was saved.`);
        },
      });
      edit.append(form.node);
    });
    const check = el('button', {onclick: async () => {
      check.disabled = true;
      setText(result, 'Asking the vendor.');
      try {
        await post(at`/api/dns/domain/refresh/${provider.id}`, {});
        await load();
        setText(result, 'The vendor knows us; the domains are those above.');
      } catch (error) {
        setText(result, error.message);
      }
      check.disabled = false;
    }}, 'Check', about());
    const remove = el('button', {class: 'danger', onclick: async () => {
      if (!await confirmed(`Delete ${provider.name}? Certificates that need it are not renewed any more.`, 'Delete provider')) return;
      try {
        await del(at`/api/dns/${provider.id}`);
      } catch (error) {
        return warn(error.message);
      }
      say(`${provider.name} was deleted.`);
      await load();
    }}, 'Delete', about());
    return {
      node: el('li', {class: 'card'}, heading, facts, domains, result, el('div', {class: 'actions'}, check, remove), edit),
      update(item) {
        provider = item;
        setText(heading, item.name);
        for (const name of names) setText(name, ` ${item.name}`);
        setText(facts, `${item.displayName ?? item.dnsProvider}${item.domains?.length ? '' : ', no domains known'}`);
        replace(domains, (item.domains ?? []).map((domain) => el('li', {}, el('code', {}, domain.domain ?? domain))));
      },
    };
  };

  const load = async () => {
    const providers = (await get('/api/dns?detail=true', {signal})).data.results;
    keyed(list, providers, (provider) => provider.id, card);
    setText(count, providers.length === 0
      ? 'None yet. One is needed for wildcard certificates, and for hosts that the internet cannot reach.'
      : `${providers.length} ${providers.length === 1 ? 'provider' : 'providers'}.`);
  };
  addForm();
  await load();
  const again = paced(() => load().catch(() => {}));
  live.listen(signal, (model) => {
    if (model === null || model === 'DnsProvider' || model === 'Domain') again();
  });
}

// Secrets that were left empty stay what they are.
function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
}

// A secret is {"set": true}: nothing to show.
function plain(provider) {
  return Object.fromEntries(Object.entries(provider).filter(([, value]) => typeof value !== 'object'));
}
