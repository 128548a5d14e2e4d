// What is known of targets and certificates, in a chip.

import {get} from './api.js';
import {chip, daysLeft, time} from './dom.js';

// Targets that failed or rest, by "address:port". Throws where the proxy does not say.
export async function failingTargets(signal) {
  const {data} = await get('/api/target', {signal});
  if (data.reachable === false) throw new Error(data.why);
  return new Map(data.targets.map((one) => [one.target, one]));
}

export function targetsOf(host) {
  const address = String(host.ip ?? '').includes(':') ? `[${host.ip}]` : host.ip;
  return [`${address}:${host.targetPort}`, ...(Array.isArray(host.targets) ? host.targets : [])];
}

// `state`: one of the above, 'up', or null where it is not known.
export function targetChip(state) {
  if (!state) return chip('none', 'not known');
  if (state === 'up') return chip('ok', 'up');
  const title = `${state.failures} failures`;
  return state.state === 'resting' ? chip('bad', 'down', title) : chip('warn', 'failing', title);
}

// Days before its end at which a certificate that was not renewed is worth a warning.
const SOON = 14;

// `story`: of /api/cert; undefined: none.
export function certificateChip(story) {
  if (!story) return chip('none', 'no certificate');
  const days = daysLeft(story.not_after);
  if (days === null) {
    const words = {waiting: 'waiting', working: 'being issued', failing: 'failing', idle: 'none wanted'};
    return chip(story.state === 'failing' ? 'bad' : 'none', words[story.state] ?? story.state, story.why);
  }
  if (days < 0) return chip('bad', 'expired');
  const left = days === 1 ? '1 day left' : `${days} days left`;
  if (story.state === 'failing') return chip('warn', `${left}, renewal failing`);
  return chip(days < SOON && lifetime(story) > 2 * SOON ? 'warn' : 'ok', left);
}

function lifetime(story) {
  return (Date.parse(story.not_after) - Date.parse(story.not_before)) / 86_400_000;
}

// What comes next, in words: "renewed in 20 days (...)".
export function nextStep(story) {
  if (!story.next) return story.why ?? '';
  const what = story.state === 'valid' ? 'renewed ' : 'tried ';
  return [what, time(story.next), story.why ? ` (${story.why})` : ''];
}
