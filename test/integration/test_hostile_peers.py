"""Nodes that lie: bodies of /api/v1/sync/push and /api/v1/sync/ops that no honest node sends. Whatever comes, the
server lives, answers, keeps its own memories, and what it stored it can still edit, remove and hand on."""

import random
import struct
import unittest

from hostile import Watch
from mesh import Mesh, until
from test_peers import chain_next, message, ops, sealed

BINARY = {'Content-Type': 'application/octet-stream'}
VER_MAX = (1 << 62) - 1


def memory(**fields):
    return dict(
        {
            'id': '11111111-1111-4111-8111-111111111111',
            'tier': 'mid',
            'namespace': 'push',
            'title': 'pushed',
            'content': 'c',
            'tags': [],
            'priority': 5,
            'confidence': 1.0,
            'source': 'api',
            'access_count': 0,
            'created_at': '2026-01-01T00:00:00+00:00',
            'updated_at': '2026-01-01T00:00:00+00:00',
            'metadata': {},
        },
        **fields
    )


class Pushes(unittest.TestCase):
    """JSON, as nodes of the original send it."""

    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh(count=1, writes=0)
        cls.node = cls.mesh.nodes[0]

    @classmethod
    def tearDownClass(cls):
        cls.mesh.close()

    def push(self, *memories, **fields):
        body = dict({'sender_agent_id': 'peer', 'memories': list(memories)}, **fields)
        return self.node.post('/api/v1/sync/push', body)

    def test_wrong_types_refuse_the_whole_body(self):
        with Watch(self.node, growth_kb=96 * 1024) as watch:
            good = memory()
            for name in good:
                for value in (1, 'x', True, [1], {'a': 1}, None):
                    if type(value) is type(good[name]) or (name, value) in (('confidence', 1), ('metadata', None)):
                        continue
                    if name == 'metadata':  # a rule of the row, not a type of the body
                        a = self.push(memory(metadata=value))
                        self.assertEqual((a.status, a.json['skipped']), (200, 1), (value, a))
                    else:
                        a = self.push(memory(**{name: value}))
                        self.assertIn(a.status, (400, 422), (name, value, a))
                    watch.nothing_stored((name, value))
                if name != 'metadata':
                    a = self.push({k: v for k, v in good.items() if k != name})
                    self.assertEqual(a.status, 422, (name, a))
            for fields in (
                {'sender_agent_id': 'a b'},
                {'sender_agent_id': ''},
                {'sender_agent_id': 'a' * 129},
                {'sender_clock': []},
                {'sender_clock': {'entries': []}},
                {'dry_run': 'yes'},
                {'deletions': 'x'},
                {'deletions': [1]},
                {'deletions': ['x'] * 1001},
                {'memories': [memory()] * 1001},
                {'memories': {}},
                {'memories': None},
            ):
                a = self.push(**fields)
                self.assertIn(a.status, (400, 422), (str(fields)[:80], a))
            million = b'{"sender_agent_id":"p","memories":[' + b'1,' * 999999 + b'1]}'
            for body, status in (
                (million, 413),
                (b'{"sender_agent_id":"p","memories":[],"deletions":[' + b'"",' * 600000 + b'""]}', 413),
            ):
                a = self.node.post('/api/v1/sync/push', body, headers={'Content-Type': 'application/json'})
                self.assertEqual(a.status, status, a)
            whole = b'{"sender_agent_id":"p","memories":[]}'
            for end in range(len(whole)):
                a = self.node.post('/api/v1/sync/push', whole[:end], headers={'Content-Type': 'application/json'})
                self.assertEqual(a.status, 400, (whole[:end], a))

    def test_rows_of_wrong_types_are_skipped_alone(self):
        """Those that can be read are taken; each of the others is told with the field at fault."""
        bad = [
            (memory(tier='forever'), 'memories[1].tier'),
            (memory(priority='5'), 'memories[2].priority'),
            (memory(tags='x'), 'memories[3].tags'),
            (memory(tags=['x', 1]), 'memories[4].tags[1]'),
            (memory(id=7), 'memories[5].id'),
            (5, 'memories[6]'),
            (None, 'memories[7]'),
            ({}, 'missing field `id`'),
            (memory(updated_at=2026), 'memories[9].updated_at'),
        ]
        good = [memory(id='alone-%d' % i, title='alone %d' % i) for i in (1, 2)]
        gone = self.node.create('to be deleted', ns='push').json['id']
        with Watch(self.node, stores_nothing=False):
            a = self.push(good[0], *[row for row, _ in bad], good[1], deletions=[1, gone, 'x' * 129, 'unknown'])
            self.assertEqual(a.status, 200, a)
            told = {k: a.json[k] for k in ('applied', 'skipped', 'deleted', 'noop', 'ids')}
            ids = ['alone-1', 'alone-2']
            self.assertEqual(told, {'applied': 2, 'skipped': len(bad) + 2, 'deleted': 1, 'noop': 1, 'ids': ids})
            rows = a.json['results']
            self.assertEqual(len(rows), len(bad) + 4)
            for (_, name), row in zip(bad, rows[1:]):
                self.assertEqual(row['result'], 'skipped')
                self.assertIn(name, row['error'])
            self.assertEqual([r['id'] for r in rows[-2:]], [None, 'x' * 129])
            self.assertEqual([r['error'][:12] for r in rows[-2:]], ['deletions[0]', 'id exceeds m'])
            self.assertLessEqual(set(ids), self.node.ids('push'))
            self.assertNotIn(gone, self.node.ids('push'))

    def test_rows_that_break_a_rule_are_skipped_alone(self):
        broken = [
            memory(title=''),
            memory(title='x' * 513),
            memory(content='\0'),
            memory(namespace='a b'),
            memory(priority=0),
            memory(priority=11),
            memory(confidence=1.5),
            memory(access_count=-1),
            memory(created_at='yesterday'),
            memory(updated_at=''),
            memory(updated_at='10000-01-01T00:00:00Z'),
            memory(expires_at='never'),
            memory(last_accessed_at='x'),
            memory(id=''),
            memory(id='i' * 129),
            memory(tags=['']),
            memory(metadata={'k': 'x' * 66000}),
        ]
        with Watch(self.node):
            a = self.push(*broken)
            self.assertEqual((a.status, a.json['applied'], a.json['skipped']), (200, 0, len(broken)), a)
            self.assertTrue(all(r['error'] for r in a.json['results']))

    def test_times_from_the_far_future_neither_win_for_ever_nor_move_the_clock(self):
        with Watch(self.node, stores_nothing=False):
            for i, year in enumerate(('9999', '5000', '2500')):
                mine = '22222222-2222-4222-8222-22222222222%d' % i
                a = self.push(
                    memory(id=mine, title='future %d' % i, updated_at=year + '-12-31T23:59:59.999999+00:00')
                )
                self.assertEqual((a.status, a.json['applied']), (200, 1), a)
                a = self.node.request('PUT', '/api/v1/memories/' + mine, {'content': 'edited here'})
                self.assertEqual(a.status, 200, a)
                self.assertEqual(self.node.get('/api/v1/memories/' + mine).json['memory']['content'], 'edited here')
                self.assertEqual(self.node.request('DELETE', '/api/v1/memories/' + mine).status, 200)
            now = self.node.create('after the future', ns='push').json['id']
            stamp = self.node.get('/api/v1/memories/' + now).json['memory']['updated_at']
            self.assertLess(stamp[:4], '2200')

    def test_times_before_all_clocks(self):
        with Watch(self.node, stores_nothing=False):
            for i, at in enumerate(('0000-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '1969-12-31T23:59:59Z')):
                a = self.push(memory(id='44444444-4444-4444-8444-44444444444%d' % i, title=at, updated_at=at))
                self.assertEqual((a.status, a.json['applied']), (200, 1), a)

    def test_a_replayed_push_changes_nothing(self):
        rows = [memory(id='3333333%d-3333-4333-8333-333333333333' % i, title='row %d' % i) for i in range(8)]
        self.assertEqual(self.push(*rows).json['applied'], 8)
        with Watch(self.node):
            for _ in range(20):
                a = self.push(*rows)
                self.assertEqual((a.status, a.json['applied'], a.json['noop']), (200, 0, 8), a)
            a = self.push(deletions=['never-was', '4' * 128, "'; drop table memories; --"])
            self.assertEqual((a.json['noop'], a.json['deleted']), (3, 0), a)
            a = self.push(deletions=['', '4' * 129, '\0'])
            self.assertEqual((a.json['skipped'], a.json['deleted']), (3, 0), a)

    def test_ids_and_titles_that_chase_each_other(self):
        """Two ids swap their titles, over and over, in one body and in many: one visible row a title, always."""

        def row(who, title, second):
            return memory(
                id='5555555%d-5555-4555-8555-555555555555' % who,
                title='t%d' % title,
                namespace='chase',
                updated_at='2026-02-01T00:00:%02d+00:00' % second,
            )

        with Watch(self.node, stores_nothing=False):
            swaps = [row(i, (i + s) % 3, s) for s in range(12) for i in range(3)]
            self.assertEqual(self.push(*swaps).status, 200)
            for s in range(12, 40):
                self.assertEqual(self.push(*[row(i, (i + s) % 3, s) for i in range(3)]).status, 200)
            titles = sorted(m['title'] for m in self.node.memories('chase').values())
            self.assertEqual(titles, sorted(set(titles)))
            for i in range(3):
                a = self.node.get('/api/v1/memories/5555555%d-5555-4555-8555-555555555555' % i)
                self.assertIn(a.status, (200, 404), a)


class Batches(unittest.TestCase):
    """Binary, as our own nodes send it."""

    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh(count=3, writes=2)
        cls.node = cls.mesh.nodes[0]

    @classmethod
    def tearDownClass(cls):
        cls.mesh.close()

    def push(self, body, node=None):
        return (node or self.node).request('POST', '/api/v1/sync/ops', body, headers=BINARY)

    def page(self, node=None):
        """A true batch: what this node hands out of its own stream."""
        node = node or self.node
        own = node.status()
        made = node.create('to take apart', 'text', ns='apart')
        stream = int(made.headers['x-pos'].split(':')[0])
        self.assertTrue(any(v['stream'] == stream for v in own['vector']) or made.status == 201)
        return stream, node.get('/api/v1/sync/ops?stream=%d&from=1&chain=0' % stream).raw

    def test_random_mutations(self):
        stream, whole = self.page()
        dice = random.Random(20)
        samples = [
            whole,
            ops(77, 1 << 50, 1, [b'\x01\x00\x00'])[0],
            message(1, 77, 5, struct.pack('<BIQQQQB', 1, 1, 9, 9, 9, 9, 0)),
            message(3, 77, 5, struct.pack('<BIQQQQB', 0, 1, 9, 9, 9, 9, 0)),
        ]
        with Watch(self.node, stores_nothing=False, links=4):
            for _ in range(1500):
                bad = bytearray(dice.choice(samples))
                for _ in range(dice.randint(1, 8)):
                    kind, at = dice.randint(0, 4), dice.randrange(len(bad) or 1)
                    if not bad:
                        break
                    if kind == 0:
                        bad[at] ^= 1 << dice.randint(0, 7)
                    elif kind == 1:
                        bad[at : at + 8] = dice.choice(
                            (b'\xff' * 8, b'\0' * 8, b'\xff' * 7 + b'\x7f', dice.randbytes(8))
                        )
                    elif kind == 2:
                        del bad[at : at + dice.randint(1, 64)]
                    elif kind == 3:
                        bad[at:at] = dice.randbytes(dice.randint(1, 64))
                    else:
                        del bad[at:]
                a = self.push(bytes(bad))
                self.assertIn(a.status, (200, 400, 403), (bytes(bad)[:64], a))
        self.assertEqual(self.node.get('/api/v1/health').json['status'], 'ok')

    def test_counts_and_lengths_that_are_not_there(self):
        head = struct.pack('<QQQQQB', 1 << 50, 77, 1, 0, 0, 0)
        with Watch(self.node):
            for rest in (
                head + struct.pack('<I', 0xFFFFFFFF),
                head + struct.pack('<I', 513) + b'\0' * 100,
                head + struct.pack('<IQI', 1, 1, 0xFFFFFFFF),
                head + struct.pack('<IQI', 1, 1, 0x7FFFFFFF) + b'x',
            ):
                self.assertEqual(self.push(message(2, 77, 1, rest)).status, 400)
            for kind in (1, 3):
                for count in (0xFFFFFFFF, 65537, 65536, 1):
                    self.assertEqual(self.push(message(kind, 77, 1, struct.pack('<BI', 1, count))).status, 400)
            for kind in (0, 4, 15, 16, 17, 18, 999, 65535):
                self.assertEqual(self.push(message(kind, 77, 1, b'')).status, 400)
            self.assertEqual(self.push(message(2, 77, 1, b'') + b'x' * (17 << 20)).status, 413)
            self.assertEqual(self.push(struct.pack('<IHHI', 0x524D4941, 1, 1, 0x7FFFFFFF)).status, 400)
            other = struct.pack('<IHHI', 0x524D4941, 1, 1, 5) + b'other' + struct.pack('<QQBI', 77, 1, 1, 0)
            self.assertEqual(self.push(sealed(other)).status, 403)

    def test_sequences_and_ids_at_the_edge(self):
        with Watch(self.node):
            for stream, first in (
                (0, 1),
                (1 << 63, 1),
                ((1 << 64) - 1, 1),
                (1 << 50, 0),
                (1 << 50, (1 << 63) - 1),
                (1 << 50, (1 << 64) - 1),
            ):
                packed = struct.pack('<QI', 1, 1) + b'x'
                names = struct.pack('<QQQQQBI', stream, 77, first, 0, chain_next(0, b'x'), 0, 1)
                body = message(2, 77, 1, names + packed)
                self.assertEqual(self.push(body).status, 400, (stream, first))
            late = (1 << 63) - 600
            packed = struct.pack('<QI', 1, 1) + b'x'
            body = message(
                2, 77, 1, struct.pack('<QQQQQBI', 1 << 51, 77, late, 0, chain_next(0, b'x'), 0, 1) + packed
            )
            self.assertEqual(self.push(body).status, 200)
            for node in (0, 1 << 63):
                self.assertEqual(self.push(message(1, node, 1, struct.pack('<BI', 1, 0))).status, 400)
            for query in (
                '',
                '?stream=1',
                '?stream=a&from=1&chain=0',
                '?stream=-1&from=1&chain=0',
                '?stream=1&from=0&chain=0',
                '?stream=1&from=-1&chain=0',
                '?stream=1&from=1x&chain=0',
            ):
                self.assertEqual(self.node.get('/api/v1/sync/ops' + query).status, 400, query)
            for query in (
                '?stream=18446744073709551615&from=1&chain=0',
                '?stream=1&from=18446744073709551615&chain=0',
                '?stream=99999999999999999999999&from=99999999999999999999999&chain=0',
            ):
                self.assertIn(self.node.get('/api/v1/sync/ops' + query).status, (400, 404), query)

    def test_vectors_that_promise_the_moon(self):
        """Positions nobody has in streams nobody writes, by a stranger and in a peer's name: nobody waits for them, and
        what is true still comes through."""
        far = 1 << 62
        peer = self.mesh.nodes[1].status()
        own = self.node.status()
        with Watch(self.node, stores_nothing=False, links=4):
            for who, live in ((77, 5), (peer['node'], peer['stream'])):
                entries = b''.join(struct.pack('<QQQQB', (1 << 52) + i, 77, far + i, i, i & 1) for i in range(65536))
                ahead = struct.pack('<QQQQB', own['stream'], own['node'], far, 1, 1)
                for kind in (1, 3):
                    for count, told in ((65536, entries), (1, ahead)):
                        a = self.push(message(kind, who, live, struct.pack('<BI', 1, count) + told))
                        self.assertEqual(a.status, 200, a)
                self.assertEqual(self.node.create('not held up').status, 201)
                self.assertEqual({p['state'] for p in self.node.status()['peers']}, {'up'})
                self.mesh.nodes[1].cli('store', '-T', 'by a command %d' % who, '-c', 'text', '-n', 'moon')
                until('a new stream is heard of', lambda n=1 + (who != 77): len(self.node.ids('moon')) == n)
            self.mesh.agreed()

    def test_one_who_says_he_is_us(self):
        own = self.node.status()
        with Watch(self.node):
            body = message(1, own['node'], 5, struct.pack('<BI', 1, 0))
            self.assertEqual(self.push(body).status, 200)
            stream = [v['stream'] for v in own['vector'] if v['node'] == own['node']][0]
            batch, _ = ops(own['node'], stream, 1, [b'another history'])
            a = self.push(batch)
            self.assertIn(a.status, (200, 400, 403), a)
        self.assertEqual(self.node.create('still ours').status, 201)


class Versions(unittest.TestCase):
    """Ops that are well formed and mean harm: taken apart from a true one, altered, and put together again."""

    def test_versions_from_the_far_future(self):
        with Mesh(count=3, writes=2) as mesh:
            node = mesh.nodes[0]
            made = node.create('victim', 'first words', ns='v')
            stream = int(made.headers['x-pos'].split(':')[0])
            seq = int(made.headers['x-pos'].split(':')[1])
            page = node.get('/api/v1/sync/ops?stream=%d&from=1&chain=0' % stream).raw
            bodies = self.bodies(page)
            true = next(b for b in bodies if made.json['id'].encode() in b)
            self.assertGreaterEqual(len(bodies), seq)
            before = node.get('/api/v1/memories/' + made.json['id']).json['memory']['updated_at']
            chain, first, foreign = 0, 1, (1 << 50) + 99
            path = '/api/v1/memories/' + made.json['id']
            for ver in (VER_MAX + 1, 1 << 63, (1 << 64) - 1, 0, VER_MAX - (1 << 20), VER_MAX):
                bad = self.with_version(true, ver).replace(b'first words', b'evil  words')
                batch, chain = ops(77, foreign, first, [bad], chain)
                first += 1
                a = node.request('POST', '/api/v1/sync/ops', batch, headers=BINARY)
                self.assertEqual(a.status, 200, (ver, a))
                mesh.agreed(what='a version %d is the same everywhere' % ver)
                shown = node.get(path).json['memory']
                if ver < 2 or ver > VER_MAX:  # held, and passed on
                    self.assertEqual((shown['content'], shown['updated_at']), ('first words', before))
                    continue
                self.assertEqual(shown['content'], 'evil  words')
                for i, n in enumerate(mesh.nodes):  # who saw it beats it, or is told that he cannot
                    a = n.request('PUT', path, {'content': 'edited %d' % i})
                    self.assertEqual(a.status, 409 if ver == VER_MAX else 200, a)
                    mesh.agreed(what='an edit of a row from the far future is the same on every node')
            self.assertEqual(node.request('DELETE', path).status, 409)
            self.among_others(node, made.json['id'])
            self.assertEqual([n.get(path).json['memory']['content'] for n in mesh.nodes], ['evil  words'] * 3)
            fresh = node.create('the clock did not run away', ns='v')
            stamp = node.get('/api/v1/memories/' + fresh.json['id']).json['memory']['updated_at']
            self.assertLess(stamp[:4], '2200')
            mesh.agreed()

    def among_others(self, node, last):
        """What nothing can be made of any more is refused with the reason, and stops nothing beside it."""
        other = node.create('beside it', ns='v').json['id']
        row = memory(id=last, title='victim', namespace='v', content='newer', updated_at='9999-12-31T23:59:59Z')
        body = {'sender_agent_id': 'p', 'memories': [row], 'deletions': [last, other]}
        a = node.post('/api/v1/sync/push', body)
        self.assertEqual((a.status, a.json['skipped'], a.json['deleted']), (200, 2, 1), a)
        refused = [r for r in a.json['results'] if 'the last version there can be' in r['error']]
        self.assertEqual([r['id'] for r in refused], [last, last])
        rows = [{'title': t, 'content': 'x', 'namespace': 'v'} for t in ('victim', '', 'victim')]
        errors = node.post('/api/v1/memories/bulk', rows).json['errors']
        self.assertEqual(len(errors), 3)
        for said, why in zip(errors, ('last version', 'title cannot be empty', 'last version')):
            self.assertIn(why, said)

    def bodies(self, page):
        """The op bodies of an ops message."""
        name = struct.unpack_from('<I', page, 8)[0]
        at = 12 + name + 16 + 41
        count, found = struct.unpack_from('<I', page, at)[0], []
        at += 4
        for _ in range(count):
            length = struct.unpack_from('<I', page, at + 8)[0]
            found.append(page[at + 12 : at + 12 + length])
            at += 12 + length
        return found

    def with_version(self, body, ver):
        """The same op, its first version dated anew: format, count, kind and length stand before it."""
        return body[:9] + struct.pack('<Q', ver) + body[17:]


def text(s):
    if s is None:
        return b'\xff\xff\xff\xff'
    s = s.encode('utf-8', 'surrogatepass') if isinstance(s, str) else s
    return struct.pack('<I', len(s)) + s


class Meanings(unittest.TestCase):
    """Ops of every kind that are well formed and hold what no rule would let in: whatever the texts and numbers, every
    node comes to show the same, every read answers in JSON, and a restart finds it so."""

    TEXTS = (
        '',
        'x',
        '\ud800',
        b'\xff\xfe',
        'a' * 70000,
        '\u202e',
        'not json',
        '{"a":',
        '[1,2]',
        '"x"',
        'null',
        '-1',
        '{"agent_id":5,"scope":[],"governance":"x"}',
        '{"a":1e999}',
        '9999-99-99',
        '0000-01-01T00:00:00Z',
        '9999-12-31T23:59:59Z',
        '\x07\x1b[31m',
        '//',
        '/a/../b',
        '*',
        '_agents',
        '[' * 200 + ']' * 200,
        '["a", 5, null]',
        '{"governance":{"write":"owner","approver":{"type":"nope"}}}',
    )
    NUMBERS = (0, 1, 5, 2**31, 2**53, 2**62, 2**63 - 2, 2**63 - 1)
    IDS = ('a', 'b', 'c', '0' * 36, 'id with space', "q'uote", '%', '_')
    READS = (
        '/api/v1/memories?limit=1000',
        '/api/v1/recall?context=x+c+not+json',
        '/api/v1/search?q=c',
        '/api/v1/stats',
        '/api/v1/namespaces',
        '/api/v1/sync/since?limit=10000',
        '/api/v1/memories/a',
        '/api/v1/memories/b',
        '/api/v1/health',
        '/api/v1/sync/status',
    )

    def version(self, dice):
        pick, odd, ids, numbers = dice.choice, self.TEXTS, self.IDS, self.NUMBERS
        ver = struct.pack('<Q', pick((1, 2, 100, (1 << 62) - 5, 1700000000000 << 16, 1900000000000 << 16)))
        kind = pick((1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
        if kind == 1:
            texts = [text(pick(ids))]
            day = '2026-01-01T00:00:00Z'
            for usual in ('n', pick('tuv'), 'c', '[]', 'api', '{}', day, day, None, None):
                texts.append(text(pick(odd) if dice.random() < 0.35 else usual))
            own = [pick(numbers) if dice.random() < 0.4 else 0 for _ in range(4)]
            shown = pick((0, 1, 2)), dice.randint(1, 10), pick((0.0, 1.0, 5e-324))
            return kind, ver + b''.join(texts) + struct.pack('<BBdQQQQ', *shown, *own)
        if kind == 2:
            return kind, (
                ver
                + text(pick(ids))
                + text(pick(odd + ('n',)))
                + text(pick(odd + ('t', 'u')))
                + struct.pack('<QQ', pick(numbers), pick(numbers))
            )
        if kind in (3, 4):
            return kind, (
                ver
                + text(pick(ids))
                + text(pick(ids))
                + text(pick(odd + ('related_to', 'supersedes')))
                + text(pick(odd + (None,)))
            )
        if kind == 5:
            counts = pick((1, 2, 2**63 - 1)), pick(numbers), pick(numbers), pick(numbers), pick((0, 1))
            return kind, ver + text(pick(ids)) + struct.pack('<QQQQB', *counts)
        blob = pick(
            (
                b'',
                b'x',
                b'\0' * 32,
                b'\xff' * 64,
                text('a') + text('n'),
                text(None) * 2,
                text('b') + text('*'),
                text('a') * 3,
                b'{}',
            )
        )
        return kind, ver + text(pick(ids + odd + ('n', '*', 'n/m'))) + struct.pack('<I', len(blob)) + blob

    def op(self, dice):
        versions = [self.version(dice) for _ in range(dice.randint(1, 4))]
        packed = [struct.pack('<HI', kind, len(body)) + body for kind, body in versions]
        return b'\x01' + struct.pack('<H', len(versions)) + b''.join(packed)

    def positions(self, mesh):
        return {tuple(sorted((v['stream'], v['pos']) for v in n.status()['vector'])) for n in mesh.nodes}

    def test_any_meaning(self):
        dice, told = random.Random(7), {}
        with Mesh(count=3, writes=2) as mesh:
            for i in range(250):
                stream = (1 << 50) + dice.randint(1, 4)
                first, chain = told.get(stream, (1, 0))
                bodies = [self.op(dice) for _ in range(dice.randint(1, 3))]
                batch, after = ops(77 + stream % 3, stream, first, bodies, chain)
                node = dice.choice(mesh.nodes)
                a = node.request('POST', '/api/v1/sync/ops', batch, headers=BINARY)
                self.assertEqual(a.status, 200, a)
                if struct.unpack_from('<QQ', a.raw, 28)[1] == first + len(bodies) - 1:
                    told[stream] = first + len(bodies), after
                if i % 10 == 0:
                    self.use(node)
            until('all have all ops', lambda: len(self.positions(mesh)) == 1, 20)
            mesh.agreed()
            self.assertEqual([n.stop() for n in mesh.nodes], [0] * 3)
            for n in mesh.nodes:
                n.start(wait=False)
            for n in mesh.nodes:
                n.ready()
            mesh.linked()
            mesh.agreed()

    def use(self, node):
        for path in self.READS:
            a = node.get(path)
            self.assertIn(a.status, (200, 404), (path, a))
            self.assertIsNotNone(a.json, (path, a))
        for verb, path, body in (
            ('PUT', '/api/v1/memories/a', {'content': 'mine'}),
            ('DELETE', '/api/v1/memories/b', None),
            ('POST', '/api/v1/memories/c/promote', None),
            ('POST', '/api/v1/memories', {'title': 't', 'content': 'me', 'namespace': 'n'}),
        ):
            a = node.request(verb, path, body)
            self.assertLess(a.status, 500, (verb, path, a))


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
