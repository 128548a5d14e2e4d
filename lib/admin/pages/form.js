// A form made of a list of fields: labels, help, values of the right type, errors of the API at the
// fields they are about, and other people's changes taken over where nothing was typed.
//
// A field: {name, label, kind, help, required, options, min, max, autocomplete, ...}; kinds are
// text, password, number, checkbox, select and lines (a list of texts, one on a line).

import {ApiError} from './api.js';
import {el, replace, setText} from './dom.js';

let count = 0;

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// What a control holds for a value, and the value that it means.
function content(field, value) {
  if (field.kind === 'checkbox') return value ?? field.standard ?? false;
  if (field.kind === 'lines') return (value ?? []).join('\n');
  return String(value ?? field.standard ?? field.options?.[0][0] ?? '');
}

function meant(field, held) {
  if (field.kind === 'checkbox' || field.kind === 'password') return held;
  if (field.kind === 'lines') return held.split('\n').map((line) => line.trim()).filter(Boolean);
  const text = held.trim();
  if (field.kind !== 'number') return text;
  if (text === '') return null;
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

// A value in words.
function told(field, value) {
  if (field.kind === 'checkbox') return value ? 'on' : 'off';
  if (field.kind === 'select') return `“${field.options.find(([one]) => one === value)?.[1] ?? value}”`;
  const text = [value ?? ''].flat().join(', ');
  return text === '' ? 'nothing' : `“${text}”`;
}

export class Form {
  // `submit(values, form)`: may throw an ApiError. `actions`: further buttons.
  constructor({fields, submit, label, values = {}, actions = []}) {
    this.prefix = `form${++count}`;
    this.fields = fields;
    this.summary = el('p', {class: 'error', role: 'alert', hidden: true});
    this.button = el('button', {class: 'primary'}, label);
    this.controls = new Map();
    this.base = {};
    const groups = [];
    for (const field of fields) {
      let group = groups.find(({name}) => name === field.group);
      if (!group) groups.push(group = {name: field.group, nodes: []});
      group.nodes.push(this.#made(field));
    }
    this.node = el('form', {novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.#send(submit);
    }},
      this.summary,
      groups.map(({name, nodes}) => (name ? el('fieldset', {}, el('legend', {}, name), nodes) : nodes)),
      el('div', {class: 'actions'}, this.button, actions));
    this.set(values);
  }

  #made(field) {
    const id = `${this.prefix}-${field.name}`;
    const help = field.help ? el('p', {class: 'help', id: `${id}-help`}, field.help) : null;
    const error = el('p', {class: 'error', id: `${id}-error`, hidden: true});
    const theirs = el('p', {class: 'theirs', id: `${id}-theirs`, hidden: true});
    const common = {
      id, name: field.name, required: field.required, autocomplete: field.autocomplete ?? 'off',
      'aria-describedby': [help && `${id}-help`, `${id}-error`, `${id}-theirs`].filter(Boolean).join(' '),
    };
    let input;
    if (field.kind === 'select') {
      input = el('select', common, field.options.map(
        ([value, text]) => el('option', {value}, text)));
    } else if (field.kind === 'lines') {
      input = el('textarea', {...common, rows: field.rows ?? 3, spellcheck: 'false'});
    } else if (field.kind === 'checkbox') {
      input = el('input', {...common, type: 'checkbox'});
    } else {
      input = el('input', {
        ...common, type: field.kind === 'password' ? 'password' : 'text', placeholder: field.placeholder,
        inputmode: field.kind === 'number' ? 'numeric' : null, spellcheck: 'false', autocapitalize: 'none',
      });
    }
    input.addEventListener('input', () => {
      this.#mark(field.name, '');
      if (same(this.value(field.name), this.base[field.name])) this.#agree(field.name);
      field.changed?.(this);
    });
    this.controls.set(field.name, {field, input, error, theirs});
    const label = el('label', {for: id}, field.label,
      field.required ? el('span', {class: 'required'}, ' (required)') : null);
    const node = field.kind === 'checkbox'
      ? el('div', {class: 'field check'}, input, el('div', {}, label, help, error, theirs))
      : el('div', {class: 'field'}, label, help, input, error, theirs);
    this.controls.get(field.name).node = node;
    return node;
  }

  // The value of one field: '' and [] for what was left empty, null for a number that was.
  value(name) {
    const {field, input} = this.controls.get(name);
    return meant(field, field.kind === 'checkbox' ? input.checked : input.value);
  }

  values() {
    return Object.fromEntries([...this.controls.keys()].map((name) => [name, this.value(name)]));
  }

  // What differs from what it was set to.
  changes() {
    return Object.fromEntries(Object.entries(this.values()).filter(
      ([name, value]) => !same(value, this.base[name])));
  }

  // Shows these values, whatever was typed.
  set(values) {
    for (const name of this.controls.keys()) this.#put(name, values[name]);
  }

  // Shows these values where nothing was typed. Where something was, and theirs has become another,
  // both can be seen until one is chosen; returns the labels of those fields.
  adopt(values) {
    const kept = [];
    for (const [name, {field, theirs}] of this.controls) {
      const value = meant(field, content(field, values[name]));
      const changed = !theirs.hidden || !same(value, this.base[name]);
      if (same(this.value(name), this.base[name]) || same(this.value(name), value)) {
        this.#put(name, values[name]);
      } else if (changed) {
        this.#differ(name, values[name]);
        kept.push(field.label);
      }
      this.base[name] = value;
    }
    return kept;
  }

  #differ(name, value) {
    const {field, input, theirs} = this.controls.get(name);
    const take = el('button', {type: 'button', 'aria-label': `Take theirs: ${field.label}`, onclick: () => {
      this.#put(name, value);
      field.changed?.(this);
      input.focus();
    }}, 'Take theirs');
    replace(theirs, `Somebody else has made it ${told(field, meant(field, content(field, value)))}. `, take);
    theirs.hidden = false;
  }

  #agree(name) {
    const {theirs} = this.controls.get(name);
    theirs.hidden = true;
    replace(theirs);
  }

  // What is there already is not touched: neither is the caret.
  #put(name, value) {
    const {field, input} = this.controls.get(name);
    const key = field.kind === 'checkbox' ? 'checked' : 'value';
    const shown = content(field, value);
    if (input[key] !== shown) input[key] = shown;
    this.base[name] = this.value(name);
    this.#agree(name);
  }

  show(name, shown) {
    this.controls.get(name).node.hidden = !shown;
  }

  #mark(name, text) {
    const {input, error} = this.controls.get(name);
    setText(error, text);
    error.hidden = !text;
    if (text) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }

  clearErrors() {
    for (const name of this.controls.keys()) this.#mark(name, '');
    this.summary.hidden = true;
  }

  // Puts each part of the error at its field, the rest above the form; the focus goes to the first.
  showError(error) {
    const others = [];
    let first = null;
    for (const {key, message} of error.fields ?? []) {
      if (this.controls.has(key)) this.#mark(key, message);
      else others.push(message);
    }
    for (const {input} of this.controls.values()) {
      if (!first && input.getAttribute('aria-invalid') === 'true') first = input;
    }
    if (!error.fields?.length) others.push(error.message);
    replace(this.summary, others.join(' '));
    this.summary.hidden = others.length === 0;
    first?.focus();
  }

  #missing() {
    return [...this.controls.values()].filter(
      ({field, input, node}) => field.required && !node.hidden && input.value.trim() === '');
  }

  async #send(submit) {
    this.clearErrors();
    const missing = this.#missing();
    if (missing.length) {
      this.showError({fields: missing.map(({field}) => ({key: field.name, message: `${field.label} is needed.`}))});
      return;
    }
    this.button.disabled = true;
    this.node.setAttribute('aria-busy', 'true');
    try {
      await submit(this.values(), this);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.showError(error);
    } finally {
      this.button.disabled = false;
      this.node.removeAttribute('aria-busy');
    }
  }
}
