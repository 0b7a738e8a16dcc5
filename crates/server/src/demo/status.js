// The line that says how the connection is. Its `data-state` is for scripts, its text for people.

const FINAL = {
  4501: 'The token was revoked or is not valid here. Sign out and enter again.',
  4502: 'The server did not see a token in time. Sign out and enter again.',
  4503: () =>
    `The server does not accept pages from ${location.origin}. Add it to CHATSPHERE_ALLOWED_ORIGINS and load this page again.`,
};

const line = document.querySelector('#status');
const notice = document.querySelector('#notice');

export function showStatus(state, text) {
  line.dataset.state = state;
  line.textContent = text;
}

/** A message about the connection or an action, in a bar of its own; nothing hides it. */
export function showNotice(text, ...more) {
  notice.hidden = !text;
  notice.replaceChildren(text ?? '', ...more);
}

export function showWaiting(inMs) {
  const seconds = Math.round(inMs / 1000);
  showStatus('waiting', seconds < 1 ? 'Reconnecting…' : `Reconnecting in ${seconds} s…`);
}

export function showClosed(code) {
  const advice = FINAL[code] ?? `The server closed the connection for good (${code}). Sign out and enter again.`;
  showStatus('closed', 'Disconnected');
  showNotice(typeof advice === 'function' ? advice() : advice);
}
