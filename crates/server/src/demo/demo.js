// The demo page: a chat client on ChatSphere's public protocol alone, without a build step or a framework, small enough to be
// read as an example. It shows one view or the other and hands over to:
//
//   windows.js       what this tab holds (tokens, session) and how a second window gets in
//   enter.js, api.js REST: from an invite or a CLIENT token to a USER token and a room
//   chat.js          the chat view: ties the following together
//   connection.js    one WebSocket that comes back; backoff.js, when
//   room.js          join, resume, send; room-log.js, order of events; outbox.js, what is not yet stored
//   message-list.js, rows.js, members.js, status.js   what is on the page
//
// For tests, these stay as they are:
//
//   body[data-view]             start, enter, chat
//   #token #remember            entry with a CLIENT token (#token-field is hidden if an invite or another window
//                               brings the way in)
//   #name #room #start          name, room ("lobby"), and the button to enter
//   #entry-error[data-code]     why entering failed; #use-existing goes on as the existing user of that name
//                               (CLIENT token only)
//   #status[data-state]         connecting, joining, connected (caught up), waiting (will reconnect), closed, expired, out
//   #notice                     what to do, if anything is
//   #composer #send             the text and the button; Enter sends too
//   #log[data-cursor]           the number of the newest event seen; all before it were
//   #log > li[data-seq]         in order, each once; data-kind is message, member_joined or member_left; messages have
//                               data-author, data-user-id, `.author` and `.text`
//   #outbox > li[data-client-id][data-state]   pending, sent (acknowledged, not yet come back) or failed
//   #load-older #history-note #jump #members > li[data-user-id] #members-toggle
//   #second-window (#second-link if the browser opens no windows) #sign-out

import { call } from './api.js';
import { chat } from './chat.js';
import { withClientToken, withInvite } from './enter.js';
import { showNotice } from './status.js';
import { arrive, forgetFragment, held, openSecond } from './windows.js';

const $ = (selector) => document.querySelector(selector);
let leave = null;
let way = { invite: null, damaged: false, lent: false };

function show(view) {
  document.body.dataset.view = view;
  $('#enter-view').hidden = view !== 'enter';
  $('#chat-view').hidden = view !== 'chat';
}

function showEntry() {
  const needsToken = way.invite === null && !way.lent;
  $('#entry-lead').textContent = needsToken
    ? 'Enter with a CLIENT token of this server, or open the link that it printed when it started.'
    : 'Choose a name, and you are in.';
  $('#token-field').hidden = !needsToken;
  $('#lent-token').hidden = !way.lent;
  if (needsToken && held.clientToken !== null) $('#token').value = held.clientToken;
  show('enter');
  (needsToken && !$('#token').value ? $('#token') : $('#name')).focus();
}

function entryError(text, code) {
  $('#entry-error').hidden = !text;
  $('#entry-error').textContent = text ?? '';
  $('#entry-error').dataset.code = code ?? '';
  // On a phone it may lie below what is on the screen.
  if (text) $('#entry-error').scrollIntoView({ block: 'nearest' });
}

async function enter({ existing = false } = {}) {
  const name = $('#name').value.trim();
  const roomName = $('#room').value.trim();
  const token = way.lent ? held.clientToken : $('#token').value.trim();
  $('#use-existing').hidden = true;
  entryError(null);
  if (way.invite === null && !token) return entryError('Paste a CLIENT token first.', 'no_token');
  if (!name || !roomName) return entryError('Both you and the room need a name.', 'no_name');
  $('#start').disabled = $('#use-existing').disabled = true;
  try {
    const session = way.invite
      ? await withInvite(way.invite, name, roomName)
      : await withClientToken(token, name, roomName, { existing });
    if (!way.invite) held.keepClientToken(token, $('#remember').checked);
    forgetFragment();
    showChat(session);
  } catch (problem) {
    refuse(problem, name);
  } finally {
    $('#start').disabled = $('#use-existing').disabled = false;
  }
}

function refuse(problem, name) {
  if (problem.code === 'username_taken') {
    const choice = way.invite ? '' : ' Or, since a CLIENT token may:';
    entryError(`“${name}” is taken: choose another name.${choice}`, problem.code);
    $('#use-existing').hidden = way.invite !== null;
    $('#use-existing').textContent = `Go on as the existing ${name}`;
    return $('#name').select();
  }
  if (problem.code === 'invite_invalid') {
    way = { invite: null, damaged: false, lent: false };
    forgetFragment();
    showEntry();
    return entryError(
      'This link was used already, or is too old. Start the server again for a new one, or paste a CLIENT token.',
      problem.code,
    );
  }
  entryError(problem.message, problem.code);
}

function showChat(session, notice) {
  held.session = session;
  $('#token').value = '';
  document.title = `${session.room.name} – ChatSphere demo`;
  $('#room-name').textContent = session.room.name;
  $('#own-name').textContent = session.user.username;
  show('chat');
  leave = chat(session, notice);
}

async function signOut() {
  const { token, tokenId } = held.session;
  leave();
  held.session = null;
  document.title = 'ChatSphere demo';
  way = { invite: null, damaged: false, lent: false };
  showEntry();
  // Nobody needs it any more; should the server be away, it expires.
  await call('DELETE', `/api/tokens/${tokenId}`, { token }).catch(() => {});
}

async function second() {
  try {
    const url = await openSecond(held.session.token);
    if (!url) return;
    const link = Object.assign(document.createElement('a'), {
      id: 'second-link',
      href: url,
      target: '_blank',
      textContent: 'open it here',
    });
    showNotice('Your browser kept the window from opening: ', link, '.');
  } catch (problem) {
    showNotice(`There is no invite for a second window: ${problem.message} With a CLIENT token you can open this page again.`);
  }
}

$('#entry').onsubmit = (event) => {
  event.preventDefault();
  enter();
};
$('#use-existing').onclick = () => enter({ existing: true });
$('#other-token').onclick = () => {
  way.lent = false;
  showEntry();
};
$('#second-window').onclick = second;
$('#sign-out').onclick = signOut;
// A link with an invite, opened in a tab that shows this page already, changes the fragment only.
addEventListener('hashchange', () => location.hash.startsWith('#invite') && location.reload());

way = await arrive();
const damaged = 'This link is damaged: its invite can’t be read. Copy the whole link as the server printed it';
if (held.session) {
  showChat(held.session, way.damaged ? `${damaged}, to come in as somebody else.` : null);
} else {
  showEntry();
  if (way.damaged) entryError(`${damaged}, or paste a CLIENT token.`, 'invite_damaged');
}
