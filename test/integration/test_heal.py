"""Healing beyond the log: joining, returning, what was lost behind our back."""

import json, os, shutil, sqlite3, threading, time, unittest

from mesh import Mesh, together, until
from test_converge import POLICY, shown


def load(node, count, ns='load', size=200, batch=500):
    """That many memories by bulk; returns their titles."""
    titles = ['%s %d' % (ns, i) for i in range(count)]
    for at in range(0, count, batch):
        a = node.post(
            '/api/v1/memories/bulk',
            [
                {'title': t, 'content': 'text of %s %s' % (t, 'x' * size), 'namespace': ns}
                for t in titles[at : at + batch]
            ],
        )
        assert a.status == 200 and not a.json.get('errors'), a
    return titles


def trim(node):
    """What a server does once every member has the log: it begins behind each stream's last op. Of a stopped node."""
    db = sqlite3.connect(node.db)
    with db:
        db.execute(
            'UPDATE repl_stream SET trimmed = seq FROM'
            ' (SELECT at >> 40 AS n, max(at) & 1099511627775 AS seq FROM repl_log GROUP BY 1) WHERE number = n'
        )
        db.execute(
            'DELETE FROM repl_log WHERE at < (SELECT number << 40 | trimmed FROM repl_stream WHERE number = at >> 40)'
        )
    db.close()


def rows(node, sql, *args):
    """What a query finds in a node's file, beside its server."""
    db = sqlite3.connect('file:%s?mode=ro' % node.db, uri=True, timeout=10)
    try:
        return db.execute(sql, args).fetchall()
    finally:
        db.close()


def log_ops(node):
    return rows(node, 'SELECT count(*) FROM repl_log')[0][0]


def tombstones(node):
    return rows(node, 'SELECT count(*) FROM repl_row WHERE kind = 1')[0][0]


def settled(nodes, seconds=20):
    """Until all have the same ops."""

    def vectors():
        return [{v['stream']: v['pos'] for v in n.status()['vector'] if v['pos'] > 0} for n in nodes]

    until('all have the same ops', lambda: all(v == vectors()[0] for v in vectors()), seconds)


def members(node):
    return {m['node']: m['state'] for m in node.status()['members']}


class Writers:
    """Writes without end to one node, until stopped; keeps what was acknowledged."""

    def __init__(self, node, threads=4, ns='flow'):
        self.node, self.ns, self.acknowledged, self.failed, self.lock, self.stop = (
            node,
            ns,
            {},
            0,
            threading.Lock(),
            threading.Event(),
        )
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
            until(
                'the joiner has what was there',
                lambda: c.get('/api/v1/memories?namespace=load&limit=1').json['total'] == self.COUNT,
                60,
            )
            took = time.monotonic() - start
            ids = flow.end()
            settled(m.nodes)
            m.holds(m.nodes, ids, ns='flow')
            m.agreed(seconds=30)
            self.assertEqual(flow.failed, 0)
            self.assertEqual(c.get('/api/v1/memories/' + gone).status, 404)
            snapshots = c.status()['snapshots']
            print(
                '%d rows to an empty node in %.2f s (%d rows/s) %s; %d writes meanwhile'
                % (self.COUNT, took, self.COUNT / took, 'by snapshot' if snapshots else 'by the log', len(ids))
            )
            return snapshots

    def test_by_a_snapshot_when_the_log_is_gone(self):
        self.assertGreaterEqual(self.join(True), 1)

    def test_by_the_log(self):
        self.join(False)

    def test_by_another_one_when_the_giver_is_stopped(self):
        """Killed, a connection ends; stopped, it stays and says nothing."""

        def asks(node, of):
            """Its log tells it before it is ready to be asked."""
            return 'asking %s for a snapshot' % of.url in open(node.log, errors='replace').read()

        with Mesh(writes=1, start=False) as m:
            a, b, c = m.nodes
            a.start()
            b.start()
            load(a, self.COUNT, size=1500)
            settled([a, b], 60)
            for n in (a, b):
                n.stop()
                trim(n)
                n.start()
            m.linked([a, b])
            c.start(wait=False)
            giver = until('it begins', lambda: [n for n in (a, b) if asks(c, n)], 20)[0][0]
            giver.pause()
            other = b if giver is a else a
            fell = until('another one is asked', lambda: asks(c, other), 60)[1]
            self.assertLess(fell, 25)
            c.ready()
            until(
                'all is there',
                lambda: c.get('/api/v1/memories?namespace=load&limit=1').json['total'] == self.COUNT,
                60,
            )
            giver.go_on()
            m.linked()
            settled(m.nodes)


class Members(unittest.TestCase):
    def test_a_first_handshake_makes_a_member_and_a_command_removes_it(self):
        with Mesh() as m:
            ids = {n.name: n.status()['node'] for n in m.nodes}
            self.assertEqual(len(set(ids.values())), 3)
            for n in m.nodes:
                others = {i: 'active' for name, i in ids.items() if name != n.name}
                until('%s has rows of the others' % n.name, lambda: members(n) == others)
            a, b, c = m.nodes
            self.assertEqual(a.post('/api/v1/sync/members/%d/remove' % 12345, b'').status, 404)
            self.assertEqual(a.post('/api/v1/sync/members/x/remove', b'').status, 400)
            self.assertEqual(a.post('/api/v1/sync/members/%d/remove' % ids['n0'], b'').status, 400)
            out = b.cli('sync-member', 'remove', str(ids['n2']))
            self.assertIn(str(ids['n2']), out.stdout)
            until('it is removed everywhere', lambda: all(members(n)[ids['n2']] == 'removed' for n in (a, b)))
            self.assertEqual(a.create('after', headers={'X-Write-Quorum': '2'}).status, 201)


class Trimming(unittest.TestCase):
    COUNT = 5000

    def test_the_log_goes_when_every_member_has_it_and_not_before(self):
        with Mesh(writes=1) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            load(a, self.COUNT)
            until('all logs are short', lambda: all(log_ops(n) < 2100 for n in m.nodes), 30)
            c.kill()
            load(a, self.COUNT, ns='away')
            m.agreed(nodes=[a, b])
            time_to_care = time.monotonic() + 5  # two rounds of upkeep
            until('upkeep came round', lambda: time.monotonic() > time_to_care, 10)
            self.assertGreaterEqual(min(log_ops(a), log_ops(b)), self.COUNT)
            c.start()
            m.agreed()
            self.assertEqual(c.status()['snapshots'], 0)
            until('all logs are short again', lambda: all(log_ops(n) < 2100 for n in m.nodes), 30)
            self.assertEqual(a.create('goes on', headers={'X-Write-Quorum': '3'}).status, 201)

    def test_a_removed_member_holds_nothing_back(self):
        with Mesh(writes=1) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            gone = c.status()['node']
            c.kill()
            load(a, self.COUNT)
            self.assertGreaterEqual(log_ops(a), self.COUNT)
            self.assertEqual(a.post('/api/v1/sync/members/%d/remove' % gone, b'').status, 200)
            until('the logs are short', lambda: all(log_ops(n) < 2100 for n in (a, b)), 30)
            os.unlink(c.db)
            for end in ('-wal', '-shm', '-lock'):
                if os.path.exists(c.db + end):
                    os.unlink(c.db + end)
            c.start()
            m.agreed()
            self.assertEqual(c.status()['snapshots'], 1)

    def test_the_cap_costs_a_snapshot_never_data(self):
        with Mesh(writes=1, serve=['--log-ops-max', '2000']) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            only = c.create('only there')
            m.agreed()
            c.kill()
            load(a, self.COUNT)
            until('the logs are short', lambda: all(log_ops(n) < 3100 for n in (a, b)), 30)
            c.start()
            m.agreed()
            self.assertEqual(c.status()['snapshots'], 1)
            self.assertIn(only.json['id'], a.ids())

    def test_old_changes_cost_a_snapshot_never_data(self):
        with Mesh(writes=1, serve=['--log-max-secs', '2']) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            only = c.create('only there')
            m.agreed()
            c.kill()
            load(a, self.COUNT)
            a.cli('store', '-T', 'by a command', '-c', 'typed', '-n', 'cli')
            until('the logs are short', lambda: all(log_ops(n) < 1100 for n in (a, b)), 60)
            c.start()
            m.agreed(60)
            self.assertGreaterEqual(c.status()['snapshots'], 1)
            self.assertIn(only.json['id'], a.ids())
            self.assertEqual(a.create('goes on', headers={'X-Write-Quorum': '3'}).status, 201)

    def test_streams_of_commands_end_and_leave(self):
        with Mesh() as m:
            a = m.nodes[0]
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            for i in range(5):
                a.cli('store', '-T', 'by command %d' % i, '-c', 'typed', '-n', 'cli')
            early = a.create('in the first life').headers['x-pos']
            m.agreed()
            until(
                'the vectors know of five more writers',
                lambda: all(len([v for v in n.status()['vector'] if v['pos'] > 0]) >= 6 for n in m.nodes),
            )
            until(
                'they left',
                lambda: all(
                    len(rows(n, 'SELECT 1 FROM repl_stream WHERE ended = 2 AND pos > 0')) == 5 for n in m.nodes
                ),
                40,
            )
            self.assertEqual(
                rows(
                    a,
                    'SELECT count(*) FROM repl_log WHERE at >> 40 NOT IN '
                    '(SELECT number FROM repl_stream WHERE ended < 2 AND number IS NOT NULL)',
                )[0][0],
                0,
            )
            for n in m.nodes:
                n.stop()
            for n in m.nodes:
                n.start(wait=False)
            for n in m.nodes:
                n.ready()
            m.linked()
            m.agreed()
            self.assertTrue(all(n.status()['snapshots'] == 0 for n in m.nodes))
            self.assertEqual({len(n.ids('cli')) for n in m.nodes}, {5})
            gone = 'SELECT 1 FROM repl_stream WHERE ended = 2 AND stream = ' + early.split(':')[0]
            until('the first life left', lambda: all(len(rows(n, gone)) == 1 for n in m.nodes), 40)
            # A fresh node cannot have them from the log.
            c = m.nodes[2]
            c.stop()
            for end in ('', '-wal', '-shm', '-lock'):
                if os.path.exists(c.db + end):
                    os.unlink(c.db + end)
            c.start()
            m.agreed()
            self.assertEqual(len(c.ids('cli')), 5)
            for n in m.nodes:  # what left has arrived, for who waits for it
                self.assertEqual(n.get('/api/v1/stats', headers={'X-Wait-Pos': early}).status, 200)


class TombstoneOutlivesLateNode(unittest.TestCase):
    def test_deletions_wait_for_who_is_away(self):
        with Mesh(serve=['--tombstone-keep-secs', '1']) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            early = a.create('deleted with all there').json['id']
            late = a.create('deleted while one is away').json['id']
            kept = a.create('kept').json['id']
            m.agreed()
            a.request('DELETE', '/api/v1/memories/' + early)
            until('forgotten by all', lambda: [tombstones(n) for n in m.nodes] == [0, 0, 0], 30)
            c.stop()
            self.assertEqual(a.request('DELETE', '/api/v1/memories/' + late).status, 200)
            c.cli('update', late, '--content', 'an edit that had not seen the deletion')
            c.cli('update', kept, '--content', 'an edit that counts')
            wait = time.monotonic() + 8  # long past its second, several rounds of upkeep
            until('rounds of upkeep', lambda: time.monotonic() > wait, 12)
            self.assertEqual([tombstones(n) for n in (a, b)], [1, 1])
            c.start()
            m.agreed()
            # The edit was the later one: it wins, and everywhere alike.
            self.assertEqual(
                {n.get('/api/v1/memories/' + kept).json['memory']['content'] for n in m.nodes},
                {'an edit that counts'},
            )
            self.assertEqual(len({n.get('/api/v1/memories/' + late).status for n in m.nodes}), 1)
            again = a.create('deleted at the end').json['id']
            a.request('DELETE', '/api/v1/memories/' + again)
            until('forgotten by all', lambda: [tombstones(n) for n in m.nodes] == [0, 0, 0], 30)
            m.agreed()
            self.assertEqual({n.get('/api/v1/memories/' + again).status for n in m.nodes}, {404})


def behind_our_back(node, *statements):
    """Changes the file of a stopped node as no server would."""
    db = sqlite3.connect(node.db)
    db.execute('PRAGMA foreign_keys = OFF')
    with db:
        for sql, args in statements:
            db.execute(sql, args)
    db.close()


def repair(node):
    """Compares the rows with the peers' now; what came of it. Rows younger than a second are left to the logs."""
    answer = node.post('/api/v1/sync/repair', b'', timeout=90)
    assert answer.status == 200 and answer.json['compared'], answer
    return answer.json


class RowDeletedBehindOurBack(unittest.TestCase):
    def clean(self, m):
        """Every node finds itself in order."""

        def in_order(n):
            r = repair(n)
            return r['divergent_here'] == 0 and r['divergent_there'] == 0 and all(p['compared'] for p in r['peers'])

        for n in m.nodes:
            until('%s is in order' % n.name, lambda: in_order(n), 40)

    def test_a_lost_row_comes_back_and_raises_an_alarm(self):
        with Mesh() as m:
            a, b, c = m.nodes
            ids = [a.create('row %d' % i, 'text %d' % i).json['id'] for i in range(50)]
            link = {'source_id': ids[8], 'target_id': ids[1], 'relation': 'related_to'}
            self.assertEqual(a.post('/api/v1/links', link).status // 100, 2)
            m.agreed()
            c.stop()
            lost = ids[7:10]
            behind_our_back(c, *[('DELETE FROM memories WHERE id = ?', (i,)) for i in lost])
            c.start()
            m.linked()
            self.assertEqual(c.get('/api/v1/memories/' + lost[0]).status, 404)
            self.assertEqual({n.status()['divergent_rows'] for n in m.nodes}, {0})
            until('the peer sees what is wrong', lambda: repair(a)['divergent_there'] == 3, 40)
            self.assertEqual(c.get('/api/v1/memories/' + lost[0]).status, 404)
            found = repair(c)
            self.assertEqual((found['divergent_here'], found['divergent_there'], found['repairs']), (3, 0, 1))
            m.agreed()
            for i in lost:
                self.assertEqual(c.get('/api/v1/memories/' + i).json['memory']['id'], i)
            links = [c.get('/api/v1/links/' + ids[8]).json, a.get('/api/v1/links/' + ids[8]).json]
            self.assertEqual(links[0], links[1])
            self.assertIn(ids[1], json.dumps(links[0]))
            self.assertEqual(c.status()['divergent_rows'], 3)
            self.assertEqual(len(c.status()['alarms']), 1, c.status()['alarms'])
            self.assertIn('ai_memory_replication_divergent_rows_total 3', c.get('/metrics').raw.decode())
            self.assertIn("scrub: row '%s'" % lost[0], open(c.log).read())
            self.clean(m)

    def test_a_mesh_in_order_raises_none(self):
        with Mesh(writes=1) as m:
            a = m.nodes[0]
            load(a, 2000)
            ids = sorted(a.ids('load'))
            for i in ids[:50]:
                a.request('DELETE', '/api/v1/memories/' + i)
                a.get('/api/v1/memories/' + ids[60])
            flow = Writers(m.nodes[1])
            for n in m.nodes:
                repair(n)
            flow.end()
            settled(m.nodes)
            m.agreed()
            for n in m.nodes:
                repair(n)
            self.assertEqual({n.status()['divergent_rows'] for n in m.nodes}, {0})

    def test_rows_of_all_tables_that_show_records_come_back(self):
        namespaces = ('n', 'gate')
        with Mesh() as m:
            a, b, c = m.nodes
            ids = [a.create('row %d' % i, 'text %d' % i, namespace='n').json['id'] for i in range(8)]
            for i in range(3):
                link = {'source_id': ids[i], 'target_id': ids[i + 1], 'relation': 'related_to'}
                self.assertEqual(a.post('/api/v1/links', link).status // 100, 2)
            self.assertEqual(a.post('/api/v1/namespaces/n/standard', {'id': ids[0]}).status // 100, 2)
            self.assertEqual(a.post('/api/v1/namespaces/gate/standard', {'governance': POLICY}).status // 100, 2)
            for title in ('wanted', 'wanted, too'):
                body = {'title': title, 'content': 'x', 'namespace': 'gate'}
                self.assertEqual(a.post('/api/v1/memories', body).status, 202)
            for text in ('text 6', 'text 7'):
                self.assertEqual(a.post('/api/v1/forget', {'pattern': text}).json['deleted'], 1)
            m.agreed()
            until('all show the same', lambda: all(shown(n, namespaces) == shown(a, namespaces) for n in m.nodes))
            before = shown(a, namespaces)
            self.assertEqual([len(before[k]) for k in ('archive', 'pending')], [2, 2])
            behind_our_back(
                c,
                ('DELETE FROM memory_links WHERE source_id = ?', (ids[0],)),
                ("UPDATE memory_links SET created_at = '2020-01-01T00:00:00Z' WHERE source_id = ?", (ids[1],)),
                ("DELETE FROM namespace_meta WHERE namespace = 'n'", ()),
                ("UPDATE namespace_meta SET standard_id = ? WHERE namespace = 'gate'", (ids[1],)),
                ("DELETE FROM pending_actions WHERE payload LIKE '%\"wanted\"%'", ()),
                ("UPDATE pending_actions SET status = 'rejected' WHERE payload LIKE '%wanted, too%'", ()),
                ('DELETE FROM archived_memories WHERE id = ?', (ids[6],)),
                ("UPDATE archived_memories SET content = 'altered' WHERE id = ?", (ids[7],)),
            )
            now = shown(c, namespaces)
            for kind in ('links', 'standards', 'pending', 'archive'):
                self.assertNotEqual(now[kind], before[kind], kind)
            until('rows a second old are found', lambda: repair(c) and c.status()['divergent_rows'] == 8, 60)
            for n in m.nodes:
                self.assertEqual(shown(n, namespaces), before, n.name)
            self.assertEqual(c.status()['scrub']['divergent_here'], 8)
            self.assertEqual(len(c.status()['alarms']), 1, c.status()['alarms'])
            log = open(c.log).read()
            for table in ('memory_links', 'namespace_meta', 'pending_actions'):
                self.assertIn('was missing or altered in ' + table, log)
            self.clean(m)

    def test_a_text_changed_in_one_file_is_what_the_others_have(self):
        for changed in ('zz: not what was written', '00: not what was written', 'as it was writteN'):
            with self.subTest(changed), Mesh() as m:
                a, b, c = m.nodes
                i = a.create('tampered', 'as it was written').json['id']
                m.agreed()
                c.stop()
                behind_our_back(c, ("UPDATE memories SET content = ? WHERE id = ?", (changed, i)))
                c.start()
                m.linked()
                until('it is found', lambda: repair(c)['divergent_here'] == 1, 40)
                m.agreed()
                self.assertEqual(c.get('/api/v1/memories/' + i).json['memory']['content'], 'as it was written')
                self.clean(m)

    def test_a_table_emptied_behind_our_back_is_filled(self):
        with Mesh() as m:
            a, b, c = m.nodes
            load(a, 3000)
            m.agreed()
            c.stop()
            behind_our_back(c, ('DELETE FROM memories', ()))
            c.start()
            m.linked()
            until('it is found', lambda: repair(c)['snapshot'], 40)
            until('it is merged', lambda: c.status()['snapshots'] > 0, 40)
            m.agreed(seconds=40)
            self.clean(m)

    def test_a_damaged_log_keeps_nothing_from_the_others(self):
        """An op that only one node has, altered or lost in its log: the others get the row, and all that came after."""
        here = "at = (SELECT at FROM repl_log WHERE instr(body, CAST('text of since 5' AS BLOB)) > 0)"
        altered = "UPDATE repl_log SET body = CAST('not what was logged' AS BLOB) WHERE " + here
        for damage in (altered, 'DELETE FROM repl_log WHERE ' + here):
            with self.subTest(damage), Mesh(writes=1) as m:
                a, b, c = m.nodes
                m.agreed()
                b.kill()
                c.kill()
                for i in range(20):
                    self.assertEqual(a.create('since %d' % i, 'text of since %d' % i).status, 201)
                ids = a.ids('t')
                a.stop()
                behind_our_back(a, (damage, ()))
                for n in m.nodes:
                    n.start(wait=False)
                for n in m.nodes:
                    n.ready()
                m.holds(m.nodes, ids, seconds=40)
                m.agreed()
                told = [any('the log of %s is damaged' % a.url in t for t in n.status()['alarms']) for n in (b, c)]
                self.assertIn(True, told)
                m.linked()
                self.assertEqual(a.create('goes on', headers={'X-Write-Quorum': '3'}).status, 201)
                m.agreed()

    def test_it_happens_by_itself(self):
        with Mesh(serve=['--scrub-interval-secs', '1']) as m:
            a, b, c = m.nodes
            until('rounds', lambda: all(n.status()['scrub']['rounds'] >= 2 for n in m.nodes), 30)
            self.assertEqual([n.status()['alarms'] for n in m.nodes], [[]] * 3)
            self.assertEqual({n.status()['scrub']['last_error'] for n in m.nodes}, {None})


class Status(unittest.TestCase):
    def test_a_command_shows_what_the_server_of_the_file_knows(self):
        with Mesh() as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            a.create('one')
            m.agreed()
            out = a.cli('sync-status').stdout
            for word in (str(a.status()['node']), 'W = 2 of N = 3', b.url, c.url, 'up', 'LAST ERROR', 'alarms: none'):
                self.assertIn(word, out)
            told = json.loads(a.cli('--json', 'sync-status').stdout)
            self.assertEqual(told['node'], str(a.status()['node']))
            self.assertEqual(told['snapshot'], None)
            self.assertEqual(
                json.loads(a.cli('sync-status', '--url', c.url, '--json').stdout)['node'], str(c.status()['node'])
            )
            c.kill()
            until('it is down', lambda: 'down' in a.cli('sync-status').stdout, 10)
            self.assertIn('with 1 of 1 peers', a.cli('sync-repair').stdout)
            self.assertIn('compared', json.loads(a.cli('sync-repair', '--json').stdout))

    def test_what_a_peer_lacks_is_what_it_missed(self):
        def peer(node, other):
            return next(p for p in node.status()['peers'] if p['url'] == other.url)

        def sample(node, name, other):
            for line in node.get('/metrics').raw.decode().splitlines():
                if line.startswith('ai_memory_replication_peer_%s{peer="%s"} ' % (name, other.url)):
                    return float(line.split()[-1])
            return None

        with Mesh(writes=1) as m:
            a, b, c = m.nodes
            until('members', lambda: all(sorted(members(n).values()) == ['active'] * 2 for n in m.nodes))
            load(a, 40)
            until('all is known to be there', lambda: peer(a, c)['backlog'] == 0 and peer(a, c)['lag'] == 0)
            c.kill()
            until('it is down', lambda: peer(a, c)['state'] == 'down')
            load(a, 7, ns='away')
            load(b, 4, ns='elsewhere')
            m.agreed(nodes=[a, b])
            until('what it missed', lambda: (peer(a, c)['lag'], peer(a, c)['backlog']) == (7, 11), 5)
            self.assertEqual((sample(a, 'lag', c), sample(a, 'backlog', c)), (7, 11))
            self.assertRegex(a.cli('sync-status').stdout, r'%s +down +7 +11 +0 ' % c.url)
            a.stop()
            a.start()
            m.linked([a, b])
            self.assertEqual([peer(a, c)[k] for k in ('node', 'lag', 'backlog', 'behind')], [None, 0, None, None])
            self.assertIsNone(sample(a, 'backlog', c))
            self.assertRegex(a.cli('sync-status').stdout, r'%s +down +0 +- +- +never' % c.url)

    def test_a_repair_does_not_wait_for_who_is_stopped(self):
        with Mesh() as m:
            a, b, c = m.nodes
            a.create('one')
            m.agreed()
            c.pause()
            result = a.post('/api/v1/sync/repair', b'', timeout=90)
            c.go_on()
            self.assertLess(result.json['took_ms'], 30000)
            told = {p['url']: (p['compared'], p['error']) for p in result.json['peers']}
            self.assertEqual(told[b.url], (True, None))
            self.assertIn(told.get(c.url, (False, 'it fell silent')), [(False, 'it fell silent')])

    def test_without_a_server_it_says_so(self):
        with Mesh(count=1, writes=0) as m:
            a = m.nodes[0]
            self.assertIn('alarms: none', a.cli('sync-status').stdout)
            alone = a.cli('sync-repair', check=False)
            self.assertEqual((alone.returncode, 'no peer' in alone.stdout), (1, True), alone)
            for end in (a.stop, a.kill):
                end()
                for command in ('sync-status', 'sync-repair'):
                    r = a.cli(command, check=False)
                    self.assertEqual((r.returncode, r.stdout), (1, ''))
                    self.assertIn('no server has %s open' % a.db, r.stderr)
                r = a.cli('sync-status', '--url', a.url, check=False)
                self.assertEqual(r.returncode, 1)
                self.assertIn('%s does not answer' % a.url, r.stderr)
                a.start()
            r = a.cli('sync-status', '--url', 'ftp://x', check=False)
            self.assertEqual(r.returncode, 1)

    def test_with_a_key(self):
        with Mesh(count=1, writes=0, env={'AI_MEMORY_API_KEY': 'secret'}, start=False) as m:
            a = m.nodes[0].start()
            r = a.cli('sync-status', check=False)
            self.assertEqual(r.returncode, 1)
            self.assertIn('401', r.stderr)
            os.environ['AI_MEMORY_API_KEY'] = 'secret'
            try:
                self.assertIn('alarms: none', a.cli('sync-status').stdout)
            finally:
                del os.environ['AI_MEMORY_API_KEY']


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
