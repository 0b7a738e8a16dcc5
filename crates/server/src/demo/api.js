// The REST calls of this page: JSON in, JSON out, problems as exceptions.

export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Answers `{body, next, prev}`, the last two being paths from the `Link` header, if it names them. */
export async function call(method, path, { token, body } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(15_000),
    });
  } catch (error) {
    const why = error.name === 'TimeoutError' ? 'The server did not answer in time.' : 'The server can’t be reached.';
    throw new Problem(0, 'unreachable', why);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const why = answer?.detail ?? answer?.title ?? answer?.error ?? `The server answered ${response.status}.`;
    throw new Problem(response.status, answer?.code ?? String(response.status), why);
  }
  return { body: answer, ...links(response.headers.get('link')) };
}

/** Follows `next` until `found` is content with a page or there are no more. */
export async function firstInPages(path, token, found) {
  for (let at = path; at; ) {
    const page = await call('GET', at, { token });
    const hit = found(page.body);
    if (hit) return hit;
    at = page.next;
  }
  return null;
}

/** Only path and query are kept: a token must not follow a link to another host. */
export function links(header, base = globalThis.location?.href ?? 'http://localhost/') {
  const out = {};
  for (const [, target, params] of (header ?? '').matchAll(/<([^>]*)>([^<]*)/g)) {
    const rel = /;\s*rel="?([^";,]*)"?/i.exec(params)?.[1] ?? '';
    const url = new URL(target, base);
    for (const each of rel.split(/\s+/).filter(Boolean)) out[each] = url.pathname + url.search;
  }
  return out;
}
