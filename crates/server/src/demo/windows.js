// What this tab holds, and how a second window gets its own way in. Nothing secret goes into a URL's path or query; an
// invite is in the fragment, which browsers send to nobody.

import { call } from './api.js';

const SESSION = 'chatsphere.demo.session';
const CLIENT = 'chatsphere.demo.client-token';

let clientToken = null;
const opened = new Set();

export const held = {
  get clientToken() {
    return clientToken;
  },
  keepClientToken(token, remember) {
    clientToken = token;
    if (remember) sessionStorage.setItem(CLIENT, token);
    else sessionStorage.removeItem(CLIENT);
  },
  get session() {
    return JSON.parse(sessionStorage.getItem(SESSION) ?? 'null');
  },
  set session(session) {
    if (session) sessionStorage.setItem(SESSION, JSON.stringify(session));
    else sessionStorage.removeItem(SESSION);
  },
};

/** What brought the user here: an invite, another window of this page, or nothing in particular. */
export async function arrive() {
  const invite = /^#invite=([^&]+)/.exec(location.hash)?.[1];
  const second = location.hash === '#second';
  // A window opened by a page starts with a copy of that page's storage: its session is somebody else's.
  if (invite || second) held.session = null;
  if (second) {
    forgetFragment();
    clientToken = await borrow();
  }
  clientToken ??= sessionStorage.getItem(CLIENT);
  return { invite: invite ? decodeURIComponent(invite) : null, lent: second && clientToken !== null };
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
