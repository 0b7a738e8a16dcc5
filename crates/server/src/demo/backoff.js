// When to try again. Full jitter: after a restart of the server its clients come back spread over the whole interval,
// not all in the same instant.

export const FIRST_CEILING_MS = 500;
export const LAST_CEILING_MS = 15_000;

/** The delay before attempt `attempt` (0 is the first), uniform between 0 and a ceiling that doubles up to 15 s. */
export function delayFor(attempt, random = Math.random) {
  const ceiling = Math.min(LAST_CEILING_MS, FIRST_CEILING_MS * 2 ** Math.min(attempt, 10));
  return Math.round(random() * ceiling);
}

/** Codes from 4500 to 4999 say that the same attempt would fail the same way; all others ask for another one. */
export function isFinal(code) {
  return code >= 4500 && code <= 4999;
}
