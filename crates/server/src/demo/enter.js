// From an invite or a CLIENT token to a session: {token, tokenId, expiresAt, user: {id, username}, room: {id, name}}.

import { call, firstInPages, Problem } from './api.js';

export async function withInvite(invite, username, roomName) {
  const { body } = await call('POST', '/demo/session', { body: { invite, username, roomName } });
  return body;
}

/**
 * What an application's backend does, by the public REST API. `existing` says that the user of exactly that name may be taken
 * over, which a CLIENT token allows; otherwise a taken name is the problem `username_taken`.
 */
export async function withClientToken(clientToken, username, roomName, { existing = false } = {}) {
  const issued = existing ? await forExistingUser(clientToken, username) : await forNewUser(clientToken, username);
  const room = await roomFor(clientToken, roomName, issued.user.id);
  return { ...issued, room };
}

/** A fresh USER token in place of an expired one. */
export async function renew(clientToken, userId) {
  const { body } = await call('POST', '/api/tokens/user', { token: clientToken, body: { userId } });
  return { token: body.token, tokenId: body.id, expiresAt: body.expiresAt };
}

async function forNewUser(token, username) {
  try {
    const { body } = await call('POST', '/api/users', { token, body: { username } });
    return { token: body.token, tokenId: body.tokenId, expiresAt: body.expiresAt, user: body.user };
  } catch (problem) {
    if (problem.status === 409) throw new Problem(409, 'username_taken', `There is a user “${username}” already.`);
    if (problem.status === 403) throw new Problem(403, 'not_client', 'That is not a CLIENT token: it may not create users.');
    if (problem.status === 401) throw new Problem(401, 'bad_token', 'The server does not accept that CLIENT token.');
    throw problem;
  }
}

async function forExistingUser(token, username) {
  // Exactly the name that was chosen: a server may hold names that differ in their case alone, or refuse one that looks
  // like another.
  const same = (a, b) => a.normalize('NFC') === b.normalize('NFC');
  const user = await firstInPages('/api/users?limit=200', token, (users) =>
    users.find((each) => same(each.username, username)),
  );
  if (!user) {
    throw new Problem(
      409,
      'name_alike',
      `“${username}” is taken by a name that is too like it: choose another, or write that one exactly.`,
    );
  }
  return { ...(await renew(token, user.id)), user };
}

async function roomFor(token, name, userId) {
  const find = () => firstInPages('/api/rooms?limit=200', token, (rooms) => oldest(rooms.filter((room) => room.name === name)));
  let room = await find();
  if (!room) {
    await call('POST', '/api/rooms', { token, body: { name, userId } });
    // Names are not unique: should another window have made the same room just now, both settle on the older one.
    room = await find();
  }
  await call('POST', `/api/rooms/${room.id}/users`, { token, body: { userId } });
  return { id: room.id, name: room.name };
}

function oldest(rooms) {
  return rooms.sort((a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id))[0];
}
