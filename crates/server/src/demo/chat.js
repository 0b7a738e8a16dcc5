// The chat view for one session: ties the connection, the room and what is on the page together.

import { call } from './api.js';
import { Connection } from './connection.js';
import { renew } from './enter.js';
import { Members } from './members.js';
import { MessageList } from './message-list.js';
import { newId, tooLong } from './outbox.js';
import { Room } from './room.js';
import { showClosed, showNotice, showStatus, showWaiting } from './status.js';
import { held } from './windows.js';

const HISTORY_PAGE = 50;
const $ = (selector) => document.querySelector(selector);

/**
 * Starts chatting; returns a function that stops. `first` is a notice that stays until the page has caught up a second
 * time.
 */
export function chat(session, first = null) {
  const list = new MessageList(session.user.id);
  const members = new Members(session);
  const older = historyAbove(session, list);
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;

  let limits = null;
  let warned = false;

  const connection = new Connection(url, session.token, {
    hello: (hello) => {
      limits = hello.limits ?? limits;
      showStatus('joining', 'Catching up…');
      list.busy(true);
      room.join();
    },
    frame: (frame) => room.receive(frame),
    lost: () => room.lost(),
    state: (state, { inMs, code }) => {
      if (state === 'connecting') showStatus('connecting', 'Connecting…');
      else if (state === 'waiting') showWaiting(inMs);
      else if (state === 'closed') {
        setComposer(false);
        showClosed(code);
      } else if (state === 'expired') renewed(session, connection);
    },
  });

  const room = new Room(session.room.id, session.user.id, (frame) => connection.send(frame), {
    // Frames to show, in order, and the number up to which all was seen.
    fresh: (frames, cursor) => {
      list.append(frames, cursor);
      members.apply(frames);
    },
    // What is on the page can't be continued: the newest messages follow.
    reset: () => {
      list.clear();
      older.note('Older messages are in the history.');
    },
    // Caught up.
    live: () => {
      list.busy(false);
      setComposer(true);
      showStatus('connected', 'Connected');
      showNotice(first);
      first = null;
      members.load().catch((problem) => showNotice(`The members could not be listed. ${problem.message}`));
    },
    acked: (id) => list.acked(id),
    settled: (id) => list.settled(id),
    refused: (item, error) => item.state === 'failed' && list.failed(item.id, error.message ?? error.code),
    // Not in the room any more, or never.
    out: (reason) => {
      list.busy(false);
      setComposer(false);
      showStatus('out', 'Not in the room');
      showNotice(`You are not in this room any more (${reason}). Sign out and enter again.`);
    },
    problem: (text) => showNotice(text),
    olderFrom: (seq, exists) => older.from(seq, exists),
  });

  const composer = $('#composer');
  const submit = (event) => {
    event.preventDefault();
    const content = composer.value;
    composer.focus();
    if (content.trim() === '') return;
    const long = tooLong(content, limits);
    if (long || warned) showNotice(long ? 'That message is too long for this server. Shorten it, or send it in parts.' : null);
    warned = long;
    if (long) return;
    composer.value = '';
    const id = newId();
    list.pending({ id, content }, session.user);
    room.say(content, id);
  };
  $('#compose-form').onsubmit = submit;
  composer.onkeydown = (event) => {
    // Enter also ends a word in an input method; that one is not for sending.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) submit(event);
  };
  setComposer(true);
  showNotice(first);
  connection.open();
  composer.focus();
  return () => connection.stop();
}

function setComposer(enabled) {
  $('#composer').disabled = $('#send').disabled = !enabled;
}

async function renewed(session, connection) {
  showStatus('expired', 'Session expired');
  if (held.clientToken === null) return showNotice('Your token has expired. Sign out and enter again.');
  try {
    Object.assign(session, await renew(held.clientToken, session.user.id));
    held.session = session;
    connection.open(session.token);
  } catch (problem) {
    showNotice(`Your token has expired and there is no new one: ${problem.message} Sign out and enter again.`);
  }
}

/** What came before the messages on the page, a page at a time over REST, for those who ask for it. */
function historyAbove(session, list) {
  const button = $('#load-older');
  const note = $('#history-note');
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
