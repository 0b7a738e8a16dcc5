// One WebSocket that comes back. It knows the frames that are about the connection (hello, ping, pong) and hands on the rest.

import { delayFor, isFinal } from './backoff.js';

const OPEN_TIMEOUT_MS = 10_000;
const GRACE_MS = 10_000;
const STABLE_MS = 5_000;

export class Connection {
  #url;
  #token;
  #on;
  #socket = null;
  #attempt = 0;
  #liveSince = null;
  #heartbeatMs = 25_000;
  #timers = {};
  #stopped = false;

  /** `on`: {hello(frame), frame(frame), state(name, {inMs?, code?}), lost()}. States: connecting, waiting, closed, expired. */
  constructor(url, token, on) {
    this.#url = url;
    this.#token = token;
    this.#on = on;
    this.#onOnline = () => this.nudge();
    this.#onVisible = () => document.visibilityState === 'visible' && this.nudge();
    addEventListener('online', this.#onOnline);
    document.addEventListener('visibilitychange', this.#onVisible);
  }
  #onOnline;
  #onVisible;

  open(token = this.#token) {
    this.#token = token;
    this.#clear();
    this.#on.state('connecting', {});
    const socket = new WebSocket(this.#url, ['chatsphere.v1', `bearer.${this.#token}`]);
    this.#socket = socket;
    this.#timers.open = setTimeout(() => this.#drop(socket, 0), OPEN_TIMEOUT_MS);
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => this.#drop(socket, event.code);
  }

  /** False if there is nothing to send it on; the caller keeps it then. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#liveSince === null) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The network or the user is back: try at once, or find out at once whether the connection still lives. */
  nudge() {
    if (this.#stopped) return;
    if (this.#timers.retry) this.open();
    else if (this.#liveSince !== null) this.#probe();
  }

  stop() {
    this.#stopped = true;
    removeEventListener('online', this.#onOnline);
    document.removeEventListener('visibilitychange', this.#onVisible);
    this.#clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #receive(text) {
    clearTimeout(this.#timers.silence);
    this.#timers.silence = null;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === 'hello') {
      clearTimeout(this.#timers.open);
      this.#heartbeatMs = frame.heartbeatMs > 0 ? frame.heartbeatMs : this.#heartbeatMs;
      this.#liveSince = Date.now();
      this.#timers.beat = setInterval(() => this.#probe(), this.#heartbeatMs);
      this.#on.hello(frame);
    } else if (frame.type !== 'pong') {
      this.#on.frame(frame);
    }
  }

  /**
   * The browser answers the server's protocol pings by itself but doesn't show them, so silence is only telling after a
   * ping of our own, and the deadline counts from that ping, not from the last frame: timers in a hidden tab fire late.
   */
  #probe() {
    if (this.#timers.silence) return;
    const socket = this.#socket;
    this.send({ type: 'ping' });
    this.#timers.silence = setTimeout(() => this.#drop(socket, 0), GRACE_MS);
  }

  #drop(socket, code) {
    if (socket !== this.#socket || this.#stopped) return;
    this.#socket = null;
    socket.onclose = socket.onmessage = null;
    socket.close();
    // A connection that lived a moment only counts as a failed attempt, or a server that closes at once would be hammered.
    if (this.#liveSince !== null && Date.now() - this.#liveSince >= STABLE_MS) this.#attempt = 0;
    this.#liveSince = null;
    this.#clear();
    this.#on.lost();
    if (isFinal(code)) return this.#on.state('closed', { code });
    // The same token would be turned away again; whoever holds the means for another calls `open` with it.
    if (code === 4001) return this.#on.state('expired', { code });
    const inMs = delayFor(this.#attempt++);
    this.#timers.retry = setTimeout(() => this.open(), inMs);
    this.#on.state('waiting', { inMs, code });
  }

  #clear() {
    const { open, retry, beat, silence } = this.#timers;
    for (const timer of [open, retry, silence]) clearTimeout(timer);
    clearInterval(beat);
    this.#timers = {};
  }
}
