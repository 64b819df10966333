"""Reads that ask several nodes."""

import sqlite3
import unittest

from mesh import Mesh, together, until


class Locked:
    """Holds the file of a node: it reads, and takes nothing in."""

    def __init__(self, node):
        self.db = sqlite3.connect(node.db, isolation_level=None, timeout=10)

    def __enter__(self):
        self.db.execute('BEGIN IMMEDIATE')

    def __exit__(self, *_):
        self.db.execute('ROLLBACK')
        self.db.close()


def read(node, id, consistency=None):
    return node.get('/api/v1/memories/' + id + ('?consistency=' + consistency if consistency else ''))


class Newest(unittest.TestCase):
    def test_a_node_behind_answers_with_what_another_has(self):
        with Mesh(writes=2) as m:
            a, _, behind = m.nodes
            old, gone = a.create('old').json['id'], a.create('gone').json['id']
            m.agreed()
            with Locked(behind):
                new = a.create('new', 'made while it was behind')
                self.assertEqual((new.status, new.json['quorum_acks']), (201, 2))
                self.assertEqual(a.request('PUT', '/api/v1/memories/' + old, {'content': 'edited'}).status, 200)
                self.assertEqual(a.request('DELETE', '/api/v1/memories/' + gone).status, 200)
                self.assertEqual(read(behind, new.json['id']).status, 404)
                self.assertEqual(read(behind, old, 'local').json['memory']['content'], 'body')
                self.assertEqual(read(behind, gone).status, 200)
                got = read(behind, new.json['id'], 'quorum')
                self.assertEqual((got.status, got.json['memory']['content']), (200, 'made while it was behind'), got)
                self.assertEqual(got.json['links'], [])
                self.assertEqual(read(behind, old, 'quorum').json['memory']['content'], 'edited')
                self.assertEqual(read(behind, gone, 'quorum').status, 404)
            m.agreed()
            self.assertEqual(read(behind, old[:13], 'quorum').json['memory']['content'], 'edited')

    def test_too_few_nodes_is_503_with_the_reason(self):
        with Mesh(writes=2, timeout_ms=600) as m:
            a, b, c = m.nodes
            id = a.create('here').json['id']
            b.kill()
            self.assertEqual(read(a, id, 'quorum').status, 200)
            c.pause()
            r = read(a, id, 'quorum')
            self.assertEqual((r.status, r.json['error']), (503, 'quorum_not_met'), r)
            self.assertEqual((r.json['got'], r.json['needed']), (1, 2))
            self.assertIn(r.json['reason'], ('timeout', 'unreachable'))
            self.assertNotIn('outcome', r.json)
            c.go_on()
            until('its word is heard again', lambda: read(a, id, 'quorum').status == 200)
            c.kill()
            until('nobody is there', lambda: read(a, id, 'quorum').json.get('reason') == 'unreachable')
            self.assertEqual(read(a, id).status, 200)

    def test_without_peers_this_node_is_all_there_are(self):
        with Mesh(count=1, writes=0) as m:
            id = m.nodes[0].create('alone').json['id']
            self.assertEqual(read(m.nodes[0], id, 'quorum').json['memory']['id'], id)
            self.assertEqual(read(m.nodes[0], 'no-such-id', 'quorum').status, 404)
            self.assertEqual(read(m.nodes[0], id, 'mostly').status, 400)

    def test_many_at_once(self):
        with Mesh(writes=2) as m:
            ids = [m.nodes[0].create('row %d' % i).json['id'] for i in range(32)]
            for got in together(16, lambda k: [read(m.nodes[k % 3], i, 'quorum') for i in ids]):
                self.assertEqual([(r.status, r.json['memory']['id']) for r in got], [(200, i) for i in ids])


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
