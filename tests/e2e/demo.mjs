// Two people (or more) in real browser windows on the demo page, driven line by line, so that whoever runs this can do things
// to the server in between.
//
//   node demo.mjs --url http://127.0.0.1:3001 --chromium /usr/bin/chromium --mode token --token-file client-token
//   node demo.mjs --url … --chromium … --mode invite --invite CODE
//
//   --names alice,bob        who enters; each after the first through the button "Open a second window"
//   --room lobby             where
//   --screenshot-dir DIR     a picture of each window once everybody is in, and of all of them on a failure
//   --timeout 15000          milliseconds that any one wait may take
//   --size 1100x720          of each window;  --dark  prefers the dark scheme
//   --no-greet               enter, but say nothing unasked
//
// Standard output is one JSON object a line: {"step":…} on the way in, then {"ready":true}, then one answer to each command,
// {"do":…,"ok":true,…} or {"do":…,"ok":false,"error":…}. {"problem":…} may come at any time: a request to another host, a
// violation of the page's policy, an exception, or an error on the console. Commands are read from standard input, a line
// each; "page" is 0 for the first name, 1 for the second. Options in [ ] may be left out:
//
//   {"do":"send","page":0,"text":"…"}                            types and sends; answers before it is stored
//   {"do":"wait_seq","page":0,"seq":12,["timeoutMs":…]}          until the page has seen all up to that number; answers {"seq"}
//   {"do":"wait_text","page":1,"text":"…",["after":seq]}         until a stored message with exactly that text is there;
//                            answers {"seq"}
//   {"do":"wait_settled","page":0}                               until all that was sent there is stored, or refused for good
//   {"do":"wait_state","page":0,"state":"connected",["after":n]} see #status in demo.js. States can be short: with "after" it
//                            is enough that the page was in that state since, n being the "states" of an earlier answer.
//                            Answers {"states":n}
//   {"do":"states","page":0}         answers {"states":n,"history":[…]}: all states since the page was loaded
//   {"do":"log","page":0}            answers {"cursor", "lines":[[seq,text,author],…], "events":[[seq,kind],…],
//                            "outbox":[[state,text],…]}
//   {"do":"sound","page":0}          fails unless the numbers on the page ascend, each once, without one missing
//   {"do":"reload","page":0}         {"do":"load_older","page":0}   {"do":"sign_out","page":0}
//   {"do":"open_second","page":0,"name":"carol"}                 one more window; answers {"page"}
//   {"do":"arrive","fragment":"#invite=x",["stored":"…"]}         opens the page in another tab, with that as its stored
//                            session, and closes it again; answers {"view","code","text","hash"}: what it shows, and why it
//                            can't be entered, if it says so
//   {"do":"enter_as","name":"carol"}  enters in another tab by the CLIENT token, as an existing user if need be, and
//                            closes it again; answers {"view","code","as"}: who one is then, or why not
//   {"do":"screenshot","page":0,"file":"…"}   {"do":"resize","page":0,"width":360,"height":640}
//   {"do":"problems"}                answers {"problems":[…]}
//   {"do":"quit"}
//
// Ends with status 0 after `quit` or the end of input if there were no problems, else 1; 2 if it could not start.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    mode: { type: 'string', default: 'token' },
    'token-file': { type: 'string' },
    invite: { type: 'string' },
    names: { type: 'string', default: 'alice,bob' },
    room: { type: 'string', default: 'lobby' },
    'screenshot-dir': { type: 'string' },
    timeout: { type: 'string', default: '15000' },
    size: { type: 'string', default: '1100x720' },
    dark: { type: 'boolean', default: false },
    'no-greet': { type: 'boolean', default: false },
  },
});
const origin = new URL(options.url).origin;
const names = options.names.split(',');
const timeout = Number(options.timeout);
const problems = [];
const pages = [];

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
function problem(kind, text) {
  problems.push({ kind, text });
  print({ problem: kind, text });
}

function sameHost(url) {
  const { protocol, host } = new URL(url);
  return ['data:', 'about:', 'blob:'].includes(protocol) || host === new URL(origin).host;
}

/** What Chromium writes while a server is away is the server's business, not the page's. */
function isOutage(text) {
  return (
    /^WebSocket connection to .* failed/.test(text) ||
    /^Failed to load resource: net::ERR_(CONNECTION|EMPTY_RESPONSE|SOCKET|NETWORK)/.test(text)
  );
}

function watch(page) {
  page.on('websocket', (socket) => sameHost(socket.url()) || problem('foreign', socket.url()));
  page.on('pageerror', (error) => problem('exception', String(error)));
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type()) || isOutage(message.text())) return;
    // A taken name is an answer that the page asks for; Chromium reports every answer from 400 up.
    if (/status of 409/.test(message.text()) && /\/(api\/users|demo\/session)$/.test(message.location().url)) return;
    problem('console', `${message.text()} (${message.location().url})`);
  });
}

async function openBrowser() {
  const browser = await chromium.launch({
    executablePath: options.chromium,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  const [width, height] = options.size.split('x').map(Number);
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: options.dark ? 'dark' : 'light' });
  context.setDefaultTimeout(timeout);
  context.on('request', (request) => sameHost(request.url()) || problem('foreign', request.url()));
  context.on('page', watch);
  await context.route((url) => !sameHost(url.href), (route) => route.abort());
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) =>
      console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`),
    );
    globalThis.states = [];
    addEventListener('DOMContentLoaded', () => {
      const status = document.querySelector('#status');
      const record = () => states.at(-1) !== status?.dataset.state && states.push(status.dataset.state);
      if (status) new MutationObserver(record).observe(status, { attributeFilter: ['data-state'] });
    });
  });
  return { browser, context };
}

async function enterFirst(context, name) {
  const page = await context.newPage();
  const fragment = options.mode === 'invite' ? `#invite=${encodeURIComponent(options.invite)}` : '';
  const response = await page.goto(`${origin}/demo${fragment}`);
  const policy = response.headers()['content-security-policy'] ?? '';
  if (response.status() !== 200) throw new Error(`/demo answered ${response.status()}`);
  if (!policy.includes("default-src 'none'")) problem('policy', `the page has no strict policy: "${policy}"`);
  if (options.mode === 'token') await page.fill('#token', readFileSync(options['token-file'], 'utf8').trim());
  await enterName(page, name);
}

async function enterName(page, name) {
  await page.waitForSelector('body[data-view="enter"]');
  await page.fill('#name', name);
  await page.fill('#room', options.room);
  await page.click('#start');
  await page.waitForSelector('body[data-view="chat"], #use-existing:not([hidden]), #entry-error:not([hidden])');
  const existing = page.locator('#use-existing');
  const taken = await existing.isVisible();
  if (taken) {
    await existing.click();
    await page.waitForSelector('body[data-view="chat"], #entry-error:not([hidden])');
  }
  const refusal = page.locator('#entry-error');
  if (await refusal.isVisible()) throw new Error(`${name} could not enter: ${await refusal.textContent()}`);
  await waitState(page, 'connected');
  pages.push(page);
  print({ step: 'entered', page: pages.length - 1, name, existing: taken });
}

async function openSecond(from, name) {
  const [page] = await Promise.all([from.waitForEvent('popup'), from.click('#second-window')]);
  const { width, height } = from.viewportSize();
  await page.setViewportSize({ width, height });
  await page.waitForURL(/\/demo/);
  await enterName(page, name);
}

/** By a timer rather than by frames, of which a window behind another gets few. */
const waitFor = (page, reached, arg, ms = timeout) => page.waitForFunction(reached, arg, { timeout: ms, polling: 25 });

const waitState = (page, state, after, ms) =>
  waitFor(
    page,
    ([wanted, from]) => (from === null ? states.at(-1) === wanted : states.includes(wanted, from)),
    [state, after ?? null],
    ms,
  );

function readLog(page) {
  return page.evaluate(() => {
    const rows = [...document.querySelectorAll('#log > li')];
    const text = (row) => row.querySelector('.text').textContent;
    const messages = rows.filter((row) => row.dataset.kind === 'message');
    return {
      cursor: Number(document.querySelector('#log').dataset.cursor ?? 0),
      lines: messages.map((row) => [Number(row.dataset.seq), text(row), row.dataset.author]),
      events: rows.filter((row) => row.dataset.kind !== 'message').map((row) => [Number(row.dataset.seq), row.dataset.kind]),
      outbox: [...document.querySelectorAll('#outbox > li')].map((row) => [row.dataset.state, text(row)]),
    };
  });
}

async function waitText(page, text, after = 0, ms = timeout) {
  const found = ([wanted, above]) =>
    [...document.querySelectorAll('#log > li[data-kind="message"]')].find(
      (row) => Number(row.dataset.seq) > above && row.querySelector('.text').textContent === wanted,
    )?.dataset.seq;
  return Number(await (await waitFor(page, found, [text, after], ms)).jsonValue());
}

async function send(page, text) {
  await page.fill('#composer', text);
  await page.click('#send');
}

async function inAnotherTab(page, act) {
  const tab = await page.context().newPage();
  try {
    return await act(tab);
  } finally {
    await tab.close();
  }
}

const entry = (page) =>
  page.evaluate(() => {
    const error = document.querySelector('#entry-error');
    return { view: document.body.dataset.view, code: error.dataset.code ?? '', text: error.textContent };
  });

const commands = {
  send: (page, { text }) => send(page, text),
  wait_seq: async (page, { seq, timeoutMs }) => {
    const seen = (wanted) => Number(document.querySelector('#log').dataset.cursor ?? -1) >= wanted;
    await waitFor(page, seen, seq, timeoutMs);
    return { seq: (await readLog(page)).cursor };
  },
  wait_text: async (page, { text, after, timeoutMs }) => ({ seq: await waitText(page, text, after, timeoutMs) }),
  wait_settled: async (page, { timeoutMs }) => {
    await waitFor(page, () => !document.querySelector('#outbox > li:not([data-state="failed"])'), null, timeoutMs);
  },
  wait_state: async (page, { state, after, timeoutMs }) => {
    await waitState(page, state, after, timeoutMs);
    return { states: await page.evaluate(() => states.length) };
  },
  states: (page) => page.evaluate(() => ({ states: states.length, history: states })),
  log: (page) => readLog(page),
  sound: async (page) => {
    const seqs = await page.evaluate(() => [...document.querySelectorAll('#log > li')].map((row) => Number(row.dataset.seq)));
    const wrong = seqs.findIndex((seq, at) => at > 0 && seq !== seqs[at - 1] + 1);
    if (wrong > 0) throw new Error(`${seqs[wrong]} follows ${seqs[wrong - 1]}`);
    return { from: seqs[0] ?? 0, to: seqs.at(-1) ?? 0 };
  },
  reload: async (page) => {
    await page.reload();
    await waitState(page, 'connected');
  },
  load_older: async (page) => {
    const before = (await readLog(page)).lines.length;
    await page.click('#load-older');
    await page.waitForSelector('#load-older:not([disabled])', { state: 'attached' });
    return { more: (await readLog(page)).lines.length - before };
  },
  sign_out: async (page) => {
    await page.click('#sign-out');
    await page.waitForSelector('body[data-view="enter"]');
  },
  open_second: async (page, { name }) => {
    await openSecond(page, name);
    return { page: pages.length - 1 };
  },
  arrive: (page, { fragment, stored }) =>
    inAnotherTab(page, async (tab) => {
      if (stored !== undefined) {
        await tab.addInitScript((text) => sessionStorage.setItem('chatsphere.demo.session', text), stored);
      }
      await tab.goto(`${origin}/demo${fragment}`);
      await tab.waitForSelector('body:not([data-view="start"])');
      return { ...(await entry(tab)), hash: new URL(tab.url()).hash };
    }),
  enter_as: (page, { name }) =>
    inAnotherTab(page, async (tab) => {
      await tab.goto(`${origin}/demo`);
      await tab.fill('#token', readFileSync(options['token-file'], 'utf8').trim());
      await tab.fill('#name', name);
      await tab.fill('#room', options.room);
      await tab.click('#start');
      await tab.waitForSelector('body[data-view="chat"], #entry-error:not([hidden])');
      if (await tab.locator('#use-existing').isVisible()) {
        await tab.click('#use-existing');
        await tab.waitForSelector('body[data-view="chat"], #entry-error:not([hidden])');
      }
      return { ...(await entry(tab)), as: await tab.locator('#own-name').textContent() };
    }),
  screenshot: async (page, { file }) => void (await page.screenshot({ path: file })),
  resize: (page, { width, height }) => page.setViewportSize({ width, height }),
  problems: () => ({ problems }),
};

async function obey(line) {
  let command;
  try {
    command = JSON.parse(line);
    if (!Object.hasOwn(commands, command.do)) throw new Error('no such command');
    const page = pages[command.page ?? 0];
    if (!page) throw new Error('no such page');
    print({ do: command.do, page: command.page, ok: true, ...(await commands[command.do](page, command)) });
  } catch (error) {
    print({ do: command?.do, page: command?.page, ok: false, error: error.message });
  }
}

async function picture(name) {
  if (!options['screenshot-dir']) return;
  mkdirSync(options['screenshot-dir'], { recursive: true });
  for (const [at, page] of pages.entries()) {
    await page.screenshot({ path: join(options['screenshot-dir'], `${name}-${at}.png`) });
  }
}

// Whoever started this may have gone; what is left then is to end.
process.stdout.on('error', () => process.exit(1));
let opened;
try {
  opened = await openBrowser();
  print({ step: 'browser', version: opened.browser.version() });
  await enterFirst(opened.context, names[0]);
  for (const name of names.slice(1)) await openSecond(pages[0], name);
  if (!options['no-greet']) {
    for (const [at, page] of pages.entries()) {
      const text = `Hello from ${names[at]}`;
      const { cursor } = await readLog(page);
      await send(page, text);
      for (const [reader, other] of pages.entries()) {
        print({ step: 'greeting', from: at, page: reader, seq: await waitText(other, text, cursor) });
      }
    }
  }
  await picture('entered');
} catch (error) {
  print({ step: 'failed', error: error.message });
  await Promise.all(
    (opened?.context.pages() ?? []).map((page, at) =>
      options['screenshot-dir']
        ? page.screenshot({ path: join(options['screenshot-dir'], `failed-${at}.png`) }).catch(() => {})
        : null,
    ),
  );
  await opened?.browser.close();
  process.exit(2);
}
print({ ready: true, pages: pages.length });
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue;
  if (/"do"\s*:\s*"quit"/.test(line)) break;
  await obey(line);
}
if (problems.length > 0) await picture('problems');
await opened.browser.close();
print({ do: 'quit', ok: problems.length === 0, problems });
process.exit(problems.length === 0 ? 0 : 1);
