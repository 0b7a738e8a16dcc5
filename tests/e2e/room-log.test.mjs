// The parts of the demo page that need no browser. Run with `node --test` here.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';

const demo = new URL('../../crates/server/src/demo/', import.meta.url);
const { links } = await import(new URL('api.js', demo));
const { delayFor, isFinal, LAST_CEILING_MS } = await import(new URL('backoff.js', demo));
const { newId, Outbox } = await import(new URL('outbox.js', demo));
const { RoomLog } = await import(new URL('room-log.js', demo));
const { Room } = await import(new URL('room.js', demo));

globalThis.crypto ??= webcrypto;

const frame = (seq, more = {}) => ({ type: 'new_message', roomId: 'r', seq, message: { seq, userId: 'me', ...more } });
const seqs = (frames) => frames.map(({ seq }) => seq);
const started = (upTo) => {
  const log = new RoomLog();
  log.page({ fromSeq: 1, toSeq: upTo, entries: [] });
  return log;
};

test('live frames are shown in order, each once', () => {
  const log = started(0);
  assert.deepEqual(seqs(log.live(frame(1)).fresh), [1]);
  assert.deepEqual(seqs(log.live(frame(2)).fresh), [2]);
  assert.deepEqual(log.live(frame(2)), { fresh: [], gap: false });
  assert.deepEqual(log.live(frame(1)), { fresh: [], gap: false });
  assert.equal(log.cursor, 2);
});

test('a gap holds back what comes after it until it is filled', () => {
  const log = started(3);
  assert.deepEqual(log.live(frame(6)), { fresh: [], gap: true });
  assert.deepEqual(log.live(frame(5)), { fresh: [], gap: true });
  assert.deepEqual(log.resumePoint(), { since: 3 });
  assert.deepEqual(seqs(log.live(frame(4)).fresh), [4, 5, 6]);
  assert.equal(log.waiting, false);
});

test('the answer to a rejoin fills a gap, with live frames between its pages', () => {
  const log = started(3);
  log.live(frame(9));
  assert.deepEqual(seqs(log.page({ fromSeq: 4, toSeq: 6, entries: [frame(4), frame(5), frame(6)] }).fresh), [4, 5, 6]);
  assert.deepEqual(log.live(frame(10)), { fresh: [], gap: true });
  assert.deepEqual(seqs(log.page({ fromSeq: 7, toSeq: 9, entries: [frame(7), frame(8), frame(9)] }).fresh), [7, 8, 9, 10]);
  assert.equal(log.cursor, 10);
});

test('a page brings messages and other events into one order and leaves out what was seen', () => {
  const log = started(2);
  const entries = [frame(3), frame(5), frame(1), { type: 'member_joined', seq: 4 }, frame(3)];
  assert.deepEqual(seqs(log.page({ fromSeq: 1, toSeq: 5, entries }).fresh), [3, 4, 5]);
});

test('the range of a page moves the cursor, even past numbers that it does not explain', () => {
  const log = started(2);
  log.page({ fromSeq: 3, toSeq: 8, entries: [frame(4)] });
  assert.equal(log.cursor, 8);
  assert.deepEqual(seqs(log.live(frame(9)).fresh), [9]);
});

test('a page that begins too late is a gap and changes nothing', () => {
  const log = started(2);
  assert.deepEqual(log.page({ fromSeq: 5, toSeq: 6, entries: [frame(5), frame(6)] }), { fresh: [], gap: true });
  assert.equal(log.cursor, 2);
});

test('after a reset the next page starts anew', () => {
  const log = started(70);
  log.live(frame(75));
  log.reset();
  assert.deepEqual(log.resumePoint(), {});
  assert.deepEqual(seqs(log.page({ fromSeq: 11, toSeq: 12, entries: [frame(11), frame(12)] }).fresh), [11, 12]);
});

test('an event of a kind unknown here takes its place in the order', () => {
  const log = started(1);
  assert.deepEqual(seqs(log.live({ type: 'reaction_added', seq: 2 }).fresh), [2]);
  assert.deepEqual(log.live(frame(3)).gap, false);
});

test('the delay is spread from nothing to a ceiling that doubles up to 15 s', () => {
  assert.deepEqual(
    [0, 1, 2, 4, 5, 99].map((attempt) => delayFor(attempt, () => 1)),
    [500, 1000, 2000, 8000, 15_000, LAST_CEILING_MS],
  );
  assert.equal(delayFor(7, () => 0), 0);
  assert.equal(delayFor(1, () => 0.5), 500);
});

test('only codes from 4500 to 4999 are final', () => {
  assert.deepEqual([1000, 1001, 1006, 4001, 4008, 4029, 4499, 4500, 4501, 4999, 5000].filter(isFinal), [4500, 4501, 4999]);
});

test('the outbox sends one at a time, in order, and again with the same id', () => {
  const sent = [];
  const outbox = new Outbox(({ id }) => sent.push(id) > 0);
  for (const id of ['a', 'b', 'c']) outbox.add(id, id);
  assert.deepEqual(sent, ['a']);
  outbox.settle('a');
  assert.deepEqual(sent, ['a', 'b']);
  outbox.restart();
  assert.deepEqual(sent, ['a', 'b', 'b']);
  outbox.settle('b');
  outbox.settle('b');
  outbox.settle('c');
  assert.deepEqual(sent, ['a', 'b', 'b', 'c']);
  assert.equal(outbox.size, 0);
});

test('the outbox keeps what it can not send', () => {
  let there = false;
  const sent = [];
  const outbox = new Outbox(({ id }) => there && sent.push(id) > 0);
  outbox.add('a', 'a');
  there = true;
  outbox.restart();
  assert.deepEqual(sent, ['a']);
});

test('nothing overtakes a message that was refused for the moment', () => {
  const sent = [];
  const timers = [];
  const outbox = new Outbox(({ id }) => sent.push(id) > 0, (run, ms) => timers.push({ run, ms }));
  outbox.add('a', 'a');
  outbox.add('b', 'b');
  outbox.refuse('a', true, 3_000);
  outbox.add('c', 'c');
  assert.deepEqual(sent, ['a']);
  assert.ok(timers[0].ms >= 3_000);
  timers[0].run();
  assert.deepEqual(sent, ['a', 'a']);
  outbox.settle('a');
  assert.deepEqual(sent, ['a', 'a', 'b']);
});

test('a message that was refused for good lets the next one through', () => {
  const sent = [];
  const outbox = new Outbox(({ id }) => sent.push(id) > 0);
  outbox.add('a', 'a');
  outbox.add('b', 'b');
  assert.equal(outbox.refuse('a', false).state, 'failed');
  assert.deepEqual(sent, ['a', 'b']);
});

test('ids are UUIDs, also where the page is not a secure context', (t) => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(newId(), uuid);
  t.mock.method(crypto, 'randomUUID');
  Object.defineProperty(crypto, 'randomUUID', { value: undefined, configurable: true });
  assert.match(newId(), uuid);
  delete crypto.randomUUID;
});

test('links are read by their relation and kept on this host', () => {
  const header = '<https://elsewhere.example/api/x?before=3&limit=5>; rel="prev", </api/x?after=9>; title="a, b"; rel=next';
  assert.deepEqual(links(header, 'http://localhost/'), { prev: '/api/x?before=3&limit=5', next: '/api/x?after=9' });
  assert.deepEqual(links(null), {});
});

test('a room resumes, sends again what is unacknowledged, and takes each message once', () => {
  const sent = [];
  const shown = [];
  const nothing = () => {};
  const ui = {
    fresh: (frames) => shown.push(...seqs(frames)),
    reset: nothing,
    live: nothing,
    acked: nothing,
    settled: nothing,
    olderFrom: nothing,
  };
  const room = new Room('r', 'me', (each) => sent.push(each) > 0, ui);
  const answer = (join, messages, fromSeq, toSeq, more = false) => {
    if (join) room.receive({ type: 'join_confirmation', roomId: 'r', seq: toSeq, epoch: 'e', recovered: true });
    room.receive({ type: 'previous_messages', roomId: 'r', messages, events: [], fromSeq, toSeq, more });
  };
  room.join();
  answer(true, [], 1, 0);
  room.say('one', '1');
  room.receive(frame(1, { clientMessageId: '1' }));
  room.say('two', '2');
  room.say('three', '3');
  // The connection breaks: `two` is stored, but nobody said so.
  room.lost();
  room.join();
  assert.deepEqual({ ...sent.at(-1), ref: null }, { type: 'join', roomId: 'r', ref: null, since: 1, epoch: 'e' });
  answer(true, [{ seq: 2, userId: 'me', clientMessageId: '2' }], 2, 2);
  room.receive(frame(3, { clientMessageId: '3' }));
  room.receive({ type: 'ack', roomId: 'r', clientMessageId: '3', seq: 3 });
  assert.deepEqual(shown, [1, 2, 3]);
  assert.deepEqual(
    sent.filter(({ type }) => type === 'message').map(({ clientMessageId }) => clientMessageId),
    ['1', '2', '3'],
  );
  // A gap: the room asks for what is missing, once.
  room.receive(frame(6));
  room.receive(frame(7));
  assert.deepEqual([sent.at(-1).since, sent.filter(({ type }) => type === 'join').length], [3, 3]);
  answer(true, [{ seq: 4 }, { seq: 5 }, { seq: 6 }], 4, 6);
  assert.deepEqual(shown, [1, 2, 3, 4, 5, 6, 7]);
});
