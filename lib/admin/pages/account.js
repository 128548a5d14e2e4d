// One's own account: the password, and what one may do.

import {put} from './api.js';
import {el, replace, say} from './dom.js';
import {Form} from './form.js';
import {passwordFields, samePasswords} from './password.js';

export const title = () => 'Account';

export function show({content, session, go, begin}) {
  const first = session.password_expired;
  const form = new Form({
    fields: passwordFields('New password'),
    label: 'Set password',
    async submit({password, again}) {
      samePasswords(password, again);
      await put('/api/user/password', {password});
      await begin();
      say('Your password is set. Other sessions of yours have ended.');
      await go('/hosts');
    },
  });
  replace(content,
    first && el('p', {class: 'banner warn'}, 'You logged in with a password that was made for the first time only. Set one of your own.'),
    el('p', {}, 'You are ', el('strong', {}, session.username), session.admin ? ', an administrator.' : '.'),
    session.grants?.length > 0 && el('ul', {}, session.grants.map(
      (grant) => el('li', {}, `${grant.role} of ${grant.domain || 'every host'}`))),
    el('h2', {}, 'Password'),
    el('div', {class: 'narrow'}, form.node));
}
