// One room over a connection: joins, resumes, closes gaps, sends. It decides what may be shown; `ui` shows it.

import { Outbox } from './outbox.js';
import { RoomLog } from './room-log.js';

const REJOIN_MS = 1_000;

export class Room {
  log = new RoomLog();
  outbox = new Outbox((item) => this.#transmit(item));
  #id;
  #send;
  #ui;
  #self;
  #live = false;
  #joining = null; // the `join_confirmation` once it is there, `true` before
  #joins = 0;
  #missing = false; // a page did not continue where the one before ended
  #retry = null;
  #acked = new Map(); // seq -> clientMessageId of sends acknowledged before they came back as messages

  /** `self` is the user's id; `ui`: {fresh, reset, live, acked, settled, refused, out, problem, olderFrom}, see `chat.js`. */
  constructor(id, self, send, ui) {
    this.#id = id;
    this.#self = self;
    this.#send = send;
    this.#ui = ui;
  }

  join() {
    if (this.#joining) return;
    this.#joining = this.#send({ type: 'join', roomId: this.#id, ref: `join-${++this.#joins}`, ...this.log.resumePoint() });
  }

  /** The connection is gone; what was said on it about joining is void. */
  lost() {
    clearTimeout(this.#retry);
    this.#live = false;
    this.#joining = null;
    this.#missing = false;
  }

  say(content, clientMessageId) {
    this.outbox.add(content, clientMessageId);
  }

  receive(frame) {
    if (frame.type === 'error') return this.#error(frame);
    if (frame.roomId !== this.#id) return;
    switch (frame.type) {
      case 'join_confirmation':
        return this.#confirmed(frame);
      case 'previous_messages':
        return this.#page(frame);
      case 'ack':
        return this.#ack(frame);
      case 'left':
        this.lost();
        return this.#ui.out(frame.reason);
      default:
        // Kinds of events may be added: whatever bears a number in this room takes its place in the order, known or not.
        if (Number.isInteger(frame.seq)) this.#event(frame);
    }
  }

  #confirmed(frame) {
    const resumed = this.log.cursor !== null;
    this.log.epoch = frame.epoch ?? null;
    if (resumed && frame.recovered === false) {
      this.log.reset();
      this.#ui.reset();
    }
    this.#joining = frame;
  }

  #page(frame) {
    const entries = [
      ...(frame.messages ?? []).map((message) => ({ type: 'new_message', seq: message.seq, message })),
      ...(frame.events ?? []),
    ];
    const first = this.log.cursor === null;
    const toSeq = frame.toSeq ?? this.#joining?.seq ?? 0;
    const fromSeq = frame.fromSeq ?? 0;
    const outcome = this.log.page({ fromSeq, toSeq, entries });
    this.#missing ||= outcome.gap;
    this.#show(outcome.fresh);
    if (first) this.#ui.olderFrom(frame.messages?.[0]?.seq ?? toSeq + 1, fromSeq > 1);
    if (frame.more || !this.#joining) return;
    this.#joining = null;
    if (this.log.waiting || this.#missing) return this.#rejoinSoon();
    this.#live = true;
    // Only now: the pages told which of the unacknowledged messages are stored, the rest goes out again.
    this.outbox.restart();
    this.#ui.live();
  }

  #event(frame) {
    const { fresh, gap } = this.log.live(frame);
    this.#show(fresh);
    if (gap) this.join();
  }

  #show(fresh) {
    for (const { message, seq } of fresh) {
      const own = message?.userId === this.#self ? message.clientMessageId : undefined;
      const id = own ?? this.#acked.get(seq);
      this.#acked.delete(seq);
      if (id !== undefined) {
        this.outbox.settle(id);
        this.#ui.settled(id);
      }
    }
    this.#ui.fresh(fresh, this.log.cursor);
  }

  #ack({ clientMessageId, seq }) {
    if (!this.outbox.settle(clientMessageId)) return;
    if (this.log.cursor !== null && seq <= this.log.cursor) return this.#ui.settled(clientMessageId);
    this.#acked.set(seq, clientMessageId);
    this.#ui.acked(clientMessageId);
  }

  #error(error) {
    if (error.clientMessageId !== undefined) {
      const item = this.outbox.refuse(error.clientMessageId, error.retryable === true, error.retryAfterMs);
      if (item) this.#ui.refused(item, error);
    } else if (error.ref === `join-${this.#joins}`) {
      this.#joining = null;
      if (error.retryable) this.#rejoinSoon();
      else this.#ui.out(error.message ?? error.code);
    } else {
      this.#ui.problem(error.message ?? error.code);
    }
  }

  #rejoinSoon() {
    this.#missing = false;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.join(), REJOIN_MS);
  }

  #transmit({ id, content }) {
    return this.#live && this.#send({ type: 'message', roomId: this.#id, content, clientMessageId: id });
  }
}
