#!/usr/bin/env python3
"""Prints the events of a room as they happen, and misses none.

    CHATSPHERE_TOKEN=… python3 examples/listen.py ROOM_ID [URL]
    python3 examples/listen.py ROOM_ID [URL] < token-file

The token is read from the variable CHATSPHERE_TOKEN, otherwise from the first line of standard input; never from an argument,
because every user of a machine can see the arguments of its programs. URL is http://127.0.0.1:3001 by default.

Needs only Python 3.9. After a lost connection it reconnects, and asks for every event after the last one that it has. It takes
all steps of a real client, which docs/websocket.md explains.
"""

import base64
import json
import os
import random
import socket
import ssl
import struct
import sys
import time
from urllib.parse import urlsplit


class Gone(Exception):
    """The connection is at its end."""

    def __init__(self, why, code=None):
        super().__init__(why)
        # 4500 to 4999: connecting again would not help.
        self.final = code is not None and 4500 <= code <= 4999


class Connection:
    """A WebSocket (RFC 6455), as far as this server needs one: JSON texts, pings, close."""

    def __init__(self, url, token):
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self.socket = socket.create_connection((parts.hostname, parts.port or (443 if secure else 80)), timeout=10)
        if secure:
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=parts.hostname)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        status = self.stream.readline().decode(errors="replace").strip()
        while self.stream.readline() not in (b"\r\n", b""):
            pass
        if " 101 " not in status:
            raise Gone(status or "the server closed the connection", 4501 if " 401" in status else None)

    def send(self, frame, opcode=1):
        data = json.dumps(frame).encode() if opcode == 1 else frame
        mask = os.urandom(4)
        length = struct.pack("!BH", 0xFE, len(data)) if len(data) > 125 else bytes([0x80 | len(data)])
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self):
        """The next frame. Silence for the heartbeat and 10 s more is the end."""
        while True:
            head = self.read(2)
            opcode, length = head[0] & 15, head[1] & 127
            if length == 126:
                (length,) = struct.unpack("!H", self.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.read(8))
            data = self.read(length)
            if opcode == 1:
                return json.loads(data)
            if opcode == 9:
                self.send(data, opcode=10)
            if opcode == 8:
                code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None
                raise Gone(f"closed with {code}: {data[2:].decode(errors='replace')}", code)

    def read(self, length):
        data = self.stream.read(length)
        if len(data) < length:
            raise Gone("the connection broke")
        return data


def listen(url, token, room, last):
    """One connection, from its join to its end. `last` holds the last event's number and its epoch."""
    connection = Connection(url, token)
    while True:
        frame = connection.receive()
        kind = frame["type"]
        if kind == "hello":
            connection.socket.settimeout(frame["heartbeatMs"] / 1000 + 10)
            since = {"since": last["seq"], "epoch": last["epoch"]} if "seq" in last else {}
            connection.send({"type": "join", "roomId": room, **since})
        elif kind == "join_confirmation":
            if "reason" in frame:
                say(f"-- not all of what was missed follows: {frame['reason']}")
            say(f"-- listening to {frame['roomId']}")
            last["epoch"] = frame["epoch"]
        elif kind == "previous_messages":
            missed = [{"type": "new_message", "seq": message["seq"], "message": message} for message in frame["messages"]]
            for event in sorted(missed + frame["events"], key=lambda event: event["seq"]):
                show(event)
            last["seq"] = frame["toSeq"]
        elif kind == "error":
            say(f"-- {frame['code']}: {frame['message']}")
        elif kind == "left":
            raise Gone("you are no longer in this room", 4500)
        elif "seq" in frame:
            assert frame["seq"] == last["seq"] + 1, "an event was lost or doubled"
            show(frame)
            last["seq"] = frame["seq"]


def show(event):
    if event["type"] == "new_message":
        message = event["message"]
        text = f"{message['user']['username']}: {message['content']}"
    elif event["type"] in ("member_joined", "member_left"):
        text = f"{event['user']['username']} {event['type'].removeprefix('member_')}"
    else:
        # A later version may have events that this one does not know. They count all the same.
        text = event["type"]
    say(f"{event['seq']} {text}")


def safe(text):
    """The text with all that a terminal would obey, or hide, written as an escape.

    People write what they like: a terminal takes the character ESC for the beginning of a command, and U+202E turns what
    follows around. Joiners stay, since emoji and many scripts are made with them.
    """
    keeps = lambda character: character.isprintable() and character != "\\" or character in "\u200c\u200d"
    return "".join(character if keeps(character) else character.encode("unicode_escape").decode() for character in text)


def say(line):
    print(safe(line), flush=True)


def arguments():
    """The token, the room and the URL; the usage if they are not all there."""
    given = sys.argv[1:]
    if not 1 <= len(given) <= 2 or given[0].startswith("-"):
        sys.exit(
            f"usage:{__doc__.split(chr(10) * 2)[1].rstrip()}".replace("usage:    ", "usage: ").replace("\n    ", "\n       ")
        )
    if given[0].startswith("eyJ"):
        sys.exit("that is a token: put it into the variable CHATSPHERE_TOKEN, since every user of this machine sees arguments")
    token = os.environ.get("CHATSPHERE_TOKEN", "").strip()
    if not token and not sys.stdin.isatty():
        token = sys.stdin.readline().strip()
    if not token:
        sys.exit("there is no token: put it into the variable CHATSPHERE_TOKEN, or send it to standard input")
    return token, given[0], given[1] if len(given) > 1 else "http://127.0.0.1:3001"


def main():
    token, room, url = arguments()
    # A terminal that can't show a character is no reason to end.
    sys.stdout.reconfigure(errors="backslashreplace")
    last = {}
    pause = 0.2
    while True:
        started = time.monotonic()
        try:
            listen(url, token, room, last)
        except (Gone, OSError) as end:
            say(f"-- {end}")
            if isinstance(end, Gone) and end.final:
                sys.exit(1)
        # Each try waits longer than the one before, so that a thousand clients don't all come back at the same moment.
        pause = 0.2 if time.monotonic() - started > 5 else min(pause * 2, 10)
        time.sleep(random.uniform(0.5, 1) * pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
