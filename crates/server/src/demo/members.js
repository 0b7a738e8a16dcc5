// The list of the room's members: read once when the room is (again) joined, then kept by its events.

import { call } from './api.js';
import { avatar, element } from './rows.js';

export class Members {
  #session;
  #users = new Map();
  #more = 0;
  #list = document.querySelector('#members');
  #count = document.querySelector('#members-count');
  #toggle = document.querySelector('#members-toggle');
  #panel = document.querySelector('#members-panel');

  constructor(session) {
    this.#session = session;
    this.#toggle.onclick = () => this.#open(this.#panel.dataset.open !== 'true');
    this.#open(false);
  }

  async load() {
    const { token, room } = this.#session;
    const { body } = await call('GET', `/api/rooms/${room.id}`, { token });
    this.#users = new Map(body.users.map((user) => [user.id, user.username]));
    this.#more = Math.max(0, (body._count?.users ?? 0) - this.#users.size);
    this.#draw();
  }

  apply(frames) {
    for (const { type, user } of frames) {
      if (type === 'member_joined') this.#users.set(user.id, user.username);
      if (type === 'member_left') this.#users.delete(user.id);
    }
    if (frames.some(({ type }) => type.startsWith('member_'))) this.#draw();
  }

  #open(yes) {
    this.#toggle.setAttribute('aria-expanded', String(yes));
    this.#panel.dataset.open = yes;
  }

  #draw() {
    const rows = [...this.#users].sort(([, a], [, b]) => a.localeCompare(b)).map(([id, name]) => {
      const row = element('li');
      row.dataset.userId = id;
      row.append(avatar(name, id), element('bdi', 'author', name));
      if (id === this.#session.user.id) row.append(element('span', 'you', 'you'));
      return row;
    });
    if (this.#more > 0) rows.push(element('li', 'more', `and ${this.#more} more`));
    this.#list.replaceChildren(...rows);
    const total = this.#users.size + this.#more;
    this.#count.textContent = total;
    this.#toggle.textContent = `Members (${total})`;
  }
}
