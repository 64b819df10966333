"""Clients that send what no client should: malformed HTTP and JSON, wrong types for every argument, values at and
beyond every limit. Each attack ends in an answer that says what is wrong, stores nothing, and leaves the server as it
was."""

import json
import os
import re
import socket
import subprocess
import threading
import unittest

from hostile import Watch, descriptors, figure, raw, request, sanitized, statuses
from mesh import BIN, Mesh, together, until

JSON = 'Content-Type: application/json'
MIB2 = 2 * 1024 * 1024


def one_node(**kw):
    return Mesh(count=1, writes=0, **kw)


class OneNode(unittest.TestCase):
    """One node for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.mesh = one_node()
        cls.node = cls.mesh.nodes[0]

    @classmethod
    def tearDownClass(cls):
        cls.mesh.close()


class Lines(OneNode):
    """HTTP itself."""

    def told(self, data, *allowed, parts=None):
        """The server's own word, in JSON, and then it hangs up."""
        answer = raw(self.node, data, parts=parts)
        self.assertEqual(len(statuses(answer)), 1, (data[:80], answer[:300]))
        self.assertIn(statuses(answer)[0], allowed, (data[:80], answer[:300]))
        head, _, body = answer.partition(b'\r\n\r\n')
        self.assertIn('error', json.loads(body), answer[:300])
        self.assertIn(b'connection: close', head.lower())

    def test_malformed_requests(self):
        lines = [
            b'\0\0\0\0\r\n\r\n',
            b'GET\r\n\r\n',
            b'GET  /\r\n\r\n',
            b'GET / HTTP/9.9\r\n\r\n',
            b'get / http/1.1\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\na b: c\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost : h\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n',
            b'GET /api/v1/health HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n',
            b'GET / HTTP/1.1\r\nx:\r\n\tHost: h\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nx: a\0b\r\n\r\n',
            b'GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n',
            b'CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
            b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
            b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        ]
        with Watch(self.node):
            for line in lines:
                self.told(line, 400, 405)

    def test_lengths_that_contradict_each_other_are_no_second_request(self):
        smuggled = b'DELETE /api/v1/memories/x HTTP/1.1\r\nHost: h\r\n\r\n'
        heads = [
            b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
            b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
            b'Transfer-Encoding: chunked, identity\r\n',
            b'Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n',
        ]
        with Watch(self.node):
            for head in heads:
                self.told(
                    b'POST /api/v1/memories HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n'
                    + head
                    + b'\r\n0\r\n\r\n'
                    + smuggled,
                    400,
                )

    def test_chunks(self):
        head = request('POST', '/api/v1/memories', headers=[JSON, 'Transfer-Encoding: chunked'], ends=False)
        with Watch(self.node):
            for chunk in (
                b'x\r\n',
                b'-1\r\nab\r\n',
                b'ffffffffffffffffff\r\n',
                b'2\r\nabc\r\n',
                b'\r\n',
                b'2;\0\r\n',
            ):
                self.told(head + chunk, 400)
            answer = raw(self.node, head + b'1\r\n{\r\n0\r\nx: y\r\n\r\n' + request('GET', '/api/v1/health'))
            self.assertEqual(statuses(answer), [400, 200])

    def test_heads_have_an_end(self):
        with Watch(self.node):
            self.told(b'GET /api/v1/memories?q=' + b'a' * 70000 + b' HTTP/1.1\r\nHost: h\r\n\r\n', 414)
            self.told(b'GET /api/v1/health HTTP/1.1\r\nHost: h\r\nx: ' + b'a' * 70000 + b'\r\n\r\n', 431)
            self.told(b'GET /api/v1/health HTTP/1.1\r\nHost: h\r\n' + b'x' * 70000 + b': a\r\n\r\n', 431)
            self.told(b'GET /api/v1/health HTTP/1.1\r\nHost: h\r\n' + b'a: b\r\n' * 9000 + b'\r\n', 431)
            longest = '/api/v1/memories?limit=0&x='
            longest += 'a' * (65534 - len(longest))
            self.assertEqual(statuses(raw(self.node, request('GET', longest))), [200])
            self.assertEqual(statuses(raw(self.node, request('GET', longest + 'a'))), [414])

    def test_bodies_have_a_cap(self):
        front, back = b'{"title":"t","content":"', b'"}'
        full = front + b'a' * (MIB2 - len(front) - len(back)) + back
        beyond = full[:-2] + b'a' + back
        chunked = [JSON, 'Transfer-Encoding: chunked']
        with Watch(self.node):
            self.assertIn(b'content exceeds', raw(self.node, request('POST', '/api/v1/memories', full, [JSON])))
            self.told(request('POST', '/api/v1/memories', beyond, [JSON]), 413)
            for body, status in ((full, 400), (beyond, 413)):
                pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
                parts = [b'%x\r\n%s\r\n' % (len(piece), piece) for piece in pieces] + [b'0\r\n\r\n']
                answer = raw(self.node, request('POST', '/api/v1/memories', headers=chunked), parts=parts)
                self.assertEqual(statuses(answer), [status], answer[:300])
            self.told(request('POST', '/api/v1/memories', headers=[JSON, 'Content-Length: 9999999999999']), 413)
            ops = request('POST', '/api/v1/sync/ops', headers=['Content-Length: %d' % (18 << 20)])
            self.told(ops, 413)

    def test_a_thousand_half_open_connections(self):
        with Watch(self.node):
            held = [socket.create_connection(('127.0.0.1', self.node.port), 5) for _ in range(1000)]
            for i, s in enumerate(held):
                s.sendall(
                    (
                        b'',
                        b'G',
                        b'POST /api/v1/memories HTTP/1.1\r\nHost: h\r\nContent-Le',
                        b'POST /api/v1/memories HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n'
                        b'Content-Length: 2000000\r\n\r\n{',
                    )[i % 4]
                )
            self.assertEqual(self.node.get('/api/v1/health', timeout=2).status, 200)
            self.assertEqual(self.node.get('/api/v1/recall?context=anything', timeout=2).status, 200)
            for s in held:
                s.close()

    def test_connections_leave_files_for_the_rest(self):
        with one_node(start=False) as m:
            n = m.nodes[0]
            with open(n.log, 'wb') as log:
                n.proc = subprocess.Popen(
                    ['prlimit', '--nofile=200:200', BIN, '--db', n.db, 'serve', '--port', str(n.port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    env=dict(os.environ, AI_MEMORY_NO_CONFIG='1', HOME=m.dir),
                )
            n.ready()
            self.assertIn('connections at most', n.tail())
            held = [socket.create_connection(('127.0.0.1', n.port), 5) for _ in range(300)]
            for s in held:
                s.settimeout(5)
            self.assertEqual(held[-1].recv(12), b'HTTP/1.1 503')
            self.assertLess(descriptors(n), 180)
            self.assertEqual(n.create('on a connection that was there').status, 201)
            for s in held:
                s.close()

    def test_headers_that_crawl_are_cut(self):
        with Watch(self.node):
            held = [socket.create_connection(('127.0.0.1', self.node.port), 5) for _ in range(20)]
            for s in held:
                s.sendall(b'GET /api/v1/health HTTP/1.1\r\nHost: h\r\nx: ')
                s.settimeout(0.01)
            answers = {}

            def crawl():
                for s in held:
                    try:
                        if s not in answers:
                            s.sendall(b'y')
                            answers[s] = s.recv(4096)
                    except socket.timeout:
                        pass
                return len(answers) == len(held)

            until('they are told 408', crawl, 20)
            self.assertEqual([a[:12] for a in answers.values()], [b'HTTP/1.1 408'] * len(held))
            for s in held:
                s.close()

    def test_answers_nobody_reads(self):
        """Pipelined requests by the thousand, and not one byte taken of what they answer."""
        with Watch(self.node):
            held = []
            for _ in range(20):
                s = socket.create_connection(('127.0.0.1', self.node.port), 5)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.settimeout(0.2)
                try:
                    for _ in range(50):
                        s.sendall(b'GET /api/v1/openapi.json HTTP/1.1\r\nHost: h\r\n\r\n' * 200)
                except OSError:
                    pass
                held.append(s)
            self.assertEqual(self.node.get('/api/v1/health', timeout=2).status, 200)
            for s in held:
                s.close()


class Shapes(OneNode):
    """Wrong types for every argument of every operation, drawn from the server's own description."""

    WRONG = {
        'string': [1, -1.5, True, [], ['a'], {}, {'a': 1}],
        'integer': ['1', '', 1.5, True, [], [1], {}, 2**63, 2**64, -(2**63) - 1, 10**300],
        'number': ['1', 'NaN', '', True, [], {}],
        'boolean': ['true', '', 1, 0, 0.5, [], {}],
        'object': ['{}', '', 1, True, [], [1]],
        'array': [1, 0.5, True, {}, {'a': 1}],
    }
    FITS = {'string': 'text', 'integer': 1, 'number': 0.5, 'boolean': False, 'object': {}, 'array': []}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.paths = cls.node.get('/api/v1/openapi.json').json['paths']

    def operations(self):
        for path, verbs in sorted(self.paths.items()):
            for verb, described in sorted(verbs.items()):
                yield path, verb.upper(), described

    def bodies(self):
        for path, verb, described in self.operations():
            if 'requestBody' in described:
                yield path, verb, described['requestBody']['content']['application/json']['schema']

    def fitting(self, schema):
        if 'enum' in schema:
            return schema['enum'][0]
        if schema['type'] == 'object' and 'properties' in schema:
            return {n: self.fitting(schema['properties'][n]) for n in schema.get('required', [])}
        return self.FITS[schema['type']]

    def wrong(self, schema):
        yield from self.WRONG[schema['type']]
        if 'enum' in schema:
            yield from ('bogus', '', schema['enum'][0].upper(), schema['enum'][0] + '\0', schema['enum'][0] + ' ')
        if schema['type'] == 'array':
            inner = schema['items']
            for value in list(self.WRONG[inner['type']]) + [None]:
                yield [value]
                yield [self.fitting(inner), value]

    def refuse(self, verb, path, body, what, allowed=(400, 422), headers=None):
        path = re.sub('{[a-z_]+}', '0' * 36, path)
        a = self.node.request(verb, path, body, headers=headers or {'Content-Type': 'application/json'})
        self.assertIn(a.status, allowed, (verb, path, what, a))
        if a.status >= 400:
            self.assertTrue(isinstance(a.json, dict) and a.json['error'], (verb, path, what, a))
        return a

    # Where 200 is an answer too: numbers that are cut to their range, and elements refused one by one.
    LENIENT = ('/api/v1/recall', '/api/v1/memories/bulk', '/api/v1/sync/push')

    def fields(self):
        """(path, verb, name, its schema, how a value of it becomes a body) of every field of every body."""
        for path, verb, schema in self.bodies():
            whole = schema if schema['type'] == 'object' else schema['items']
            wrap = (lambda doc: doc) if schema['type'] == 'object' else (lambda doc: [doc])
            for name, field in whole.get('properties', {}).items():
                fits = self.fitting(whole)
                yield path, verb, name, field, lambda v: wrap({**fits, name: v})

    def test_wrong_types_in_bodies(self):
        tried = 0
        with Watch(self.node) as watch:
            for path, verb, name, field, body in self.fields():
                allowed = (200, 400, 422) if path in self.LENIENT else (400, 422)
                for value in self.wrong(field):
                    if field['type'] != 'array' or value != []:
                        self.refuse(verb, path, body(value), (name, value), allowed)
                        tried += 1
                watch.nothing_stored((path, name))
        self.assertGreater(tried, 200)

    def test_null_is_never_a_failure_of_ours(self):
        with Watch(self.node, stores_nothing=False):
            for path, verb, name, _, body in self.fields():
                self.refuse(verb, path, body(None), (name, None), range(200, 500))
            for m in self.node.ids():
                self.node.request('DELETE', '/api/v1/memories/' + m)

    def test_bodies_that_are_no_objects(self):
        texts = [
            b'',
            b' ',
            b'null',
            b'true',
            b'1',
            b'"x"',
            b'[]',
            b'[[]]',
            b'[1]',
            b'{}',
            b'{"a":1}',
            b'nul',
            b'{',
            b'}',
            b'{"title":}',
            b'{"title"}',
            b"{'title':1}",
            b'{"title":"a",}',
            b'{"title":"a"}x',
            b'\xef\xbb\xbf{}',
            b'{"title":"\xff"}',
            b'{"title":"\\ud800"}',
            b'{"title":"\\x"}',
            b'{"title":"\x01"}',
            b'{"title":"a',
            b'{"title":NaN}',
            b'{"title":Infinity}',
            b'{"title":1e400}',
            b'{"title":01}',
            b'{"title":+1}',
            b'{"title":1.}',
            b'{"title":.5}',
            b'{"title":0x10}',
            b'\0',
            b'{"title":"\0"}',
            b'{\0}',
            b'//\n{}',
            b'\xed\xa0\x80',
            b'\xc0\x80',
            b'\xf5\x80\x80\x80',
            b'{"a":"\xe2\x82"}',
        ]
        with Watch(self.node) as watch:
            for path, verb, schema in self.bodies():
                for text in texts:
                    whole = schema if schema['type'] == 'object' else schema['items']
                    harmless = text == b'[]' or (text in (b'{}', b'{"a":1}') and not whole.get('required'))
                    if not harmless:
                        self.refuse(verb, path, text, text, (400, 404, 422))
                watch.nothing_stored(path)

    def test_depth(self):
        """127 levels are read; one more is refused before anything is made of them."""

        def nested(levels, opened, closed, inside=b''):
            return opened * levels + inside + closed * levels

        with Watch(self.node):
            for o, c in ((b'[', b']'), (b'{"a":', b'}')):
                for levels, too_deep in ((127, False), (128, True), (100000, True)):
                    a = self.refuse(
                        'POST', '/api/v1/recall', nested(levels, o, c, b'1' if o != b'[' else b''), levels
                    )
                    self.assertEqual(b'recursion limit' in a.raw, too_deep, (levels, a))
            for levels in (32, 126, 127):
                body = b'{"title":"deep","content":"c","metadata":{"a":' + nested(levels, b'[', b']') + b'}}'
                self.refuse('POST', '/api/v1/memories', body, levels, (400,))

    def test_queries(self):
        wrong = {
            'integer': ['x', '1.5', '', '1e3', '99999999999999999999', '0x1', '1%00', '%20', '-'],
            'number': ['x', '', '0x1p3', '1%00'],
            'boolean': ['x', '', 'TRUE', '1'],
            'string': [],
            'array': [],
        }
        odd = [
            '%00',
            '%ff',
            '%',
            '%zz',
            '%ed%a0%80',
            '+',
            'a' * 5000,
            '%27;drop%20table%20memories;--',
            '%F0%9F%92%A9',
        ]
        with Watch(self.node) as watch:
            for path, verb, described in self.operations():
                params = [p for p in described.get('parameters', []) if p['in'] == 'query']
                required = '&'.join('%s=a' % p['name'] for p in params if p['required'])
                target = path + '?' + required + ('&' if required else '')
                for p in params:
                    if p['required']:
                        continue
                    kind = p['schema']['type']
                    for value in wrong[kind] + (['bogus'] if 'enum' in p['schema'] else []):
                        self.refuse(verb, '%s%s=%s' % (target, p['name'], value), None, value, (400,))
                    self.refuse(verb, '%s%s=1&%s=1' % (target, p['name'], p['name']), None, 'repeated', (400,))
                    for value in odd:
                        self.refuse(verb, '%s%s=%s' % (target, p['name'], value), None, value, (200, 400, 404))
                watch.nothing_stored(path)

    def test_ids_in_paths(self):
        ids = [
            '%00',
            '%ff',
            '%20',
            '%0a',
            'a' * 129,
            '%C3%A9' * 65,
            'unknown',
            '..',
            '%2F',
            '%',
            "'",
            '%25',
            '_',
            '*',
            '%F0%9F%92%A9',
            '0' * 36,
            '-',
            '%2e%2e%2f%2e%2e%2fetc%2fpasswd',
        ]
        with Watch(self.node):
            for path, verb, described in self.operations():
                if '{id}' not in path:
                    continue
                body = b'{}' if 'requestBody' in described else None
                for value in ids:
                    self.refuse(verb, path.replace('{id}', value), body, value, (200, 400, 404, 409, 422))


class Crowds(unittest.TestCase):
    """Many at once that want much."""

    def peak(self, node, work):
        """The most memory it took meanwhile, in KiB."""
        most, over = [0], threading.Event()

        def watch():
            while not over.wait(0.02):
                most[0] = max(most[0], figure(node, 'VmRSS'))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            work()
        finally:
            over.set()
            watcher.join()
        return most[0]

    def test_bodies_that_swell(self):
        """Few bytes that become much when they are read: a value of two bytes takes some 300 in memory."""
        row = {
            'tier': 'mid',
            'namespace': 'n',
            'content': 'c',
            'tags': [],
            'priority': 5,
            'confidence': 1,
            'source': 'api',
            'access_count': 0,
            'created_at': '2026-01-01T00:00:00Z',
            'updated_at': '2026-01-01T00:00:00Z',
        }
        rows = [dict(row, id='id%d' % i, title='t%d' % i, metadata={'a': [{}] * 11000}) for i in range(11)]
        known = json.dumps({'sender_agent_id': 'p', 'memories': rows}, separators=(',', ':')).encode()
        unknown = b'{"title":"t","content":"c","x":[' + b'{},' * 690000 + b'{}]}'
        with one_node() as mesh:
            node = mesh.nodes[0]
            seen = set()

            def flood():
                for body, path in ((known, '/api/v1/sync/push'), (unknown, '/api/v1/memories')):
                    seen.update(together(32, lambda i: self.status(node, path, body)))

            with Watch(node, stores_nothing=False, growth_kb=96 * 1024):
                most = self.peak(node, flood)
                self.assertLessEqual(seen, {200, 413, 503})
                self.assertIn(413, seen)
                self.assertTrue(sanitized(node) or most < 1500 * 1024, most)

    def status(self, node, path, body):
        return node.post(path, body, headers={'Content-Type': 'application/json'}, timeout=60).status

    def test_bodies_that_never_end(self):
        """More of them than the server keeps: it says so, and goes on with those that are small."""
        body = b'a' * 1900000
        head = (
            b'POST /api/v1/memories HTTP/1.1\r\nHost: h\r\n' + JSON.encode() + b'\r\nContent-Length: 2000000\r\n\r\n'
        )
        with one_node() as mesh:
            node = mesh.nodes[0]
            with Watch(node, stores_nothing=False, growth_kb=96 * 1024):
                held, refused = [], 0
                for _ in range(250):
                    s = socket.create_connection(('127.0.0.1', node.port), 5)
                    held.append(s)
                    try:
                        s.sendall(head + body)
                    except OSError:
                        refused += 1
                self.assertTrue(sanitized(node) or figure(node, 'VmRSS') < 400 * 1024)
                self.assertEqual(node.create('small').status, 201)
                told = []
                for s in held:
                    s.settimeout(0)
                    try:
                        told.append(s.recv(4096)[:12])
                    except OSError:
                        pass
                    s.close()
                self.assertTrue(refused or b'HTTP/1.1 503' in told, (refused, set(told)))


def deep(levels):
    """An object of so many levels."""
    return {'a': deep(levels - 1)} if levels > 1 else {}


def of_bytes(length):
    """Metadata whose compact text is so many bytes long."""
    return {'k': 'x' * (length - len('{"k":""}'))}


class Limits(OneNode):
    """Every limit: at it a memory is stored and read back as it was, one beyond nothing is."""

    AT = [  # field, the largest or oddest that fits, the smallest that does not, what is said of it
        ('title', '\U0001f4a9' * 512, '\U0001f4a9' * 513, 'title exceeds max length of 512 characters'),
        ('title', 'a\tb\nc', 'a\0b', 'title contains invalid characters'),
        ('title', '.', ' \n\t', 'title cannot be empty'),
        ('content', '\u20ac' * 21845 + 'a', '\u20ac' * 21845 + 'ab', 'content exceeds max size of 65536 bytes'),
        ('content', 'line\nline', 'a\x07b', 'content contains invalid characters'),
        ('content', '\u0301', '', 'content cannot be empty'),
        ('namespace', '/'.join(['n'] * 8), '/'.join(['n'] * 9), 'namespace depth 9 exceeds max of 8'),
        ('namespace', 'n' * 512, 'n' * 513, 'namespace exceeds max length of 512 characters'),
        ('namespace', 'a.b', 'a/../b', "namespace segments '.' and '..' are not allowed"),
        ('namespace', 'a-b', 'a b', 'namespace cannot contain spaces (use hyphens or underscores)'),
        ('tags', ['t%d' % i for i in range(50)], ['t%d' % i for i in range(51)], 'too many tags (max 50)'),
        ('tags', ['\u20ac' * 42 + 'ab'], ['\u20ac' * 43], 'exceeds max length of 128 bytes'),
        ('tags', ['a,b'], [' '], 'tags cannot contain empty strings'),
        ('priority', 10, 11, 'priority must be between 1 and 10 (got 11)'),
        ('priority', 1, 0, 'priority must be between 1 and 10 (got 0)'),
        ('confidence', 1.0, 1.0000001, 'confidence must be between 0.0 and 1.0'),
        ('confidence', 0, -5e-324, 'confidence must be between 0.0 and 1.0'),
        ('source', 'consolidation', 'x' * 65, 'source exceeds max length of 64 bytes'),
        ('ttl_secs', 31536000, 31536001, 'ttl_secs exceeds maximum of 1 year'),
        ('ttl_secs', 1, 0, 'ttl_secs must be positive'),
        ('metadata', of_bytes(65000), of_bytes(65537), 'metadata exceeds max size of 65536 bytes'),
        ('metadata', deep(32), deep(33), 'metadata nesting depth exceeds limit of 32'),
        ('agent_id', 'a' * 128, 'a' * 129, 'agent_id exceeds max length of 128 bytes'),
        ('agent_id', 'ai:a/b@c.d-e_f', 'a b', "agent_id contains invalid character ' '"),
        ('expires_at', '9999-12-31T23:59:59.999999999Z', '10000-01-01T00:00:00Z', 'expires_at is not valid RFC3339'),
        ('expires_at', '2100-02-28T00:00:00+23:59', '2100-02-29T00:00:00Z', 'expires_at is not valid RFC3339'),
        ('expires_at', '2100-01-01t00:00:00z', '2000-01-01T00:00:00Z', 'expires_at is in the past'),
    ]

    def body(self, field, value):
        return {'title': 'limits', 'content': 'c', 'namespace': 'limits', field: value}

    def test_beyond(self):
        with Watch(self.node) as watch:
            for field, _, over, words in self.AT:
                a = self.node.post('/api/v1/memories', self.body(field, over))
                self.assertEqual(a.status, 400, (field, str(over)[:60], a))
                self.assertIn(words, a.json['error'])
                watch.nothing_stored((field, str(over)[:60]))
                many = self.node.post('/api/v1/memories/bulk', [self.body(field, over)])
                self.assertEqual((many.status, many.json['created']), (200, 0), (field, many))
                watch.nothing_stored(('bulk', field))

    def test_at(self):
        with Watch(self.node, stores_nothing=False):
            for field, value, _, _ in self.AT:
                a = self.node.post('/api/v1/memories', self.body(field, value))
                self.assertEqual(a.status, 201, (field, str(value)[:60], a))
                m = self.node.get('/api/v1/memories/' + a.json['id']).json['memory']
                if field == 'agent_id':
                    self.assertEqual(m['metadata']['agent_id'], value)
                elif field == 'metadata':
                    self.assertEqual({k: v for k, v in m[field].items() if k != 'agent_id'}, value)
                elif field not in ('ttl_secs', 'expires_at'):
                    self.assertEqual(m[field], value)
                self.assertEqual(self.node.request('DELETE', '/api/v1/memories/' + a.json['id']).status, 200)

    def test_updates_keep_the_limits(self):
        made = self.node.create('to update').json['id']
        with Watch(self.node) as watch:
            for field, _, over, words in self.AT:
                if field in ('source', 'ttl_secs', 'agent_id') or 'in the past' in words:
                    continue
                a = self.node.request('PUT', '/api/v1/memories/' + made, {field: over})
                self.assertEqual(a.status, 400, (field, a))
                self.assertIn(words, a.json['error'])
                watch.nothing_stored((field, str(over)[:60]))

    def test_lists(self):
        with Watch(self.node):
            a = self.node.post('/api/v1/memories/bulk', [self.body('priority', 0)] * 1001)
            self.assertEqual((a.status, a.json['error']), (400, 'bulk operations limited to 1000 items'))
            a = self.node.post('/api/v1/memories/bulk', [self.body('priority', 0)] * 1000)
            self.assertEqual((a.status, a.json['created'], len(a.json['errors'])), (200, 0, 1000))
            for limit in ('0', '1', '9223372036854775807'):
                self.assertEqual(self.node.get('/api/v1/memories?limit=' + limit).status, 200, limit)
                self.assertEqual(self.node.get('/api/v1/recall?context=x&limit=' + limit).status, 200, limit)
                self.assertIn(self.node.get('/api/v1/memories?offset=' + limit).status, (200, 400), limit)
            self.assertEqual(self.node.get('/api/v1/memories?cursor=' + 'A' * 4000).status, 400)

    def test_ambiguous_and_unknown_ids(self):
        made = [self.node.create('many %d' % i, ns='many').json['id'] for i in range(40)]
        first = next(c for c in '0123456789abcdef' if sum(i.startswith(c) for i in made) > 1)
        with Watch(self.node):
            for verb, path, body in (
                ('GET', '', None),
                ('PUT', '', {'title': 'x'}),
                ('DELETE', '', None),
                ('POST', '/promote', None),
            ):
                a = self.node.request(verb, '/api/v1/memories/' + first + path, body)
                self.assertEqual(a.status, 400, a)
                self.assertRegex(a.json['error'], "^ambiguous ID prefix '%s': [0-9]+ matches\n" % first)
                a = self.node.request(verb, '/api/v1/memories/' + 'f' * 36 + path, body)
                self.assertEqual((a.status, a.json['error']), (404, 'not found'))


class Headers(OneNode):
    """Headers that mean something to this server, with values that mean nothing."""

    def test_of_reads(self):
        with Watch(self.node):
            for value in (
                '',
                ':',
                '1',
                '1:',
                ':1',
                'a:b',
                '1:2:3',
                '-1:1',
                '1:-1',
                ' 1 : 1',
                '1:1x',
                '0x1:1',
                '18446744073709551616:1',
                '1:18446744073709551616',
                '\xff:\xff',
                '1:1,2:2',
            ):
                a = self.node.get('/api/v1/recall?context=x', headers={'X-Wait-Pos': value})
                self.assertEqual(a.status, 400, (value, a))
            for value in ('', '-1', '30001', 'x', '1.5', '99999999999999999999'):
                a = self.node.get('/api/v1/recall?context=x', headers={'X-Wait-Pos': '1:1', 'X-Wait-Ms': value})
                self.assertEqual(a.status, 400, (value, a))
            for value in ('1:1', '18446744073709551615:18446744073709551615', '0:0'):
                a = self.node.get('/api/v1/memories', headers={'X-Wait-Pos': value, 'X-Wait-Ms': '50'})
                self.assertIn(a.status, (400, 504) if value != '0:0' else (200, 400, 504), (value, a))

    def test_many_waits_for_what_never_comes(self):
        with Watch(self.node):
            target = {'X-Wait-Pos': '12345:1', 'X-Wait-Ms': '300'}
            answers = together(100, lambda i: self.node.get('/api/v1/memories', headers=target).status)
            self.assertEqual(set(answers), {504})

    def test_of_writes(self):
        body = {'title': 'headers', 'content': 'c'}
        with Watch(self.node) as watch:
            for name, values in (
                (
                    'X-Write-Quorum',
                    ('', '0', '-1', '2', '9', '4294967297', '9' * 12, '9' * 20, 'x', '1x', '1.0', '\xff'),
                ),
                ('Idempotency-Key', ('', 'k' * 256, 'a\tb', '\xff', '\xc3\xa9')),
            ):
                for value in values:
                    a = self.node.post('/api/v1/memories', body, headers={name: value})
                    self.assertEqual(a.status, 400, (name, value, a))
                    watch.nothing_stored((name, value))
            for value in ('a b', 'a' * 129, 'a;b', "a'b", '<script>', 'a\\b', 'a,b'):
                for verb, path, doc in (('POST', '/api/v1/memories', body), ('DELETE', '/api/v1/memories/x', None)):
                    a = self.node.request(verb, path, doc, headers={'X-Agent-Id': value})
                    self.assertIn(a.status, (400,) if doc else (400, 404), (value, a))
                watch.nothing_stored(('X-Agent-Id', value))

    def test_one_key_for_many(self):
        with Watch(self.node, stores_nothing=False):
            key = {'Idempotency-Key': 'k' * 255}
            answers = together(20, lambda i: self.node.create('with a key', headers=dict(key)))
            self.assertEqual({a.status for a in answers}, {201}, answers)
            self.assertEqual(len({a.json['id'] for a in answers}), 1)
            a = self.node.create('another', headers=dict(key))
            self.assertEqual(a.status, 422, a)
            self.assertEqual([m['title'] for m in self.node.memories('t').values()], ['with a key'])

    def test_repeated_headers(self):
        body = b'{"title":"repeated","content":"c"}'
        with Watch(self.node, stores_nothing=False):
            head = [JSON, 'X-Agent-Id: first', 'X-Agent-Id: second']
            answer = raw(self.node, request('POST', '/api/v1/memories', body, head))
            self.assertEqual(statuses(answer), [201])
            self.assertIn(b'"agent_id":"first"', answer)

    def test_promises_asked_for_twice(self):
        """Which of the two was meant is nobody's guess: nothing is written, nothing read."""
        body = b'{"title":"twice","content":"c"}'
        with Watch(self.node):
            for name, values in (('X-Write-Quorum', ('1', '3')), ('Idempotency-Key', ('a', 'b'))):
                head = [JSON] + ['%s: %s' % (name, value) for value in values]
                answer = raw(self.node, request('POST', '/api/v1/memories', body, head))
                self.assertEqual(statuses(answer), [400])
                self.assertIn(name.lower().encode() + b' is given more than once', answer)
            head = ['X-Wait-Pos: 1:0', 'X-Wait-Pos: 2:9']
            self.assertEqual(statuses(raw(self.node, request('GET', '/api/v1/memories', b'', head))), [400])


class Keys(unittest.TestCase):
    """A server with an API key."""

    def test_the_key_opens_and_stays_unseen(self):
        secret = 'sesame-%s-opens' % ('s' * 40)
        with one_node(start=False) as mesh:
            node = mesh.nodes[0]
            folder = os.path.join(mesh.dir, '.config', 'ai-memory')
            os.makedirs(folder)
            with open(os.path.join(folder, 'config.toml'), 'w') as f:
                f.write('api_key = "%s"\n' % secret)
            node.env['AI_MEMORY_NO_CONFIG'] = None
            node.start()
            self.assertEqual(node.get('/api/v1/health').status, 200)
            wrong = [
                {},
                {'X-API-Key': ''},
                {'X-API-Key': secret[:-1]},
                {'X-API-Key': secret + 'x'},
                {'X-API-Key': secret.upper()},
                {'Authorization': 'Bearer ' + secret},
            ]
            for verb, path, body in (
                ('GET', '/api/v1/memories', None),
                ('POST', '/api/v1/memories', {'title': 'x'}),
                ('POST', '/api/v1/sync/ops', b'x'),
                ('GET', '/api/v1/sync/status', None),
                ('GET', '/metrics', None),
                ('GET', '/nowhere', None),
                ('PATCH', '/api/v1/memories', None),
            ):
                for headers in wrong:
                    a = node.request(verb, path, body, headers=dict(headers))
                    self.assertEqual(
                        (a.status, a.json['error']), (401, 'missing or invalid API key'), (verb, path, a)
                    )
            for query in ('', 'api_key=', 'api_key', 'api_key=x', 'API_KEY=' + secret, 'xapi_key=' + secret):
                self.assertEqual(node.get('/api/v1/memories?' + query).status, 401, query)
            escaped = ''.join('%%%02x' % ord(c) for c in secret)
            for query in ('api_key=' + secret, 'api_key=' + escaped, 'api_key=no&api_key=' + secret):
                self.assertEqual(node.get('/api/v1/memories?' + query).status, 200, query)
            good = {'X-API-Key': secret}
            self.assertEqual(node.create('with the key', headers=good).status, 201)
            self.assertEqual(node.get('/api/v1/memories', headers=good).json['total'], 1)
            self.assertEqual(node.stop(), 0)
            with open(node.log, errors='replace') as f:
                self.assertNotIn(secret, f.read())


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
