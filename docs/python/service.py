"""A service in Python whose changes and messages commit together.

It keeps orders, and tells other services of them by writing to the table syncline_outbox in the
transaction that changes the order. `syncline relay` beside it does the rest.

    PUT /orders/ID          places an order: a plain INSERT into the outbox
    PUT /orders/ID/paid     marks it paid: syncline_enqueue with an idempotency key

Both may be tried again with no further effect.
"""

import argparse
import contextlib
import json
import re
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TABLE = """CREATE TABLE IF NOT EXISTS orders (
    id VARCHAR(60) NOT NULL PRIMARY KEY, version INTEGER NOT NULL)"""


def event(order, version):
    return json.dumps({"order": order, "version": version})


class Store:
    """The orders in a database; `mark` is how its driver writes a parameter."""

    mark = "%s"

    def __init__(self, url):
        self.url = urlsplit(url)
        with self.transaction() as cursor:
            cursor.execute(TABLE)

    @contextlib.contextmanager
    def transaction(self):
        """Commits at its end; rolls back when anything is raised."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            self.begin(cursor)
            yield cursor
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()

    def begin(self, cursor):
        """The driver begins a transaction by itself."""

    def sql(self, statement):
        return statement.replace("?", self.mark)

    def place(self, order):
        """A new order and its message, or neither; False when the order is there."""
        with self.transaction() as cursor:
            cursor.execute(self.sql("SELECT version FROM orders WHERE id = ?"), (order,))
            if cursor.fetchone():
                return False
            cursor.execute(self.sql("INSERT INTO orders (id, version) VALUES (?, 1)"), (order,))
            cursor.execute(self.sql(self.outbox), ("order.placed", order, event(order, 1)))
        return True

    outbox = "INSERT INTO syncline_outbox (topic, key, data) VALUES (?, ?, ?)"

    def pay(self, order):
        """Marks an order paid; False when there is none. The message's key makes it one message,
        however often this runs."""
        with self.transaction() as cursor:
            cursor.execute(self.sql("UPDATE orders SET version = 2 WHERE id = ?"), (order,))
            cursor.execute(self.sql("SELECT version FROM orders WHERE id = ?"), (order,))
            if not cursor.fetchone():
                return False
            self.enqueue(cursor, "order.paid", order, event(order, 2), f"{order}/paid")
        return True


class Postgres(Store):
    outbox = "INSERT INTO syncline_outbox (topic, key, data) VALUES (?, ?, convert_to(?, 'UTF8'))"

    def connect(self):
        import pg8000.dbapi

        return pg8000.dbapi.connect(
            host=self.url.hostname, port=self.url.port or 5432, database=self.url.path[1:],
            user=self.url.username, password=self.url.password and unquote(self.url.password),
            timeout=10)

    def enqueue(self, cursor, topic, key, data, idempotency_key):
        cursor.execute(
            "SELECT syncline_enqueue(topic => %s, key => %s, data => CAST(%s AS text),"
            " idempotency_key => %s)", (topic, key, data, idempotency_key))


class MariaDb(Store):
    outbox = "INSERT INTO syncline_outbox (topic, `key`, data) VALUES (?, ?, ?)"

    def connect(self):
        import pymysql

        return pymysql.connect(
            host=self.url.hostname, port=self.url.port or 3306, database=self.url.path[1:],
            user=self.url.username, password=unquote(self.url.password or ""),
            charset="utf8mb4", connect_timeout=10)

    def enqueue(self, cursor, topic, key, data, idempotency_key):
        options = json.dumps({"idempotency_key": idempotency_key})
        cursor.execute(
            "CALL syncline_enqueue(%s, %s, %s, %s, @id)", (topic, key, data, options))


class Sqlite(Store):
    mark = "?"

    def connect(self):
        path = (self.url.netloc + self.url.path).split("?")[0]
        # Each BEGIN is ours: IMMEDIATE, so that it cannot fail later for having read first.
        connection = sqlite3.connect(path, timeout=20, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def begin(self, cursor):
        cursor.execute("BEGIN IMMEDIATE")

    def pay(self, order):
        """SQLite has no functions of ours: the order's own version says whether it was told."""
        with self.transaction() as cursor:
            cursor.execute("UPDATE orders SET version = 2 WHERE id = ? AND version = 1", (order,))
            if cursor.rowcount == 1:
                cursor.execute(self.outbox, ("order.paid", order, event(order, 2)))
            cursor.execute("SELECT version FROM orders WHERE id = ?", (order,))
            return cursor.fetchone() is not None


def store(url):
    kinds = {"postgres": Postgres, "postgresql": Postgres, "mysql": MariaDb, "sqlite": Sqlite}
    return kinds[url.split(":")[0]](url)


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_PUT(self):
        found = re.fullmatch(r"/orders/([A-Za-z0-9-]{1,60})(/paid)?", self.path)
        if not found:
            return self.answer(404)
        order, paid = found.groups()
        if paid:
            return self.answer(200 if self.server.store.pay(order) else 404)
        self.answer(201 if self.server.store.place(order) else 200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--database", required=True, help="postgres://, mysql:// or sqlite://PATH")
    parser.add_argument("--port", type=int, default=8081)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.store = store(arguments.database)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
