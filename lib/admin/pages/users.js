// Users, and what they may do: everywhere, or for the hosts of a domain.

import {at, del, get, post, put} from './api.js';
import {chip, confirmed, el, keyed, paced, plainRow, replace, say, setText, table, warn} from './dom.js';
import {Form} from './form.js';
import {passwordFields, samePasswords} from './password.js';

const USERS = ['User', 'State', ''];
const GRANTS = ['Who', 'Role', 'Where', ''];
export const ROLES = [['viewer', 'Viewer: sees hosts'], ['manager', 'Manager: changes hosts'], ['admin', 'Administrator: does everything']];

export const title = () => 'Users and permissions';

export async function show({content, signal, live, session}) {
  const users = table('Users', USERS);
  const grants = table('Permissions', GRANTS);
  const open = el('p', {class: 'banner warn', hidden: true},
    'Nobody has been given a permission yet, so every user may do everything. That ends with the first permission.');
  const none = el('p', {hidden: true}, 'None yet.');

  const addUser = new Form({
    fields: [
      {name: 'username', label: 'User name', kind: 'text', required: true},
      ...passwordFields('Password'),
    ],
    label: 'Add user',
    async submit({username, password, again}, form) {
      samePasswords(password, again);
      await post('/api/user', {username, password});
      form.set({});
      await load();
      say(`${username} was added. What they may do is up to their permissions.`);
    },
  });
  const addGrant = new Form({
    fields: [
      {name: 'subject', label: 'User', kind: 'text', required: true},
      {name: 'role', label: 'Role', kind: 'select', options: ROLES},
      {name: 'domain', label: 'Domain', kind: 'text', placeholder: 'example.com',
        help: 'With all names below it; * is one label, ** any number. Empty: everywhere.'},
    ],
    label: 'Give permission',
    async submit({subject, role, domain}, form) {
      await post('/api/permission', {
        subjectType: 'user', subject, role, scope: domain ? 'domain' : 'global', domain: domain || '*',
      });
      form.set({});
      await load();
      say(`${subject} is ${role} of ${domain || 'everything'}.`);
    },
  });
  replace(content, open,
    el('section', {'aria-labelledby': 'users'}, el('h2', {id: 'users'}, 'Users'), users.node,
      el('details', {}, el('summary', {}, 'Add a user'), addUser.node)),
    el('section', {'aria-labelledby': 'grants'}, el('h2', {id: 'grants'}, 'Permissions'), grants.node, none,
      el('details', {}, el('summary', {}, 'Give a permission'), addGrant.node)));

  // Does it, says so, and shows what has become of it.
  const done = async (work, text) => {
    try {
      await work();
    } catch (error) {
      return warn(error.message);
    }
    say(text);
    await load();
  };
  const button = (text, of, onclick, kind = null) => el('button', {class: kind, onclick},
    text, el('span', {class: 'unseen'}, ` ${of}`));

  const userCells = (user) => {
    const name = user.username;
    return [
      name === session.username ? [name, ' (you)'] : name,
      user.disabled ? chip('warn', 'disabled') : chip('ok', 'may log in'),
      el('div', {class: 'actions'},
        button('Set password', name, () => passwordDialog(name)),
        name !== session.username && button(user.disabled ? 'Enable' : 'Disable', name, () => done(
          () => put(at`/api/user/${name}`, {disabled: !user.disabled}),
          `${name} ${user.disabled ? 'may log in again' : 'is logged out everywhere and may not log in'}.`)),
        button('Delete', name, async () => {
          if (!await confirmed(`Delete ${name}, with their tokens and permissions?`, 'Delete user')) return;
          await done(() => del(at`/api/user/${name}`), `${name} was deleted.`);
        }, 'danger')),
    ];
  };
  const grantCells = (grant) => {
    const what = `${grant.role} for ${grant.subject}`;
    const where = grant.scope === 'global' ? 'everywhere' : grant.domain;
    return [
      grant.subjectType === 'group' ? `group ${grant.subject}` : grant.subject, grant.role, where,
      el('div', {class: 'actions'}, button('Take away', what, async () => {
        if (!await confirmed(`Take away from ${grant.subject}: ${grant.role}, ${where}?`, 'Take away')) return;
        await done(() => del(at`/api/permission/${grant.id}`), `${grant.subject} is not ${grant.role} any more, ${where}.`);
      }, 'danger')),
    ];
  };
  const load = async () => {
    const [{data: people}, {data: rows}] = await Promise.all(
      [get('/api/user?detail=true', {signal}), get('/api/permission', {signal})]);
    keyed(users.body, people.results, (user) => user.username, plainRow(USERS, userCells));
    keyed(grants.body, rows.results, (grant) => grant.id, plainRow(GRANTS, grantCells));
    open.hidden = !rows.open;
    grants.node.hidden = rows.results.length === 0;
    none.hidden = rows.results.length > 0;
  };

  const passwordDialog = (name) => {
    const form = new Form({
      fields: passwordFields('New password'),
      label: 'Set password',
      actions: [el('button', {type: 'button', onclick: () => dialog.close()}, 'Cancel')],
      async submit({password, again}) {
        samePasswords(password, again);
        await put(at`/api/user/password/${name}`, {password});
        dialog.close();
        say(`The password of ${name} is set. Their sessions have ended.`);
      },
    });
    const dialog = el('dialog', {'aria-labelledby': 'of', onclose: () => dialog.remove()},
      el('h2', {id: 'of'}, `Password of ${name}`), form.node);
    document.body.append(dialog);
    dialog.showModal();
  };
  await load();
  const again = paced(() => load().catch((error) => { if (!signal.aborted) setText(none, error.message); }));
  live.listen(signal, (model) => {
    if (model === null || model === 'User' || model === 'Permission') again();
  });
}
