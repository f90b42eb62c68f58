"""A receiver of Syncline's HTTP push in Python: applies each message once, in order.

It follows one version of a stream, and a source that is not restored from a backup; the consumer of
the Rust library does more. The secret is in the environment, as SECRET.

    POST /syncline          what `syncline relay` sends
    GET /orders/ID          the versions of an order that were applied, in order
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NIL = "00000000-0000-0000-0000-000000000000"
LARGEST = 8 * 1024 * 1024
TABLES = """
CREATE TABLE IF NOT EXISTS inbox (
    source TEXT, stream TEXT, shard INTEGER, incarnation TEXT NOT NULL,
    watermark INTEGER NOT NULL, last INTEGER NOT NULL, lastid TEXT NOT NULL,
    PRIMARY KEY (source, stream, shard));
CREATE TABLE IF NOT EXISTS applied (
    id INTEGER PRIMARY KEY, entity TEXT NOT NULL, version INTEGER NOT NULL);
"""


class Refused(Exception):
    """A status, and why."""


def check_signature(secret, headers, body):
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    name, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > 300:
        raise Refused(401, "the signature is too old, or has no time")
    signed = f"{name}.{sent}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split(" ")[:8]
    good = [hmac.compare_digest(one.encode(), f"v1,{expected}".encode()) for one in given]
    if not any(good):
        raise Refused(401, "the signature is not right")


def receive(path, headers, body):
    """Applies a batch in one transaction with the watermark; returns the status and the answer."""
    *events, progress = json.loads(body)
    if progress["type"] != "syncline.progress" or "streamversion" in progress:
        raise Refused(422, "not a batch, or of another version of the stream")
    place = (progress["source"], progress["stream"], progress["shard"])
    if place[:2] != (headers.get("syncline-source"), headers.get("syncline-stream")):
        raise Refused(422, "the batch is of another source or stream than its headers say")
    database = sqlite3.connect(path, timeout=20, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        find = "SELECT incarnation, watermark, last, lastid FROM inbox" \
               " WHERE source = ? AND stream = ? AND shard = ?"
        row = database.execute(find, place).fetchone()
        incarnation, watermark, last, lastid = row or (progress["incarnation"], 0, 0, NIL)
        if incarnation != progress["incarnation"]:
            raise Refused(422, "the source was restored from a backup: that is not handled here")
        outcome = "complete"
        for event in events:
            position = int(event["position"])
            if position <= watermark:
                continue  # it was applied before
            if (int(event["prev"]), event["previd"]) != (last, lastid):
                outcome = "gap"
                break
            apply(database, event)
            watermark, last, lastid = position, position, event["id"]
        if outcome == "complete" and (int(progress["last"]), progress["lastid"]) == (last, lastid):
            watermark = max(watermark, int(progress["through"]))
        elif int(progress["through"]) > watermark:
            outcome = "gap"
        database.execute("INSERT OR REPLACE INTO inbox VALUES (?, ?, ?, ?, ?, ?, ?)",
                         (*place, incarnation, watermark, last, lastid))
        database.execute("COMMIT")
    finally:
        database.close()  # rolls back what was not committed
    answer = {"watermark": watermark, "last": {"position": last, "id": lastid},
              "outcome": {"outcome": outcome}}
    return (200 if outcome == "complete" else 409), answer


def apply(database, event):
    """What a message does to this service's data."""
    database.execute("INSERT INTO applied (entity, version) VALUES (?, ?)",
                     (event["subject"], event["data"]["version"]))


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_POST(self):
        try:
            length = int(self.headers.get("content-length", "-1"))
            if not 0 <= length <= LARGEST:
                raise Refused(413, "the body has no length, or is too large")
            body = self.rfile.read(length)
            check_signature(self.server.secret, self.headers, body)
            self.answer(*receive(self.server.path, self.headers, body))
        except Refused as refused:
            status, detail = refused.args
            self.answer(status, {"status": status, "detail": detail}, "application/problem+json")

    def do_GET(self):
        entity = self.path.removeprefix("/orders/")
        database = sqlite3.connect(self.server.path, timeout=20)
        found = "SELECT version FROM applied WHERE entity = ? ORDER BY id"
        versions = [version for version, in database.execute(found, (entity,))]
        database.close()
        self.answer(200, versions)

    def answer(self, status, document, kind="application/json"):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--database", required=True, help="an SQLite file")
    parser.add_argument("--port", type=int, default=8083)
    arguments = parser.parse_args()
    database = sqlite3.connect(arguments.database)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(TABLES)
    database.close()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.path, server.secret = arguments.database, os.environ["SECRET"]
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
