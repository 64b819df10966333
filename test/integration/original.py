"""A node of the original, in memory: sync/push and sync/since as its contract describes them, nothing of ours. It
merges by (title, namespace), keeps its own ids, refuses an id under another title, knows no tombstones."""

import bisect
import datetime
import http.server
import json
import threading
import urllib.parse
import uuid

TIERS = ('short', 'mid', 'long')


def stamp(seconds_from_now=0.0):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return at.strftime('%Y-%m-%dT%H:%M:%S.%f') + '123+00:00'  # nanoseconds, as it writes them


class Original:
    """deletions: does it follow `deletions` (0.6.0 does not)? refuse(row): rows it skips."""

    def __init__(self, port=0, deletions=False, refuse=None):
        self.rows, self.by_name = {}, {}
        self.deletions, self.refuse = deletions, refuse or (lambda row: False)
        self.lock = threading.RLock()
        self.pushed, self.asked, self.agents, self.connections, self.down = [], [], set(), 0, False
        original = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            disable_nagle_algorithm = True

            def setup(self):
                original.connections += 1
                super().setup()

            def answer(self, status, doc):
                body = b'' if doc is None else json.dumps(doc).encode()
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                if url.path != '/api/v1/sync/since':
                    return self.answer(404, None)
                original.agents.add(self.headers.get('x-agent-id'))
                self.answer(*original.since(dict(urllib.parse.parse_qsl(url.query))))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                if self.path != '/api/v1/sync/push':
                    return self.answer(404, None)
                if len(body) > 2 << 20:
                    return self.answer(413, {'error': 'length limit exceeded'})
                self.answer(*original.push(json.loads(body)))

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', port), Handler)
        self.port = self.server.server_address[1]
        self.url = 'http://127.0.0.1:%d' % self.port
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, row):
        self.rows[row['id']] = row
        self.by_name[row['title'], row['namespace']] = row

    def drop(self, id):
        row = self.rows.pop(id, None)
        if row is not None:
            del self.by_name[row['title'], row['namespace']]
        return row

    def write(self, title, content='its text', ns='t', at=None, **fields):
        """A user's write at this node: a new row, or an edit of the row of that title."""
        with self.lock:
            at = at or stamp()
            old = self.by_name.get((title, ns))
            row = dict(
                old
                or {
                    'id': str(uuid.uuid4()),
                    'tier': 'mid',
                    'namespace': ns,
                    'title': title,
                    'tags': [],
                    'priority': 5,
                    'confidence': 1.0,
                    'source': 'api',
                    'access_count': 0,
                    'created_at': at,
                    'metadata': {'agent_id': 'its-user'},
                }
            )
            row.update(fields, content=content, updated_at=at)
            self.put(row)
            return row

    def merge(self, row):
        if self.refuse(row):
            return False
        old = self.by_name.get((row['title'], row['namespace']))
        if old is None:
            if row['id'] in self.rows:
                return False  # the id under another title
            self.put(dict(row))
            return True
        newer = row if row['updated_at'] > old['updated_at'] else old
        merged = dict(old, content=newer['content'], tags=newer['tags'], source=newer['source'])
        merged['metadata'] = dict(newer['metadata'])
        if old['metadata'].get('agent_id'):
            merged['metadata']['agent_id'] = old['metadata']['agent_id']
        for field in ('priority', 'confidence', 'access_count', 'updated_at'):
            merged[field] = max(old[field], row[field])
        merged['tier'] = max(old['tier'], row['tier'], key=TIERS.index)
        expires = None if merged['tier'] == 'long' else row.get('expires_at') or old.get('expires_at')
        merged.pop('expires_at', None)
        if expires:
            merged['expires_at'] = expires
        self.put(merged)
        return True

    def push(self, doc):
        if len(doc['memories']) > 1000:
            return 400, {'error': 'sync_push limited to 1000 memories per request'}
        with self.lock:
            self.pushed.append(doc)
            taken = sum(self.merge(row) for row in doc['memories'])
            answer = {
                'applied': taken,
                'noop': 0,
                'skipped': len(doc['memories']) - taken,
                'dry_run': False,
                'receiver_agent_id': 'anonymous:x',
                'receiver_clock': {'entries': {}},
            }
            if self.deletions:
                gone = [id for id in doc.get('deletions', []) if self.drop(id)]
                answer['deleted'] = len(gone)
                answer['noop'] += len(doc.get('deletions', [])) - len(gone)
            return 200, answer

    def since(self, query):
        with self.lock:
            self.asked.append(query)
            after, limit = query.get('since', ''), min(int(query.get('limit', 500)), 10000)
            if after:
                try:
                    datetime.datetime.fromisoformat(after.split('.')[0] if '.' in after else after)
                except ValueError:
                    return 400, {'error': 'invalid `since` parameter'}
            rows = sorted(self.rows.values(), key=lambda r: r['updated_at'])
            first = bisect.bisect_right([r['updated_at'] for r in rows], after)
            page = rows[first : first + limit]
            return 200, {'count': len(page), 'limit': limit, 'memories': page}

    def contents(self):
        with self.lock:
            return {(r['title'], r['namespace']): r['content'] for r in self.rows.values()}

    def count_pushed(self, id):
        with self.lock:
            return sum(r['id'] == id for doc in self.pushed for r in doc['memories'])
