// One room's events in the order of `seq`, each once. It knows nothing of sockets or the page, so it can be tested alone.

export class RoomLog {
  /** Everything up to here has been seen; null before the first join was answered. */
  cursor = null;
  epoch = null;
  /** Frames that came ahead of a gap, waiting for it to be filled. */
  #held = new Map();

  /** Forget what was seen: what follows can't be continued from it. */
  reset() {
    this.cursor = null;
    this.#held.clear();
  }

  /** What a `join` should carry so that it continues where this log is. */
  resumePoint() {
    return this.cursor === null ? {} : { since: this.cursor, ...(this.epoch === null ? {} : { epoch: this.epoch }) };
  }

  /**
   * A live frame. `fresh`: what may be shown now, in order. `gap`: something is missing before this frame, ask for it
   * with `resumePoint()`; the frame itself is kept.
   */
  live(frame) {
    if (this.cursor === null) {
      // Before the first page there is no telling what comes next; the page will.
      this.#held.set(frame.seq, frame);
      return { fresh: [], gap: false };
    }
    if (frame.seq <= this.cursor) return { fresh: [], gap: false };
    this.#held.set(frame.seq, frame);
    const fresh = this.#drain();
    return { fresh, gap: this.#held.size > 0 };
  }

  /**
   * A page of history covering `fromSeq` to `toSeq`, both included. Not every number in it need have an entry (a kind
   * of event unknown here counts too), so the range decides where the cursor stands, not the entries.
   */
  page({ fromSeq, toSeq, entries }) {
    if (this.cursor !== null && fromSeq > this.cursor + 1) return { fresh: [], gap: true };
    const seen = this.cursor ?? 0;
    const bySeq = new Map();
    for (const entry of entries) if (entry.seq > seen) bySeq.set(entry.seq, entry);
    const fresh = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
    this.cursor = Math.max(seen, toSeq, ...bySeq.keys());
    for (const seq of this.#held.keys()) if (seq <= this.cursor) this.#held.delete(seq);
    fresh.push(...this.#drain());
    return { fresh, gap: false };
  }

  /** True while frames wait for something before them. */
  get waiting() {
    return this.#held.size > 0;
  }

  #drain() {
    const out = [];
    for (let next; (next = this.#held.get(this.cursor + 1)); ) {
      this.#held.delete(next.seq);
      this.cursor = next.seq;
      out.push(next);
    }
    return out;
  }
}
