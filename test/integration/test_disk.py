"""Disks and files that are not as they should be: full, gone, replaced, unreadable, no database at all."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from mesh import BIN, Mesh, until


def run(*argv, user=None):
    env = dict(os.environ, AI_MEMORY_NO_CONFIG='1')
    who = dict(user=user, group=user, extra_groups=[]) if user else {}
    return subprocess.run(
        [BIN] + list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, env=env, **who
    )


class Full(unittest.TestCase):
    """A disk that fills while the server serves."""

    def setUp(self):
        self.disk = tempfile.mkdtemp(prefix='ai-memory-disk.')
        self.addCleanup(shutil.rmtree, self.disk, True)
        mounted = (
            os.geteuid() == 0
            and subprocess.run(
                ['mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', self.disk], capture_output=True
            ).returncode
            == 0
        )
        if not mounted:
            self.skipTest('NOT RUN: no small disk can be mounted here')
        self.addCleanup(subprocess.run, ['umount', '-l', self.disk], check=False)

    def test_writes_are_refused_reads_go_on_and_space_cures(self):
        with Mesh(count=1, writes=0, start=False) as mesh:
            node = mesh.nodes[0]
            node.db = os.path.join(self.disk, 'm.db')
            node.start()
            life = node.proc.pid
            first = node.create('before it was full').json['id']
            ballast = os.path.join(self.disk, 'ballast')
            f = os.open(ballast, os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(f, b'x' * 4096)
            except OSError:
                os.close(f)
            refused, kept = None, {first}
            for i in range(400):
                a = node.create('while it fills %d' % i, content='x' * 30000)
                if a.status != 201:
                    refused = a
                    break
                kept.add(a.json['id'])
            self.assertIsNotNone(refused, 'the disk never filled')
            self.assertEqual((refused.status, refused.json['outcome']), (503, 'not_applied'), refused)
            self.assertIn('retry-after', refused.headers)
            for _ in range(5):
                self.assertEqual(node.create('again', content='x' * 30000).status, 503)
            self.assertEqual(node.get('/api/v1/memories/' + first).status, 200)
            self.assertEqual(node.get('/api/v1/recall?context=full').status, 200)
            self.assertEqual(node.ids(), kept)
            os.unlink(ballast)
            until('it writes again', lambda: node.create('after', content='x' * 30000).status == 201, 10)
            self.assertEqual(node.proc.pid, life)
            self.assertTrue(node.alive() and kept <= node.ids())
            self.assertEqual(node.stop(), 0)
            node.start()
            self.assertTrue(kept <= node.ids())


class Files(unittest.TestCase):
    """What lies where the database should be. Every refusal names the file, says why, and exits with 1."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='ai-memory-files.')
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)

    WRITING = (['store', '-T', 'a', '-c', 'b'], ['serve', '--port', '0'])

    def refused(self, path, words, user=None, commands=(['list'], *WRITING)):
        before = os.path.isfile(path) and open(path, 'rb').read()
        for argv in commands:
            r = run('--db', path, *argv, user=user)
            self.assertEqual(r.returncode, 1, (argv, r))
            self.assertIn(words, r.stderr)
            self.assertIn(os.path.basename(path), r.stderr)
        self.assertEqual(before, os.path.isfile(path) and open(path, 'rb').read(), 'it was touched')

    def test_no_database(self):
        with open(self.path('text.db'), 'w') as f:
            f.write('dear diary\n' * 500)
        self.refused(self.path('text.db'), 'not a database')

    def test_a_corrupt_one(self):
        self.assertEqual(run('--db', self.path('c.db'), 'store', '-T', 'a', '-c', 'b').returncode, 0)
        whole = open(self.path('c.db'), 'rb').read()
        for name, data in (
            ('scrambled.db', whole[:4096] + bytes((b * 7 + 13) & 255 for b in whole[4096:])),
            ('torn.db', whole[:5000]),
        ):
            with open(self.path(name), 'wb') as f:
                f.write(data)
            self.refused(self.path(name), 'malformed')

    def test_no_place(self):
        self.refused(self.path('nowhere/x.db'), 'there is no directory')
        os.mkdir(self.path('folder.db'))
        self.refused(self.path('folder.db'), 'no regular file')

    def test_no_permission(self):
        if os.geteuid() != 0:
            self.skipTest('NOT RUN: needs root, to be somebody else')
        os.chmod(self.dir, 0o755)
        os.mkdir(self.path('ro'))
        self.assertEqual(run('--db', self.path('ro/x.db'), 'store', '-T', 'a', '-c', 'b').returncode, 0)
        for name in os.listdir(self.path('ro')):
            os.chmod(self.path('ro/' + name), 0o444)
        os.chmod(self.path('ro'), 0o555)
        before = sorted(os.listdir(self.path('ro')))
        self.refused(self.path('ro/x.db'), 'Permission denied', user=65534, commands=self.WRITING)
        self.refused(self.path('ro/new.db'), 'Permission denied', user=65534, commands=self.WRITING)
        self.refused(self.path('ro/new.db'), 'No such file', user=65534, commands=(['list'], ['recall', 'a']))
        for argv in (['list'], ['search', 'b'], ['recall', 'b'], ['stats'], ['export']):
            r = run('--db', self.path('ro/x.db'), *argv, user=65534)
            self.assertEqual(r.returncode, 0, (argv, r))
            self.assertIn('1' if argv[0] == 'stats' else 'a', r.stdout)
        self.assertEqual(sorted(os.listdir(self.path('ro'))), before)


class Moved(unittest.TestCase):
    """The files taken away while they are in use: no write is answered 201 that a restart would not find."""

    def ended(self, node, name, what):
        """It says so, refuses, and ends by itself with 1, naming the file in its log."""
        health = []

        def over():
            if node.proc.poll() is not None:
                return True
            try:
                health.append(node.get('/api/v1/health', timeout=5))
            except OSError:
                pass
            return False

        until('the server has ended', over, 30)
        self.assertEqual(node.proc.returncode, 1)
        told = [h.json for h in health if h.status == 503]
        self.assertTrue(told, health)
        self.assertEqual(told[0]['status'], 'error')
        for text in (told[0]['error'], node.tail()):
            self.assertIn(os.path.basename(name) + ': this file ' + what, text)

    def test_the_next_write_is_refused(self):
        def replace(db):
            shutil.copyfile(db, db + '.other')
            os.rename(db + '.other', db)

        def directory(db):
            os.rename(os.path.dirname(db), os.path.dirname(db) + '.away')

        for take, what in (
            (os.unlink, 'was removed'),
            (lambda db: os.rename(db, db + '.away'), 'was removed or renamed'),
            (replace, 'was replaced'),
            (lambda db: os.truncate(db, 0), 'was emptied'),
            (directory, 'was removed'),
        ):
            with Mesh(count=1, writes=0, start=False) as mesh:
                node = mesh.nodes[0]
                os.mkdir(os.path.join(mesh.dir, 'data'))
                node.db = os.path.join(mesh.dir, 'data', 'm.db')
                node.start()
                self.assertEqual(node.create('before').status, 201)
                take(node.db)
                for i in range(3):
                    a = node.create('after %d' % i)
                    self.assertEqual((a.status, a.json['outcome']), (503, 'not_applied'), (what, a))
                    self.assertIn('m.db: this file ' + what, a.json['error'])
                    self.assertIn('retry-after', a.headers)
                self.ended(node, node.db, what)

    def test_it_is_noticed_without_a_write(self):
        for suffix in ('', '-wal', '-shm', '-lock'):
            with Mesh(count=1, writes=0) as mesh:
                node = mesh.nodes[0]
                os.unlink(node.db + suffix)
                self.ended(node, node.db + suffix, 'was removed')

    def test_a_removed_log_loses_nothing(self):
        with Mesh(count=1, writes=0) as mesh:
            node = mesh.nodes[0]
            kept = {node.create('kept %d' % i).json['id'] for i in range(50)}
            os.unlink(node.db + '-wal')
            a = node.create('after')
            self.assertEqual((a.status, a.json['outcome']), (503, 'pending'), a)
            self.ended(node, node.db + '-wal', 'was removed')
            node.start()
            self.assertLessEqual(kept, node.ids())
            titles = [m['title'] for m in node.memories().values()]
            self.assertEqual(node.create('after').status, 201)
            self.assertIn('after', titles)  # what is pending was there
            self.assertEqual(len(node.ids()), 51)

    def test_the_others_fill_it_again(self):
        with Mesh(timeout_ms=5000) as mesh:
            node, others = mesh.nodes[0], mesh.nodes[1:]
            ids = {mesh.nodes[i % 3].create('shared %d' % i).json['id'] for i in range(30)}
            mesh.holds(mesh.nodes, ids)
            os.unlink(node.db)
            for i in range(20):
                a = others[i % 2].create('without it %d' % i)
                self.assertEqual(a.status, 201, a)
                ids.add(a.json['id'])
            self.ended(node, node.db, 'was removed')
            node.start()
            mesh.holds(mesh.nodes, ids)
            mesh.agreed()

    def test_a_command_beside_it_makes_no_second_file(self):
        with Mesh(count=1, writes=0) as mesh:
            node = mesh.nodes[0]
            node.create('before')
            node.pause()
            os.unlink(node.db)
            r = node.cli('store', '-T', 'beside', '-c', 'x', check=False)
            self.assertEqual(r.returncode, 1, r)
            self.assertIn('a server has it open', r.stderr)
            self.assertFalse(os.path.exists(node.db))
            node.go_on()
            self.ended(node, node.db, 'was removed')
            self.assertEqual(node.cli('store', '-T', 'afterwards', '-c', 'x').returncode, 0)

    def test_mcp(self):
        with Mesh(count=1, writes=0, start=False) as mesh:
            db = os.path.join(mesh.dir, 'm.db')
            mcp = subprocess.Popen(
                [BIN, '--db', db, 'mcp'],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=dict(os.environ, AI_MEMORY_NO_CONFIG='1'),
            )
            self.addCleanup(mcp.kill)

            def store(n):
                call = dict(name='memory_store', arguments=dict(title='t%d' % n, content='x'))
                mcp.stdin.write(json.dumps(dict(jsonrpc='2.0', id=n, method='tools/call', params=call)) + '\n')
                mcp.stdin.flush()
                return json.loads(mcp.stdout.readline())['result']

            self.assertNotIn('isError', store(1))
            os.unlink(db)
            refused = store(2)
            self.assertTrue(refused['isError'])
            self.assertIn('m.db: this file was removed', refused['content'][0]['text'])
            self.assertEqual(mcp.wait(30), 1)
            self.assertIn('m.db: this file was removed', mcp.stderr.read())


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
