// The conversation on the page: what is stored, and below it what is under way.

import { element, eventRow, together } from './rows.js';

export class MessageList {
  static #resized = null;
  #own;
  #scroller = document.querySelector('#scroller');
  #log = document.querySelector('#log');
  #outbox = document.querySelector('#outbox');
  #jump = document.querySelector('#jump');
  #empty = document.querySelector('#empty');
  #following = true;

  constructor(ownId) {
    this.#own = ownId;
    this.clear();
    this.#outbox.replaceChildren();
    this.#jump.onclick = () => this.toEnd();
    this.#scroller.onscroll = () => {
      this.#following = this.#atEnd();
      if (this.#following) this.#jump.hidden = true;
    };
    // A keyboard on the screen or a longer draft takes room from below: whoever read the end still does.
    MessageList.#resized?.disconnect();
    MessageList.#resized = new ResizeObserver(() => this.#following && this.toEnd());
    MessageList.#resized.observe(this.#scroller);
  }

  clear() {
    this.#log.replaceChildren();
    delete this.#log.dataset.cursor;
  }

  /** While history comes in nothing is announced; only what happens from then on. */
  busy(yes) {
    this.#scroller.setAttribute('aria-busy', String(yes));
    this.#empty.hidden = yes || this.#log.childElementCount + this.#outbox.childElementCount > 0;
  }

  append(frames, cursor) {
    for (const frame of frames) this.#put(this.#log, eventRow(this.#own, frame));
    this.#log.dataset.cursor = cursor;
    if (frames.length === 0) return;
    this.#empty.hidden = true;
    if (this.#following) this.toEnd();
    else this.#jump.hidden = false;
  }

  /** Older messages, above the rest, which stays where it is on the screen. */
  prepend(messages) {
    const older = document.createDocumentFragment();
    for (const message of messages) this.#put(older, eventRow(this.#own, { type: 'new_message', seq: message.seq, message }));
    const fromEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    const first = this.#log.firstElementChild;
    if (first && older.lastElementChild) first.classList.toggle('follows', together(older.lastElementChild, first));
    this.#log.prepend(older);
    this.#scroller.scrollTop = this.#scroller.scrollHeight - fromEnd;
  }

  pending({ id, content }, user) {
    const row = eventRow(this.#own, { message: { userId: user.id, user, content, createdAt: new Date().toISOString() } });
    row.dataset.clientId = id;
    this.#mark(row, 'pending', 'Sending…');
    this.#put(this.#outbox, row);
    this.#empty.hidden = true;
    this.toEnd();
  }

  acked(id) {
    const row = this.#pendingRow(id);
    if (row) this.#mark(row, 'sent', 'Sent');
  }

  settled(id) {
    this.#pendingRow(id)?.remove();
  }

  /** The text stays on the page, for its author to take back. */
  failed(id, why) {
    const row = this.#pendingRow(id);
    if (!row) return;
    this.#mark(row, 'failed', `Not sent: ${why}`);
    const dismiss = element('button', 'quiet', 'Dismiss');
    dismiss.type = 'button';
    dismiss.onclick = () => row.remove();
    row.querySelector('.body').append(dismiss);
  }

  toEnd() {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#jump.hidden = true;
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  #pendingRow(id) {
    return [...this.#outbox.children].find((row) => row.dataset.clientId === id);
  }

  #mark(row, state, text) {
    row.dataset.state = state;
    row.querySelector('.state').textContent = text;
  }

  #put(list, row) {
    const before = list.lastElementChild ?? (list === this.#outbox ? this.#log.lastElementChild : null);
    row.classList.toggle('follows', before !== null && together(before, row));
    list.append(row);
  }
}
