// The two fields in which a password is set.

import {ApiError} from './api.js';

export function passwordFields(label) {
  return [
    {name: 'password', label, kind: 'password', required: true, autocomplete: 'new-password',
      help: '12 characters or more; or 8 with three of: lower case, upper case, digits, others.'},
    {name: 'again', label: 'The same again', kind: 'password', required: true, autocomplete: 'new-password'},
  ];
}

export function samePasswords(password, again) {
  if (password === again) return;
  throw new ApiError(422, 'ObjectValidateError', '', [{key: 'again', message: 'This is not the same password.'}]);
}
