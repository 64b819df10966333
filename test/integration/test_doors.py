"""The doors of one process: MCP over pipes from its first line to its last, commands beside a loaded server."""

import json, os, shutil, signal, subprocess, tempfile, threading, time, unittest

from mesh import BIN, Mesh, until


def request(id, method, **params):
    return json.dumps({'jsonrpc': '2.0', 'id': id, 'method': method, 'params': params}) + '\n'


def store(id):
    return request(
        id,
        'tools/call',
        name='memory_store',
        arguments={'title': 'title %d' % id, 'content': 'content', 'namespace': 'p'},
    )


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='ai-memory-doors.')
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.db = self.dir + '/m.db'
        self.env = dict(os.environ, AI_MEMORY_NO_CONFIG='1', HOME=self.dir, AI_MEMORY_AGENT_ID='alice')

    def mcp(self, **kw):
        p = subprocess.Popen(
            [BIN, '--db', self.db, 'mcp'],
            env=self.env,
            **dict(dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL), **kw)
        )
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def cli(self, *argv):
        return subprocess.run(
            [BIN, '--db', self.db] + list(argv),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def total(self):
        return json.loads(self.cli('--json', 'stats').stdout)['total']


class Pipes(Files):
    def test_all_lines_are_answered_in_order_though_input_ends_without_a_newline(self):
        p = self.mcp()
        out, _ = p.communicate((''.join(store(i) for i in range(200)) + request(200, 'ping').strip()).encode(), 60)
        answers = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([a['id'] for a in answers], list(range(201)))
        self.assertEqual(p.returncode, 0)
        self.assertEqual(self.total(), 200)
        self.assertFalse(os.path.exists(self.db + '-wal') and os.path.getsize(self.db + '-wal'))

    def test_what_was_answered_before_an_interrupt_is_kept(self):
        p = self.mcp()
        answers = []

        def read():
            for line in p.stdout:
                answers.append(json.loads(line))

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(50):
            p.stdin.write(store(i).encode())
            p.stdin.flush()
        until('ten answers', lambda: len(answers) >= 10)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 0)
        reader.join(10)
        p.stdin.close()
        p.stdout.close()
        self.assertEqual([a['id'] for a in answers], list(range(len(answers))))
        self.assertEqual(self.total(), len(answers))

    def test_an_interrupt_ends_a_server_that_waits(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            p = self.mcp()
            p.stdin.write(request(1, 'ping').encode())
            p.stdin.flush()
            self.assertEqual(json.loads(p.stdout.readline())['id'], 1)
            p.send_signal(number)
            self.assertEqual(p.wait(20), 0)
            p.stdin.close()
            p.stdout.close()

    def test_a_line_too_long_is_refused_and_the_next_is_answered(self):
        p = self.mcp()
        long = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b'x' * (17 << 20) + b'"}}\n'
        out, _ = p.communicate(long + request(2, 'ping').encode(), 60)
        refused, fine = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((refused['id'], refused['error']['code']), (None, -32700))
        self.assertEqual(fine, {'jsonrpc': '2.0', 'id': 2, 'result': {}})

    def test_files_and_nothing_are_input_too(self):
        with open(self.dir + '/in', 'w') as f:
            f.write(request(1, 'ping') + store(2))
        with open(self.dir + '/in', 'rb') as f, open(self.dir + '/out', 'wb') as out:
            self.assertEqual(self.mcp(stdin=f, stdout=out).wait(20), 0)
        with open(self.dir + '/out') as f:
            self.assertEqual([json.loads(line)['id'] for line in f], [1, 2])
        self.assertEqual(self.mcp(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).wait(20), 0)

    def test_a_reader_that_went_away_ends_it(self):
        p = self.mcp()
        p.stdout.close()
        p.stdin.write(request(1, 'ping').encode())
        p.stdin.flush()
        self.assertEqual(p.wait(20), 1)
        try:
            p.stdin.close()
        except BrokenPipeError:
            pass

    def test_it_waits_without_work(self):
        p = self.mcp()
        p.stdin.write(store(1).encode())
        p.stdin.flush()
        p.stdout.readline()
        ticks = lambda: sum(int(x) for x in open('/proc/%d/stat' % p.pid).read().rsplit(') ', 1)[1].split()[11:13])
        before, end = ticks(), time.monotonic() + 1
        until('a second passes', lambda: time.monotonic() > end)
        self.assertLess(ticks() - before, 20)  # of 100
        p.communicate(timeout=20)


class Beside(unittest.TestCase):
    def test_commands_write_beside_a_loaded_server_and_are_quick(self):
        with Mesh(count=1, writes=0) as m:
            node, over, made = m.nodes[0], threading.Event(), []

            def load(k):
                n = 0
                while not over.is_set():
                    made.append(node.create('load %d %d' % (k, n)).status)
                    n += 1

            threads = [threading.Thread(target=load, args=(k,)) for k in range(4)]
            for t in threads:
                t.start()
            until('the server is at work', lambda: len(made) > 50)
            took, ids = [], []
            for i in range(20):
                start = time.monotonic()
                ids.append(
                    json.loads(node.cli('--json', 'store', '-n', 'beside', '-T', 'command %d' % i, '-c', 'x').stdout)[
                        'id'
                    ]
                )
                took.append(time.monotonic() - start)
            found = node.cli('recall', 'command', '-n', 'beside').stdout
            over.set()
            for t in threads:
                t.join()
            self.assertEqual(set(made), {201})
            self.assertIn('10 memory(ies) recalled', found)
            self.assertEqual(node.ids('beside'), set(ids))
            took.sort()
            self.assertLess(took[10], 1.0, took)
            self.assertLess(took[-1], 5.0, took)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
