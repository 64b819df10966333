"""Lives of a file: put back, copied, lost, set back with its memory, removed. Each ends with all nodes in agreement."""

import glob, hashlib, json, os, shutil, sqlite3, struct, unittest

from mesh import Mesh, Node, free_ports, numbered, together, until
from test_heal import members, repair, rows, settled

PARTS = ('', '-wal', '-shm', '-lock')


def copy_file(node, to):
    """What a backup tool makes of a file in use: one consistent moment of it."""
    source, target = sqlite3.connect(node.db), sqlite3.connect(to)
    source.backup(target)
    source.close()
    target.close()


def remove_file(node):
    for part in PARTS:
        if os.path.exists(node.db + part):
            os.unlink(node.db + part)


def writes(node, count, what, ns='t'):
    """The ids of acknowledged writes."""
    answers = together(count, lambda i: node.create('%s %d' % (what, i), 'text of %s %d' % (what, i), ns), threads=8)
    assert {a.status for a in answers} == {201}, answers
    return {a.json['id'] for a in answers}


def state(node):
    """What a node says of itself; nothing while one life of it ends and the next begins."""
    try:
        answer = node.get('/api/v1/sync/status', timeout=2)
        return numbered(answer.json) if answer.status == 200 else {}
    except OSError:
        return {}


def has(node, ids):
    try:
        return ids <= node.ids()
    except OSError:
        return False


def live(node):
    return node.status()['stream']


def logged(node, what):
    return what in open(node.log, errors='replace').read()


def chain_next(before, body):
    digest = hashlib.sha256(struct.pack('>Q', before) + body).digest()
    return struct.unpack('>Q', digest[:8])[0] & (2**63 - 1)


def append_op(node, stream, body, ver):
    """An op more in a stream of a stopped node's file, as if its writer had made it; the rows do not know of it."""
    db = sqlite3.connect(node.db)
    with db:
        at, chain = db.execute(
            'SELECT at, chain FROM repl_log WHERE at >> 40 = (SELECT number FROM repl_stream WHERE stream = ?)'
            ' ORDER BY at DESC LIMIT 1',
            (stream,),
        ).fetchone()
        db.execute(
            'INSERT INTO repl_log (at, ver, chain, body) VALUES (?, ?, ?, ?)',
            (at + 1, ver, chain_next(chain, body), body),
        )
    db.close()


def ops_of_a_stranger(titles):
    """Bodies of ops that make these memories, from a node that never meets the mesh: (id, ver, body)."""
    with Mesh(count=1, writes=0) as m:
        ids = [m.nodes[0].create(t, 'written in another history').json['id'] for t in titles]
        m.nodes[0].stop()
        found = rows(m.nodes[0], 'SELECT ver, body FROM repl_log WHERE length(body) > 0 ORDER BY at')
        bodies = {i: (ver, body) for i in ids for ver, body in found if i.encode() in body}
        return [(i,) + bodies[i] for i in ids]


class OldBackupRestored(unittest.TestCase):
    def test_a_file_put_back_gets_back_what_it_had_written_since(self):
        with Mesh() as m:
            a, b, c = m.nodes
            before = writes(a, 40, 'before')
            backup = os.path.join(m.dir, 'backup.db')
            copy_file(a, backup)
            former = live(a)
            since = writes(a, 60, 'since by itself') | writes(b, 30, 'since by another')
            gone = sorted(before)[0]
            self.assertEqual(a.request('DELETE', '/api/v1/memories/' + gone).status, 200)
            edited = sorted(before)[1]
            self.assertEqual(a.request('PUT', '/api/v1/memories/' + edited, {'content': 'edited since'}).status, 200)
            a.stop()
            away = writes(b, 20, 'while it was away')
            remove_file(a)
            shutil.copy(backup, a.db)
            a.start()
            m.linked()
            again = writes(a, 20, 'after its return')
            m.holds(m.nodes, (before | since | away | again) - {gone})
            m.agreed()
            self.assertNotEqual(live(a), former)
            self.assertEqual(a.get('/api/v1/memories/' + gone).status, 404)
            self.assertEqual(a.get('/api/v1/memories/' + edited).json['memory']['content'], 'edited since')
            settled(m.nodes)
            ends = {v['pos'] for n in m.nodes for v in n.status()['vector'] if v['stream'] == former}
            self.assertEqual(len(ends), 1)
            self.assertGreaterEqual(ends.pop(), 102)
            self.assertEqual([n.status()['forks'] for n in m.nodes], [0] * 3)
            self.assertEqual([n.status()['alarms'] for n in m.nodes], [[]] * 3)

    def test_also_when_its_writes_since_reached_only_one_that_is_the_last_to_come_back(self):
        with Mesh() as m:
            a, b, c = m.nodes
            before = writes(a, 10, 'before')
            m.agreed()
            backup = os.path.join(m.dir, 'backup.db')
            copy_file(a, backup)
            c.kill()
            since = writes(a, 10, 'since')
            a.kill()
            b.kill()
            remove_file(a)
            shutil.copy(backup, a.db)
            a.start()
            c.start()
            m.linked()
            again = writes(a, 10, 'on the old file')
            b.start()
            m.holds(m.nodes, before | since | again)
            m.agreed()


class FileCopiedToSecondNode(unittest.TestCase):
    def second(self, m, peers):
        """A node on a copy of n0's file, beside it."""
        port = free_ports(1)[0]
        flags = ['--quorum-writes', '2', '--quorum-timeout-ms', '2000', '--quorum-peers', ','.join(peers)]
        d = Node(m, 'copy', port, flags)
        m.extra.append(d)
        copy_file(m.nodes[0], d.db)
        d.start()
        return d

    def test_the_younger_life_takes_an_id_of_its_own(self):
        with Mesh() as m:
            a, b, c = m.nodes
            before = writes(a, 30, 'before')
            node = a.status()['node']
            stream = live(a)
            d = self.second(m, [n.url for n in m.nodes])
            until('it has an id of its own', lambda: state(d).get('node', node) != node, 20)
            self.assertTrue(logged(d, 'another process lives as this node'))
            self.assertIn('copy of another', json.dumps(d.status()['alarms']))
            self.assertEqual((a.status()['node'], live(a)), (node, stream))
            mine = writes(d, 30, 'by the copy') | writes(a, 30, 'by the first')
            four = m.nodes + [d]
            m.holds(four, before | mine)
            m.agreed(nodes=four)

    def test_one_that_calls_and_is_not_called(self):
        with Mesh(count=2) as m:
            a, b = m.nodes
            before = writes(a, 10, 'before')
            port = free_ports(1)[0]
            node = a.status()['node']
            d = Node(m, 'copy', port, ['--quorum-writes', '1'])
            m.extra.append(d)
            copy_file(a, d.db)
            a.stop()
            a.serve_args[-1] = a.serve_args[-1] + ',http://127.0.0.1:%d' % port
            a.start()
            m.linked()
            d.start()
            until('it has an id of its own', lambda: state(d).get('node', node) != node, 30)
            own = writes(d, 10, 'by the copy')
            m.holds([a, b, d], before | own)

    def test_one_that_never_meets_the_first(self):
        """Neither has the other in its list; those that know both tell the one that is in nobody's list."""
        with Mesh() as m:
            a, b, c = m.nodes
            before = writes(a, 20, 'before')
            m.agreed()
            node, stream = a.status()['node'], live(a)
            d = self.second(m, [b.url, c.url])
            mine = writes(d, 20, 'by the copy') | writes(a, 20, 'by the first')
            until('it has an id of its own', lambda: state(d).get('node', node) != node, 30)
            self.assertEqual((a.status()['node'], live(a)), (node, stream))
            self.assertIn('copy of another', json.dumps(d.status()['alarms']))
            self.assertTrue(logged(b, 'lives twice') or logged(c, 'lives twice'))
            four = m.nodes + [d]
            m.holds(four, before | mine | writes(d, 10, 'by itself'))
            m.agreed(nodes=four)

    def test_its_acks_are_never_those_of_the_first(self):
        with Mesh(writes=3) as m:
            a, b, c = m.nodes
            writes(a, 10, 'before')
            c.kill()
            d = self.second(m, [a.url])
            refused = a.create('two of three', timeout=10)
            self.assertEqual((refused.status, refused.json['got']), (503, 2))
            c.start()
            m.holds(m.nodes, a.ids('t'), ns='t')


class WipedNode(unittest.TestCase):
    def test_a_node_without_its_file_is_a_new_one_and_fills(self):
        with Mesh() as m:
            a, b, c = m.nodes
            kept = writes(a, 100, 'kept') | writes(c, 50, 'kept by the one that loses its disk')
            m.agreed()
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            former = c.status()['node']
            c.kill()
            remove_file(c)
            c.start()
            self.assertNotEqual(c.status()['node'], former)
            m.holds(m.nodes, kept)
            m.agreed()
            until('it is a member', lambda: all(members(n).get(c.status()['node']) == 'active' for n in (a, b)), 20)
            for n in (a, b):
                old = [x for x in n.status()['members'] if x['node'] == former][0]
                self.assertEqual((old['state'], old['replaced']), ('active', True))
                self.assertIn('sync-member remove %d' % former, json.dumps(n.status()['alarms']))
            a.cli('sync-member', 'remove', str(former))
            until('the former is removed', lambda: all(members(n)[former] == 'removed' for n in m.nodes), 20)
            until('no alarm', lambda: not any(n.status()['alarms'] for n in m.nodes), 20)
            self.assertEqual(a.create('all three', headers={'X-Write-Quorum': '3'}).status, 201)


class ForkRecovery(unittest.TestCase):
    def test_a_peer_ahead_of_the_writer_in_its_live_stream(self):
        strangers = ops_of_a_stranger(['of the other history %d' % i for i in range(3)])
        with Mesh() as m:
            a, b, c = m.nodes
            ids = writes(a, 20, 'before')
            m.agreed()
            stream = live(a)
            b.stop()
            for _, ver, body in strangers:
                append_op(b, stream, body, ver)
            b.start()
            until('it lives in another stream', lambda: state(a).get('stream', stream) != stream, 30)
            m.linked()
            self.assertTrue(logged(a, 'has another history of stream %d' % stream))
            self.assertIn('forked', json.dumps(a.status()['alarms']))
            ids |= writes(a, 20, 'after')
            m.holds(m.nodes, ids)
            m.agreed(nodes=[a, c])
            self.assertLessEqual({i for i, _, _ in strangers}, a.ids())
            until('b is mended', lambda: repair(b) and b.status()['scrub']['divergent_here'] == 3, 60)
            m.agreed()

    def fork(self, m, ids, count, strangers):
        """Node a goes on, is set back to where it was, and finds a stranger's ops there; until all have both."""
        a, stream, backup = m.nodes[0], live(m.nodes[0]), os.path.join(m.dir, 'backup.db')
        copy_file(a, backup)
        made = writes(a, count, 'one history') | {i for i, _, _ in strangers}
        m.agreed()
        a.kill()
        remove_file(a)
        shutil.copy(backup, a.db)
        for _, ver, body in strangers:
            append_op(a, stream, body, ver)
        a.start()
        until('all have both histories', lambda: all(has(n, ids | made) for n in m.nodes), 60)
        return made

    def test_two_chains_in_a_former_stream_and_nothing_is_lost(self):
        strangers = ops_of_a_stranger(['written after the fork %d' % i for i in range(3)])
        with Mesh() as m:
            a = m.nodes[0]
            ids = writes(a, 20, 'before')
            ids |= self.fork(m, ids, 20, strangers)
            settled(m.nodes)
            m.agreed()
            self.assertTrue(logged(a, 'was repeated in a new one'))
            ids |= writes(a, 10, 'after')
            m.holds(m.nodes, ids)
            m.agreed()

    def test_the_longer_history_is_the_writers(self):
        strangers = ops_of_a_stranger(['longer %d' % i for i in range(9)])
        with Mesh() as m:
            a = m.nodes[0]
            ids = writes(a, 5, 'before')
            ids |= self.fork(m, ids, 3, strangers)
            m.agreed()


class RemovedNode(unittest.TestCase):
    def test_it_sets_its_file_aside_and_comes_back_empty(self):
        for away in (False, True):
            with self.subTest(away=away), Mesh() as m:
                a, b, c = m.nodes
                kept = writes(a, 30, 'kept')
                m.agreed()
                until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
                former = c.status()['node']
                if away:
                    c.kill()
                self.assertEqual(a.post('/api/v1/sync/members/%d/remove' % former, b'').status, 200)
                until('both know', lambda: all(members(n)[former] == 'removed' for n in (a, b)))
                if away:
                    c.start()
                until('it is another node', lambda: state(c).get('node', former) != former, 30)
                m.linked()
                m.holds(m.nodes, kept)
                m.agreed()
                aside = [f for f in glob.glob(c.db + '.removed-*') if not f.endswith(('-wal', '-shm'))]
                self.assertEqual(len(aside), 1, aside)
                self.assertTrue(logged(c, aside[0]))
                db = sqlite3.connect(aside[0])
                self.assertEqual(db.execute('SELECT count(*) FROM memories').fetchone()[0], 30)
                db.close()
                self.assertIn('set aside', json.dumps(c.status()['alarms']))
                self.assertEqual(c.create('all three', headers={'X-Write-Quorum': '3'}).status, 201)

    def test_a_node_that_starts_knows_who_was_removed(self):
        """From its first word on: what the removed one wrote since, all by itself, is not taken."""
        with Mesh() as m:
            a, b, c = m.nodes
            kept = writes(a, 10, 'kept')
            m.agreed()
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            former = c.status()['node']
            c.kill()
            self.assertEqual(a.post('/api/v1/sync/members/%d/remove' % former, b'').status, 200)
            until('both know', lambda: all(members(n)[former] == 'removed' for n in (a, b)))
            a.kill()
            b.kill()
            c.start()
            alone = c.create('written alone', headers={'X-Write-Quorum': '1'})
            stream = int(alone.headers['x-pos'].split(':')[0])
            self.assertEqual(alone.status, 201)
            a.start()
            until('one says so', lambda: ('%s says that' % a.url) in json.dumps(state(c).get('alarms')), 15)
            self.assertEqual(c.status()['node'], former)
            b.start()
            until('it is another node', lambda: state(c).get('node', former) != former, 30)
            m.linked()
            m.agreed()
            for n in m.nodes:
                self.assertEqual(n.ids('t'), kept)
                self.assertNotIn(stream, [v['stream'] for v in n.status()['vector'] if v['pos'] > 0])


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
