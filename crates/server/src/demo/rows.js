// Pieces of the page. What people wrote enters it as text, never as markup.

const TOGETHER_MS = 5 * 60_000;

export function element(name, className = '', text = '') {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

export function avatar(name, id) {
  const badge = element('span', 'avatar', [...name][0]?.toUpperCase() ?? '?');
  badge.dataset.hue = parseInt(id.slice(-2), 16) % 8 || 0;
  badge.setAttribute('aria-hidden', 'true');
  return badge;
}

/** One event, in the shape of its frame, as a list item. */
export function eventRow(ownId, { type, seq, message, user, by, createdAt }) {
  const row = element('li');
  if (seq !== undefined) row.dataset.seq = seq;
  if (!message) {
    row.dataset.kind = type;
    row.append(...describe(type, user, by), ' ', when(createdAt));
    return row;
  }
  const author = message.user?.username ?? 'somebody';
  row.dataset.kind = 'message';
  row.dataset.author = author;
  row.dataset.userId = message.userId;
  row.dataset.at = message.createdAt;
  row.classList.toggle('own', message.userId === ownId);
  const head = element('p', 'head');
  head.append(element('bdi', 'author', author), ' ', when(message.createdAt));
  const text = element('p', 'text', message.content);
  text.dir = 'auto';
  const body = element('div', 'body');
  body.append(head, text, element('p', 'state'));
  row.append(avatar(author, message.userId), body);
  return row;
}

/** Whether two rows read as one contribution. */
export function together(above, below) {
  const apart = Date.parse(below.dataset.at) - Date.parse(above.dataset.at);
  return above.dataset.kind === 'message' && above.dataset.userId === below.dataset.userId && Math.abs(apart) < TOGETHER_MS;
}

function describe(type, user, by) {
  const who = element('bdi', 'author', user?.username ?? 'Somebody');
  const other = by && by.id !== user?.id ? [', by ', element('bdi', '', by.username)] : [];
  if (type === 'member_joined') return [who, ' joined', ...other];
  if (type === 'member_left') return [who, ' left', ...other];
  return ['Something happened that this page does not know'];
}

function when(text) {
  const time = element('time');
  const at = new Date(text ?? Number.NaN);
  if (Number.isNaN(at.valueOf())) return time;
  const today = at.toDateString() === new Date().toDateString();
  time.dateTime = text;
  time.title = at.toLocaleString();
  time.textContent = at.toLocaleString([], {
    ...(today ? {} : { month: 'short', day: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
  });
  return time;
}
