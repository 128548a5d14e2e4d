// What people do on the manager's pages. Each flow is one test of pages_test.py, which starts what it
// needs and runs: node flows.mjs NAME, with the world as JSON on standard input.

import assert from 'node:assert/strict';
import path from 'node:path';
import readline from 'node:readline';
import {PASSWORD, PATIENCE, accessible, logIn, row, script, until, visit, withBrowser} from './browser.mjs';

const PAGES = ['/hosts', '/hosts/app.test', '/hosts/dead.test', '/new-host', '/certificates', '/dns', '/users', '/tokens',
  '/audit', '/system', '/account', '/hosts/nothing/here'];

async function settled(page) {
  await page.getByRole('heading', {level: 1}).waitFor();
  await page.waitForFunction(() => !document.querySelector('main').textContent.includes('Loading.'));
}

async function addHost(page, {host, port, more = async () => {}}) {
  await page.getByRole('link', {name: 'Add a host'}).click();
  await page.getByLabel('Host name').fill(host);
  await page.getByLabel('Target address').fill('127.0.0.1');
  await page.getByLabel('Target port').fill(String(port));
  await more();
  await page.getByRole('button', {name: 'Add host'}).click();
}

const flows = {
  // From the one-time password to a host that answers, in ten seconds from the first page.
  async first_login(world) {
    const page = await world.page();
    const began = Date.now();
    await page.goto(`${world.manager}/`);
    await page.getByLabel('User name').fill('admin');
    await page.getByLabel('Password').fill('not this one');
    await page.keyboard.press('Enter');
    await page.getByText('Invalid Credentials').waitFor();
    assert.equal(new URL(page.url()).pathname, '/login', 'a wrong password lets nobody in');
    await page.getByLabel('Password').fill(world.password);
    await page.keyboard.press('Enter');

    await page.getByRole('heading', {name: 'Account'}).waitFor();
    await page.getByText('made for the first time only').waitFor();
    for (const elsewhere of ['/hosts', '/system', '/hosts/app.test', '/account']) {
      await page.goto(world.manager + elsewhere);
      await page.getByText('made for the first time only').waitFor();
      assert.equal(new URL(page.url()).pathname, '/account', 'until then every address leads here');
    }
    await page.getByRole('link', {name: 'Certificates'}).click();
    await page.getByText('made for the first time only').waitFor();
    assert.ok(!await page.getByText('Not connected').isVisible(), 'and nothing is asked for that is refused');
    await page.getByLabel('New password').fill('short');
    await page.getByLabel('The same again').fill('short');
    await page.keyboard.press('Enter');
    await page.getByLabel('New password').and(page.locator('[aria-invalid=true]')).waitFor();
    await page.getByLabel('New password').fill(PASSWORD);
    await page.getByLabel('The same again').fill('something else');
    await page.keyboard.press('Enter');
    await page.getByText('This is not the same password.').waitFor();
    await page.getByLabel('The same again').fill(PASSWORD);
    await page.keyboard.press('Enter');

    await page.getByText('There are no hosts yet').waitFor();
    await addHost(page, {host: 'app.test', port: world.backend, more: () => page.getByLabel('Redirect http to https').uncheck()});
    await page.getByRole('heading', {name: 'app.test'}).waitFor();
    const answer = await until(async () => {
      const one = await visit(world, 'app.test');
      return one.status === 200 && one;
    }, 'the host answers through the proxy');
    const took = Date.now() - began;
    assert.equal(answer.body, world.text, 'with what its target says');
    assert.ok(took < 10_000 * world.slack, `from the first page to the first answer: ${took} ms`);
    console.log(`first page to first answer: ${took} ms`);

    await page.getByRole('button', {name: 'Log out'}).click();
    await page.getByRole('heading', {name: 'Log in'}).waitFor();
    await page.goBack();
    await page.getByRole('heading', {name: 'Log in'}).waitFor();
    await logIn(page, world, {to: '/hosts/app.test'});
    await page.getByRole('heading', {name: 'app.test'}).waitFor();
    assert.equal(new URL(page.url()).pathname, '/hosts/app.test', 'where one wanted to go is where one comes after');
  },

  // Errors stand at their fields; changes are saved, renamed, undone, removed.
  async host_form(world) {
    const page = await world.page();
    await logIn(page, world);
    await addHost(page, {host: 'bad name', port: 70000});
    const port = page.getByLabel('Target port');
    await until(async () => await port.getAttribute('aria-invalid') === 'true' ||
      await page.getByLabel('Host name').getAttribute('aria-invalid') === 'true', 'an error at its field');
    await page.getByLabel('Host name').fill('form.test');
    await port.fill('70000');
    await page.getByRole('button', {name: 'Add host'}).click();
    await page.locator('[name=targetPort][aria-invalid=true]').waitFor();
    const error = await port.evaluate((input) => input.getAttribute('aria-describedby').split(' ').map(
      (id) => document.getElementById(id).textContent).join(' '));
    assert.match(error, /65535/, 'it says what was expected');
    assert.ok(await port.evaluate((input) => input === document.activeElement), 'the focus is there');
    await port.fill(String(world.backend));
    await page.getByRole('button', {name: 'Add host'}).click();
    await page.getByRole('heading', {name: 'form.test'}).waitFor();
    await page.getByText('form.test was added.').waitFor();

    await addOnce(page, world);
    await page.goto(`${world.manager}/hosts/form.test`);
    await page.getByLabel('Longest time to connect').fill('1500');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('Saved.').waitFor();
    await page.reload();
    assert.equal(await page.getByLabel('Longest time to connect').inputValue(), '1500');
    await page.getByLabel('Longest time to connect').fill('');
    await page.getByLabel('Speak TLS to the targets').check();
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('Saved.').waitFor();
    await page.reload();
    assert.equal(await page.getByLabel('Longest time to connect').inputValue(), '');
    assert.equal(await page.getByLabel('Certificates of the targets').inputValue(), 'true', 'TLS that was turned on is verified');
    await page.getByLabel('Host name').fill('moved.test');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByRole('heading', {name: 'moved.test'}).waitFor();

    await page.getByLabel('Name that a visitor asks for').fill('moved.test');
    await page.getByRole('button', {name: 'Explain'}).click();
    await page.getByText('Answered by').waitFor();

    await page.getByRole('button', {name: 'Delete host'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Cancel'}).click();
    await page.getByRole('button', {name: 'Delete host'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Delete host'}).click();
    await page.getByRole('heading', {name: 'Hosts'}).waitFor();
    await row(page, 'once.test').waitFor();
    assert.equal(await row(page, 'moved.test').count(), 0);
  },

  // A certificate comes while one looks on.
  async certificate(world) {
    const page = await world.page();
    await logIn(page, world);
    await addHost(page, {host: 'secure.test', port: world.backend});
    await page.getByRole('heading', {name: 'secure.test'}).waitFor();
    await page.getByText(/\d+ days left/).waitFor({timeout: 3 * PATIENCE});
    await page.getByText(/Pebble/).first().waitFor();
    await page.getByRole('link', {name: 'All hosts'}).click();
    await row(page, 'secure.test').getByText(/\d+ days left/).waitFor();
    await page.getByRole('link', {name: 'Certificates'}).click();
    await row(page, 'secure.test').getByText(/\d+ days left/).first().waitFor();
    // One that nobody can prove: the CA's own words are told.
    await page.getByRole('link', {name: 'Hosts', exact: true}).click();
    await addHost(page, {host: world.unreachable, port: world.backend});
    await page.getByText('failed', {exact: true}).first().waitFor({timeout: 3 * PATIENCE});
    const words = await page.getByRole('blockquote').first().textContent();
    assert.match(words, /acme:error|refused|urn:ietf|connection/i, `the CA's words: ${words}`);
    await page.goto(`${world.manager}/hosts?show=certificate`);
    await row(page, world.unreachable).waitFor();
    assert.equal(await row(page, 'secure.test').count(), 0);
  },

  // A target that is down is seen to be.
  async dead_target(world) {
    const page = await world.page();
    await logIn(page, world);
    const call = await script(world);
    await call('POST', '/api/host', {host: 'later.test', ip: '127.0.0.1', targetPort: world.closedToo, forcessl: false});
    await call('POST', '/api/host', {host: 'dead.test', ip: '127.0.0.1', targetPort: world.closed, forcessl: false});
    await call('POST', '/api/host', {host: 'app.test', ip: '127.0.0.1', targetPort: world.backend, forcessl: false});
    await until(async () => (await visit(world, 'dead.test')).status === 502, 'visitors are told 502');
    for (let i = 0; i < 5; ++i) await visit(world, 'dead.test');
    await visit(world, 'app.test');
    await page.goto(`${world.manager}/hosts`);
    await row(page, 'dead.test').getByText('down', {exact: true}).waitFor();
    await row(page, 'app.test').getByText('up', {exact: true}).waitFor();
    await page.getByLabel('Show').selectOption('down');
    await page.getByText('1 host.').waitFor();
    await row(page, 'dead.test').waitFor();
    const link = row(page, 'dead.test').getByRole('link');
    await link.focus();
    await until(async () => {
      await visit(world, 'later.test');
      return row(page, 'later.test').getByText('down', {exact: true}).isVisible();
    }, 'it comes by itself');
    assert.ok(await link.evaluate((node) => node === document.activeElement), 'the focus stays where it was');
    await row(page, 'dead.test').getByRole('link').click();
    await page.getByRole('list', {name: 'Targets'}).getByText('down').waitFor();
  },

  // Two people at one host: what the one saves comes to the other, except where they typed.
  async changed_elsewhere(world) {
    const page = await world.page();
    await logIn(page, world);
    const call = await script(world);
    await call('POST', '/api/host', {host: 'live.test', ip: '127.0.0.1', targetPort: world.backend});
    await row(page, 'live.test').waitFor();  // it came by itself
    await row(page, 'live.test').getByRole('link').click();
    const name = page.getByLabel('Name the certificate has to show');
    const address = page.getByRole('textbox', {name: 'Target address'});
    await address.fill('127.0.0.3');
    await address.evaluate((input) => input.setSelectionRange(3, 3));
    await call('PUT', '/api/host/live.test', {ip: '127.0.0.2', targetPort: 8123, hsts_enabled: true});
    await until(async () => await page.getByLabel('Target port').inputValue() === '8123', 'the port comes by itself');
    assert.ok(await page.getByLabel('HSTS').isChecked(), 'and the check box');
    assert.equal(await address.inputValue(), '127.0.0.3', 'what was typed stays');
    assert.ok(await address.evaluate((input) => input === document.activeElement && input.selectionStart === 3), 'and so does the caret');
    await page.getByText('Changed elsewhere, and here by you: Target address').waitFor();
    assert.ok(!await name.isVisible());
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('Saved.').waitFor();
    const {results} = await call('GET', '/api/host/live.test');
    assert.equal(results.ip, '127.0.0.3');
    assert.equal(results.targetPort, 8123);

    await page.getByRole('link', {name: 'All hosts'}).click();
    const link = row(page, 'live.test').getByRole('link');
    await link.focus();
    await call('PUT', '/api/host/live.test', {ip: '127.0.0.9'});
    await row(page, 'live.test').getByText('127.0.0.9:8123').waitFor();
    assert.ok(await link.evaluate((node) => node === document.activeElement), 'the focus stays where it was');
    await call('DELETE', '/api/host/live.test');
    await row(page, 'live.test').waitFor({state: 'detached'});
  },

  // Over TLS: the cookie is for this server alone, and no script's; what changes something needs more.
  async over_tls(world) {
    const page = await world.page();
    await logIn(page, world);
    const cookies = await page.context().cookies();
    assert.deepEqual(cookies.map(({name, secure, httpOnly, sameSite, path: of, domain}) => ({name, secure, httpOnly, sameSite, of, domain})),
      [{name: '__Host-session', secure: true, httpOnly: true, sameSite: 'Strict', of: '/', domain: '127.0.0.1'}]);
    assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees it');
    await page.getByText('There are no hosts yet').waitFor();
    await addHost(page, {host: 'tls.test', port: world.backend, more: () => page.getByLabel('Redirect http to https').uncheck()});
    await page.getByRole('heading', {name: 'tls.test'}).waitFor();
    await until(async () => (await visit(world, 'tls.test')).status === 200, 'the host answers');

    // From the page itself, with the cookie that the browser sends along.
    const ask = (method, address, headers = {}, body = undefined) => page.evaluate(async (given) => {
      const {method: by, address: to, headers: also, body: content} = given;
      const response = await fetch(to, {method: by, body: content && JSON.stringify(content),
        headers: content ? {'Content-Type': 'application/json', ...also} : also});
      return {status: response.status, data: await response.json().catch(() => ({}))};
    }, {method, address, headers, body});
    const change = {targetPort: 8123};
    assert.equal((await ask('PUT', '/api/host/tls.test', {}, change)).status, 403, 'without the guard nothing is changed');
    assert.equal((await ask('PUT', '/api/host/tls.test', {'X-CSRF-Token': 'x'}, change)).status, 403);
    await ask('POST', '/api/auth/logout');
    const {data: {csrf}, status} = await ask('GET', '/api/auth/session');
    assert.equal(status, 200, 'nor is anybody logged out');
    assert.equal((await ask('PUT', '/api/host/tls.test', {'X-CSRF-Token': csrf}, change)).status, 200);
    await until(async () => await page.getByLabel('Target port').inputValue() === '8123', 'the change comes by itself');
    assert.ok(!await page.getByText('Not connected').isVisible());
    await page.reload();
    await page.getByRole('heading', {name: 'tls.test'}).waitFor();

    await page.getByRole('button', {name: 'Log out'}).click();
    await page.getByRole('heading', {name: 'Log in'}).waitFor();
    assert.deepEqual(await page.context().cookies(), [], 'the cookie is gone');
    await page.context().addCookies(cookies);
    assert.equal((await ask('GET', '/api/auth/session')).status, 401, 'and good for nothing, should somebody have it');
  },

  // The manager goes away and comes back; meanwhile one may go on typing.
  async manager_away(world) {
    const page = await world.page();
    await logIn(page, world);
    let call = await script(world);
    await call('POST', '/api/host', {host: 'kept.test', ip: '127.0.0.1', targetPort: world.backend, forcessl: false});
    await row(page, 'kept.test').getByRole('link').click();
    const address = page.getByLabel('Target address');
    await address.fill('127.0.0.3');
    const banner = page.getByText('Not connected: what you see may be old.');
    assert.ok(!await banner.isVisible());
    await world.please('stop');
    await banner.waitFor();
    await accessible(page, 'without a connection');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('The manager does not answer').waitFor();
    assert.equal(await address.inputValue(), '127.0.0.3', 'what was typed stays');

    await world.please('start');
    call = await script(world);
    await call('PUT', '/api/host/kept.test', {targetPort: 8123});
    await banner.waitFor({state: 'hidden', timeout: 3 * PATIENCE});
    await until(async () => await page.getByLabel('Target port').inputValue() === '8123', 'what was missed is shown');
    assert.equal(await address.inputValue(), '127.0.0.3', 'beside what was typed');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByText('Saved.').waitFor();
    const {results} = await call('GET', '/api/host/kept.test');
    assert.deepEqual([results.ip, results.targetPort], ['127.0.0.3', 8123]);
    await call('PUT', '/api/host/kept.test', {targetPort: 8124});
    await until(async () => await page.getByLabel('Target port').inputValue() === '8124', 'events come again');
    // A session that ends while nobody looks on: the page says so by itself.
    await call('PUT', '/api/user/password', {password: `${PASSWORD}, once more`});
    await page.getByRole('heading', {name: 'Log in'}).waitFor({timeout: 2 * PATIENCE});
  },

  // Two browsers change one host, and the later one has not heard of it: its events do not come through.
  async two_browsers(world) {
    const call = await script(world);
    await call('POST', '/api/host', {host: 'both.test', ip: '127.0.0.1', targetPort: world.backend, forcessl: false});
    const [early, late] = [await world.page(), await world.page()];
    await late.route('**/api/events', (route) => route.abort());
    for (const page of [early, late]) {
      await logIn(page, world, {to: '/hosts/both.test'});
      await page.getByLabel('Target address').waitFor();
    }
    const address = late.getByRole('textbox', {name: 'Target address'});
    await address.fill('127.0.0.3');
    await late.getByLabel('Longest time to connect').fill('1500');
    await early.getByLabel('Target address').fill('127.0.0.2');
    await early.getByLabel('Target port').fill('8123');
    await early.getByRole('button', {name: 'Save'}).click();
    await early.getByText('Saved.').waitFor();
    const save = late.getByRole('button', {name: 'Save'});
    await save.click();
    await late.getByText('Somebody else has changed this host meanwhile, and nothing was saved.').waitFor();
    assert.equal((await call('GET', '/api/host/both.test')).results.ip, '127.0.0.2', 'it was not');
    assert.equal(await address.inputValue(), '127.0.0.3', 'what was typed stays');
    assert.equal(await late.getByLabel('Longest time to connect').inputValue(), '1500');
    assert.equal(await late.getByLabel('Target port').inputValue(), '8123', 'what the other did is there');
    await late.getByText('Changed elsewhere, and here by you: Target address').waitFor();
    await late.getByText('Somebody else has made it “127.0.0.2”').waitFor();
    const said = await address.evaluate((input) => input.getAttribute('aria-describedby').split(' ').map(
      (id) => document.getElementById(id)?.textContent).join(' '));
    assert.match(said, /127\.0\.0\.2/, 'also for those who listen');
    await accessible(late, 'two values of one field');
    await late.setViewportSize({width: 320, height: 800});
    await accessible(late, 'two values of one field, 320 px');

    // A second look keeps it in sight; theirs is one key away.
    await late.setViewportSize({width: 1280, height: 800});
    await call('PUT', '/api/host/both.test', {hsts_enabled: true});
    await save.click();
    await late.getByLabel('HSTS').and(late.locator(':checked')).waitFor();
    assert.ok(await late.getByText('Somebody else has made it “127.0.0.2”').isVisible());
    await late.getByRole('button', {name: 'Take theirs: Target address'}).press('Enter');
    assert.equal(await address.inputValue(), '127.0.0.2');
    assert.ok(await address.evaluate((input) => input === document.activeElement), 'the focus is at the field');
    await address.fill('127.0.0.4');
    await save.click();
    await late.getByText('Saved.', {exact: true}).waitFor();
    const {results} = await call('GET', '/api/host/both.test');
    assert.deepEqual([results.ip, results.targetPort, results.connectTimeout, results.hsts_enabled], ['127.0.0.4', 8123, 1500, true]);
    await until(async () => await early.getByLabel('Target address').inputValue() === '127.0.0.4', 'and the first one sees it');
  },

  // Without a pointer.
  async keyboard_only(world) {
    const page = await world.page();
    const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
    const focused = () => page.evaluate(() => {
      const node = document.activeElement;
      const name = node.getAttribute('aria-label') ?? node.labels?.[0]?.textContent ?? node.textContent;
      const style = getComputedStyle(node);
      return {name: name.trim(), seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
    });
    const tabTo = async (wanted) => {
      for (let i = 0; i < 60; ++i) {
        await press('Tab');
        const {name, seen} = await focused();
        assert.ok(seen || name === '', `where the focus is can be seen: ${name}`);
        if (name.startsWith(wanted)) return;
      }
      assert.fail(`Tab never comes to ${wanted}`);
    };
    await page.goto(`${world.manager}/`);
    await page.getByLabel('User name').waitFor();
    await page.keyboard.type('admin');
    await press('Tab');
    await page.keyboard.type(PASSWORD);
    await press('Enter');
    await page.getByRole('heading', {name: 'Hosts'}).waitFor();
    await settled(page);
    await tabTo('Add a host');
    await press('Enter');
    await page.getByRole('heading', {name: 'Add a host'}).waitFor();
    await tabTo('Host name');
    await page.keyboard.type('keys.test');
    await tabTo('Target address');
    await page.keyboard.type('127.0.0.1');
    await tabTo('Target port');
    await page.keyboard.type(String(world.backend));
    await tabTo('Redirect http to https');
    await press('Space', 'Enter');
    await page.getByRole('heading', {name: 'keys.test'}).waitFor();
    assert.equal((await focused()).name, 'keys.test', 'a new page begins at its heading');
    await until(async () => (await visit(world, 'keys.test')).status === 200, 'the host answers');
    await tabTo('Delete host');
    await press('Enter');
    assert.equal((await focused()).name, 'Cancel', 'in doubt nothing is deleted');
    await press('Escape');
    assert.equal((await focused()).name, 'Delete host', 'the focus comes back');
    await press('Enter', 'Tab', 'Enter');
    await page.getByText('There are no hosts yet').waitFor();

    await page.reload();
    await settled(page);
    await press('Tab');
    assert.equal((await focused()).name, 'Skip to content');
    await press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  },

  // Every page, light and dark, wide and narrow.
  async accessible_everywhere(world) {
    const page = await world.page();
    await page.goto(`${world.manager}/login`);
    await page.getByLabel('User name').waitFor();
    await accessible(page, '/login');
    await logIn(page, world);
    const call = await script(world);
    await call('POST', '/api/host', {host: 'app.test', ip: '127.0.0.1', targetPort: world.backend, forcessl: false});
    await call('POST', '/api/host', {host: '*.wild.test', ip: '127.0.0.1', targetPort: world.backend, targets: ['127.0.0.1:4000']});
    await call('POST', '/api/host', {host: 'dead.test', ip: '127.0.0.1', targetPort: world.closed, forcessl: false});
    await call('PUT', '/api/host/app.test', {hsts_enabled: true});
    await call('POST', '/api/user', {username: 'alice', password: PASSWORD});
    await call('POST', '/api/permission', {subjectType: 'user', subject: 'alice', role: 'manager', scope: 'domain', domain: 'wild.test'});
    await call('POST', '/api/api-token', {name: 'deploy', role: 'manager'});
    for (let i = 0; i < 6; ++i) await visit(world, 'dead.test');
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 320]) {
        await page.emulateMedia({colorScheme});
        await page.setViewportSize({width, height: 800});
        for (const where of PAGES) {
          await page.goto(world.manager + where);
          await settled(page);
          for (const details of await page.locator('main details > summary').all()) await details.click();
          await accessible(page, `${where}, ${colorScheme}, ${width} px`);
        }
      }
    }
    await page.goto(`${world.manager}/hosts/app.test`);
    await page.getByRole('button', {name: 'Delete host'}).click();
    await accessible(page, 'a question');
  },

  // Users, permissions and tokens: who may do what is what they see.
  async rights(world) {
    const page = await world.page();
    await logIn(page, world);
    const call = await script(world);
    for (const host of ['a.one.test', 'b.one.test', 'c.two.test']) {
      await call('POST', '/api/host', {host, ip: '127.0.0.1', targetPort: world.backend});
    }
    await page.getByRole('link', {name: 'Users'}).click();
    await page.getByText('Add a user').click();
    await page.getByLabel('User name').fill('alice');
    await page.getByLabel('Password (').fill('short');
    await page.getByLabel('The same again').fill('short');
    await page.getByRole('button', {name: 'Add user'}).click();
    await page.locator('[name=password][aria-invalid=true]').waitFor();
    await page.getByLabel('Password (').fill(PASSWORD);
    await page.getByLabel('The same again').fill(PASSWORD);
    await page.getByRole('button', {name: 'Add user'}).click();
    const users = page.getByRole('table', {name: 'Users'});
    await row(users, 'alice').waitFor();
    await page.getByText('Give a permission').click();
    await page.getByRole('textbox', {name: 'User (required)'}).fill('alice');
    await page.getByLabel('Domain').fill('one.test');
    await page.getByRole('button', {name: 'Give permission'}).click();
    await page.getByRole('table', {name: 'Permissions'}).getByText('one.test').waitFor();

    const hers = await world.page();
    await logIn(hers, world, {user: 'alice'});
    await hers.getByText('2 hosts.').waitFor();
    assert.equal(await row(hers, 'c.two.test').count(), 0, 'she sees her domain alone');
    assert.equal(await hers.getByRole('link', {name: 'Add a host'}).count(), 0, 'viewers add nothing');
    assert.equal(await hers.getByRole('link', {name: 'Users'}).count(), 0);
    await hers.goto(`${world.manager}/users`);
    await hers.getByRole('heading', {name: 'Page not found'}).waitFor();

    await page.getByRole('link', {name: 'Tokens'}).click();
    await page.getByLabel('Name').fill('deploy');
    await page.getByRole('button', {name: 'Make token'}).click();
    const secret = await page.getByLabel('Secret', {exact: true}).inputValue();
    const answer = await fetch(`${world.manager}/api/host`, {headers: {Authorization: `Bearer ${secret}`}});
    assert.equal(answer.status, 200, 'a script may use it');
    await page.getByRole('button', {name: 'I have it'}).click();
    await page.reload();
    await row(page, 'deploy').waitFor();
    assert.ok(!(await page.content()).includes(secret), 'it is shown once');

    await page.getByRole('link', {name: 'Users'}).click();
    await row(users, 'alice').getByRole('button', {name: 'Disable alice'}).click();
    await hers.goto(`${world.manager}/hosts`);
    await hers.getByRole('heading', {name: 'Log in'}).waitFor();
    await row(users, 'alice').getByRole('button', {name: 'Delete alice'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Delete user'}).click();
    await row(users, 'alice').waitFor({state: 'detached'});

    await page.getByRole('link', {name: 'Audit'}).click();
    await page.getByRole('cell', {name: 'user.create'}).first().waitFor();
    assert.ok(!(await page.content()).includes('$2b$'), 'the audit tells no hash');
  },

  // What others wrote into the store is text, and nothing else.
  async hostile_text(world) {
    const page = await world.page();
    await logIn(page, world);
    const call = await script(world);
    const nasty = '<img src=x onerror="document.title=\'owned\'">';
    await call('POST', '/api/host', {host: 'nasty.test', ip: '127.0.0.1', targetPort: world.backend, wildcard_parent: nasty}).catch(() => {});
    await call('POST', '/api/api-token', {name: nasty, role: 'viewer'}).catch(() => {});
    for (const where of ['/hosts', '/hosts/nasty.test', '/tokens', '/audit', `/hosts?q=${encodeURIComponent(nasty)}`,
      `/hosts/${encodeURIComponent(nasty)}`]) {
      await page.goto(world.manager + where);
      await settled(page);
      assert.equal(await page.locator('main img').count(), 0, where);
      assert.notEqual(await page.title(), 'owned');
    }
    await page.goto(`${world.manager}/login?to=${encodeURIComponent('//elsewhere.test/')}`);
    await settled(page);
    assert.equal(new URL(page.url()).origin, world.manager, 'nobody is sent elsewhere');
  },

  // An account at a DNS vendor: the vendor's form, its no at the field it is about, its domains.
  async dns_form(world) {
    const page = await world.page();
    await logIn(page, world, {to: '/dns'});
    await page.getByLabel('Vendor').selectOption('PorkBun');
    await page.getByRole('button', {name: 'Check and add'}).click();
    await page.locator('[name=name][aria-invalid=true]').waitFor();
    await page.getByLabel('Vendor').selectOption('rfc2136');
    await accessible(page, 'the form of a vendor');
    await page.getByLabel('Name (required)').fill('Our own server');
    await page.getByLabel('Primary server').fill(world.dns.server);
    await page.getByLabel('Zones').fill(world.dns.zone);
    await page.getByLabel('Name of the TSIG key').fill(world.dns.key);
    const secret = page.getByLabel('Secret of the key');
    assert.equal(await secret.getAttribute('type'), 'password', 'a secret is typed unseen');
    await secret.fill('d3Jvbmc=');
    await page.getByRole('button', {name: 'Check and add'}).click();
    await page.locator('[name=secret][aria-invalid=true]').waitFor();
    await secret.fill(world.dns.secret);
    await page.getByRole('button', {name: 'Check and add'}).click();
    await page.getByText('Our own server works and was added').waitFor();
    const card = page.getByRole('listitem').filter({has: page.getByRole('heading', {name: 'Our own server'})});
    await card.getByText(world.dns.zone, {exact: true}).waitFor();
    await card.getByRole('button', {name: 'Check'}).click();
    await card.getByText('The vendor knows us').waitFor();
    await card.locator('summary').click();
    assert.equal(await card.getByLabel('Secret of the key').inputValue(), '', 'and never comes back');
    await card.getByLabel('Name (required)').fill('Renamed');
    await card.getByRole('button', {name: 'Save'}).click();
    await page.getByRole('heading', {name: 'Renamed'}).waitFor();
    await page.getByRole('button', {name: 'Check Renamed'}).click();
    await page.getByText('The vendor knows us').waitFor();
    await page.getByRole('button', {name: 'Delete Renamed'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Delete provider'}).click();
    await page.getByText('None yet.').waitFor();
  },

  // Many hosts: a page of them is what the browser has.
  async many_hosts(world) {
    const page = await world.page();
    await logIn(page, world);
    await page.getByText(`${world.hosts.toLocaleString('en')} hosts`).waitFor();
    assert.ok(await page.getByRole('row').count() <= 51, 'one page of them');
    const began = Date.now();
    await page.getByLabel('Search').fill('000042.many');
    await page.getByText('with “000042.many”').waitFor();
    console.log(`a search in ${world.hosts} hosts, with the pause after typing: ${Date.now() - began} ms`);
    assert.ok(Date.now() - began < 2_000 * world.slack);
    await page.getByLabel('Search').fill('');
    await page.getByRole('button', {name: 'Next page'}).click();
    await page.getByRole('button', {name: 'First page'}).waitFor();
    await page.goBack();
    await page.getByRole('button', {name: 'First page'}).waitFor({state: 'hidden'});
  },

  // No test: pictures for the README.
  async pictures(world) {
    const page = await world.page({viewport: {width: 1000, height: 620}});
    await logIn(page, world);
    const call = await script(world);
    const add = (host, more = {}) => call('POST', '/api/host', {host, ip: '127.0.0.1', targetPort: world.backend, ...more});
    await add('app.example.com', {targets: [`127.0.0.1:${world.closed}`]});
    await add('blog.example.com', {forcessl: false});
    await add('shop.example.com', {targetPort: world.closed, forcessl: false});
    await add(world.unreachable);
    await add('**.dev.example.com', {forcessl: false});
    for (let i = 0; i < 6; ++i) await visit(world, 'shop.example.com');
    const taken = async (name) => {
      await settled(page);
      await page.waitForTimeout(500);
      await page.screenshot({path: path.join(world.screenshots, `${name}.png`)});
    };
    for (const host of ['app.example.com', 'blog.example.com', 'shop.example.com']) {
      await row(page, host).getByText(/\d+ days left/).waitFor({timeout: 3 * PATIENCE});
    }
    await row(page, world.unreachable).getByText('failing').waitFor({timeout: 3 * PATIENCE});
    await row(page, 'shop.example.com').getByText('down').waitFor();
    await taken('hosts');
    await page.goto(`${world.manager}/hosts/${world.unreachable}`);
    await taken('host');
    await page.emulateMedia({colorScheme: 'dark'});
    await page.goto(`${world.manager}/system`);
    await until(async () => {
      for (let i = 0; i < 20; ++i) await visit(world, 'blog.example.com', `/bytes/${1000 * i}`);
      return await page.locator('.plot .line').evaluateAll((lines) => lines.some((line) => (line.getAttribute('d') ?? '').split('L').length > 8));
    }, 'there is something to plot', 6 * PATIENCE);
    await page.getByRole('heading', {name: 'System'}).focus();
    await taken('system');
  },
};

async function addOnce(page, world) {
  await page.goto(`${world.manager}/hosts`);
  await addHost(page, {host: 'once.test', port: world.backend});
  await page.getByRole('heading', {name: 'once.test'}).waitFor();
  await page.goto(`${world.manager}/new-host`);
  await page.getByLabel('Host name').fill('once.test');
  await page.getByLabel('Target address').fill('127.0.0.1');
  await page.getByLabel('Target port').fill('80');
  await page.getByRole('button', {name: 'Add host'}).click();
  await page.getByText('already exists').first().waitFor();
}

// The first line is the world; each further one says that what was asked for is done.
const lines = readline.createInterface({input: process.stdin})[Symbol.asyncIterator]();
const world = JSON.parse((await lines.next()).value);
world.please = async (deed) => {
  console.log(`please: ${deed}`);
  await lines.next();
};
await withBrowser(world, flows[process.argv[2]]);
process.stdin.destroy();
