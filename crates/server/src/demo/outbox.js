// What was written and is not yet known to be stored. One message is under way at a time: if the server refuses one for
// a while, none behind it can overtake it. A message keeps its id however often it is sent, so it is stored once.

import { delayFor } from './backoff.js';

export class Outbox {
  #items = []; // {id, content, state: 'pending' | 'failed', tries}
  #inFlight = null;
  #timer = null;
  #transmit;
  #setTimer;

  /** `transmit(item)` puts a message on the wire and returns false when there is no connection to put it on. */
  constructor(transmit, setTimer = (fn, ms) => setTimeout(fn, ms)) {
    this.#transmit = transmit;
    this.#setTimer = setTimer;
  }

  get size() {
    return this.#items.length;
  }

  add(content, id = newId()) {
    const item = { id, content, state: 'pending', tries: 0 };
    this.#items.push(item);
    this.pump();
    return item;
  }

  /** The connection is (again) in the room: what was under way has an unknown fate, so it goes out again. */
  restart() {
    this.#inFlight = null;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.pump();
  }

  /** Stored: known from its `ack`, or from the message itself coming back. */
  settle(id) {
    const at = this.#items.findIndex((item) => item.id === id);
    if (at < 0) return null;
    const [item] = this.#items.splice(at, 1);
    if (this.#inFlight === id) this.#inFlight = null;
    this.pump();
    return item;
  }

  /** Refused: for good, or (`retryable`) for the moment. Returns the item if it is one of ours. */
  refuse(id, retryable, afterMs = 500) {
    const item = this.#items.find((each) => each.id === id);
    if (!item) return null;
    if (retryable) {
      // Never at once: a refusal means that the server has enough to do.
      this.#timer ??= this.#setTimer(() => this.restart(), afterMs + delayFor(item.tries++));
      return item;
    }
    item.state = 'failed';
    this.settle(id);
    return item;
  }

  pump() {
    if (this.#inFlight !== null || this.#timer !== null || this.#items.length === 0) return;
    const next = this.#items[0];
    if (this.#transmit(next)) this.#inFlight = next.id;
  }
}

/** `crypto.randomUUID` exists in secure contexts only, which a plain http address in a LAN is not. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * By `hello.limits`. Checked here too, because a frame that is too big costs the connection, and would again each time it
 * is sent.
 */
export function tooLong(content, limits) {
  const bytes = (text) => new TextEncoder().encode(text).length;
  const forTheRestOfTheFrame = 300;
  return (
    limits !== null &&
    (bytes(content) > limits.messageBytes || bytes(JSON.stringify(content)) + forTheRestOfTheFrame > limits.frameBytes)
  );
}
