// All hosts: where their requests go, how the targets are, how long the certificates last.

import {at} from './api.js';
import {chip, el, every} from './dom.js';
import {certificateChip, failingTargets, targetChip, targetsOf} from './health.js';
import {pagedList} from './paged.js';

export const title = () => 'Hosts';

export async function show(page) {
  const {signal, session} = page;
  let failing = null;
  const list = await pagedList(page, {
    path: '/api/host',
    base: '/hosts',
    columns: ['Host', 'Targets', 'Certificate', 'Options'],
    search: 'Search names and targets',
    filter: {parameter: 'show', options: [['', 'All hosts'], ['down', 'Target down'], ['certificate', 'Certificate failing']]},
    noun: ['host', 'hosts'],
    empty: 'There are no hosts yet. Add the first one.',
    models: ['Host', 'Certificate'],
    beside: session.mayManage && el('a', {class: 'button primary', href: '/new-host'}, 'Add a host'),
    keyOf: ({host}) => host.host,
    itemOf: (host) => ({
      host, targets: targetsOf(host).map((target) => [target, failing && (failing.get(target) ?? 'up')]),
    }),
    cellsOf: ({host, targets}) => [
      el('a', {href: at`/hosts/${host.host}`}, host.host),
      el('ul', {class: 'plain'}, targets.map(
        ([target, state]) => el('li', {}, el('code', {}, target), ' ', targetChip(state)))),
      certificateChip(host.certificate),
      [host.forcessl && chip('none', 'https only'), host.targetssl && chip('none', 'TLS to target')],
    ],
  });
  every(10_000, signal, async () => {
    failing = await failingTargets(signal).catch(() => null);
    if (signal.aborted) return;
    if (list.shown() === 'down') await list.load();  // others may be down now
    else list.draw();
  });
}
