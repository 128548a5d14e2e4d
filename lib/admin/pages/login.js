// Logging in. Where somebody came from is where they go after.

import {post, useGuard} from './api.js';
import {el, replace} from './dom.js';
import {Form} from './form.js';

export const title = () => 'Log in';

export function show({content, query, go, begin, session}) {
  // Only addresses of our own: "//elsewhere" would be another server's.
  const wanted = query.get('to') ?? '';
  const next = /^\/(?![/\\])/.test(wanted) ? wanted : '/hosts';
  if (session) return go(next, {replaced: true});
  const form = new Form({
    fields: [
      {name: 'username', label: 'User name', kind: 'text', required: true, autocomplete: 'username'},
      {name: 'password', label: 'Password', kind: 'password', required: true, autocomplete: 'current-password'},
    ],
    label: 'Log in',
    async submit({username, password}) {
      const {data} = await post('/api/auth/login', {username, password, cookie: true}, {quiet: true});
      useGuard(data.csrf);
      await begin();
      await go(next, {replaced: true});
    },
  });
  replace(content, el('div', {class: 'narrow'}, form.node,
    el('p', {class: 'help'}, 'The first time: the user is admin; the password was printed once when the manager first started.')));
  form.node.querySelector('input').focus();
}
