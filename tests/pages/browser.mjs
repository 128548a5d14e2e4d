// What every flow stands on: Debian's Chromium, a person who logs in, and claims that hold at the end
// of each flow: no error in the console, nothing that the Content-Security-Policy had to stop.

import assert from 'node:assert/strict';
import http from 'node:http';
import {AxeBuilder} from '@axe-core/playwright';
import {chromium} from 'playwright-core';

export const PATIENCE = 20_000;
export const PASSWORD = 'correct horse battery';

// Calls `flow(browser)` with {page(), ...world}: what the test has started.
export async function withBrowser(world, flow) {
  const chrome = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // As root, which tests in containers are, it has no sandbox.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  });
  const complaints = [];
  const page = async (options = {}) => {
    // Over TLS the manager shows a certificate that the browser has no reason to trust.
    const context = await chrome.newContext({viewport: {width: 1280, height: 800}, ignoreHTTPSErrors: true, ...options});
    const made = await context.newPage();
    made.setDefaultTimeout(PATIENCE);
    // An answer that is an error is what some flows are about; everything else is a fault.
    made.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
    });
    made.on('pageerror', (error) => complaints.push(String(error.stack ?? error)));
    return made;
  };
  try {
    await flow({...world, page});
    assert.deepEqual(complaints, [], 'the browser has nothing to complain about');
  } finally {
    await chrome.close();
  }
}

export async function logIn(page, world, {user = 'admin', password = PASSWORD, to = '/'} = {}) {
  await page.goto(world.manager + to);
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', {name: 'Log in'}).click();
  await page.getByRole('button', {name: 'Log out'}).waitFor();
}

// The API, as a script uses it: with a token in a header. `call(method, path, body)`.
export async function script(world, user = 'admin', password = PASSWORD) {
  const ask = async (method, path, body, headers = {}) => {
    const response = await fetch(world.manager + path, {
      method, body: body && JSON.stringify(body), headers: {'Content-Type': 'application/json', ...headers},
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  };
  const {token} = await ask('POST', '/api/auth/login', {username: user, password});
  return (method, path, body) => ask(method, path, body, {'auth-token': token});
}

// What a visitor of `host` gets from the proxy: {status, body}.
export function visit(world, host, path = '/') {
  return new Promise((resolve, reject) => {
    http.get({host: '127.0.0.1', port: world.proxy, path, headers: {Host: host}, agent: false}, (response) => {
      let body = '';
      response.on('data', (part) => { body += part; });
      response.on('end', () => resolve({status: response.statusCode, body}));
    }).on('error', reject);
  });
}

// Until `condition()` is true; its value.
export async function until(condition, what, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `after ${patience} ms still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// WCAG 2.2 AA and axe's good practice; and nothing to scroll sideways.
export async function accessible(page, what) {
  const {violations} = await new AxeBuilder({page}).withTags(
    ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
  assert.deepEqual(violations.map(({id, help, nodes}) => ({id, help, at: nodes.map(({html}) => html)})), [], what);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${what}: ${over} px are beyond the right edge`);
}

// The row, or card, of a list that has this text as its header. `within`: a page, or a part of one.
export function row(within, name) {
  const page = within.page?.() ?? within;
  return within.getByRole('row').filter({has: page.getByRole('rowheader', {name, exact: true})});
}
