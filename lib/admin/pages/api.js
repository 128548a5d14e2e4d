// The manager's API as the pages use it: requests with the session's guard, errors with the fields
// they are about, and the stream of events.

export class ApiError extends Error {
  constructor(status, name, message, fields = []) {
    super(message);
    this.status = status;
    this.name = name;
    this.fields = fields;  // [{key, message}]
  }
}

let guard = '';
let ended = () => {};

// `text`: what every request that changes something has to bring, besides the cookie.
export function useGuard(text) {
  guard = text ?? '';
}

// `f(error)` is called when a request finds that the session is over, or is for setting a password only.
export function onSessionEnd(f) {
  ended = f;
}

// Resolves to {data, etag}. `quiet`: a missing session is nobody's surprise.
export async function call(method, path, {body, etag, signal, quiet = false} = {}) {
  const headers = {Accept: 'application/json'};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-Token'] = guard;
  if (etag) headers['If-Match'] = etag;
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, credentials: 'same-origin', cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'Unreachable', 'The manager does not answer. Is it running?');
  }
  const data = await response.json().catch(() => ({}));
  if (response.ok) return {data, etag: response.headers.get('ETag') ?? ''};
  const error = errorOf(response, data);
  if ((error.status === 401 || error.name === 'PasswordExpired') && !quiet) ended(error);
  throw error;
}

function errorOf(response, data) {
  const fields = Array.isArray(data.message) ? data.message : data.keys ?? [];
  let text = Array.isArray(data.message) ? fields.map((field) => field.message).join(' ') : data.message;
  text ??= `The manager answered ${response.status}.`;
  const wait = response.headers.get('Retry-After');
  if (response.status === 429 && wait) text += ` Try again in ${wait} s.`;
  return new ApiError(response.status, data.name ?? 'Error', text, fields);
}

export const get = (path, options) => call('GET', path, options);
export const post = (path, body, options) => call('POST', path, {...options, body});
export const put = (path, body, options) => call('PUT', path, {...options, body});
export const del = (path, options) => call('DELETE', path, options);

// A path of the API: fixed`/api/host/${name}`.
export function at(parts, ...values) {
  return parts.map((part, i) => part + (i < values.length ? encodeURIComponent(values[i]) : '')).join('');
}

// "?a=b": values that are empty are left out.
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

// The events of the manager, while the page is looked at: a browser opens few connections to one
// server, and pages that nobody sees should hold none.
export class Live {
  #source = null;
  #listeners = new Set();
  #state;

  // `state(connected)`: for people.
  constructor(state) {
    this.#state = state;
    document.addEventListener('visibilitychange', () => this.#adjust());
  }

  // Calls `f(model, action, key, data)` for each event, and `f(null)` when some may have been missed.
  listen(signal, f) {
    this.#listeners.add(f);
    signal.addEventListener('abort', () => this.#listeners.delete(f));
  }

  start() {
    this.#wanted = true;
    this.#adjust();
  }

  stop() {
    this.#wanted = false;
    this.#adjust();
  }

  #wanted = false;
  #missed = false;

  #adjust() {
    const open = this.#wanted && !document.hidden;
    if (open === Boolean(this.#source)) return;
    if (!open) {
      this.#source.close();
      this.#source = null;
      this.#missed = true;
      return;
    }
    this.#source = new EventSource('/api/events');
    this.#source.onopen = () => {
      this.#state(true);
      if (this.#missed) this.#tell(null);
      this.#missed = false;
    };
    this.#source.onerror = () => {
      this.#missed = true;
      this.#state(false);
      // The browser itself tries again, except after an answer that is no stream.
      if (this.#source?.readyState !== EventSource.CLOSED) return;
      this.#source = null;
      setTimeout(() => this.#adjust(), 5_000);
      get('/api/auth/session').catch(() => {});  // the session may have ended: whoever hears of that is told
    };
    this.#source.onmessage = (message) => {
      const {topic, data} = JSON.parse(message.data);
      const [, model, action, ...key] = topic.split(':');
      this.#tell(model, action, key.join(':'), data);
    };
  }

  #tell(...event) {
    for (const f of this.#listeners) f(...event);
  }
}
