"""Healing beyond the log: joining, returning, what was lost behind our back."""
import os, shutil, sqlite3, threading, time, unittest

from mesh import Mesh, together, until


def load(node, count, ns='load', size=200, batch=500):
    """That many memories by bulk; returns their titles."""
    titles = ['%s %d' % (ns, i) for i in range(count)]
    for at in range(0, count, batch):
        a = node.post('/api/v1/memories/bulk', [{'title': t, 'content': 'text of %s %s' % (t, 'x' * size), 'namespace': ns} for t in titles[at:at + batch]])
        assert a.status == 200 and not a.json.get('errors'), a
    return titles


def trim(node):
    """What a server does once every member has the log: it begins behind the last op of each stream. Of a stopped node."""
    db = sqlite3.connect(node.db)
    with db:
        db.execute('UPDATE repl_stream SET trimmed = pos')
        db.execute('DELETE FROM repl_op WHERE seq < (SELECT trimmed FROM repl_stream s WHERE s.stream = repl_op.stream)')
    db.close()


class Writers:
    """Writes without end to one node, until stopped; keeps what was acknowledged."""
    def __init__(self, node, threads=4, ns='flow'):
        self.node, self.ns, self.acknowledged, self.failed, self.lock, self.stop = node, ns, {}, 0, threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def work(self, i):
        n = 0
        while not self.stop.is_set():
            a = self.node.create('flow %d-%d' % (i, n), 'written while others join', self.ns)
            with self.lock:
                if a.status == 201:
                    self.acknowledged[a.json['id']] = time.monotonic()
                else:
                    self.failed += 1
            n += 1

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        return set(self.acknowledged)


class EmptyNodeJoins(unittest.TestCase):
    COUNT = 20000

    def join(self, trimmed):
        with Mesh(writes=1, start=False) as m:
            a, b, c = m.nodes
            a.start()
            b.start()
            load(a, self.COUNT)
            gone = a.create('deleted before').json['id']
            a.request('DELETE', '/api/v1/memories/' + gone)
            first, second = [a.create('end %d' % i, ns='links').json['id'] for i in (1, 2)]
            m.agreed(nodes=[a, b], seconds=60)
            if trimmed:
                for n in (a, b):
                    n.stop()
                    trim(n)
                a.start()
                b.start()
                m.linked([a, b])
            flow = Writers(a)
            until('writes flow', lambda: len(flow.acknowledged) > 50)
            start = time.monotonic()
            c.start()
            until('the joiner has what was there', lambda: c.get('/api/v1/memories?namespace=load&limit=1').json['total'] == self.COUNT, 60)
            took = time.monotonic() - start
            ids = flow.end()
            m.holds(m.nodes, ids, ns='flow')
            m.agreed(seconds=30)
            self.assertEqual(flow.failed, 0)
            self.assertEqual(c.get('/api/v1/memories/' + gone).status, 404)
            snapshots = c.status()['snapshots']
            print('%d rows to an empty node in %.2f s (%d rows/s) %s; %d writes meanwhile' % (
                self.COUNT, took, self.COUNT / took, 'by snapshot' if snapshots else 'by the log', len(ids)))
            return snapshots

    def test_by_a_snapshot_when_the_log_is_gone(self):
        self.assertGreaterEqual(self.join(True), 1)

    def test_by_the_log(self):
        self.join(False)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
