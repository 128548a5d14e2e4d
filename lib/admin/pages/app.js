// The frame around the pages: who is logged in, which page an address means, the navigation, and
// what goes on between pages: their end, the focus, the title.

import {Live, call, get, onSessionEnd, useGuard} from './api.js';
import {el, replace, say, setText} from './dom.js';
import * as account from './account.js';
import * as audit from './audit.js';
import * as certificates from './certificates.js';
import * as dns from './dns.js';
import * as host from './host.js';
import * as hosts from './hosts.js';
import * as login from './login.js';
import * as newHost from './new_host.js';
import * as system from './system.js';
import * as tokens from './tokens.js';
import * as users from './users.js';

// Each has title(param) and show(page); `name`: in the navigation; `admin`: for administrators.
const pages = [
  {path: '/hosts', page: hosts, name: 'Hosts'},
  {path: '/hosts/:', page: host},
  {path: '/new-host', page: newHost},
  {path: '/certificates', page: certificates, name: 'Certificates'},
  {path: '/dns', page: dns, name: 'DNS', admin: true},
  {path: '/users', page: users, name: 'Users', admin: true},
  {path: '/tokens', page: tokens, name: 'Tokens'},
  {path: '/audit', page: audit, name: 'Audit', admin: true},
  {path: '/system', page: system, name: 'System', admin: true},
  {path: '/account', page: account},
  {path: '/login', page: login},
];

const main = document.getElementById('main');
const navigation = document.getElementById('navigation');
const accountBox = document.getElementById('account');
const offline = document.getElementById('offline');

let session = null;
let leaving = new AbortController();
let moved = false;  // from the page that the browser began with

const live = new Live((connected) => {
  offline.hidden = connected;
  setText(offline, connected ? '' : 'Not connected: what you see may be old. Trying again.');
});

function found(path) {
  const parts = path.replace(/\/+$/, '').split('/');
  for (const one of pages) {
    const wanted = one.path.split('/');
    if (wanted.length !== parts.length) continue;
    if (!wanted.every((part, i) => part === ':' || part === parts[i])) continue;
    return {...one, param: wanted.at(-1) === ':' ? decodeURIComponent(parts.at(-1)) : null};
  }
  return null;
}

// Goes to an address of ours: a new entry of the browser's history, or in place of the last one.
function go(address, {replaced = false} = {}) {
  if (replaced) history.replaceState(null, '', address);
  else history.pushState(null, '', address);
  return showPage();
}

async function showPage() {
  leaving.abort();
  leaving = new AbortController();
  const {signal} = leaving;
  const {pathname, search} = location;
  if (pathname === '/') return go('/hosts', {replaced: true});
  let one = found(pathname);
  if (!session && one?.page !== login) {
    return go(`/login${pathname === '/hosts' ? '' : `?to=${encodeURIComponent(pathname + search)}`}`, {replaced: true});
  }
  if (session?.password_expired && one?.page !== account) return go('/account', {replaced: true});
  if (one?.admin && !session.admin) one = null;
  const title = one ? one.page.title(one.param) : 'Page not found';
  document.title = `${title} · proxycore`;
  for (const link of navigation.querySelectorAll('a')) {
    const here = one && `/${one.path.split('/')[1]}` === link.getAttribute('href');
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const heading = el('h1', {tabindex: '-1'}, title);
  const content = el('div', {class: 'content'});
  replace(main, heading, content);
  window.scrollTo(0, 0);
  if (moved && one?.page !== login) heading.focus({preventScroll: true});
  moved = true;
  if (!one) {
    replace(content, el('p', {}, 'There is nothing at this address. ', el('a', {href: '/hosts'}, 'All hosts')));
    return;
  }
  const page = {
    heading, content, signal, session, go, live, param: one.param, query: new URLSearchParams(search), begin,
  };
  try {
    await one.page.show(page);
  } catch (error) {
    if (signal.aborted) return;
    replace(content, el('p', {class: 'banner bad', role: 'alert'}, error.message),
      el('button', {onclick: showPage}, 'Try again'));
    if (!error.status && error.name !== 'Unreachable') throw error;
  }
}

// Asks who is logged in, and shows the frame for them.
async function begin() {
  try {
    session = (await get('/api/auth/session', {quiet: true})).data;
    session.mayManage = session.admin || session.grants.some(({role}) => role !== 'viewer');
  } catch (error) {
    if (error.status !== 401) throw error;
    session = null;
  }
  useGuard(session?.csrf);
  navigation.hidden = accountBox.hidden = !session;
  replace(navigation, session && el('ul', {}, pages.filter((one) => one.name && (!one.admin || session.admin)).map(
    (one) => el('li', {}, el('a', {href: one.path}, one.name)))));
  replace(accountBox, session && [
    el('a', {href: '/account'}, session.username),
    el('button', {onclick: logOut}, 'Log out'),
  ]);
  if (!session) end();
  else if (!session.password_expired && (session.admin || session.grants.length > 0)) {
    live.start();  // others may see nothing
  }
}

function end() {
  session = null;
  live.stop();
  offline.hidden = true;
  navigation.hidden = accountBox.hidden = true;
}

async function logOut() {
  await call('POST', '/api/auth/logout', {quiet: true}).catch(() => {});
  end();
  await go('/login');
  say('You are logged out.');
}

onSessionEnd(async (error) => {
  if (!session) return;
  if (error.name === 'PasswordExpired') {
    if (session.password_expired) return;  // the form is shown already
    await begin();
    return showPage();
  }
  end();
  showPage();
  say('Your session has ended. Log in again.');
});

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="/"]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey ||
      event.altKey || link.target || link.hasAttribute('download')) return;
  event.preventDefault();
  go(link.getAttribute('href'));
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener('popstate', showPage);

try {
  await begin();
  await showPage();
} catch (error) {
  replace(main, el('h1', {}, 'proxycore'), el('p', {class: 'banner bad', role: 'alert'}, error.message),
    el('button', {onclick: () => location.reload()}, 'Try again'));
}
