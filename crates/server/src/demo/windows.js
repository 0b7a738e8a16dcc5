// What this tab holds, and how a second window gets its own way in. Nothing secret goes into a URL's path or query; an
// invite is in the fragment, which browsers send to nobody.

import { call } from './api.js';

const SESSION = 'chatsphere.demo.session';
const CLIENT = 'chatsphere.demo.client-token';

let clientToken = null;
const opened = new Set();

// Browsers can be told to keep no storage for a page: then a reload forgets who it was, and nothing else is lost.
const storage = {
  get(key) {
    try {
      return sessionStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, value);
    } catch {
      // See above.
    }
  },
};

/** What was stored as a session, if it is one. */
function readSession(text) {
  try {
    const { token, tokenId, expiresAt, user, room } = JSON.parse(text);
    const texts = [token, tokenId, expiresAt, user.id, user.username, room.id, room.name];
    return texts.every((each) => typeof each === 'string') ? { token, tokenId, expiresAt, user, room } : null;
  } catch {
    return null;
  }
}

let session = readSession(storage.get(SESSION));

export const held = {
  get clientToken() {
    return clientToken;
  },
  keepClientToken(token, remember) {
    clientToken = token;
    storage.set(CLIENT, remember ? token : null);
  },
  get session() {
    return session;
  },
  set session(next) {
    session = next;
    storage.set(SESSION, next ? JSON.stringify(next) : null);
  },
};

/**
 * What brought the user here: an invite, another window of this page, or nothing in particular. `damaged`: a link that is
 * broken.
 */
export async function arrive() {
  const text = /^#invite(?:=(.*))?$/s.exec(location.hash);
  const second = location.hash === '#second';
  const invite = text && readInvite(text[1] ?? '');
  const damaged = text !== null && invite === null;
  if (damaged) forgetFragment();
  // A window opened by a page starts with a copy of that page's storage: its session is somebody else's.
  if (invite || second) held.session = null;
  if (second) {
    forgetFragment();
    clientToken = await borrow();
  }
  clientToken ??= storage.get(CLIENT);
  return { invite, damaged, lent: second && clientToken !== null };
}

/** The invite in a fragment; null if it is none, because the link was cut or mangled on its way. */
function readInvite(text) {
  try {
    const invite = decodeURIComponent(text);
    return /^[\w-]{1,100}$/.test(invite) ? invite : null;
  } catch {
    return null;
  }
}

export function forgetFragment() {
  if (location.hash) history.replaceState(null, '', location.pathname);
}

/** Opens a window for another name. Returns a URL to click if the browser keeps windows from opening. */
export async function openSecond(userToken) {
  if (clientToken !== null) {
    const child = window.open('/demo#second', '_blank');
    if (child) opened.add(child);
    return child ? null : '/demo#second';
  }
  // Opened before the request, while the browser still sees the click that asks for it.
  const child = window.open('', '_blank');
  try {
    const { body } = await call('POST', '/demo/invite', { token: userToken });
    const url = `/demo#invite=${encodeURIComponent(body.invite)}`;
    if (!child) return url;
    child.location.replace(url);
    return null;
  } catch (problem) {
    child?.close();
    throw problem;
  }
}

addEventListener('message', ({ data, origin, source }) => {
  if (origin !== location.origin || data !== 'chatsphere: lend' || !opened.has(source)) return;
  source.postMessage({ lent: clientToken }, origin);
});

/** Ask the window that opened this one for its CLIENT token. */
function borrow() {
  const lender = window.opener;
  if (!lender) return Promise.resolve(null);
  return new Promise((resolve) => {
    const done = (token) => {
      removeEventListener('message', answer);
      clearTimeout(timer);
      resolve(token);
    };
    const answer = ({ data, origin, source }) => {
      if (origin === location.origin && source === lender && data && 'lent' in data) done(data.lent);
    };
    const timer = setTimeout(done, 2_000, null);
    addEventListener('message', answer);
    lender.postMessage('chatsphere: lend', location.origin);
  });
}
