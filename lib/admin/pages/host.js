// One host: its targets and their health, its settings, why a name ends up here, and the story of
// its certificate. What others change meanwhile is taken over, except where something was typed.

import {at, del, get, put} from './api.js';
import {chip, confirmed, el, every, keyed, paced, replace, say, warn} from './dom.js';
import {Form} from './form.js';
import {certificateChip, failingTargets, targetChip, targetsOf} from './health.js';
import {fields, sent, shown, tlsFields} from './host_fields.js';
import {storyBox} from './story.js';

export const title = (name) => name;

export async function show({content, signal, live, param: name, session, go}) {
  const path = at`/api/host/${name}`;
  let {data, etag} = await get(path, {signal});
  let record = data.results;
  const mayChange = session.mayManage;

  const targets = el('ul', {class: 'plain', 'aria-label': 'Targets'});
  const notice = el('p', {class: 'banner warn', role: 'status', hidden: true});
  const form = new Form({
    fields,
    label: 'Save',
    values: shown(record),
    actions: [
      el('button', {type: 'button', onclick: () => { form.set(shown(record)); form.clearErrors(); notice.hidden = true; tlsFields(form); }}, 'Undo'),
      el('button', {type: 'button', class: 'danger', onclick: remove}, 'Delete host'),
    ],
    async submit() {
      const changes = sent(form.changes(), {isNew: false});
      if (Object.keys(changes).length === 0) return say('Nothing was changed.');
      try {
        const answer = await put(path, changes, {etag});
        etag = answer.etag;
      } catch (error) {
        if (error.status !== 412) throw error;
        await refresh();
        error.message = 'Somebody else has changed this host meanwhile, and nothing was saved. What they changed is shown; look at it and save again.';
        throw error;
      }
      notice.hidden = true;
      if (changes.host && changes.host !== name) {
        await go(at`/hosts/${changes.host}`, {replaced: true});
        return say(`${name} is now ${changes.host}.`);
      }
      await refresh(true);
      say('Saved.');
    },
  });
  tlsFields(form);
  if (!mayChange) for (const {input} of form.controls.values()) input.disabled = true;

  async function remove() {
    if (!await confirmed(`Delete ${name}? Requests for it are answered 404 from then on.`, 'Delete host')) return;
    try {
      await del(path);
    } catch (error) {
      return warn(error.message);
    }
    await go('/hosts');
    say(`${name} was deleted.`);
  }

  const explained = el('div', {'aria-live': 'polite'});
  const asked = el('input', {id: 'asked', value: name.replaceAll('**', 'a.b').replaceAll('*', 'a'), autocomplete: 'off', spellcheck: 'false'});
  const explain = async () => {
    try {
      replace(explained, explanation((await get(at`/api/host/${asked.value.trim()}/explain`, {signal})).data));
    } catch (error) {
      if (!signal.aborted) replace(explained, el('p', {class: 'error'}, error.message));
    }
  };
  const story = storyBox({name, signal, mayChange, path: `${path}/certificate`, renew: `${path}/renew`});

  replace(content,
    el('p', {}, el('a', {href: '/hosts'}, 'All hosts')),
    notice,
    el('section', {'aria-labelledby': 'health'}, el('h2', {id: 'health'}, 'Targets'), targets),
    el('section', {'aria-labelledby': 'certificate'}, el('h2', {id: 'certificate'}, 'Certificate'), story.node),
    el('section', {'aria-labelledby': 'explain'}, el('h2', {id: 'explain'}, 'Which host answers?'),
      el('form', {class: 'bar', onsubmit: (event) => { event.preventDefault(); explain(); }},
        el('div', {class: 'field'}, el('label', {for: 'asked'}, 'Name that a visitor asks for'), asked),
        el('button', {}, 'Explain')),
      explained),
    el('section', {'aria-labelledby': 'settings'}, el('h2', {id: 'settings'}, 'Settings'),
      el('p', {class: 'help'}, record.created_by ? `Added by ${record.created_by}.` : ''), form.node));
  if (!mayChange) form.node.querySelector('.actions').remove();

  const drawTargets = (failing) => keyed(targets, targetsOf(record), (target) => target, (target) => {
    const state = el('span');
    return {
      node: el('li', {}, el('code', {}, target), ' ', state),
      update: () => replace(state, targetChip(failing && (failing.get(target) ?? 'up'))),
    };
  });

  // `mine`: what is on the page was saved just now.
  async function refresh(mine = false) {
    const answer = await get(path, {signal});
    ({etag} = answer);
    record = answer.data.results;
    if (mine) {
      form.set(shown(record));
      tlsFields(form);
      return;
    }
    const kept = form.adopt(shown(record));
    tlsFields(form);
    notice.hidden = kept.length === 0;
    notice.textContent = kept.length ? `Changed elsewhere, and here by you: ${kept.join(', ')}. Both are shown; saving keeps yours.` : '';
  }

  const again = paced(() => refresh().catch((error) => {
    if (signal.aborted) return;
    notice.hidden = false;
    notice.textContent = error.status === 404 ? 'This host was deleted elsewhere.' : error.message;
  }));
  const told = paced(story.load);  // it may be that of another name: the wildcard's
  live.listen(signal, (model, action, key) => {
    if (model === null || (model === 'Host' && key === name)) again();
    if (model === null || model === 'Certificate') told();
  });
  story.load();
  every(10_000, signal, async () => {
    const failing = await failingTargets(signal).catch(() => null);
    if (!signal.aborted) drawTargets(failing);
  });
}

// What the proxy answered to "which host?": the winner, who knew it, and why the others lost.
function explanation(data) {
  const said = data.results ?? data;
  return [
    el('p', {}, said.found && !said.pattern ? 'Another host answers, which you may not see.' : said.found
      ? ['Answered by ', el('a', {href: at`/hosts/${said.pattern}`}, said.pattern), ', sent to ',
        el('code', {}, (said.targets ?? []).join(', ')), '.']
      : `No host answers for ${said.host}: visitors get 404.`),
    said.candidates?.length > 0 && el('ol', {class: 'plain', 'aria-label': 'Hosts looked at'}, said.candidates.map(
      (one) => el('li', {}, el('code', {}, one.pattern), ' ',
        chip(one.wins ? 'ok' : one.matches ? 'warn' : 'none', one.wins ? 'wins' : one.matches ? 'matches' : 'does not match'),
        ' ', one.reason))),
    said.tiers?.length > 0 && el('details', {}, el('summary', {}, 'Where it was looked up'),
      el('ol', {}, said.tiers.map((tier) => el('li', {}, `${tier.tier}: ${tier.answer}${tier.why ? ` (${tier.why})` : ''}`)))),
  ];
}
