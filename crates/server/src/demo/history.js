// What came before the messages on the page, a page at a time over REST, for those who ask for it.

import { call } from './api.js';
import { showNotice } from './status.js';

const HISTORY_PAGE = 50;

export function historyAbove(session, list) {
  const button = document.querySelector('#load-older');
  const note = document.querySelector('#history-note');
  let before = null;
  const api = {
    from(seq, exists) {
      before = seq;
      button.hidden = !exists;
    },
    note(text) {
      note.hidden = !text;
      note.textContent = text ?? '';
    },
  };
  button.hidden = true;
  api.note(null);
  button.onclick = async () => {
    button.disabled = true;
    try {
      const path = `/api/rooms/${session.room.id}/messages?before=${before}&limit=${HISTORY_PAGE}`;
      const { body, prev } = await call('GET', path, { token: session.token });
      list.prepend(body);
      api.from(body[0]?.seq ?? before, prev !== undefined && body.length > 0);
      if (button.hidden) api.note('This is where the room begins.');
    } catch (problem) {
      showNotice(`Older messages could not be loaded. ${problem.message}`);
    }
    button.disabled = false;
  };
  return api;
}
