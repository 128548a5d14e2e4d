// The installation itself: listeners, store, versions, and how it is doing, in small plots.

import {get} from './api.js';
import {chip, el, every, replace} from './dom.js';
import {plot} from './plot.js';

export const title = () => 'System';

export async function show({content, signal}) {
  const facts = el('div');
  replace(content, facts);
  every(5_000, signal, async () => {
    const {data} = await get('/api/system', {signal});
    replace(facts, el('pre', {}, JSON.stringify(data, null, 2)), chip('ok', 'x'), plot('x', String).node);
  });
}
