// Making and changing what is on the page. Text always goes in as text, never as markup, so nothing
// that a host, a CA or a DNS vendor says can become part of the page's structure.

// el('a', {class: 'x', href: '/', onclick: f}, 'text', node, ...): true is an attribute without a
// value; null, undefined and false are left out; children may be lists.
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...present(children));
  return node;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

export function replace(node, ...children) {
  node.replaceChildren(...present(children));
}

// Sets the text only if it differs, so that screen readers and selections are left alone.
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

// Makes the children of `parent` those of `items`, in order, and keeps the nodes of items that were
// there before: `make(item)` gives {node, update(item)}. So the focus stays where it is.
export function keyed(parent, items, keyOf, make) {
  const rows = parent.rowsByKey ?? (parent.rowsByKey = new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.node.remove();
    rows.delete(key);
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = rows.get(key);
    if (!row) {
      row = make(item);
      rows.set(key, row);
    }
    row.update?.(item);
    if (row.node === next) next = next.nextElementSibling;
    else parent.insertBefore(row.node, next);
  }
}

// A table that is one on wide screens and a list of cards on narrow ones, with the same roles.
export function table(caption, columns) {
  const body = el('tbody', {role: 'rowgroup'});
  const node = el('table', {role: 'table'},
    el('caption', {class: 'unseen'}, caption),
    el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'}, columns.map(
      (column) => el('th', {role: 'columnheader', scope: 'col'}, column || el('span', {class: 'unseen'}, 'Actions'))))),
    body);
  return {node, body};
}

// One row; `cells` in the order of the columns, the first one is its header.
export function row(columns, cells) {
  return el('tr', {role: 'row'}, cells.map((cell, at) => el(at === 0 ? 'th' : 'td', {
    role: at === 0 ? 'rowheader' : 'cell', scope: at === 0 ? 'row' : null, 'data-label': columns[at],
  }, cell)));
}

// A row that is made of the item anew whenever the item has changed. For rows without fields: the
// focus goes to the control of the same place, and what was unfolded stays so.
export function plainRow(columns, cellsOf) {
  return (first) => {
    const state = {node: row(columns, cellsOf(first)), shown: JSON.stringify(first)};
    return {
      node: state.node,
      update(item) {
        const text = JSON.stringify(item);
        if (text === state.shown) return;
        state.shown = text;
        const controls = () => [...state.node.querySelectorAll('a, button, summary')];
        const details = () => [...state.node.querySelectorAll('details')];
        const focused = controls().indexOf(document.activeElement);
        const open = details().map((one) => one.open);
        state.node.replaceChildren(...row(columns, cellsOf(item)).children);
        details().forEach((one, i) => { one.open = open[i] ?? one.open; });
        if (focused >= 0) (controls()[focused] ?? state.node.querySelector('a, button, summary'))?.focus();
      },
    };
  };
}

// A state in a word; its colour and sign only underline it.
export function chip(kind, text, title = null) {
  return el('span', {class: `chip ${kind}`, title}, text);
}

// For those who listen. The first waits until they have heard what is being said; the second not.
export function say(text) {
  announce('status', text);
}

export function warn(text) {
  announce('alert', text);
}

function announce(id, text) {
  const region = document.getElementById(id);
  const note = el('p', {class: id === 'alert' ? 'note bad' : 'note'}, text);
  region.replaceChildren(note);
  setTimeout(() => note.remove(), id === 'alert' ? 12_000 : 5_000);
}

// Asks before something that cannot be undone. Resolves to whether it was agreed to.
export function confirmed(question, action) {
  return new Promise((resolve) => {
    const dialog = el('dialog', {'aria-labelledby': 'question', onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    }},
      el('form', {method: 'dialog'},
        el('p', {id: 'question'}, question),
        el('div', {class: 'actions'},
          el('button', {value: 'no', autofocus: true}, 'Cancel'),
          el('button', {value: 'yes', class: 'danger'}, action))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

const dates = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short'});
const spans = new Intl.RelativeTimeFormat(undefined, {numeric: 'auto'});
const DAY = 86_400_000;

// `when`: milliseconds since 1970, as a number or in digits, or a date in RFC 3339. NaN: not known.
export function millis(when) {
  if (when === null || when === undefined || when === '') return NaN;
  return /^\d+$/.test(String(when)) ? Number(when) : Date.parse(when);
}

export function time(when) {
  const at = millis(when);
  if (!at) return 'never';
  return el('time', {datetime: new Date(at).toISOString(), title: dates.format(at)}, relative(at));
}

export function exactTime(when) {
  const at = millis(when);
  if (!at) return 'never';
  return el('time', {datetime: new Date(at).toISOString(), title: relative(at)}, dates.format(at));
}

function relative(at) {
  const span = at - Date.now();
  const units = [['day', DAY], ['hour', 3_600_000], ['minute', 60_000], ['second', 1_000]];
  const [unit, length] = units.find(([, size]) => Math.abs(span) >= size) ?? units.at(-1);
  return spans.format(Math.round(span / length), unit);
}

export function daysLeft(when) {
  const at = millis(when);
  return Number.isNaN(at) || !at ? null : Math.floor((at - Date.now()) / DAY);
}

// Calls `f` once things have been quiet for a moment.
export function debounced(f, wait = 250) {
  let timer;
  return (...all) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...all), wait);
  };
}

// Calls `f` a moment after it was asked for, however often it is asked for meanwhile: a flood of
// events is a few calls, and none is put off for ever.
export function paced(f, wait = 500) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      f();
    }, wait);
  };
}

// Calls `f` now and every `period` ms while the page is looked at, until `signal` says it is over.
export function every(period, signal, f) {
  const tick = () => { if (!document.hidden) f(); };
  const timer = setInterval(tick, period);
  signal.addEventListener('abort', () => clearInterval(timer));
  f();
}
