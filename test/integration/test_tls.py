"""Nodes that speak TLS with each other: what replicates, who is let in, and what bad company does to a port."""

import http.client, json, os, socket, ssl, subprocess, time, unittest

from mesh import BIN, Mesh, Node, free_ports, together, until
from original import Original


def peer(node, url):
    return next(p for p in node.status()['peers'] if p['url'] == url)


def stranger(m, name, cert, flags, certs=None):
    """A node beside the mesh, with a certificate of its own."""
    n = Node(m, name, free_ports(1)[0], flags)
    c = certs or m.certs
    n.url, n.tls = 'https://127.0.0.1:%d' % n.port, c.context('me')
    n.serve_args += c.serve(cert) + c.call(cert)
    m.extra.append(n)
    return n


def raw(port):
    s = socket.create_connection(('127.0.0.1', port), 10)
    s.settimeout(30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there, not held back behind an ACK
    return s


def ended(s):
    """Reads until the other side has ended; what it said."""
    said = b''
    try:
        while True:
            data = s.recv(65536)
            if not data:
                break
            said += data
    except ConnectionResetError:
        pass
    s.close()
    return said


class SecureMesh(unittest.TestCase):
    def test_writes_reach_every_node_and_a_late_one_catches_up(self):
        with Mesh(secure=True) as m:
            a, b, c = m.nodes
            answers = together(60, lambda i: m.nodes[i % 3].create('write %d' % i), threads=8)
            self.assertEqual({r.status for r in answers}, {201})
            m.holds(m.nodes, {r.json['id'] for r in answers})
            m.agreed()
            c.kill()
            more = [a.create('while it was away %d' % i) for i in range(20)]
            self.assertEqual({r.status for r in more}, {201})
            large = a.create('large', content='x' * 60000)
            c.start()
            m.holds([c], {r.json['id'] for r in more + [large]})
            m.agreed()
            r = b.get('/api/v1/memories/%s?consistency=quorum' % large.json['id'])
            self.assertEqual((r.status, len(r.json['memory']['content'])), (200, 60000))
            self.assertTrue(a.post('/api/v1/sync/repair', None).json['compared'])
            self.assertIn('listening on https://127.0.0.1:%d' % a.port, open(a.log).read())
            for n in m.nodes:
                self.assertEqual(n.stop(), 0)

    def test_an_empty_node_joins_by_a_snapshot(self):
        with Mesh(secure=True, writes=1, start=False, serve=['--log-ops-max', '10']) as m:
            a, b, c = m.nodes
            a.start()
            b.start()
            ids = {a.create('early %d' % i).json['id'] for i in range(60)}
            m.holds([b], ids)
            for n in (a, b):  # trimmed when it starts, long before its hour comes
                n.stop()
                n.start()
            c.start()
            m.holds([c], ids, seconds=60)

    def test_commands_ask_by_https(self):
        with Mesh(secure=True, count=2) as m:
            a = m.nodes[0]
            flags = ['--ca-cert', m.certs.path('ca.pem'), '--client-cert', m.certs.path('me.pem')]
            flags += ['--client-key', m.certs.path('me.key')]
            self.assertIn('W = 2 of N = 2', a.cli('sync-status', *flags).stdout)
            self.assertIn('at https://127.0.0.1', a.cli('sync-status', *flags).stdout)
            self.assertIn('compared its rows with 1 of 1 peers', a.cli('sync-repair', *flags).stdout)
            r = a.cli('sync-status', '--url', a.url, check=False)
            self.assertEqual(r.returncode, 1)
            self.assertIn('TLS: the certificate of 127.0.0.1: ', r.stderr)
            r = a.cli('sync-status', '--ca-cert', m.certs.path('ca.pem'), check=False)
            self.assertIn('refused by the other side', r.stderr)
            r = a.cli('sync-status', '--client-cert', 'x', check=False)
            self.assertEqual(r.returncode, 2)

    def test_an_original_is_pushed_to_by_https(self):
        them = Original()
        with Mesh(secure=True, count=1, start=False) as m:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(m.certs.path('me.pem'), m.certs.path('me.key'))
            context.load_verify_locations(m.certs.path('ca.pem'))
            context.verify_mode = ssl.CERT_REQUIRED
            them.server.socket = context.wrap_socket(them.server.socket, server_side=True)
            try:
                n = m.nodes[0]
                n.serve_args += ['--quorum-peers', 'https://127.0.0.1:%d' % them.port]
                n.start()
                until('the original is known', lambda: n.status()['peers'][0]['state'] == 'up')
                answer = n.create('for the old one')
                self.assertEqual(answer.status, 201, (answer, n.status()['peers']))
                self.assertIn('for the old one', [r['title'] for r in them.rows.values()])
            finally:
                them.close()


class Company(unittest.TestCase):
    def test_a_node_that_is_not_listed_gets_nothing_and_counts_for_nothing(self):
        with Mesh(secure=True, count=2) as m:
            a, b = m.nodes
            m.certs.make('evil')
            urls = ','.join(n.url for n in m.nodes)
            evil = stranger(
                m, 'evil', 'evil', ['--quorum-writes', '2', '--quorum-timeout-ms', '700', '--quorum-peers', urls]
            ).start()
            kept = a.create('secret')
            self.assertEqual(kept.status, 201)
            foisted = evil.create('foisted')
            self.assertEqual((foisted.status, foisted.json['got']), (503, 1))

            def refused():
                return all('refused by the other side' in (p['last_error'] or '') for p in evil.status()['peers'])

            until('it is told why', refused)
            m.agreed(nodes=[a, b])
            self.assertEqual(a.ids(), {kept.json['id']})
            self.assertNotIn(kept.json['id'], evil.ids())
            with self.assertRaises(OSError):
                a.tls, life, a.life = m.certs.context('evil'), a.life, a.life + 1
                a.get('/api/v1/health')
            a.tls = m.certs.context('me')
            self.assertEqual(a.get('/api/v1/health').status, 200)

    def test_a_peer_is_believed_only_with_a_good_certificate(self):
        with Mesh(secure=True, count=1, start=False, timeout_ms=700) as m:
            a = m.nodes[0]
            m.certs.make('old', days=-1)
            m.certs.make('elsewhere', san='DNS:elsewhere.test,IP:127.0.0.9')
            old = stranger(m, 'old', 'old', [])
            other = stranger(m, 'other', 'elsewhere', [])
            for n in (old, other):
                n.tls.check_hostname, n.tls.verify_mode = False, ssl.CERT_NONE
                n.start()
            self.assertIn('TLS cert at %s has expired' % m.certs.path('old.pem'), old.tail())
            self.assertNotIn('has expired', other.tail())
            a.serve_args += ['--quorum-peers', '%s,%s' % (old.url, other.url)]
            a.start()

            def says(n, text):
                return text in (peer(a, n.url)['last_error'] or '')

            until('expired', lambda: says(old, 'TLS: the certificate of 127.0.0.1: certificate has expired'))
            until('of another', lambda: says(other, 'TLS: the certificate of 127.0.0.1: IP address mismatch'))
            w = a.create('nobody else')
            self.assertEqual((w.status, w.json['got'], w.json['outcome']), (503, 1, 'pending'))
            self.assertEqual((old.ids(), other.ids()), (set(), set()))

    def test_the_wrong_speech_at_a_port(self):
        with Mesh(secure=True, count=1, start=False) as m:
            secure = m.nodes[0]
            secure.serve_args = [f for f in secure.serve_args if f != '--mtls-allowlist' and not f.endswith('/allow')]
            secure.start()
            plain = Node(m, 'plain', free_ports(1)[0], [])
            m.extra.append(plain)
            plain.start()
            s = raw(secure.port)
            s.sendall(b'GET /api/v1/health HTTP/1.1\r\nhost: a\r\n\r\n')
            self.assertNotIn(b'HTTP', ended(s))
            with self.assertRaises(ssl.SSLError):
                secure.tls.wrap_socket(raw(plain.port), server_hostname='127.0.0.1')
            flags = ['--ca-cert', m.certs.path('ca.pem')]
            r = plain.cli('sync-status', '--url', 'https://127.0.0.1:%d' % plain.port, *flags, check=False)
            self.assertIn('does not speak TLS', r.stderr)
            r = plain.cli('sync-status', '--url', 'http://127.0.0.1:%d' % secure.port, check=False)
            self.assertEqual(r.returncode, 1)
            for n in (secure, plain):
                self.assertEqual(n.create('still there').status, 201)
                self.assertEqual(n.stop(), 0)


class HalfShaken(unittest.TestCase):
    HELLO = bytes.fromhex('16030102000100') + b'\x01\xfc\x03\x03'

    def test_a_thousand_half_open_ones_are_dropped_and_nobody_waits_for_them(self):
        with Mesh(secure=True) as m:
            a = m.nodes[0]
            held = [raw(a.port) for _ in range(1000)]
            for i, s in enumerate(held):
                if i % 2:
                    s.sendall(self.HELLO)
            answers = together(50, lambda i: a.create('meanwhile %d' % i), threads=4)
            self.assertEqual({r.status for r in answers}, {201})
            m.agreed()
            for s in held:
                self.assertEqual(ended(s), b'')  # after the time that heads have
            m.linked()

    def test_a_drain_finishes_what_is_under_way(self):
        with Mesh(secure=True, count=1) as m:
            a = m.nodes[0]
            held = [raw(a.port) for _ in range(20)]
            body = json.dumps({'title': 'the last', 'content': 'c'}).encode()
            busy = m.certs.context('me').wrap_socket(raw(a.port), server_hostname='127.0.0.1')
            head = 'POST /api/v1/memories HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'
            busy.sendall((head + 'content-length: %d\r\n\r\n' % len(body)).encode() + body[:5])
            self.assertEqual(a.get('/api/v1/health').status, 200)
            a.proc.terminate()
            for s in held:
                self.assertEqual(ended(s), b'')
            busy.sendall(body[5:])
            said = ended(busy)
            self.assertTrue(said.startswith(b'HTTP/1.1 201'), said)
            self.assertIn(b'connection: close', said)
            self.assertEqual(a.proc.wait(20), 0)

    def test_the_grace_is_an_end(self):
        with Mesh(secure=True, count=1, serve=['--shutdown-grace-secs', '1']) as m:
            a = m.nodes[0]
            busy = m.certs.context('me').wrap_socket(raw(a.port), server_hostname='127.0.0.1')
            head = b'POST /api/v1/memories HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'
            busy.sendall(head + b'content-length: 99\r\n\r\n{')
            self.assertEqual(a.get('/api/v1/health').status, 200)
            self.assertEqual(a.stop(), 0)
            self.assertNotIn(b'HTTP', ended(busy))


class Start(unittest.TestCase):
    def refuses(self, m, flags, code, text, env=None):
        everything = {**os.environ, 'AI_MEMORY_NO_CONFIG': '1', **(env or {})}
        if env and 'HOME' in env:
            del everything['AI_MEMORY_NO_CONFIG']
        r = subprocess.run(
            [BIN, '--db', os.path.join(m.dir, 'x.db'), 'serve', '--port', '0'] + flags,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=everything,
        )
        self.assertEqual(r.returncode, code, r.stdout + r.stderr)
        self.assertIn(text, r.stderr)
        self.assertNotIn('listening', r.stdout)

    def test_files_are_looked_at_before_anybody_is_served(self):
        with Mesh(secure=True, count=1, start=False) as m:
            c = m.certs
            cert, key = ['--tls-cert', c.path('n0.pem')], ['--tls-key', c.path('n0.key')]
            none = c.path('none')
            self.refuses(m, cert, 2, '--tls-key')
            self.refuses(m, key, 2, '--tls-cert')
            self.refuses(m, ['--mtls-allowlist', c.path('allow')], 2, '--tls-cert')
            self.refuses(m, ['--quorum-client-cert', c.path('n0.pem')], 2, '--quorum-client-key')
            self.refuses(m, [], 2, 'tls-key', {'AI_MEMORY_TLS_CERT': c.path('n0.pem')})
            self.refuses(m, ['--tls-cert', none] + key, 1, 'failed to read TLS cert from ' + none)
            self.refuses(m, cert + ['--tls-key', none], 1, 'failed to read TLS key from ' + none)
            self.refuses(m, cert + ['--tls-key', c.path('me.key')], 1, 'TLS key at')
            self.refuses(m, ['--quorum-ca-cert', none], 1, 'failed to read CA certificates from ' + none)
            lists = [
                ('# nobody\n', 'is empty — refuse to start rather than silently accept all peers'),
                ('ab', 'line 1: expected 64 hex chars (optionally with `:` separators), got 2'),
                ('\n' + 'g' * 64, 'mTLS allowlist line 2: invalid hex'),
            ]
            for text, why in lists:
                with open(c.path('list'), 'w') as f:
                    f.write(text)
                self.refuses(m, cert + key + ['--mtls-allowlist', c.path('list')], 1, why)
            self.refuses(m, cert + key + ['--mtls-allowlist', none], 1, 'failed to read mTLS allowlist from ' + none)

    def test_settings_come_from_the_file_and_the_environment_too(self):
        with Mesh(secure=True, count=1, start=False) as m:
            n = m.nodes[0]
            n.serve_args, n.host, n.tls = [], 'localhost', m.certs.context()
            where = os.path.join(m.dir, '.config', 'ai-memory')
            os.makedirs(where)
            with open(os.path.join(where, 'config.toml'), 'w') as f:
                f.write('[serve]\ntls_cert = "%s"\n' % m.certs.path('n0.pem'))
            n.env = {'AI_MEMORY_NO_CONFIG': None, 'AI_MEMORY_TLS_KEY': m.certs.path('n0.key')}
            n.start()
            self.assertEqual(n.create('by settings').status, 201)
            said = open(n.log).read()
            self.assertIn('listening on https://localhost:%d' % n.port, said)
            self.assertIn('no mtls-allowlist is set', said)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
