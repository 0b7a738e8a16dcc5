#!/usr/bin/env python3
"""A WebSocket client that shares no code with ChatSphere, driven line by line.

    python3 chat.py --url ws://127.0.0.1:3001/ws --token TOKEN --room ROOM_ID
        --token-file FILE        instead of --token
        --auth subprotocol       how the token is sent: subprotocol, header, query or frame
        --since N                resume from N at first (0 is the beginning) rather than with the newest messages
        --origin ORIGIN          send this Origin

Needs Python 3.9 and the `websockets` package, version 10 or later.

Standard output is one JSON object a line. What happens by itself:

    {"event": "connected"|"joined"|"caught_up"|"waiting"|"closed"|"failed"|"not_recovered"|"error"|"left", ...}
        "joined" has seq, epoch, recovered; "waiting" (to connect again) and "closed" (for good) have the close code
    {"ack": clientMessageId, "seq": N, "id": "...", "duplicate": bool}    an acknowledgement, the first or (duplicate) another
    {"violation": "..."}                                                  the server broke its word; counted in "stats"

Commands are read from standard input, a line each, and obeyed one after the other; each is answered by
{"do": ..., "ok": ..., ...}. Those that wait take "timeoutMs" (30,000 if left out) and fail with "timeout" after it; receiving
and sending go on meanwhile.

    {"do": "send", "content": "...", "clientMessageId": "..."}     answers at once; the id may be left out
    {"do": "send_file", "file": "...", "from": 0, "to": 1000, "window": 16, "prefix": "line-"}
        sends lines from (counted from 0) up to but without `to`, with the ids prefix + number, at most `window` of them
        unacknowledged; answers {"sent": n} at once. Every line is acknowledged sooner or later, over however many connections
    {"do": "wait_acked"}                           until all that was to be sent is acknowledged; answers {"acked": n}
    {"do": "wait_ack_count", "count": 100}         until so many different sends are acknowledged
    {"do": "wait_seq", "seq": N}                   until everything up to N was received
    {"do": "wait_state", "state": "caught_up"}     connecting, joining, caught_up, waiting, closed
    {"do": "log"}           {"log": [{"seq", "id", "content", "userId", "clientMessageId"}, ...]}: every message received, in
                            the order received, none left out, doubled ones and all; {"events": [[seq, type], ...]} likewise
    {"do": "acks"}          {"acks": {clientMessageId: seq}}
    {"do": "stats"}         connections, duplicates, violations, resent, acked, cursor
    {"do": "drop"}          breaks the connection without a close frame
    {"do": "quit"}

When the connection ends, it comes back with growing delays and joins with `since`; what was not acknowledged is sent again,
with the same ids, in the same order. (Sends that the server refuses for the moment, as over a rate limit, are overtaken by
those already under way: switch such limits off where the order matters.) Close codes 4500 to 4999 end that. Exit status: 0
after `quit` or the end of input, 1 if there was a violation.
"""

import argparse
import asyncio
import inspect
import json
import random
import sys
import time
import urllib.parse
import uuid

try:
    from websockets.asyncio.client import connect
except ImportError:  # before version 13
    from websockets import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

FIRST_DELAY_S, LAST_DELAY_S = 0.05, 2.0
SILENCE_S = 10.0
# A page of long messages is larger than one frame from a client may be.
MAX_FRAME = 64 * 1024 * 1024


def say(**line):
    try:
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise SystemExit(1)


class Chat:
    def __init__(self, args):
        self.args = args
        self.state = "connecting"
        self.changed = asyncio.Condition()
        self.socket = None
        self.cursor = args.since
        self.epoch = None
        self.joined_at = None  # the `seq` of the join that is being answered
        self.messages, self.events = [], []
        self.seen = set()
        self.queue = []  # (clientMessageId, content), oldest first, not yet acknowledged
        self.on_wire = set()  # ids sent on the present connection
        self.ever_sent = set()
        self.acks = {}
        self.window = 16
        self.paused_until = 0.0
        self.pumping = asyncio.Lock()
        self.stats = {"connections": 0, "duplicates": 0, "violations": 0, "resent": 0}

    # What the others are told

    async def notify(self):
        async with self.changed:
            self.changed.notify_all()

    def violation(self, text):
        self.stats["violations"] += 1
        say(violation=text)

    async def enter(self, state, **more):
        self.state = state
        say(event=state, **more)
        await self.notify()

    # The connection

    async def run(self):
        attempt = 0
        while True:
            self.state = "connecting"
            began = time.monotonic()
            code = None
            try:
                async with self.open() as socket:
                    self.socket = socket
                    code = await self.converse(socket)
            except ConnectionClosed as end:
                code = end.rcvd.code if getattr(end, "rcvd", None) else None
            except (OSError, WebSocketException, asyncio.TimeoutError) as error:
                say(event="failed", error=f"{type(error).__name__}: {error}")
            self.socket = None
            self.on_wire.clear()
            if code is not None and 4500 <= code <= 4999:
                return await self.enter("closed", code=code)
            if time.monotonic() - began > 5:
                attempt = 0
            delay = random.uniform(0, min(LAST_DELAY_S, FIRST_DELAY_S * 2**attempt))
            attempt = min(attempt + 1, 10)
            await self.enter("waiting", code=code, inMs=round(delay * 1000))
            await asyncio.sleep(delay)

    def open(self):
        url, token, how = self.args.url, self.args.token, self.args.auth
        options = {"max_size": MAX_FRAME, "max_queue": None, "ping_interval": None, "open_timeout": 5, "close_timeout": 1}
        known = inspect.signature(connect.__init__).parameters
        if "proxy" in known:
            options["proxy"] = None
        if how == "subprotocol":
            options["subprotocols"] = ["chatsphere.v1", f"bearer.{token}"]
        elif how == "header":
            name = "additional_headers" if "additional_headers" in known else "extra_headers"
            options[name] = {"Authorization": f"Bearer {token}"}
        elif how == "query":
            url += ("&" if "?" in url else "?") + urllib.parse.urlencode({"token": token})
        if self.args.origin:
            options["origin"] = self.args.origin
        return connect(url, **options)

    async def converse(self, socket):
        self.stats["connections"] += 1
        if self.args.auth == "subprotocol" and socket.subprotocol != "chatsphere.v1":
            self.violation(f"the server chose the subprotocol {socket.subprotocol!r}")
        if self.args.auth == "frame":
            await socket.send(json.dumps({"type": "auth", "token": self.args.token}))
        heartbeat = SILENCE_S
        self.joined_at = None
        asked = False
        while True:
            try:
                text = await asyncio.wait_for(socket.recv(), SILENCE_S if asked else heartbeat)
            except asyncio.TimeoutError:
                if asked:
                    raise
                # Silence alone proves nothing: ask, and wait once more.
                asked = True
                await socket.send('{"type":"ping"}')
                continue
            asked = False
            frame = json.loads(text)
            if frame["type"] == "hello":
                heartbeat = frame["heartbeatMs"] / 1000
                say(event="connected", userId=frame["userId"], connectionId=frame["connectionId"])
                await self.join()
            else:
                await self.receive(frame)

    async def join(self):
        self.state = "joining"
        frame = {"type": "join", "roomId": self.args.room}
        if self.cursor is not None:
            frame["since"] = self.cursor
            if self.epoch is not None:
                frame["epoch"] = self.epoch
        await self.socket.send(json.dumps(frame))

    # What is received

    async def receive(self, frame):
        kind = frame["type"]
        if kind == "join_confirmation":
            if self.cursor is not None and not frame["recovered"]:
                say(event="not_recovered", reason=frame.get("reason"), cursor=self.cursor)
                self.cursor = None
                self.seen.clear()
            self.epoch, self.joined_at = frame["epoch"], frame["seq"]
            say(event="joined", seq=frame["seq"], epoch=frame["epoch"], recovered=frame["recovered"])
        elif kind == "previous_messages":
            await self.page(frame)
        elif kind == "ack":
            self.ack(frame)
        elif kind == "error":
            await self.error(frame)
        elif kind == "left":
            say(event="left", reason=frame.get("reason"))
        elif "seq" in frame and frame.get("roomId") == self.args.room:
            # Live: the numbers go on exactly where the history ended.
            if self.state != "caught_up":
                self.violation(f"the live event {frame['seq']} came before the answer to join was complete")
            elif frame["seq"] != self.cursor + 1:
                self.violation(f"the live event {frame['seq']} came after {self.cursor}")
            self.take(frame)
            self.cursor = max(self.cursor or 0, frame["seq"])
        await self.pump()
        await self.notify()

    async def page(self, frame):
        if self.cursor is not None and frame["fromSeq"] != self.cursor + 1:
            self.violation(f"a page from {frame['fromSeq']} came after {self.cursor}")
        entries = [{"type": "new_message", "seq": message["seq"], "message": message} for message in frame["messages"]]
        entries = sorted(entries + frame["events"], key=lambda entry: entry["seq"])
        for entry in entries:
            if not frame["fromSeq"] <= entry["seq"] <= frame["toSeq"]:
                self.violation(f"a page from {frame['fromSeq']} to {frame['toSeq']} holds {entry['seq']}")
            self.take(entry)
        self.cursor = frame["toSeq"]
        if frame["more"]:
            return
        if self.joined_at is not None and self.cursor != self.joined_at:
            self.violation(f"the history ended at {self.cursor}, not at {self.joined_at} as join_confirmation said")
        await self.enter("caught_up", seq=self.cursor)

    def take(self, entry):
        seq, kind = entry["seq"], entry["type"]
        if seq in self.seen:
            self.stats["duplicates"] += 1
        self.seen.add(seq)
        if kind != "new_message":
            self.events.append([seq, kind])
            return
        message = entry["message"]
        if message["seq"] != seq:
            self.violation(f"message {message['seq']} came in the frame {seq}")
        self.messages.append({key: message.get(key) for key in ("seq", "id", "content", "userId", "clientMessageId")})

    def ack(self, frame):
        client_id, seq = frame.get("clientMessageId"), frame["seq"]
        again = client_id in self.acks
        if again and self.acks[client_id] != seq:
            self.violation(f"{client_id} was acknowledged as {self.acks[client_id]}, then as {seq}")
        self.acks[client_id] = seq
        self.on_wire.discard(client_id)
        self.queue = [item for item in self.queue if item[0] != client_id]
        say(ack=client_id, seq=seq, id=frame["id"], duplicate=again)

    async def error(self, frame):
        say(event="error", error=frame)
        client_id = frame.get("clientMessageId")
        if client_id is None:
            return
        self.on_wire.discard(client_id)
        if not frame.get("retryable"):
            self.queue = [item for item in self.queue if item[0] != client_id]
            return
        self.paused_until = time.monotonic() + frame.get("retryAfterMs", 200) / 1000
        asyncio.get_running_loop().call_later(
            frame.get("retryAfterMs", 200) / 1000 + 0.01, lambda: asyncio.ensure_future(self.pump())
        )

    # What is sent

    async def pump(self):
        # One at a time, or a slow write would let a later line overtake.
        async with self.pumping:
            await self.fill_window(self.socket)

    async def fill_window(self, socket):
        if socket is None or self.state != "caught_up":
            return
        for client_id, content in list(self.queue):
            if len(self.on_wire) >= self.window or time.monotonic() < self.paused_until or socket is not self.socket:
                return
            if client_id in self.on_wire or client_id in self.acks:
                continue
            self.on_wire.add(client_id)
            if client_id in self.ever_sent:
                self.stats["resent"] += 1
            self.ever_sent.add(client_id)
            frame = {"type": "message", "roomId": self.args.room, "content": content, "clientMessageId": client_id}
            try:
                await socket.send(json.dumps(frame, ensure_ascii=False))
            except ConnectionClosed:
                return

    # Commands

    async def wait(self, command, reached):
        async def until():
            async with self.changed:
                await self.changed.wait_for(reached)

        await asyncio.wait_for(until(), command.get("timeoutMs", 30_000) / 1000)

    async def do_send(self, command):
        client_id = command.get("clientMessageId") or str(uuid.uuid4())
        self.queue.append((client_id, command["content"]))
        await self.pump()
        return {"clientMessageId": client_id}

    async def do_send_file(self, command):
        with open(command["file"], encoding="utf-8", newline="\n") as file:
            # Not splitlines(): Unicode knows more line ends than a text file has.
            lines = file.read().split("\n")
        chosen = range(command.get("from", 0), min(command.get("to", len(lines)), len(lines)))
        self.window = command.get("window", self.window)
        prefix = command.get("prefix", "line-")
        items = [(f"{prefix}{number}", lines[number]) for number in chosen if lines[number] != ""]
        self.queue.extend(items)
        await self.pump()
        return {"sent": len(items)}

    async def do_wait_acked(self, command):
        await self.wait(command, lambda: not self.queue)
        return {"acked": len(self.acks)}

    async def do_wait_ack_count(self, command):
        await self.wait(command, lambda: len(self.acks) >= command["count"])
        return {"acked": len(self.acks)}

    async def do_wait_seq(self, command):
        await self.wait(command, lambda: self.cursor is not None and self.cursor >= command["seq"])
        return {"seq": self.cursor}

    async def do_wait_state(self, command):
        await self.wait(command, lambda: self.state == command["state"])
        return {"state": self.state}

    async def do_log(self, _command):
        return {"cursor": self.cursor, "log": self.messages, "events": self.events}

    async def do_acks(self, _command):
        return {"acks": self.acks}

    async def do_stats(self, _command):
        return {**self.stats, "acked": len(self.acks), "queued": len(self.queue), "cursor": self.cursor, "state": self.state}

    async def do_drop(self, _command):
        if self.socket is not None:
            self.socket.transport.abort()
        return {}

    async def obey(self, line):
        command = {}
        try:
            command = json.loads(line)
            handler = getattr(self, f"do_{command['do']}", None)
            if handler is None:
                raise ValueError("no such command")
            answer = {"ok": True, **await handler(command)}
        except asyncio.TimeoutError:
            answer = {"ok": False, "error": "timeout", "state": self.state, "cursor": self.cursor, "queued": len(self.queue)}
        except Exception as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        say(do=command.get("do"), **answer)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--token")
    parser.add_argument("--token-file")
    parser.add_argument("--room", required=True)
    parser.add_argument("--auth", choices=["subprotocol", "header", "query", "frame"], default="subprotocol")
    parser.add_argument("--since", type=int)
    parser.add_argument("--origin")
    args = parser.parse_args()
    if args.token_file:
        with open(args.token_file, encoding="utf-8") as file:
            args.token = file.read().strip()
    if not args.token:
        parser.error("--token or --token-file is needed")

    chat = Chat(args)
    running = asyncio.ensure_future(chat.run())
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if line.strip() == "" and line != "":
            continue
        if running.done() and running.exception():
            raise running.exception()
        if line == "" or ('"quit"' in line and json.loads(line).get("do") == "quit"):
            break
        await chat.obey(line)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    violations = chat.stats["violations"]
    say(do="quit", ok=violations == 0, **chat.stats)
    return 1 if violations else 0


if __name__ == "__main__":
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")
    sys.exit(asyncio.run(main()))
