// All certificates that are kept, got and renewed: their state, what comes next, and their story.

import {at} from './api.js';
import {el} from './dom.js';
import {certificateChip, nextStep} from './health.js';
import {pagedList} from './paged.js';
import {told} from './story.js';

export const title = () => 'Certificates';

export const show = (page) => pagedList(page, {
  path: '/api/cert',
  base: '/certificates',
  columns: ['Certificate', 'State', 'Next', 'Story'],
  search: 'Search names',
  filter: {parameter: 'state', options: [['', 'All'], ['failing', 'Failing'], ['waiting', 'Waiting'],
    ['working', 'Being issued'], ['valid', 'Valid'], ['idle', 'None wanted']]},
  noun: ['certificate', 'certificates'],
  empty: 'There are no certificates yet. They are got for hosts once a CA is configured.',
  models: ['Certificate'],
  keyOf: (story) => story.name,
  cellsOf: (story) => [
    story.host ? el('a', {href: at`/hosts/${story.host}`}, story.name) : story.name,
    certificateChip(story),
    nextStep(story),
    el('details', {}, el('summary', {}, 'Story', el('span', {class: 'unseen'}, ` of ${story.name}`)), told(story)),
  ],
});
