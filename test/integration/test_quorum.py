"""W of N as a client sees it: who answers what, when, and what every node holds afterwards."""

import json, threading, time, unittest

from mesh import Cut, Mesh, Proxy, together, until


def burst(node, agents=4, each=50, ns='burst'):
    names = ['ai:agent-alice', 'ai:agent-bob', 'ai:agent-charlie', 'ai:agent-dana'][:agents]

    def one(i):
        agent = names[i % len(names)]
        return node.create(
            '%s writes %d' % (agent, i), 'text of write %d by %s' % (i, agent), ns, headers={'X-Agent-Id': agent}
        )

    return together(agents * each, one, threads=agents * 4)


class Burst(unittest.TestCase):
    def test_every_acknowledged_write_is_on_every_node(self):
        with Mesh(timeout_ms=3000) as m:
            answers = burst(m.nodes[0])
            self.assertEqual({a.status for a in answers}, {201})
            ids = {a.json['id'] for a in answers}
            self.assertEqual(len(ids), 200)
            took = m.holds(m.nodes, ids, ns='burst')
            for n in m.nodes:
                self.assertEqual(n.ids('burst'), ids)
            m.agreed()
            print('burst: 200/200/200, all nodes complete %.3f s after the last answer' % took)
            for a in answers:
                self.assertGreaterEqual(a.json['quorum_acks'], 2)
                self.assertGreaterEqual(int(a.headers['x-quorum-acks']), 2)
                self.assertIn(a.headers['x-durability'], ('quorum', 'all'))
                self.assertRegex(a.headers['x-pos'], r'^\d+:\d+$')


class Levels(unittest.TestCase):
    def test_one_disk_is_enough_at_w1(self):
        with Mesh(writes=1) as m:
            m.nodes[1].kill()
            m.nodes[2].kill()
            a = m.nodes[0].create('alone')
            self.assertEqual((a.status, a.headers['x-durability']), (201, 'local'))
            m.nodes[1].start()
            m.holds([m.nodes[1]], {a.json['id']})

    def test_all_three_at_w3(self):
        with Mesh(writes=3, timeout_ms=1500) as m:
            a = m.nodes[0].create('all')
            self.assertEqual((a.status, a.headers['x-durability']), (201, 'all'))
            m.nodes[2].kill()
            started = time.monotonic()
            b = m.nodes[0].create('one is missing')
            self.assertEqual(b.status, 503)
            self.assertEqual((b.json['got'], b.json['needed'], b.json['reason']), (2, 3, 'unreachable'))
            self.assertLess(time.monotonic() - started, 1.0)

    def test_one_request_may_ask_for_more_or_less(self):
        with Mesh(writes=2) as m:
            self.assertEqual(
                m.nodes[0].create('three', headers={'X-Write-Quorum': '3'}).headers['x-durability'], 'all'
            )
            m.nodes[1].kill()
            m.nodes[2].kill()
            self.assertEqual(m.nodes[0].create('one', headers={'X-Write-Quorum': '1'}).status, 201)
            self.assertEqual(m.nodes[0].create('four', headers={'X-Write-Quorum': '4'}).status, 400)

    def test_every_kind_of_write_waits_for_the_quorum(self):
        with Mesh(writes=2) as m:
            n = m.nodes[0]
            a = n.create('to change').json['id']
            answers = [
                n.request('PUT', '/api/v1/memories/' + a, {'content': 'changed'}),
                n.post('/api/v1/memories/%s/promote' % a, None),
                n.post(
                    '/api/v1/memories/bulk',
                    [{'title': 'b%d' % i, 'content': 'x', 'namespace': 't'} for i in range(100)],
                ),
                n.request('DELETE', '/api/v1/memories/' + a),
            ]
            for r in answers:
                self.assertEqual(r.status, 200, r)
                self.assertGreaterEqual(int(r.headers['x-quorum-acks']), 2)
            m.agreed()
            self.assertEqual(len(m.nodes[2].ids('t')), 100)
            m.nodes[1].kill()
            m.nodes[2].kill()
            b = next(iter(n.ids('t')))
            for r in (
                n.request('PUT', '/api/v1/memories/' + b, {'content': 'again'}),
                n.post('/api/v1/memories/%s/promote' % b, None),
                n.post('/api/v1/memories/bulk', [{'title': 'c', 'content': 'x'}]),
                n.request('DELETE', '/api/v1/memories/' + b),
            ):
                self.assertEqual(
                    (r.status, r.json['error'], r.json['outcome']), (503, 'quorum_not_met', 'pending'), r
                )
                self.assertEqual((r.headers['x-quorum-acks'], r.headers['x-durability']), ('1', 'local'), r)

    def test_a_retry_that_finds_all_done_waits_for_what_it_found(self):
        with Mesh(writes=2) as m:
            n = m.nodes[0]
            ends = [n.create(t).json['id'] for t in ('source', 'target')]
            link = {'source_id': ends[0], 'target_id': ends[1], 'relation': 'supersedes'}
            forget = {'namespace': 't', 'pattern': 'nobody'}
            m.nodes[1].kill()
            m.nodes[2].kill()
            first = n.post('/api/v1/links', link)
            self.assertEqual(first.status, 503, first)
            for again in (n.post('/api/v1/links', link), n.post('/api/v1/forget', forget)):
                self.assertEqual((again.status, again.json['outcome']), (503, 'pending'), again)
                self.assertEqual(again.headers['x-pos'], first.headers['x-pos'])
            self.assertEqual(n.post('/api/v1/forget', dict(forget, dry_run=True)).status, 200)
            m.nodes[1].start()
            m.linked([n, m.nodes[1]])
            again = n.post('/api/v1/links', link)
            self.assertEqual((again.status, again.headers['x-durability']), (201, 'quorum'), again)

    def test_who_does_not_sync_is_no_disk(self):
        with Mesh(count=2, writes=2) as m:
            full, relaxed = m.nodes
            self.assertEqual(full.create('on two disks').headers['x-durability'], 'all')
            relaxed.kill()
            relaxed.serve_args += ['--durability', 'normal']
            relaxed.start()
            m.linked()
            a, b = full.create('here'), relaxed.create('there')
            self.assertEqual([(x.status, x.headers['x-quorum-acks']) for x in (a, b)], [(201, '2')] * 2)
            self.assertEqual([x.headers['x-durability'] for x in (a, b)], ['local', 'local'])
            one = relaxed.create('alone', headers={'X-Write-Quorum': '1'})
            self.assertEqual((one.status, one.headers['x-durability']), (201, 'none'))
            self.assertEqual([n.status()['durability'] for n in m.nodes], ['full', 'normal'])
            self.assertEqual([n.status()['peers'][0]['durability'] for n in m.nodes], ['normal', 'full'])
            health = relaxed.get('/api/v1/health').json['federation']
            self.assertEqual(health['durability'], 'normal')
            self.assertIn('durability normal', health['warnings'][0])

    def test_a_repeated_delete_is_answered_as_the_first_one_until_two_have_it(self):
        with Mesh(writes=2) as m:
            n = m.nodes[0]
            ids = [n.create(t).json['id'] for t in ('stays', 'goes')]
            path = '/api/v1/memories/' + ids[1]
            m.nodes[1].kill()
            m.nodes[2].kill()
            first = n.request('DELETE', path)
            self.assertEqual((first.status, first.json['outcome']), (503, 'pending'), first)
            again = n.request('DELETE', path)
            self.assertEqual((again.status, again.headers['x-pos']), (503, first.headers['x-pos']), again)
            n.kill()  # the next life's stream knows nothing of it: what peers have of this one's counts
            n.start()
            again = n.request('DELETE', path)
            self.assertEqual((again.status, again.headers['x-pos']), (503, first.headers['x-pos']), again)
            self.assertEqual(n.request('DELETE', '/api/v1/memories/' + 'f' * 36).status, 404)
            m.nodes[1].start()
            m.linked([n, m.nodes[1]])
            again = n.request('DELETE', path)
            if again.status != 404:  # it came there before this request did
                self.assertEqual(
                    (again.status, again.json, again.headers['x-durability']),
                    (200, {'deleted': True, 'id': ids[1]}, 'quorum'),
                    again,
                )
            self.assertNotIn(ids[1], m.nodes[1].ids('t'))
            self.assertEqual(n.request('DELETE', path).status, 404)

    def test_a_write_that_was_done_in_an_earlier_life_waits_for_that_one(self):
        with Mesh(writes=2) as m:
            n = m.nodes[0]
            ends = [n.create(t).json['id'] for t in ('source', 'target')]
            link = {'source_id': ends[0], 'target_id': ends[1], 'relation': 'supersedes'}
            m.nodes[1].kill()
            m.nodes[2].kill()
            first = n.post('/api/v1/links', link)
            self.assertEqual(first.status, 503, first)
            n.kill()
            n.start()
            again = n.post('/api/v1/links', link)
            self.assertEqual((again.status, again.json['outcome']), (503, 'pending'), again)
            m.nodes[1].start()
            m.linked([n, m.nodes[1]])
            again = n.post('/api/v1/links', link)
            self.assertEqual((again.status, again.headers['x-durability']), (201, 'quorum'), again)
            self.assertEqual(len(m.nodes[1].get('/api/v1/links/' + ends[0]).json['links']), 1)


class Probes(unittest.TestCase):
    def test_peers_down_and_back(self):
        with Mesh(timeout_ms=3000) as m:
            a, b, c = m.nodes
            b.kill()
            one = a.create('probe one')
            self.assertEqual(one.status, 201)
            c.kill()
            started = time.monotonic()
            two = a.create('probe two')
            took = time.monotonic() - started
            self.assertEqual(two.status, 503)
            self.assertEqual(
                {k: two.json[k] for k in ('error', 'got', 'needed', 'reason', 'outcome')},
                {'error': 'quorum_not_met', 'got': 1, 'needed': 2, 'reason': 'unreachable', 'outcome': 'pending'},
            )
            self.assertEqual(two.headers['retry-after'], '2')
            self.assertLess(took, 1.0)
            started = time.monotonic()
            self.assertEqual(a.create('probe three').status, 503)
            self.assertLess(time.monotonic() - started, 0.5)
            b.start()
            c.start()
            took = m.holds([b, c], a.ids('t'), ns='t')
            self.assertEqual(len(b.ids('t')), 3)
            m.agreed()
            again = a.create('probe two')
            self.assertEqual((again.status, len(a.ids('t'))), (201, 3))
            print('probes: both peers back hold everything %.2f s after they answer' % took)

    def test_a_hanging_peer_is_a_timeout(self):
        with Mesh(timeout_ms=700) as m:
            m.nodes[1].pause()
            m.nodes[2].pause()
            started = time.monotonic()
            a = m.nodes[0].create('they hang')
            took = time.monotonic() - started
            self.assertEqual((a.status, a.json['reason'], a.json['got']), (503, 'timeout', 1))
            self.assertTrue(0.6 < took < 1.5, took)
            m.nodes[1].go_on()
            m.nodes[2].go_on()
            m.holds(m.nodes[1:], m.nodes[0].ids('t'), ns='t')
            self.assertEqual(m.nodes[0].create('they hang').status, 201)
            self.assertEqual(len(m.nodes[0].ids('t')), 1)


class ShortCut(unittest.TestCase):
    """Half a second without a network amid sixteen writers: every write is answered 201."""

    def writers(self, m, strike):
        stop, answers, lock = time.monotonic() + 2.5, [], threading.Lock()

        def work(i):
            n = 0
            while time.monotonic() < stop:
                a = m.nodes[0].create('w%d-%d' % (i, n), ns='cut')
                with lock:
                    answers.append(a)
                n += 1

        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        until('writes flow', lambda: len(answers) > 50)
        strike()
        for t in threads:
            t.join()
        self.assertEqual({a.status for a in answers}, {201}, [a for a in answers if a.status != 201][:3])
        healed = m.holds(m.nodes, {a.json['id'] for a in answers}, ns='cut')
        m.agreed()
        print(
            'cut of 500 ms: %d writes, all 201; all nodes complete %.2f s after the last answer'
            % (len(answers), healed)
        )

    def test_by_a_proxy(self):
        proxies = {}

        def peers(i, urls):
            known = []
            for j, u in enumerate(urls):
                if j != i:
                    proxies[i, j] = Proxy(int(u.rsplit(':', 1)[1]))
                    known.append('http://127.0.0.1:%d' % proxies[i, j].port)
            return known

        try:
            with Mesh(timeout_ms=2000, peers=peers, start=False) as m:
                for n in m.nodes:
                    n.start(wait=False)
                for n in m.nodes:
                    n.ready()
                until('links are up', lambda: all(p['state'] == 'up' for n in m.nodes for p in n.status()['peers']))

                def strike():
                    cut = [p for (i, j), p in proxies.items() if 0 in (i, j)]
                    for p in cut:
                        p.cut = True
                    until('half a second', lambda s=time.monotonic(): time.monotonic() - s > 0.5)
                    for p in cut:
                        p.cut = False
                    self.assertGreater(sum(p.held for p in cut), 0)

                self.writers(m, strike)
        finally:
            for p in proxies.values():
                p.close()

    @unittest.skipUnless(Cut.possible(), 'NOT RUN: needs root and iptables')
    def test_by_iptables(self):
        with Mesh(timeout_ms=2000) as m:

            def strike():
                # Only what the nodes send each other: the writers' connections to node 0 stay.
                with Cut([m.nodes[1].port, m.nodes[2].port]) as cut:
                    until('half a second', lambda s=time.monotonic(): time.monotonic() - s > 0.5)
                    self.assertGreater(cut.dropped(), 0)

            self.writers(m, strike)


class Retries(unittest.TestCase):
    def test_an_idempotency_key_makes_one_row(self):
        with Mesh() as m:
            body = {'title': 'once', 'content': 'only', 'namespace': 'k'}
            key = {'Idempotency-Key': 'k-1'}
            first = m.nodes[0].post('/api/v1/memories', body, headers=key)
            second = m.nodes[0].post('/api/v1/memories', body, headers=key)
            self.assertEqual((first.status, second.status), (201, 201))
            self.assertEqual(first.json['id'], second.json['id'])
            self.assertEqual(first.headers['x-pos'], second.headers['x-pos'])
            m.holds(m.nodes, {first.json['id']}, ns='k')
            elsewhere = m.nodes[1].post('/api/v1/memories', body, headers=key)
            self.assertEqual(elsewhere.json['id'], first.json['id'])
            other = m.nodes[0].post('/api/v1/memories', dict(body, content='else'), headers=key)
            self.assertEqual(other.status, 422)
            m.agreed()
            self.assertEqual(len(m.nodes[2].ids('k')), 1)

    def test_reading_ones_own_write_anywhere(self):
        with Mesh() as m:
            for i in range(20):
                a = m.nodes[i % 3].create('mine %d' % i)
                r = m.nodes[(i + 1) % 3].get(
                    '/api/v1/memories/' + a.json['id'], headers={'X-Wait-Pos': a.headers['x-pos']}
                )
                self.assertEqual(r.status, 200)
            self.assertEqual(
                m.nodes[0].get('/api/v1/stats', headers={'X-Wait-Pos': '12345:1'}, timeout=60).status, 504
            )


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
