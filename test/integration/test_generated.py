"""Walks the operations as the program itself describes them: every one that writes changes three nodes alike and tells
where its op stands; every one that reads changes nothing. An operation without a line in the tables here fails."""

import unittest
from urllib.parse import quote, urlencode

from mesh import Mesh, until
from test_converge import shown

NAMESPACES = ('t', 'gate', 'gate/below', 'ruled')
POLICY = {'write': 'approve', 'promote': 'any', 'delete': 'any', 'approver': 'human'}
ROW = {
    'tier': 'mid',
    'namespace': 't',
    'content': 'from elsewhere',
    'tags': [],
    'priority': 5,
    'confidence': 1.0,
    'source': 'import',
    'access_count': 0,
    'metadata': {},
    'created_at': '2026-01-01T00:00:00Z',
    'updated_at': '2026-01-02T00:00:00Z',
}


def name_of(operation):
    """delete_delete, post_create: the verb, then the operation's name."""
    return operation['operationId'].split('_', 1)[1]


class Walk:
    """Three nodes that count (a fourth has been a member and is gone), and rows for the arguments."""

    def __init__(self):
        self.mesh = Mesh(count=4, writes=2, timeout_ms=3000)
        self.turn = 0
        try:
            self.former = self.mesh.nodes[3].status()['node']
            self.nodes = self.mesh.nodes[:3]
            until('all are members', lambda: all(self.former in self.members(n) for n in self.nodes))
            self.mesh.nodes[3].kill()
            self.document = self.nodes[0].get('/api/v1/openapi.json').json
        except BaseException:
            self.mesh.close()
            raise

    def operations(self, *effects):
        for path, verbs in self.document['paths'].items():
            for verb, operation in verbs.items():
                if operation.get('x-effect') in effects:
                    yield verb.upper(), path, operation

    def members(self, node):
        return {m['node']: m['state'] for m in node.status()['members']}

    def node(self):
        self.turn += 1
        return self.nodes[self.turn % 3]

    def request(self, verb, path, body=None, agent='alice', node=None, key=None):
        headers = {'X-Agent-Id': agent, **({'Idempotency-Key': key} if key else {})}
        return (node or self.node()).request(verb, path, body, headers)

    def need(self, verb, path, body=None, agent='alice'):
        """One request of the arrangement: done, and known to all nodes."""
        a = self.request(verb, path, body, agent)
        assert a.status in (200, 201, 202), '%s %s: %s' % (verb, path, a)
        self.known(a)
        return a.json

    def known(self, answer):
        for n in self.nodes:
            r = n.get('/api/v1/stats', headers={'X-Wait-Pos': answer.headers['x-pos']})
            assert r.status == 200, r

    def memory(self, title, **fields):
        body = dict({'content': 'text', 'namespace': 't'}, **fields, title=title)
        return self.need('POST', '/api/v1/memories', body)['id']

    def waiting(self, title):
        self.need('POST', '/api/v1/namespaces/gate/standard', {'governance': POLICY})
        body = {'title': title, 'content': 'x', 'namespace': 'gate'}
        return self.need('POST', '/api/v1/memories', body)['pending_id']

    def state(self, node):
        return dict(shown(node, NAMESPACES), former=self.members(node).get(self.former))

    def vector(self, node):
        return {v['stream']: v['pos'] for v in node.status()['vector']}


# ---- arguments: (values of the path, query, body); what they need is made by the way ---------------------------------


def archived(w):
    w.memory('cormorant')
    w.need('POST', '/api/v1/forget', {'pattern': 'cormorant', 'namespace': 't'})
    return next(r['id'] for r in w.nodes[0].get('/api/v1/archive').json['archived'] if r['title'] == 'cormorant')


def linked(w):
    ends = {'source_id': w.memory('from'), 'target_id': w.memory('to')}
    w.need('POST', '/api/v1/links', ends)
    return ends


def ruled(w):
    w.need('POST', '/api/v1/namespaces/ruled/standard', {'id': w.memory('the rules')})
    return {'namespace': 'ruled'}


def forgettable(w):
    w.memory('plover')
    return {'pattern': 'plover', 'namespace': 't'}


def purgeable(w):
    archived(w)
    return {'all': 'true'}


WRITES = {
    'create': lambda w: ({}, {}, {'title': 'made', 'content': 'x', 'namespace': 't'}),
    'bulk': lambda w: ({}, {}, [{'title': 'bulk %d' % i, 'content': 'x', 'namespace': 't'} for i in range(70)]),
    'update': lambda w: ({'id': w.memory('to update')}, {}, {'content': 'updated', 'title': 'renamed'}),
    'delete': lambda w: ({'id': w.memory('to delete')}, {}, None),
    'promote': lambda w: ({'id': w.memory('to promote')}, {}, None),
    'forget': lambda w: ({}, {}, forgettable(w)),
    'link': lambda w: ({}, {}, {'source_id': w.memory('one end'), 'target_id': w.memory('other end')}),
    'unlink': lambda w: ({}, {}, linked(w)),
    'consolidate': lambda w: (
        {},
        {},
        {'ids': [w.memory('part a'), w.memory('part b')], 'title': 'whole', 'summary': 's', 'namespace': 't'},
    ),
    'import': lambda w: ({}, {}, {'memories': [dict(ROW, id='im-%d' % i, title='im %d' % i) for i in range(70)]}),
    'archive_restore': lambda w: ({'id': archived(w)}, {}, None),
    'archive_purge': lambda w: ({}, purgeable(w), None),
    'standard_set': lambda w: ({'namespace': 'gate/below'}, {}, {'id': w.memory('a standard')}),
    'standard_clear': lambda w: (ruled(w), {}, None),
    'approve': lambda w: ({'id': w.waiting('wanted')}, {}, None),
    'reject': lambda w: ({'id': w.waiting('unwanted')}, {}, None),
    'agent_register': lambda w: ({}, {}, {'agent_id': 'ann', 'agent_type': 'human'}),
    'sync_push': lambda w: (
        {},
        {},
        {
            'sender_agent_id': 'x',
            'deletions': [w.memory('pushed out')],
            'memories': [dict(ROW, id='pu-%d' % i, title='pu %d' % i) for i in range(70)],
        },
    ),
    'member_remove': lambda w: ({'node': str(w.former)}, {}, None),
}

READS = {
    'get': lambda w: ({'id': w.ids[0]}, {'consistency': 'quorum'}, None),
    'list': lambda w: ({}, {'namespace': 't'}, None),
    'search': lambda w: ({}, {'q': 'text'}, None),
    'links': lambda w: ({'id': w.ids[0]}, {}, None),
    'namespaces': lambda w: ({}, {}, None),
    'stats': lambda w: ({}, {}, None),
    'export': lambda w: ({}, {}, None),
    'archive_list': lambda w: ({}, {}, None),
    'archive_stats': lambda w: ({}, {}, None),
    'standard_get': lambda w: ({'namespace': 'ruled'}, {'inherit': 'true'}, None),
    'pending_list': lambda w: ({}, {}, None),
    'agents': lambda w: ({}, {}, None),
    'sync_row': lambda w: ({}, {'id': w.ids[0]}, None),
    'gc': lambda w: ({}, {}, None),
}


class Generated(unittest.TestCase):
    def setUp(self):
        self.walk = Walk()
        self.addCleanup(self.walk.mesh.close)

    def make(self, table, operation):
        name = name_of(operation)
        self.assertIn(name, table, 'an operation without arguments here: write some')
        return table[name](self.walk)

    def alike(self, what, but=None):
        """Until the three show the same, and something else than `but`."""

        def same():
            states = [self.walk.state(n) for n in self.walk.nodes]
            return states[0] if all(s == states[0] for s in states) and states[0] != but else None

        return until('after %s all three show the same, and it is new' % what, same, 10)[0]

    def call(self, verb, path, arguments, node=None, key=None):
        values, query, body = arguments
        for name, value in values.items():
            path = path.replace('{%s}' % name, quote(value, ''))
        self.assertNotIn('{', path)
        path += '?' + urlencode(query) if query else ''
        return self.walk.request(verb, path, body, node=node, key=key)

    def test_every_write_changes_three_nodes_alike(self):
        walked = set()
        for verb, path, operation in self.walk.operations('write'):
            name = name_of(operation)
            with self.subTest(operation=name):
                walked.add(name)
                arguments = self.make(WRITES, operation)
                before = self.alike('what %s needs' % name)
                a = self.call(verb, path, arguments)
                self.assertIn(a.status, (200, 201), '%s: %s' % (name, a))
                stream, _, seq = a.headers.get('x-pos', '').partition(':')
                self.assertTrue(stream.isdigit() and seq.isdigit() and int(seq) > 0, '%s: %s' % (name, a.headers))
                self.assertIn(a.headers.get('x-durability'), ('local', 'quorum', 'all'))
                self.walk.known(a)
                self.alike(name, but=before)
        self.assertEqual(walked, set(WRITES), 'arguments for an operation that is not there')

    def test_every_write_is_answered_once_under_a_key(self):
        """The same request under one Idempotency-Key, here and at another node: the first answer, and no other op."""
        for verb, path, operation in self.walk.operations('write'):
            name = name_of(operation)
            with self.subTest(operation=name):
                arguments = self.make(WRITES, operation)
                self.alike('what %s needs' % name)
                here, there = self.walk.nodes[0], self.walk.nodes[1]
                first = self.call(verb, path, arguments, here, 'key of ' + name)
                self.assertIn(first.status, (200, 201), '%s: %s' % (name, first))
                self.walk.known(first)
                after = self.alike(name)
                after.pop('former')  # nodes notice by and by what became of a member
                for node in (here, there):
                    again = self.call(verb, path, arguments, node, 'key of ' + name)
                    hints = ('potential_contradictions', 'quorum_acks')  # of the moment
                    bodies = [{k: v for k, v in a.json.items() if k not in hints} for a in (first, again)]
                    self.assertEqual(bodies[1], bodies[0], name)
                    self.assertEqual((again.status, again.headers['x-pos']), (first.status, first.headers['x-pos']))
                now = self.alike(name)
                now.pop('former')
                self.assertEqual(now, after)

    def test_every_read_changes_nothing(self):
        w = self.walk
        w.ids = [w.memory('row %d' % i) for i in range(3)]
        w.need('POST', '/api/v1/links', {'source_id': w.ids[0], 'target_id': w.ids[1]})
        ruled(w)
        before = self.alike('the beginning')
        vectors = [w.vector(n) for n in w.nodes]
        walked = set()
        for verb, path, operation in w.operations('read', 'local'):
            name = name_of(operation)
            with self.subTest(operation=name):
                walked.add(name)
                for _ in w.nodes:
                    a = self.call(verb, path, self.make(READS, operation))
                    self.assertEqual(a.status, 200, '%s: %s' % (name, a))
                    self.assertNotIn('x-pos', a.headers)
                self.assertEqual([w.vector(n) for n in w.nodes], vectors, '%s made an op' % name)
                self.assertTrue(all(w.state(n) == before for n in w.nodes), '%s changed what is shown' % name)
        self.assertEqual(walked, set(READS), 'arguments for an operation that is not there')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
