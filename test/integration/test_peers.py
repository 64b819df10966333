"""Peers that are not what they should be: stubs, garbage, nodes of the original, slow disks, wrong lists."""

import http.server, json, os, socket, struct, subprocess, sys, tempfile, threading, time, unittest

from mesh import Mesh, free_ports, until


class Stub:
    """A peer of our making: answer(path, body) -> (status, body bytes) or None to close without a word."""

    def __init__(self, answer):
        self.heard, self.connections = [], 0
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def setup(self):
                stub.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                stub.heard.append((self.path, body))
                got = answer(self.path, body)
                if got is None:
                    self.close_connection = True
                    return
                self.send_response(got[0])
                self.send_header('Content-Length', str(len(got[1])))
                self.end_headers()
                self.wfile.write(got[1])

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pushes(self):
        return [json.loads(b) for p, b in self.heard if p == '/api/v1/sync/push']

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def original(reply):
    """A node of the original: knows no /sync/ops; reply(push) -> answer of /sync/push."""

    def answer(path, body):
        if path != '/api/v1/sync/push':
            return 404, b''
        return 200, json.dumps(reply(json.loads(body))).encode()

    return answer


class Originals(unittest.TestCase):
    def with_peer(self, answer, work, timeout_ms=800):
        stub = Stub(answer)
        try:
            with Mesh(count=1, writes=2, timeout_ms=timeout_ms, peers=lambda i, urls: [stub.url]) as m:
                until('the peer was greeted', lambda: stub.heard)
                until('its link is up', lambda: m.nodes[0].status()['peers'][0]['state'] in ('up', 'refused', 'down'))
                work(m.nodes[0], stub)
        finally:
            stub.close()

    def test_applied_counts_as_an_ack_but_not_as_a_disk(self):
        def work(node, stub):
            a = node.create('for the original', 'text', tags=['x'])
            self.assertEqual((a.status, a.headers['x-quorum-acks'], a.headers['x-durability']), (201, '2', 'local'))
            rows = [m for p in stub.pushes() for m in p['memories']]
            self.assertEqual([r['id'] for r in rows], [a.json['id']])
            self.assertEqual(rows[0]['tags'], ['x'])
            self.assertTrue(stub.pushes()[0]['sender_agent_id'].startswith('host:'))

        self.with_peer(original(lambda p: {'applied': len(p['memories']), 'noop': 0, 'skipped': 0}), work)

    def test_noop_counts(self):
        self.with_peer(
            original(lambda p: {'applied': 0, 'noop': 1, 'skipped': 0}),
            lambda node, stub: self.assertEqual(node.create('noop').status, 201),
        )

    def test_a_peer_that_answers_200_but_skips_the_row_does_not_count(self):
        def work(node, stub):
            a = node.create('skipped')
            self.assertEqual((a.status, a.json['got']), (503, 1))
            self.assertEqual(node.get('/api/v1/memories/' + next(iter(node.ids('t')))).status, 200)

        self.with_peer(original(lambda p: {'applied': 0, 'noop': 0, 'skipped': 1}), work)

    def test_a_delete_is_never_acknowledged_by_one(self):
        def work(node, stub):
            a = node.create('to delete')
            r = node.request('DELETE', '/api/v1/memories/' + a.json['id'])
            self.assertEqual((r.status, r.json['error']), (503, 'quorum_not_met'))

        self.with_peer(original(lambda p: {'applied': len(p['memories']), 'noop': 0, 'skipped': 0}), work)


class Garbage(unittest.TestCase):
    def test_a_bare_200_is_no_ack(self):
        for body in (b'', b'{}', b'ok', b'\0' * 400, b'{"applied":1}'):
            stub = Stub(lambda path, data: (200, body))
            try:
                with Mesh(count=1, writes=2, timeout_ms=500, peers=lambda i, urls: [stub.url]) as m:
                    a = m.nodes[0].create('nobody understood')
                    self.assertEqual((a.status, a.json['got']), (503, 1), body)
                    self.assertEqual(m.nodes[0].get('/api/v1/health').status, 200)
            finally:
                stub.close()

    def test_a_peer_that_never_answers_and_one_that_is_no_http(self):
        silent = socket.socket()
        silent.bind(('127.0.0.1', 0))
        silent.listen(1)
        stub = Stub(lambda path, data: None)
        try:
            urls = ['http://127.0.0.1:%d' % silent.getsockname()[1], stub.url]
            with Mesh(count=1, writes=2, timeout_ms=500, peers=lambda i, _: urls) as m:
                a = m.nodes[0].create('silence')
                self.assertEqual((a.status, a.json['reason']), (503, 'timeout'))
                until('three seconds of redialling', lambda s=time.monotonic(): time.monotonic() - s > 3, 5)
                self.assertLess(stub.connections, 60)
                told = [p for p in m.nodes[0].status()['peers'] if p['url'] == urls[0]][0]
                self.assertRegex(told['last_error'] or '', 'no answer|timed out')
                self.assertGreater(told['errors'], 1)
                counted = 'ai_memory_replication_peer_errors_total{peer="%s"} ' % urls[0]
                self.assertIn(counted, m.nodes[0].get('/metrics').raw.decode())
        finally:
            silent.close()
            stub.close()


class Liar(unittest.TestCase):
    def test_one_peer_alone_removes_nobody(self):
        stub = Stub(lambda path, body: (403, b'{"error":"this node was removed from the mesh"}'))
        try:
            with Mesh(count=2, writes=2, peers=lambda i, urls: [urls[1 - i]] + ([stub.url] if i == 0 else [])) as m:
                a = m.nodes[0]
                node = a.status()['node']
                told = lambda: 'removed' in (a.status()['peers'][1]['last_error'] or '')
                until('it was told so', told)
                ids = {a.create('kept %d' % i).json['id'] for i in range(5)}
                m.nodes[1].kill()
                greeted = len(stub.heard)
                until('it was told so again, by nobody else', lambda: len(stub.heard) > greeted, 20)
                m.nodes[1].start()
                m.linked()
                self.assertEqual((a.status()['node'], a.life), (node, 1))
                m.holds(m.nodes, ids)
        finally:
            stub.close()


class Damaged(unittest.TestCase):
    """Bytes damaged on the way cost a connection, not the five seconds a peer of another make is left alone."""

    def greeted(self, status, body):
        stub = Stub(lambda path, _: (status, body))
        try:
            with Mesh(count=1, writes=1, peers=lambda i, urls: [stub.url]) as m:
                until('it was greeted once', lambda: stub.heard)
                until('it is greeted again and again', lambda: len(stub.heard) >= 4, 4.5)
                until('then it is left alone', lambda: m.nodes[0].status()['peers'][0]['state'] == 'refused', 20)
                before = len(stub.heard)
                self.assertLess(before, 12)
        finally:
            stub.close()

    def test_an_answer_that_cannot_be_read(self):
        self.greeted(200, b'\x00garbage' * 9)

    def test_a_hello_that_could_not_be_read(self):
        self.greeted(400, b'{"error":"bad bytes"}')


class Lists(unittest.TestCase):
    def test_this_node_itself_never_counts(self):
        with Mesh(count=1, writes=2, timeout_ms=500, peers=lambda i, urls: [urls[0]]) as m:
            until('it knows itself', lambda: m.nodes[0].status()['peers'][0]['state'] == 'self')
            self.assertEqual(m.nodes[0].create('me and me').status, 503)
            federation = m.nodes[0].get('/api/v1/health').json['federation']
            self.assertEqual((federation['nodes'], federation['writes']), (1, 2))
            self.assertIn('itself', federation['warnings'][0])

    def test_what_is_wrong_with_a_peer_is_what_is_told(self):
        """A name nobody knows is no refused connection; and this node itself lacks nothing of its own."""

        def peers(i, urls):
            return ['http://nobody.invalid:9', 'http://127.0.0.1:1', urls[0]]

        with Mesh(count=1, writes=1, peers=peers, start=False) as m:
            n = m.nodes[0].start()
            self.assertEqual(n.create('by itself').status, 201)
            until('it has met itself', lambda: 'self' in [p['state'] for p in n.status()['peers']])
            until('both were tried', lambda: all(p['last_error'] for p in n.status()['peers']))
            found = {p['url']: p for p in n.status()['peers']}
            self.assertRegex(found['http://nobody.invalid:9']['last_error'], "host's name is not known|timed out")
            self.assertEqual(found['http://127.0.0.1:1']['last_error'], 'connection refused')
            self.assertEqual(found[n.url]['lag'], 0)

    def test_one_list_for_all_nodes_is_fine(self):
        with Mesh(writes=2, peers=lambda i, urls: urls) as m:
            a = m.nodes[0]
            until('it knows itself', lambda: 'self' in [p['state'] for p in a.status()['peers']])
            self.assertEqual(a.get('/api/v1/health').json['federation']['nodes'], 3)
            id = a.create('shared').json['id']
            m.nodes[1].kill()
            self.assertEqual(a.create('again').status, 201)
            self.assertEqual(a.get('/api/v1/memories/%s?consistency=quorum' % id).status, 200)

    def test_one_peer_under_two_names_counts_once(self):
        with Mesh(
            count=2,
            writes=3,
            timeout_ms=500,
            peers=lambda i, urls: [urls[1 - i], urls[1 - i].replace('127.0.0.1', 'localhost'), urls[1 - i] + '/'],
        ) as m:
            health = m.nodes[0].get('/api/v1/health').json
            self.assertTrue(any('twice' in w for w in health['federation']['warnings']), health)
            a = m.nodes[0].create('twins')
            self.assertEqual((a.status, a.json['got'], a.json['needed']), (503, 2, 3))

    def test_w_is_cut_to_n_and_off_without_peers(self):
        with Mesh(count=2, writes=9) as m:
            a = m.nodes[0].create('nine')
            self.assertEqual((a.status, a.json['quorum_acks']), (201, 2))
            self.assertTrue(m.nodes[0].get('/api/v1/health').json['federation']['warnings'])
        with Mesh(count=1, writes=2) as m:
            a = m.nodes[0].create('no peers')
            self.assertEqual((a.status, 'quorum_acks' in a.json), (201, False))
            self.assertTrue(m.nodes[0].get('/api/v1/health').json['federation']['warnings'])

    def test_a_bad_peer_url_is_refused_at_start(self):
        from mesh import BIN

        with tempfile.TemporaryDirectory() as d:
            for url in ('ftp://x', 'http://', 'nonsense', 'http://h:99999'):
                r = subprocess.run(
                    [BIN, '--db', d + '/x.db', 'serve', '--port', '0', '--quorum-writes', '2', '--quorum-peers', url],
                    capture_output=True,
                    text=True,
                    timeout=20,
                    env=dict(os.environ, AI_MEMORY_NO_CONFIG='1', HOME=d),
                )
                self.assertIn(r.returncode, (1, 2), url)
                self.assertIn(url, r.stdout + r.stderr)


def sealed(data):
    """The sum every message ends with."""
    h = 0x9E3779B97F4A7C15 ^ len(data)
    for (word,) in struct.iter_unpack('<Q', data + b'\0' * (-len(data) % 8)):
        h = (h ^ word) * 0xFF51AFD7ED558CCD & (1 << 64) - 1
        h ^= h >> 32
    return data + struct.pack('<Q', h)


def message(kind, node, stream, rest):
    name = b''
    return sealed(
        struct.pack('<IHH', 0x524D4941, 1, kind)
        + struct.pack('<I', len(name))
        + name
        + struct.pack('<QQ', node, stream)
        + rest
    )


def chain_next(before, body):
    import hashlib

    return int.from_bytes(hashlib.sha256(before.to_bytes(8, 'big') + body).digest()[:8], 'big') & (2**63 - 1)


def ops(node, stream, first, bodies, before=0):
    chain, packed = before, b''
    for b in bodies:
        chain = chain_next(chain, b)
        packed += struct.pack('<Q', 1 << 40) + struct.pack('<I', len(b)) + b
    return (
        message(
            2, node, stream, struct.pack('<QQQQQBI', stream, node, first, before, chain, 0, len(bodies)) + packed
        ),
        chain,
    )


class Streams(unittest.TestCase):
    def push(self, node, body):
        return node.request('POST', '/api/v1/sync/ops', body, headers={'Content-Type': 'application/octet-stream'})

    def position(self, answer):
        return struct.unpack_from('<QQQB', answer.raw, 4 + 2 + 2 + 4 + 16)

    def test_an_op_of_an_unknown_kind_stops_no_stream(self):
        with Mesh() as m:
            stream, unknown = (1 << 50) + 5, b'\x01' + struct.pack('<H', 1) + struct.pack(
                '<HI', 999, 4
            ) + b'\xde\xad\xbe\xef'
            garbage = b'\xff\xff not an op at all'
            batch, chain = ops(77, stream, 1, [unknown, garbage, unknown])
            a = self.push(m.nodes[0], batch)
            self.assertEqual(a.status, 200, a)
            self.assertEqual(self.position(a)[1:3], (3, chain))
            until(
                'it travels on',
                lambda: all(
                    any(v['stream'] == stream and v['pos'] == 3 for v in n.status()['vector']) for n in m.nodes
                ),
            )
            self.assertEqual(m.nodes[0].create('after it').status, 201)
            m.agreed()

    def test_gaps_rewind_and_another_history_is_refused(self):
        with Mesh(count=1, writes=0) as m:
            n, stream = m.nodes[0], (1 << 50) + 7
            one, chain = ops(77, stream, 1, [b'a', b'b'])
            self.assertEqual(self.position(self.push(n, one))[1], 2)
            self.assertEqual(self.position(self.push(n, one))[1], 2)
            late, _ = ops(77, stream, 9, [b'z'], 123)
            self.assertEqual(self.position(self.push(n, late))[1:3], (2, chain))
            other, _ = ops(77, stream, 3, [b'c'], chain + 1)
            self.assertEqual(self.position(self.push(n, other))[1:3], (2, chain))
            self.assertEqual(self.push(n, one[:-1]).status, 400)
            flipped = bytearray(one)
            flipped[-1] ^= 1
            self.assertEqual(self.push(n, bytes(flipped)).status, 400)
            self.assertEqual(self.push(n, b'').status, 400)
            self.assertEqual(self.push(n, os.urandom(3000)).status, 400)
            self.assertEqual(n.get('/api/v1/sync/ops?stream=1&from=0&chain=0').status, 400)
            self.assertEqual(n.get('/api/v1/sync/ops?stream=1&from=1&chain=0').status, 404)

    def stands(self, node, stream):
        return [v['pos'] for v in node.status()['vector'] if v['stream'] == stream]

    def test_late_words_of_a_stream_that_left_reach_all(self):
        """A restart between them: the second life does not know the stream any more, but for its file."""
        with Mesh() as m:
            dead, live = (1 << 50) + 9, (1 << 50) + 10
            said, chain = ops(77, dead, 1, [b'not an op'])
            left = b'\x01\x02' + struct.pack('<QQQ', 77, 1, chain)
            left = struct.pack('<QI', 1 << 40, 16) + b'%016x' % dead + struct.pack('<I', len(left)) + left
            left = b'\x01' + struct.pack('<HHI', 1, 11, len(left)) + left
            self.assertEqual(self.push(m.nodes[0], said).status, 200)
            until('it is everywhere', lambda: all(self.stands(n, dead) == [1] for n in m.nodes))
            self.assertEqual(self.push(m.nodes[0], ops(77, live, 1, [left])[0]).status, 200)
            until('the word came everywhere', lambda: all(self.stands(n, live) == [1] for n in m.nodes))
            self.assertEqual([self.stands(n, dead) for n in m.nodes], [[]] * 3)
            m.nodes[2].stop()
            m.nodes[2].start()
            m.linked()
            late, _ = ops(77, dead, 2, [b'its last words'], chain)
            self.assertEqual(self.push(m.nodes[1], late).status, 200)
            until('it goes on everywhere', lambda: all(self.stands(n, dead) == [2] for n in m.nodes))
            m.agreed()


SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int slowly(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (access(getenv("SLOW_DISK"), F_OK) == 0) usleep(2000000);
    return real(fd);
}
int fdatasync(int fd) { return slowly("fdatasync", fd); }
int fsync(int fd) { return slowly("fsync", fd); }
"""


def slow_disk(d):
    with open(d + '/slow.c', 'w') as f:
        f.write(SLOW)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', d + '/slow.so', d + '/slow.c', '-ldl'], check=True)
    return d + '/slow.on', {'LD_PRELOAD': d + '/slow.so', 'SLOW_DISK': d + '/slow.on'}


class SlowDisk(unittest.TestCase):
    def test_peers_are_given_what_is_durable(self):
        with tempfile.TemporaryDirectory() as d:
            flag, env = slow_disk(d)
            with Mesh(count=2, writes=1, timeout_ms=25000, env={0: env}) as m:
                n = m.nodes[0]
                self.assertEqual(n.create('synced').status, 201)
                at = n.create('synced, too').headers['x-pos'].split(':')
                path = '/api/v1/sync/ops?stream=%s&from=1&chain=0' % at[0]
                self.assertIn(b'synced, too', n.get(path).raw)
                open(flag, 'w').close()
                answers = []
                writer = threading.Thread(target=lambda: answers.append(n.create('seen early').status))
                writer.start()
                until('it is seen', lambda: 'seen early' in str(n.memories()))
                early = n.get(path).raw
                self.assertEqual(answers, [], 'its fsync lasts')
                self.assertIn(b'synced, too', early)
                self.assertNotIn(b'seen early', early)
                os.unlink(flag)
                writer.join()
                self.assertEqual(answers, [201])
                self.assertIn(b'seen early', n.get(path).raw)

    def test_a_peer_with_two_seconds_a_sync_is_not_redialled(self):
        with tempfile.TemporaryDirectory() as d:
            flag, env = slow_disk(d)
            with Mesh(writes=2, timeout_ms=25000, env={2: env}) as m:
                before = [p for p in m.nodes[0].status()['peers'] if p['url'] == m.nodes[2].url][0]['dials']
                open(flag, 'w').close()
                m.nodes[1].kill()
                answers = [m.nodes[0].create('slowly %d' % i) for i in range(2)]
                self.assertEqual([a.status for a in answers], [201, 201])
                after = [p for p in m.nodes[0].status()['peers'] if p['url'] == m.nodes[2].url][0]
                self.assertEqual(after['dials'], before)
                self.assertEqual(after['state'], 'up')
                os.unlink(flag)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
