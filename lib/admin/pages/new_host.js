// Adding a host.

import {at, post} from './api.js';
import {el, replace, say} from './dom.js';
import {Form} from './form.js';
import {fields, sent, tlsFields} from './host_fields.js';

export const title = () => 'Add a host';

export function show({content, go}) {
  const form = new Form({
    fields,
    label: 'Add host',
    actions: [el('a', {class: 'button', href: '/hosts'}, 'Cancel')],
    async submit(values) {
      const {data} = await post('/api/host', sent(values, {isNew: true}));
      await go(at`/hosts/${data.host ?? values.host}`);
      say(`${data.host ?? values.host} was added.`);
    },
  });
  tlsFields(form);
  replace(content, form.node);
}
