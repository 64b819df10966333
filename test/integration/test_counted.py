"""What is odd is kept, counted and shown: ops from the far future, edits that had not seen each other, ops nobody here
understands, rows refused. And accesses: each recall counts once, on whatever node, and the next request knows."""

import datetime
import struct
import threading
import unittest
import uuid

from mesh import Mesh, until
from test_peers import message, chain_next


def parse_ops(raw):
    """Of an ops message: its op bodies."""
    at = 8
    at += 4 + struct.unpack_from('<I', raw, at)[0] + 16 + 40 + 1
    count, bodies = struct.unpack_from('<I', raw, at)[0], []
    at += 4
    for _ in range(count):
        length = struct.unpack_from('<I', raw, at + 8)[0]
        bodies.append(raw[at + 12 : at + 12 + length])
        at += 12 + length
    return bodies


def batch(node, stream, bodies, ver):
    chain, packed = 0, b''
    for b in bodies:
        chain = chain_next(chain, b)
        packed += struct.pack('<QI', ver, len(b)) + b
    return message(2, node, stream, struct.pack('<QQQQQBI', stream, node, 1, 0, chain, 0, len(bodies)) + packed)


def from_the_future(node, id, year):
    """The op that made a memory, as another node would have made it for another id in that year."""
    own = node.status()['stream']
    ops = parse_ops(node.get('/api/v1/sync/ops?stream=%d&from=1&chain=0' % own).raw)
    body = next(b for b in ops if id.encode() in b)
    ms = int(datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc).timestamp() * 1000)
    new = str(uuid.uuid4())
    body = body.replace(id.encode(), new.encode()).replace(b'a row of now', b'a row of ' + str(year).encode()[:3])
    return new, body[:9] + struct.pack('<Q', ms << 16) + body[17:], ms << 16


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def metric(node, name):
    for line in node.get('/metrics').raw.decode().splitlines():
        if line.startswith('ai_memory_' + name + ' '):
            return float(line.split()[1])
    return None


class Counted(unittest.TestCase):
    def test_an_op_from_the_year_2100(self):
        with Mesh(writes=2) as m:
            a, b, c = m.nodes
            id = a.create('a row of now').json['id']
            new, body, ver = from_the_future(a, id, 2100)
            r = b.request(
                'POST',
                '/api/v1/sync/ops',
                batch(77, (1 << 50) + 9, [body], ver),
                headers={'Content-Type': 'application/octet-stream'},
            )
            self.assertEqual(r.status, 200, r)
            for n in m.nodes:
                until('it is kept everywhere', lambda: new in n.ids('t'))
                until('and counted', lambda: n.status()['far_future_ops'] == 1, 5)
                self.assertEqual(metric(n, 'replication_far_future_ops_total'), 1)
                self.assertLessEqual(n.status()['clock_ahead_ms'], 60000)
                self.assertGreater(n.status()['clock_ahead_ms'], 30000)
            row = b.create('after it').json
            at = datetime.datetime.fromisoformat(b.get('/api/v1/memories/' + row['id']).json['memory']['updated_at'])
            self.assertLess((at - now()).total_seconds(), 61)
            self.assertEqual(c.request('PUT', '/api/v1/memories/' + new, {'content': 'tamed'}).status, 200)
            until(
                'an edit of it wins everywhere',
                lambda: all(n.get('/api/v1/memories/' + new).json['memory']['content'] == 'tamed' for n in m.nodes),
            )
            m.agreed()

    def test_edits_that_had_not_seen_each_other(self):
        with Mesh(count=2, writes=1) as m:
            a, b = m.nodes
            id = a.create('contended').json['id']
            m.agreed()
            self.assertEqual(b.stop(), 0)
            self.assertEqual(a.request('PUT', '/api/v1/memories/' + id, {'content': 'by a'}).status, 200)
            self.assertEqual(a.stop(), 0)
            b.start()
            self.assertEqual(b.request('PUT', '/api/v1/memories/' + id, {'content': 'by b'}).status, 200)
            a.start()
            m.linked()
            m.agreed()
            until('it is counted', lambda: sum(n.status()['unseen_edits'] for n in m.nodes) >= 1, 5)
            self.assertGreaterEqual(sum(metric(n, 'replication_unseen_edits_total') for n in m.nodes), 1)

            def kept(node):
                return [r['content'] for r in node.get('/api/v1/archive').json['archived']]

            until('its text is in both archives, once', lambda: all(kept(n) == ['by a'] for n in m.nodes), 15)

    def test_ops_that_are_held(self):
        with Mesh(count=2, writes=1) as m:
            unknown = b'\x01' + struct.pack('<HHI', 1, 999, 4) + b'\xde\xad\xbe\xef'
            r = m.nodes[0].request(
                'POST',
                '/api/v1/sync/ops',
                batch(77, (1 << 50) + 5, [unknown, b'no op'], 1 << 40),
                headers={'Content-Type': 'application/octet-stream'},
            )
            self.assertEqual(r.status, 200)
            for n in m.nodes:
                until('both are held', lambda: n.status()['held_ops'] == 2, 5)
                self.assertEqual(metric(n, 'replication_held_ops'), 2)

    def test_rows_of_a_push_that_are_refused(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            row = {
                'id': 'p-1',
                'tier': 'mid',
                'namespace': 't',
                'title': 'fine',
                'content': 'x',
                'tags': [],
                'priority': 5,
                'confidence': 1.0,
                'source': 'api',
                'access_count': 0,
                'metadata': {},
                'created_at': '2026-01-01T00:00:00Z',
                'updated_at': '9999-12-31T23:59:59Z',
            }
            r = n.post(
                '/api/v1/sync/push',
                {
                    'sender_agent_id': 'x',
                    'memories': [
                        row,
                        dict(row, id='p-2', title='bad', priority=77),
                        dict(row, id='p-3', title='worse', source='?'),
                    ],
                },
            )
            self.assertEqual((r.status, r.json['applied'], r.json['skipped']), (200, 1, 2), r)
            self.assertEqual([x['result'] for x in r.json['results']], ['applied', 'skipped', 'skipped'])
            self.assertTrue(all(x['error'] for x in r.json['results'][1:]))
            self.assertEqual(metric(n, 'sync_push_skipped_total'), 2)
            until('its time is counted', lambda: n.status()['far_future_ops'] == 1, 5)
            self.assertLessEqual(n.status()['clock_ahead_ms'], 60000)


class Accesses(unittest.TestCase):
    def recall(self, n, times=1):
        for _ in range(times):
            r = n.get('/api/v1/recall?context=walnut')
            self.assertEqual((r.status, r.json['count']), (200, 1), r)

    def row(self, n, id):
        return n.get('/api/v1/memories/' + id).json['memory']

    def test_the_next_request_knows(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            id = n.create('walnut shelf').json['id']
            for i in range(1, 13):
                self.recall(n)
                how = i % 4
                if how == 0:
                    self.assertEqual(self.row(n, id)['access_count'], i)
                elif how == 1:
                    self.assertEqual(n.get('/api/v1/memories').json['memories'][0]['access_count'], i)
                elif how == 2:
                    self.assertEqual(n.get('/api/v1/search?q=walnut').json['results'][0]['access_count'], i)
                else:
                    edited = n.request('PUT', '/api/v1/memories/' + id, {'content': 'edit %d' % i}).json
                    self.assertEqual(edited['access_count'], i, edited)
                long = n.get('/api/v1/memories?tier=long').json['memories']
                self.assertEqual([x['id'] for x in long], [id] if i >= 5 else [])
            shown = self.row(n, id)
            self.assertEqual((shown['tier'], shown.get('expires_at'), shown['priority']), ('long', None, 6))

    def test_what_it_answers_is_from_before(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            n.create('walnut shelf')
            for i in range(6):
                found = n.get('/api/v1/recall?context=walnut').json['memories'][0]
                self.assertEqual((found['access_count'], found['tier']), (i, 'long' if i >= 5 else 'mid'))

    def test_many_at_once_count_once_each(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            id = n.create('walnut shelf').json['id']
            threads = [threading.Thread(target=self.recall, args=(n, 25)) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(self.row(n, id)['access_count'], 100)

    def test_a_stop_and_a_kill(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            id = n.create('walnut shelf').json['id']
            self.recall(n, 7)
            self.assertEqual(n.stop(), 0)
            n.start()
            self.assertEqual(self.row(n, id)['access_count'], 7)
            self.recall(n, 7)
            self.assertEqual(self.row(n, id)['access_count'], 14)
            n.kill()
            n.start()
            self.assertEqual(self.row(n, id)['access_count'], 14)

    def test_nodes_agree(self):
        with Mesh(writes=2) as m:
            id = m.nodes[0].create('walnut shelf').json['id']
            m.agreed()
            for times, n in enumerate(m.nodes, 3):
                self.recall(n, times)
            for n in m.nodes:
                until('every access is counted', lambda: self.row(n, id)['access_count'] == 3 + 4 + 5, 20)
                self.assertEqual(self.row(n, id)['tier'], 'long')
            m.agreed()


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
