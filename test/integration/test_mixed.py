"""Nodes of the original as peers: what is written here reaches them, what is written there reaches us, nothing goes
round for ever."""

import contextlib
import struct
import unittest

from mesh import Mesh, free_ports, together, until
from original import Original, stamp
from test_counted import parse_ops

CATCHUP = ('--catchup-interval-secs', '1')


@contextlib.contextmanager
def mixed(count=1, writes=1, start=True, originals=1, serve=CATCHUP, **kw):
    """That many nodes of ours, each knowing the others and the originals."""
    them = [Original(**kw) for _ in range(originals)]
    try:
        with Mesh(
            count=count,
            writes=writes,
            serve=serve,
            start=False,
            peers=lambda i, urls: [u for j, u in enumerate(urls) if j != i] + [o.url for o in them],
        ) as m:
            if start:
                for n in m.nodes:
                    n.start()
                met(m, them)
            yield m, them
    finally:
        for o in them:
            o.close()


def peer(node, original):
    return next(p for p in node.status()['peers'] if p['url'] == original.url)


def met(m, them):
    def known(p):
        return p['original'] and p['state'] == 'up'

    until('the originals are known', lambda: all(known(peer(n, o)) for n in m.nodes for o in them))


def shows(node, title, content, ns='t'):
    return any(r['title'] == title and r['content'] == content for r in node.memories(ns).values())


def position(node):
    return node.status()['pos']


def versions(node):
    """Ops of this node's own that are versions of memories; others (members, ended streams) come in their own time."""
    a = node.get('/api/v1/sync/ops?stream=%d&from=1&chain=0' % node.status()['stream'])
    assert a.status == 200, a
    return sum(struct.unpack_from('<H', body, 3)[0] == 1 for body in parse_ops(a.raw))


class Retries(unittest.TestCase):
    def again(self, n):
        return n.create('kept', headers={'Idempotency-Key': 'the key'})

    def met(self, n, ids):
        a = self.again(n)
        self.assertEqual((a.status, a.headers['x-quorum-acks'], a.headers['x-durability']), (201, '2', 'local'), a)
        ids.add(a.json['id'])
        self.assertEqual(len(ids), 1)

    def test_a_retry_counts_one_that_has_it(self):
        with mixed(writes=2) as (m, (original,)):
            n, ids = m.nodes[0], set()
            self.met(n, ids)
            self.met(n, ids)  # in the same life
            self.assertEqual(n.stop(), 0)
            n.start()
            met(m, [original])
            self.met(n, ids)
            self.assertEqual(original.count_pushed(next(iter(ids))), 3)
            n.kill()
            n.start()
            met(m, [original])
            self.met(n, ids)

    def test_a_retry_is_not_answered_without_it(self):
        with mixed(writes=2) as (m, (original,)):
            n, ids = m.nodes[0], set()
            self.met(n, ids)
            self.assertEqual(n.stop(), 0)
            original.close()
            n.start()
            a = self.again(n)
            self.assertEqual(
                (a.status, a.json['outcome'], a.json['got'], a.json['needed']), (503, 'pending', 1, 2), a
            )
            back = Original(original.port)
            try:
                met(m, [back])
                self.met(n, ids)
            finally:
                back.close()


class Offered(unittest.TestCase):
    def test_what_was_written_while_it_was_away_reaches_it(self):
        """Rows of an earlier life, of a command and of another node; and of this life before the two met."""
        port = free_ports(1)[0]
        url = 'http://127.0.0.1:%d' % port
        with Mesh(
            count=2, writes=1, serve=CATCHUP, peers=lambda i, urls: [urls[1 - i]] + ([url] if i == 0 else [])
        ) as m:
            a, b = m.nodes
            for i in range(1200):
                self.assertEqual(a.create('early %d' % i).status, 201)
            self.assertEqual(a.stop(), 0)
            a.cli('store', '--title', 'by a command', '--content', 'x', '--namespace', 't')
            self.assertEqual(b.create('by another node').status, 201)
            a.start()
            until('the other node is heard', lambda: shows(a, 'by another node', 'body'))
            gone = a.create('deleted before they met').json['id']
            self.assertEqual(a.request('DELETE', '/api/v1/memories/' + gone).status, 200)
            for i in range(200):
                a.create('late %d' % i)
            original = Original(port)
            try:
                until('it has all', lambda: len(original.rows) == 1402, 20)
                self.assertNotIn(gone, original.rows)
                self.assertLessEqual(max(len(d['memories']) for d in original.pushed), 500)
                until('nothing is left to offer', lambda: peer(a, original)['exchange']['backlog'] == 0, 10)
                self.assertEqual({t for t, _ in original.contents()}, {r['title'] for r in a.memories().values()})
            finally:
                original.close()

    def test_a_restart_offers_nothing_again(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            ids = [n.create('row %d' % i).json['id'] for i in range(30)]
            until('all are there', lambda: len(original.rows) == 30)
            until('and it is remembered', lambda: peer(n, original)['exchange']['backlog'] == 0)
            self.assertEqual(n.stop(), 0)
            before = len(original.pushed)
            n.start()
            met(m, [original])
            rounds = len(original.asked)
            until('two rounds', lambda: len(original.asked) >= rounds + 2, 10)
            self.assertEqual([d for d in original.pushed[before:] if d['memories']], [])
            self.assertEqual([original.count_pushed(i) for i in ids], [1] * 30)

    def test_edits_by_a_command_and_deletes_reach_one_that_follows_deletes(self):
        with mixed(deletions=True) as (m, (original,)):
            n = m.nodes[0]
            id = n.create('to be edited').json['id']
            gone = n.create('to be deleted').json['id']
            until('both are there', lambda: len(original.rows) == 2)
            n.cli('update', id, '--content', 'edited beside')
            n.cli('delete', gone)
            until('the edit came', lambda: original.contents().get(('to be edited', 't')) == 'edited beside')
            until('the delete came', lambda: gone not in original.rows)

    def test_rows_it_refuses_stop_nothing_and_are_named(self):
        with mixed(start=False, refuse=lambda row: 'odd' in row['title']) as (m, (original,)):
            n = m.nodes[0]
            original.close()  # away: all goes by the exchange later
            n.start()
            odd = [n.create('odd %d' % i).json['id'] for i in range(2)]
            for i in range(150):
                n.create('even %d' % i)
            n.stop()
            again = Original(original.port, refuse=original.refuse)
            try:
                n.start()
                until('all others are there', lambda: len(again.rows) == 150, 20)
                told = lambda: peer(n, again)
                until('the refused are told', lambda: told()['refused_rows'] == 2, 20)
                self.assertEqual({r['id'] for r in told()['exchange']['refused']}, set(odd))
                self.assertTrue(all('not taken' in r['reason'] for r in told()['exchange']['refused']))
            finally:
                again.close()

    def test_live_acks_do_not_wait_for_the_backlog(self):
        with mixed(start=False) as (m, (original,)):
            n = m.nodes[0]
            original.close()
            n.start()
            together(4, lambda k: [n.create('old %d %d' % (k, i)) for i in range(500)])
            again = Original(original.port)
            try:
                met(m, [again])
                a = n.create('now', headers={'X-Write-Quorum': '2'})
                self.assertEqual((a.status, a.headers['x-quorum-acks']), (201, '2'), a)
                until('the old ones follow', lambda: len(again.rows) == 2001, 30)
            finally:
                again.close()


class Pulled(unittest.TestCase):
    def test_its_rows_come_here_and_an_echo_makes_no_op(self):
        with mixed(count=3, writes=2) as (m, (original,)):
            rows = [original.write('there %d' % i, 'text %d' % i) for i in range(20)]
            for n in m.nodes:
                until('all came', lambda: {r['id'] for r in rows} <= n.ids('t'), 15)
            m.agreed()
            self.assertTrue(all(a and a.startswith('node:') for a in original.agents), original.agents)
            ours = m.nodes[1].create('here')
            self.assertEqual(ours.status, 201)
            until('ours came there', lambda: ('here', 't') in original.contents())
            # the edge of the overlap is a minute away: all these rows come again with every page
            until('it is quiet', lambda: all(peer(n, original)['exchange']['backlog'] == 0 for n in m.nodes), 15)
            made, rounds = [versions(n) for n in m.nodes], len(original.asked)
            until('more rounds', lambda: len(original.asked) >= rounds + 6, 15)
            self.assertEqual([versions(n) for n in m.nodes], made)
            self.assertEqual(len(original.rows), 21)

    def test_edits_go_both_ways_and_the_newer_one_wins(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            id = n.create('shared', 'first').json['id']
            until('it is there', lambda: id in original.rows)
            original.write('shared', 'second, there')
            until('its edit came', lambda: shows(n, 'shared', 'second, there'), 10)
            self.assertEqual(n.request('PUT', '/api/v1/memories/' + id, {'content': 'third, here'}).status, 200)
            until('ours went', lambda: original.contents()[('shared', 't')] == 'third, here', 10)
            original.write('shared', 'old', at=stamp(-3600))
            rounds = len(original.asked)
            until('two rounds', lambda: len(original.asked) >= rounds + 2, 10)
            self.assertTrue(shows(n, 'shared', 'third, here'))

    def test_one_title_by_two_ids(self):
        """Its own id stands for ours; a delete here ends both."""
        with mixed(deletions=True, start=False) as (m, (original,)):
            n = m.nodes[0]
            its = original.write('twice', 'its text', at=stamp(-50))
            n.start()
            met(m, [original])
            ours = n.create('twice', 'our text').json['id']
            until('the newer text is there', lambda: original.contents()[('twice', 't')] == 'our text', 10)
            self.assertEqual(len(n.ids('t')), 1)
            r = n.request('DELETE', '/api/v1/memories/' + ours)
            self.assertEqual(r.status, 200)
            until('it is gone there by its id', lambda: its['id'] not in original.rows, 10)
            rounds = len(original.asked)
            until('two rounds', lambda: len(original.asked) >= rounds + 2, 10)
            self.assertEqual(n.ids('t'), set())

    def test_many_rows_of_one_moment_are_all_read(self):
        with mixed(start=False) as (m, (original,)):
            n, at = m.nodes[0], stamp(-600)
            for i in range(450):
                original.write('before %d' % i, at=stamp(-1200 + i))
            for i in range(1300):
                original.write('together %d' % i, at=at)
            for i in range(40):
                original.write('after %d' % i)
            n.start()
            until('all came', lambda: n.get('/api/v1/stats').json['total'] == 1790, 30)
            self.assertEqual(len(n.ids('t')), 1790)

    def test_what_cannot_be_read_is_told_and_stops_nothing(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            original.write('bad one', source='nobody knows this')
            original.write('bad two', priority=99)
            original.write('bad three', ns='no good')
            original.write('expired', expires_at='2020-01-01T00:00:00+00:00')
            original.write('fine')
            until('the good one came', lambda: shows(n, 'fine', 'its text'), 10)
            until('the others are told', lambda: peer(n, original)['refused_rows'] == 3, 10)
            rounds = len(original.asked)
            until('two rounds', lambda: len(original.asked) >= rounds + 2, 10)
            told = peer(n, original)
            self.assertEqual(told['refused_rows'], 3)
            self.assertTrue(all(r['reason'] and r['id'] in original.rows for r in told['exchange']['refused']))
            self.assertEqual(len(n.memories()), 1)

    def test_a_row_from_the_future_moves_neither_clock_nor_cursor(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            original.write('tomorrow', at='2031-01-01T00:00:00.000000000+00:00')
            original.write('today')
            until('both came', lambda: {r['title'] for r in n.memories('t').values()} == {'tomorrow', 'today'}, 10)
            rounds = len(original.asked)
            until('a round', lambda: len(original.asked) >= rounds + 1, 10)  # what it made has been told by then
            before, rounds = position(n), len(original.asked)
            until('two rounds', lambda: len(original.asked) >= rounds + 2, 10)
            self.assertEqual(position(n), before)
            self.assertLess(peer(n, original)['exchange']['cursor'], '2031')
            original.write('later')
            until('what comes after it is read', lambda: shows(n, 'later', 'its text'), 10)

    def test_the_cursor_survives_a_restart(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            for i in range(5):
                original.write('old %d' % i, at=stamp(-7200 + i))
            original.write('new')
            until('they came', lambda: len(n.ids('t')) == 6, 10)
            until('the cursor stands', lambda: peer(n, original)['exchange']['cursor'], 10)
            self.assertEqual(n.stop(), 0)
            asked = len(original.asked)
            n.start()
            until('it is asked again', lambda: len(original.asked) > asked, 10)
            self.assertGreater(original.asked[asked].get('since', ''), stamp(-3600))


class Deletes(unittest.TestCase):
    def test_a_deleted_row_that_is_offered_again_is_deleted_again(self):
        with mixed(deletions=True) as (m, (original,)):
            n = m.nodes[0]
            id = n.create('gone for good').json['id']
            until('it is there', lambda: id in original.rows)
            row = dict(original.rows[id])
            self.assertEqual(n.request('DELETE', '/api/v1/memories/' + id).status, 200)
            until('it is gone', lambda: id not in original.rows)
            with original.lock:
                original.put(row)  # another node of its kind brought it back
            until('it is deleted again', lambda: id not in original.rows, 10)
            until('and that is told', lambda: peer(n, original)['exchange']['deleted_again'] == 1, 10)
            self.assertEqual(n.ids('t'), set())

    def test_one_that_knows_no_deletes_brings_nothing_back(self):
        with mixed() as (m, (original,)):
            n = m.nodes[0]
            id = n.create('stays there').json['id']
            until('it is there', lambda: id in original.rows)
            self.assertEqual(n.request('DELETE', '/api/v1/memories/' + id).status, 200)
            rounds = len(original.asked)
            until('three rounds', lambda: len(original.asked) >= rounds + 3, 10)
            self.assertEqual((n.ids('t'), id in original.rows), (set(), True))
            original.write('stays there', 'edited later')
            until('an edit after the delete brings it back', lambda: shows(n, 'stays there', 'edited later'), 10)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
