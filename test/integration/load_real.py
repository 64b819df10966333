#!/usr/bin/env python3
"""Loads real text into one node over HTTP and recalls some of it on another.

The text: the packages of this machine's apt catalogue (name and description), or where that is empty its manual pages.
Exits 1 when a memory was not acknowledged, or a recall on the other node did not bring back the memory it describes.
"""

import argparse
import glob
import gzip
import http.client
import json
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.parse

ATTEMPTS = 20  # of one write, when the node says 503: it is safe to repeat, the title is the key
TIMEOUT_S = 15
RECALLS = 12


def packages():
    """(title, content) of each package in the apt catalogue."""
    try:
        text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    found = {}
    for stanza in text.decode("utf-8", "replace").split("\n\n"):
        field = dict(re.findall(r"^([A-Za-z0-9-]+): *(.*(?:\n .*)*)", stanza, re.M))
        if "Package" in field and field.get("Description"):
            description = re.sub(r"\n ?\.?", "\n", field["Description"]).strip()
            parts = [
                description,
                f"Section: {field.get('Section', '')}",
                f"Homepage: {field.get('Homepage', '')}",
                "Tags: " + re.sub(r"\s+", " ", field.get("Tag", "")),
            ]
            found[field["Package"]] = "\n".join(p for p in parts if not p.endswith(": "))
    return sorted(found.items())


def manual_pages():
    """(title, content) of each manual page: its name, and the text of its first paragraphs."""
    found = {}
    for path in sorted(glob.glob("/usr/share/man/man[1-8]/*.gz")):
        try:
            with gzip.open(path, "rt", encoding="utf-8", errors="replace") as f:
                text = re.sub(r"^[.'].*$|\\f.|\\[-&|]", "", f.read(20000), flags=re.M)
        except OSError:
            continue
        text = re.sub(r"\s+", " ", text).strip()
        if len(text) > 80:
            found["man " + path.rsplit("/", 1)[1][:-3]] = text[:3000]
    return sorted(found.items())


def spread(items, count):
    """`count` of the items, evenly from the whole list."""
    if len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]


class Node:
    """One keep-alive connection; used by one thread."""

    def __init__(self, url):
        self.at = urllib.parse.urlsplit(url)
        self.conn = None

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body). A connection that has ended is opened once more."""
        for attempt in (1, 2):
            try:
                if self.conn is None:
                    self.conn = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=TIMEOUT_S)
                self.conn.request(method, path, body, headers or {})
                answer = self.conn.getresponse()
                return answer.status, answer.headers, answer.read()
            except (OSError, http.client.HTTPException):
                self.conn.close()
                self.conn = None
                if attempt == 2:
                    raise
        raise AssertionError


class Load:
    def __init__(self, url, items, namespace):
        self.url, self.namespace, self.total = url, namespace, len(items)
        self.work = queue.SimpleQueue()
        for item in items:
            self.work.put(item)
        self.lock = threading.Lock()
        self.done, self.errors, self.pos = 0, [], {}

    def store(self, node, title, content):
        body = json.dumps(
            {"title": title, "content": content, "namespace": self.namespace, "tier": "long", "tags": ["real-text"]}
        ).encode()
        for _ in range(ATTEMPTS):
            status, headers, text = node.request(
                "POST", "/api/v1/memories", body, {"Content-Type": "application/json"}
            )
            if status != 503:
                break
        if status != 201:
            raise RuntimeError(f"{title}: {status} {text.decode(errors='replace')[:200]}")
        stream, _, seq = headers.get("X-Pos", "").rpartition(":")
        return stream, int(seq or 0)

    def run(self):
        node = Node(self.url)
        while True:
            try:
                title, content = self.work.get_nowait()
            except queue.Empty:
                return
            try:
                stream, seq = self.store(node, title, content)
                with self.lock:
                    self.done += 1
                    self.pos[stream] = max(self.pos.get(stream, 0), seq)
            except (OSError, RuntimeError, ValueError, http.client.HTTPException) as e:
                with self.lock:
                    self.errors.append(str(e))

    def all(self, threads):
        """Seconds it took. Progress goes to stdout about once a second."""
        start = time.monotonic()
        crew = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for t in crew:
            t.start()
        for t in crew:
            while t.is_alive():
                t.join(1.0)
                if t.is_alive():
                    print(f"   {self.done} of {self.total} stored", flush=True)
        return time.monotonic() - start


def recall(node, context, namespace, pos):
    query = urllib.parse.urlencode({"context": context, "namespace": namespace, "limit": 10})
    headers = {"X-Wait-Pos": pos} if pos else {}
    status, _, text = node.request("GET", "/api/v1/recall?" + query, headers=headers)
    if status != 200:
        raise RuntimeError(f"recall {context!r}: {status} {text.decode(errors='replace')[:200]}")
    return [m["title"] for m in json.loads(text)["memories"]]


def recall_some(url, items, namespace, pos):
    """How many of the memories asked for were not among the ten best."""
    node, lost = Node(url), 0
    for title, content in spread(items, RECALLS):
        context = f"{title} {content.splitlines()[0]}"[:200]
        start = time.monotonic()
        titles = recall(node, context, namespace, pos)
        took_ms = (time.monotonic() - start) * 1000
        found = title in titles
        lost += not found
        print(f"   {'found' if found else 'LOST '} {took_ms:6.1f} ms  {context[:90]}")
    return lost


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", required=True, help="URL of the node that takes the writes")
    parser.add_argument("--read", required=True, help="URL of the node that is asked afterwards")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--namespace", default="real-text")
    args = parser.parse_args()

    items, what = packages(), "package descriptions"
    if len(items) < args.count:
        pages = manual_pages()
        if len(pages) > len(items):
            items, what = pages, "manual pages"
    items = spread(items, args.count)
    if not items:
        sys.exit("neither a package catalogue nor manual pages on this machine: nothing to load")
    print(f"   {len(items)} {what}, {args.threads} connections", flush=True)

    load = Load(args.write, items, args.namespace)
    seconds = load.all(args.threads)
    rate = load.done / seconds
    print(f"   {load.done} stored in {seconds:.1f} s: {rate:.0f} acknowledged writes a second", flush=True)
    for error in load.errors[:5]:
        print(f"   not stored: {error}")

    pos = ",".join(f"{stream}:{seq}" for stream, seq in load.pos.items() if stream)
    print(f"   recalls on {args.read}, waiting for {pos or 'nothing'}", flush=True)
    lost = recall_some(args.read, items, args.namespace, pos)
    sys.exit(1 if load.errors or lost else 0)


main()
