// The story of one certificate: what it is, what comes next and why, what was tried, and what the
// CA said, in its own words.

import {get, put} from './api.js';
import {chip, el, exactTime, replace, say, time, warn} from './dom.js';
import {certificateChip, nextStep} from './health.js';

// {node, load}: load() asks anew and changes what is shown.
export function storyBox({name, path, renew, signal, mayChange}) {
  const text = el('div', {'aria-live': 'polite'}, 'Loading.');
  const button = el('button', {onclick: async () => {
    button.disabled = true;
    try {
      await put(renew, {});
      say(`A certificate for ${name} has been asked for.`);
      setTimeout(load, 1_000);
    } catch (error) {
      warn(error.message);
    }
    button.disabled = false;
  }}, 'Renew now');
  let last = '';
  async function load() {
    try {
      const {data} = await get(path, {signal});
      const story = data.results ?? data;
      const now = JSON.stringify(story);
      if (now === last) return;
      last = now;
      replace(text, told(story));
    } catch (error) {
      if (signal.aborted) return;
      last = '';
      replace(text, el('p', {}, error.status === 404 ? 'None has been asked for yet.' : error.message));
    }
  }
  return {node: el('div', {}, text, mayChange && renew && el('div', {class: 'actions'}, button)), load};
}

export function told(story) {
  const facts = [
    ['State', certificateChip(story)],
    ['Next', nextStep(story)],
    ['Names', story.identifiers?.join(', ')],
    ['Valid', story.not_after && [exactTime(story.not_before), ' to ', exactTime(story.not_after)]],
    ['Issuer', story.issuer],
    ['Serial number', story.serial && el('code', {}, story.serial)],
  ];
  return [
    el('dl', {class: 'facts'}, facts.filter(([, value]) => value && value.length !== 0).map(
      ([term, value]) => el('div', {}, el('dt', {}, term), el('dd', {}, value)))),
    story.attempts?.length > 0 && el('details', {open: story.state === 'failing'},
      el('summary', {}, `What was tried (${story.attempts.length})`),
      el('ol', {class: 'attempts'}, story.attempts.map((attempt) => el('li', {},
        chip(attempt.ok ? 'ok' : 'bad', attempt.ok ? 'went well' : 'failed'), ' ',
        attempt.what, ' ', time(attempt.at), attempt.ok ? '' : `, at ${attempt.step}`,
        attempt.words && el('blockquote', {}, attempt.words))))),
  ];
}
