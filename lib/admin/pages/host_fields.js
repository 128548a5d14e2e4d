// The fields of a host, as people fill them in.

export const fields = [
  {name: 'host', label: 'Host name', kind: 'text', required: true, placeholder: 'app.example.com',
    help: 'A name, or a pattern: * is one label, ** one or more (*.example.com).'},
  {name: 'ip', label: 'Target address', kind: 'text', required: true, placeholder: '127.0.0.1',
    help: 'Address or name of the server that the requests go to.'},
  {name: 'targetPort', label: 'Target port', kind: 'number', required: true, placeholder: '8080'},
  {name: 'targets', label: 'Further targets', kind: 'lines', rows: 2,
    help: 'One address:port on a line. Requests are spread over all targets that are up.'},

  {name: 'forcessl', label: 'Redirect http to https', kind: 'checkbox', standard: true, group: 'Visitors'},
  {name: 'hsts_enabled', label: 'Tell browsers to come by https only (HSTS)', kind: 'checkbox', group: 'Visitors'},
  {name: 'challengeType', label: 'Certificate', kind: 'select', group: 'Visitors', options: [
    ['', 'As the name and the configuration want it'], ['HTTP-01', 'Shown over http (HTTP-01)'],
    ['DNS-01', 'Shown in DNS (DNS-01)'], ['DNS-01-wildcard', 'Wildcard, shown in DNS (DNS-01)'],
    ['wildcardChild', 'That of its wildcard'], ['none', 'None']]},

  {name: 'targetssl', label: 'Speak TLS to the targets', kind: 'checkbox', group: 'Targets', changed: verified},
  {name: 'targetVerify', label: 'Certificates of the targets', kind: 'select', group: 'Targets',
    options: [['true', 'are verified'], ['false', 'are not verified'],
      ['', 'are not verified, as older software had it']]},
  {name: 'targetServerName', label: 'Name the certificate has to show', kind: 'text', group: 'Targets',
    help: 'If it is another than the target address.'},
  {name: 'host-pass-though', label: 'Send the visitor’s Host field', kind: 'checkbox', standard: true, group: 'Targets'},

  {name: 'connectTimeout', label: 'Longest time to connect (ms)', kind: 'number', group: 'Time limits',
    help: 'Empty: as configured for all hosts.'},
  {name: 'firstByteTimeout', label: 'Longest time to the first byte (ms)', kind: 'number', group: 'Time limits'},
  {name: 'idleTimeout', label: 'Longest time without a byte (ms)', kind: 'number', group: 'Time limits'},
];

export function tlsFields(form) {
  for (const name of ['targetVerify', 'targetServerName']) form.show(name, form.value('targetssl'));
}

// Who turns TLS on means TLS that is verified.
function verified(form) {
  const {input} = form.controls.get('targetVerify');
  if (form.value('targetssl') && input.value === '') input.value = 'true';
  tlsFields(form);
}

// As the API has it: for the form.
export function shown(record) {
  const values = {...record};
  if (typeof values.targetVerify === 'boolean') values.targetVerify = String(values.targetVerify);
  else values.targetVerify = '';
  if (!Array.isArray(values.targets)) delete values.targets;
  return values;
}

// As filled in: for the API. What was left empty is not there (null), and need not be said of a new
// host.
export function sent(values, {isNew}) {
  const record = {...values};
  if ('targetVerify' in record) record.targetVerify = record.targetVerify === '' ? null : record.targetVerify === 'true';
  for (const [name, value] of Object.entries(record)) {
    if (value === '') record[name] = null;
    if (isNew && (record[name] === null || value.length === 0)) delete record[name];
  }
  return record;
}
