"""Nothing acknowledged is lost: writers that die, nodes that restart, commands beside a server."""

import os, shutil, signal, threading, time, unittest

from mesh import Mesh, together, until


class WriterDies(unittest.TestCase):
    def test_survivors_hold_every_acknowledged_write(self):
        with Mesh(timeout_ms=3000) as m:
            writer, acknowledged, lock, flying = m.nodes[0], [], threading.Lock(), [0]

            def work(i):
                n = 0
                while True:
                    with lock:
                        flying[0] += 1
                    try:
                        a = writer.create('dying %d-%d' % (i, n), 'text %d of %d' % (n, i), 'kill')
                    except OSError:
                        return
                    finally:
                        with lock:
                            flying[0] -= 1
                    if a.status == 201:
                        with lock:
                            acknowledged.append(a.json['id'])
                    n += 1

            threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
            for t in threads:
                t.start()
            until('a hundred acks, eight in flight', lambda: len(acknowledged) > 100 and flying[0] >= 8)
            writer.proc.send_signal(signal.SIGKILL)
            writer.proc.wait()
            for t in threads:
                t.join()
            ids = set(acknowledged)
            took = m.holds(m.nodes[1:], ids, ns='kill')
            self.assertFalse(writer.alive())
            m.agreed(nodes=m.nodes[1:])
            writer.start()
            back = m.agreed()
            self.assertLessEqual(ids, writer.ids('kill'))
            titles = [x['title'] for x in writer.memories('kill').values()]
            self.assertEqual(len(titles), len(set(titles)))
            print(
                'writer killed: %d acknowledged; survivors complete after %.2f s with it dead; '
                'all agree %.2f s after its return' % (len(ids), took, back)
            )

    def test_all_three_killed_at_once(self):
        with Mesh(timeout_ms=3000) as m:
            answers = together(64, lambda i: m.nodes[i % 3].create('all die %d' % i), threads=16)
            ids = {a.json['id'] for a in answers if a.status == 201}
            self.assertEqual(len(ids), 64)
            for n in m.nodes:
                n.proc.send_signal(signal.SIGKILL)
            for n in m.nodes:
                n.proc.wait()
            for n in m.nodes:
                n.start(wait=False)
            for n in m.nodes:
                n.ready()
            m.holds(m.nodes, ids)
            m.agreed()


class SendsGoOn(unittest.TestCase):
    def test_across_a_restart_of_the_writer(self):
        with Mesh() as m:
            a, b, c = m.nodes
            b.kill()
            c.kill()
            pending = [a.create('pending %d' % i) for i in range(5)]
            self.assertEqual({p.status for p in pending}, {503})
            a.kill()
            a.start()
            self.assertEqual(len(a.ids('t')), 5)
            b.start()
            c.start()
            m.holds([b, c], a.ids('t'), ns='t')
            m.agreed()

    def test_a_peer_that_was_away_gets_everything_in_order(self):
        with Mesh() as m:
            a, b, c = m.nodes
            c.kill()
            kept = a.create('kept').json['id']
            gone = a.create('gone').json['id']
            self.assertEqual(a.request('DELETE', '/api/v1/memories/' + gone).status, 200)
            self.assertEqual(
                a.request('PUT', '/api/v1/memories/' + kept, {'title': 'renamed', 'content': 'new text'}).status, 200
            )
            c.start()
            m.agreed()
            self.assertEqual(c.get('/api/v1/memories/' + kept).json['memory']['title'], 'renamed')
            self.assertEqual(c.get('/api/v1/memories/' + gone).status, 404)

    def test_a_thousand_writes_while_a_peer_is_away(self):
        with Mesh() as m:
            m.nodes[2].kill()
            answers = together(1000, lambda i: m.nodes[0].create('while away %d' % i, 'x' * 500), threads=16)
            self.assertEqual({a.status for a in answers}, {201})
            m.nodes[2].start()
            took = m.holds([m.nodes[2]], {a.json['id'] for a in answers}, ns='t')
            print('catch-up: 1000 writes in %.2f s' % took)


class Commands(unittest.TestCase):
    def test_writes_of_commands_beside_a_loaded_server_reach_all_nodes(self):
        with Mesh() as m:
            stop = threading.Event()

            def load(i):
                n = 0
                while not stop.is_set():
                    m.nodes[0].create('load %d-%d' % (i, n), ns='load')
                    n += 1

            threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
            for t in threads:
                t.start()
            try:
                for i in range(10):
                    m.nodes[0].cli('store', '-T', 'by command %d' % i, '-c', 'typed by hand', '-n', 'cli')
                until('all nodes have the ten', lambda: all(len(n.ids('cli')) == 10 for n in m.nodes))
                out = m.nodes[1].cli('recall', 'typed by hand', '-n', 'cli')
                self.assertIn('by command', out.stdout)
            finally:
                stop.set()
                for t in threads:
                    t.join()
            m.agreed()

    def test_a_second_server_on_one_file_refuses_to_start(self):
        with Mesh(count=1, writes=0) as m:
            import subprocess
            from mesh import BIN, free_ports

            link, hard = os.path.join(m.dir, 'link.db'), os.path.join(m.dir, 'hard.db')
            os.symlink(m.nodes[0].db, link)
            os.link(m.nodes[0].db, hard)
            self.assertEqual(m.nodes[0].create('while it has two names').status, 201)
            for path in (m.nodes[0].db, link, hard):
                r = subprocess.run(
                    [BIN, '--db', path, 'serve', '--port', str(free_ports(1)[0])],
                    capture_output=True,
                    text=True,
                    timeout=20,
                    env=dict(os.environ, AI_MEMORY_NO_CONFIG='1', HOME=m.dir),
                )
                self.assertEqual(r.returncode, 1)
                self.assertRegex(r.stdout + r.stderr, 'n0.db|hard links')
            r = subprocess.run([BIN, '--db', hard, 'list'], capture_output=True, text=True, timeout=20)
            self.assertEqual(r.returncode, 1)
            self.assertIn('hard links', r.stderr)
            self.assertEqual(m.nodes[0].create('still serving').status, 201)

    def test_one_server_though_the_file_is_named_by_a_link_from_the_start(self):
        with Mesh(count=1, writes=0, start=False) as m:
            n = m.nodes[0]
            os.symlink(os.path.join(m.dir, 'real.db'), n.db)
            n.start()
            self.assertEqual(n.create('one').status, 201)
            self.assertFalse(os.path.exists(n.db + '-lock'))
            self.assertTrue(os.path.exists(os.path.join(m.dir, 'real.db-lock')))


class Upgrades(unittest.TestCase):
    def test_a_file_of_the_original_federates(self):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../golden/db/full.db')
        with Mesh(start=False) as m:
            shutil.copy(source, m.nodes[0].db)
            for n in m.nodes:
                n.start(wait=False)
            for n in m.nodes:
                n.ready()
            until(
                'the other nodes have what the file held',
                lambda: m.nodes[0].ids() and m.nodes[2].ids() == m.nodes[0].ids(),
            )
            m.agreed()
            self.assertTrue(os.path.exists(m.nodes[0].db + '.before-upgrade'))
            before = m.nodes[0].digest()
            m.nodes[0].stop()
            m.nodes[0].start()
            m.agreed()
            self.assertEqual(m.nodes[0].digest(), before)


class Accesses(unittest.TestCase):
    def test_counts_of_all_nodes_are_summed_everywhere(self):
        with Mesh() as m:
            a = m.nodes[0].create('counted', 'a walrus was here').json['id']
            m.holds(m.nodes, {a}, ns='t')
            for n, times in zip(m.nodes, (3, 2, 1)):
                for _ in range(times):
                    self.assertEqual(n.get('/api/v1/recall?context=walrus').json['count'], 1)
            took = until(
                'all show six',
                lambda: {n.get('/api/v1/memories/' + a).json['memory']['access_count'] for n in m.nodes} == {6},
                15,
            )[1]
            self.assertEqual({n.get('/api/v1/memories/' + a).json['memory']['tier'] for n in m.nodes}, {'long'})
            print('accesses: summed on all nodes after %.1f s' % took)


class Stopping(unittest.TestCase):
    def test_term_finishes_what_is_under_way(self):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and the node would ignore it, too
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with Mesh() as m:
                results = []

                def work(i):
                    for k in range(1000):
                        try:
                            results.append(m.nodes[0].create('end %d-%d' % (i, k)))
                        except OSError:
                            return

                threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
                for t in threads:
                    t.start()
                until('writes flow', lambda: len(results) > 40)
                m.nodes[0].proc.send_signal(sig)
                self.assertEqual(m.nodes[0].proc.wait(35), 0, m.nodes[0].tail())
                for t in threads:
                    t.join()
                ids = {a.json['id'] for a in results if a.status == 201}
                m.holds(m.nodes[1:], ids)
                for a in results:
                    if a.status == 503:  # whatever the server was doing, a client reads one and the same thing
                        self.assertEqual(set(a.json), {'error', 'got', 'needed', 'reason', 'outcome'}, a)
                        self.assertEqual(a.json['got'] > 0, a.json['outcome'] == 'pending', a)
                        self.assertEqual((a.json['needed'], a.json['reason']), (2, 'stopping'), a)
                    self.assertIn(a.status, (201, 503), a)
                self.assertFalse(
                    [
                        f
                        for f in os.listdir(m.dir)
                        if f.startswith('n0.db-wal') and os.path.getsize(os.path.join(m.dir, f))
                    ]
                )


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
