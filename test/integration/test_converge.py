"""Each operation that writes, at one node of three: afterwards all three show the same, of everything there is."""

import unittest
from urllib.parse import quote

from mesh import Mesh, until

LOOSE = ('access_count', 'last_accessed_at')
POLICY = {'write': 'approve', 'promote': 'approve', 'delete': 'approve', 'approver': {'consensus': 2}}


def shown(node, namespaces):
    """Everything a node shows: memories, their links, the archive, what waits, agents, standards."""
    memories = node.memories()
    return {
        'memories': [{k: v for k, v in memories[i].items() if k not in LOOSE} for i in sorted(memories)],
        'links': {i: node.get('/api/v1/links/' + i).json['links'] for i in memories},
        'archive': sorted(
            node.get('/api/v1/archive?limit=1000').json['archived'], key=lambda row: (row['id'], row['archived_at'])
        ),
        'pending': sorted(node.get('/api/v1/pending').json['pending'], key=lambda row: row['id']),
        'agents': node.get('/api/v1/agents').json['agents'],
        'standards': {ns: node.get('/api/v1/namespaces/%s/standard' % quote(ns, '')).json for ns in namespaces},
    }


class Case(unittest.TestCase):
    namespaces = ('t', 'gate', 'gate/below')

    def setUp(self):
        self.mesh = Mesh(timeout_ms=3000)
        self.addCleanup(self.mesh.close)
        self.turn = 0

    def node(self):
        """Another node for each request."""
        self.turn += 1
        return self.mesh.nodes[self.turn % 3]

    def alike(self, what):
        """Until the three show the same; returns it."""

        def same():
            states = [shown(n, self.namespaces) for n in self.mesh.nodes]
            return states[0] if all(s == states[0] for s in states) else None

        try:
            return until(what, same, 10)[0]
        except AssertionError:
            first, *others = [shown(n, self.namespaces) for n in self.mesh.nodes]
            for other in others:
                for part in first:
                    self.assertEqual(first[part], other[part], '%s: %s' % (what, part))
            raise

    def ask(self, method, path, body=None, status=200, agent='alice'):
        a = self.node().request(method, path, body, {'X-Agent-Id': agent})
        self.assertEqual(a.status, status, '%s %s: %s' % (method, path, a))
        if method != 'GET' and status < 300:
            self.assertIn('x-quorum-acks', a.headers)
        return a.json

    def make(self, title, **fields):
        body = dict({'content': 'text of ' + title, 'namespace': 't'}, **fields, title=title)
        made = self.ask('POST', '/api/v1/memories', body, 201)
        self.alike('a memory')
        return made['id']


class Memories(Case):
    def test_links(self):
        a, b = self.make('a'), self.make('b')
        self.ask('POST', '/api/v1/links', {'source_id': a, 'target_id': b, 'relation': 'supersedes'}, 201)
        self.assertEqual(len(self.alike('a link')['links'][b]), 1)
        self.ask('POST', '/api/v1/links', {'source_id': b, 'target_id': a}, 201)
        self.assertEqual(len(self.alike('another link')['links'][a]), 2)
        self.ask('DELETE', '/api/v1/links', {'source_id': a, 'target_id': b})
        self.assertEqual(len(self.alike('a link less')['links'][a]), 1)
        self.ask('DELETE', '/api/v1/memories/' + b)
        self.assertEqual(self.alike('a deletion')['links'], {a: []})

    def test_forget_and_restore(self):
        ids = [self.make('red %d' % i, metadata={'k': i}) for i in range(3)] + [self.make('blue')]
        self.assertEqual(self.ask('POST', '/api/v1/forget', {'pattern': 'red', 'namespace': 't'})['deleted'], 3)
        state = self.alike('forgetting')
        self.assertEqual([m['id'] for m in state['memories']], ids[3:])
        self.assertEqual({row['archive_reason'] for row in state['archive']}, {'forget'})
        self.ask('POST', '/api/v1/archive/%s/restore' % ids[1])
        state = self.alike('a restored memory')
        self.assertEqual(len(state['memories']), 2)
        self.assertEqual(len(state['archive']), 2)
        self.assertEqual(self.ask('DELETE', '/api/v1/archive?all=true')['purged'], 2)
        self.assertEqual(self.alike('a purge')['archive'], [])

    def test_consolidate(self):
        a, b = self.make('a', tags=['x']), self.make('b', tags=['y'], priority=9)
        merged = self.ask('POST', '/api/v1/consolidate', {'ids': [a, b], 'title': 'a', 'summary': 'both'}, 201)
        state = self.alike('a merged memory')
        self.assertEqual([m['id'] for m in state['memories']], [merged['id']])
        self.assertEqual(state['memories'][0]['tags'], ['x', 'y'])
        self.assertEqual({row['id'] for row in state['archive']}, {a, b})

    def test_import(self):
        row = {
            'tier': 'long', 'namespace': 't', 'content': 'c', 'tags': [], 'priority': 5, 'confidence': 1.0,
            'source': 'import', 'access_count': 3, 'created_at': '2026-01-01T00:00:00Z',
            'updated_at': '2026-01-02T00:00:00Z',
        }  # fmt: skip
        rows = [dict(row, id='i-%d' % i, title='imported %d' % i) for i in range(150)]
        links = [{'source_id': 'i-0', 'target_id': 'i-1', 'relation': 'related_to', 'created_at': row['created_at']}]
        done = self.ask('POST', '/api/v1/import', {'memories': rows, 'links': links})
        self.assertEqual((done['imported'], done['errors']), (150, []))
        state = self.alike('an import')
        self.assertEqual(len(state['memories']), 150)
        self.assertEqual(len(state['links']['i-1']), 1)
        self.assertEqual({m['updated_at'] for m in state['memories']}, {row['updated_at']})
        # at another node, the same titles: whatever comes in stands
        newer = [dict(rows[0], content='newer'), dict(rows[1], id='i-x', content='other id')]
        self.assertEqual(self.ask('POST', '/api/v1/import', {'memories': newer})['imported'], 2)
        found = {m['title']: m for m in self.alike('a second import')['memories']}
        self.assertEqual(found['imported 0']['content'], 'newer')
        self.assertEqual((found['imported 1']['id'], found['imported 1']['content']), ('i-1', 'other id'))

    def test_a_sweep_is_a_nodes_own(self):
        past = '2026-01-02T00:00:00Z'
        row = {
            'id': 'old', 'title': 'old', 'tier': 'mid', 'namespace': 't', 'content': 'c', 'tags': [], 'priority': 5,
            'confidence': 1.0, 'source': 'import', 'access_count': 0, 'created_at': past, 'updated_at': past,
            'expires_at': past,
        }  # fmt: skip
        self.ask('POST', '/api/v1/import', {'memories': [row]})
        swept = self.mesh.nodes[0]
        self.assertEqual(swept.post('/api/v1/gc', {}).json['expired_deleted'], 1)
        others = self.mesh.nodes[1:]
        until('the others have it', lambda: all(n.get('/api/v1/memories/old').status == 200 for n in others))
        self.assertEqual(swept.get('/api/v1/memories/old').status, 404)
        self.mesh.nodes[1].request('PUT', '/api/v1/memories/old', {'expires_at': None})
        self.assertIn('old', [m['id'] for m in self.alike_but_archive('an edit brings it back')['memories']])

    def alike_but_archive(self, what):
        def same():
            states = [dict(shown(n, self.namespaces), archive=None) for n in self.mesh.nodes]
            return states[0] if all(s == states[0] for s in states) else None

        return until(what, same, 10)[0]


class Rules(Case):
    def test_standards(self):
        rules = self.make('rules')
        path = '/api/v1/namespaces/%s/standard'
        self.ask('POST', path % 'gate', {'id': rules, 'parent': 't', 'governance': POLICY}, 201)
        state = self.alike('a standard')
        self.assertEqual(state['standards']['gate']['standard_id'], rules)
        self.assertEqual(state['standards']['gate']['governance'], POLICY)
        self.ask('POST', path % quote('gate/below', ''), {}, 201)
        self.assertTrue(self.alike('a standard of its own')['standards']['gate/below']['standard_id'])
        self.assertTrue(self.ask('DELETE', path % 'gate')['cleared'])
        self.assertIsNone(self.alike('no standard')['standards']['gate']['standard_id'])

    def test_agents(self):
        for agent in ('ann', 'ben'):
            self.ask('POST', '/api/v1/agents', {'agent_id': agent, 'agent_type': 'human'}, 201)
        self.alike('agents')
        self.ask('POST', '/api/v1/agents', {'agent_id': 'ann', 'agent_type': 'ai:x', 'capabilities': ['c']}, 201)
        agents = self.alike('an agent again')['agents']
        self.assertEqual([(a['agent_id'], a['agent_type']) for a in agents], [('ann', 'ai:x'), ('ben', 'human')])

    def test_votes_of_several_nodes(self):
        self.ask('POST', '/api/v1/namespaces/gate/standard', {'governance': POLICY}, 201)
        for agent in ('ann', 'ben'):
            self.ask('POST', '/api/v1/agents', {'agent_id': agent, 'agent_type': 'human'}, 201)
        self.alike('a policy')
        body = {'title': 'wanted', 'content': 'x', 'namespace': 'gate'}
        waits = self.ask('POST', '/api/v1/memories', body, 202)['pending_id']
        refused = self.ask('POST', '/api/v1/memories', dict(body, title='unwanted'), 202)['pending_id']
        self.assertEqual([p['status'] for p in self.alike('what waits')['pending']], ['pending', 'pending'])
        path = '/api/v1/pending/%s/%s'
        self.assertEqual(self.ask('POST', path % (waits, 'approve'), status=202, agent='ann')['votes'], 1)
        self.alike('a vote')
        done = self.ask('POST', path % (waits, 'approve'), agent='ben')
        self.ask('POST', path % (refused, 'reject'), agent='ben')
        state = self.alike('decisions')
        self.assertEqual({p['id']: p['status'] for p in state['pending']}, {waits: 'approved', refused: 'rejected'})
        self.assertIn(done['memory_id'], [m['id'] for m in state['memories']])
        voters = [p['approvals'] for p in state['pending'] if p['id'] == waits][0]
        self.assertEqual([v['agent_id'] for v in voters], ['ann', 'ben'])


class Apart(Case):
    def test_what_was_done_apart_joins(self):
        """One node is away while all kinds of things happen; it writes too when it is back, alone."""
        a, b, c = self.make('a'), self.make('b'), self.make('c')
        self.ask('POST', '/api/v1/agents', {'agent_id': 'ann', 'agent_type': 'human'}, 201)
        self.alike('the beginning')
        late = self.mesh.nodes[2]
        late.kill()
        here = self.mesh.nodes[0]
        one = {'X-Write-Quorum': '1', 'X-Agent-Id': 'alice'}
        here.post('/api/v1/links', {'source_id': a, 'target_id': b}, headers=one)
        here.post('/api/v1/forget', {'pattern': 'text of c'}, headers=one)
        here.post('/api/v1/agents', {'agent_id': 'ben', 'agent_type': 'human'}, headers=one)
        here.post('/api/v1/namespaces/t/standard', {'id': a}, headers=one)
        late.start()
        late.post('/api/v1/consolidate', {'ids': [b, c], 'title': 'm', 'summary': 's'}, headers=one)
        late.post('/api/v1/namespaces/gate/standard', {}, headers=one)
        self.mesh.linked()
        state = self.alike('all is joined')
        self.assertEqual(state['standards']['t']['standard_id'], a)
        self.assertEqual([x['agent_id'] for x in state['agents']], ['ann', 'ben'])
        self.assertNotIn(c, [m['id'] for m in state['memories']])

    def test_votes_that_are_enough_by_joining(self):
        """A vote on each side of a cut: when the two meet, the action is carried out, and once."""
        for agent in ('ann', 'ben'):
            self.ask('POST', '/api/v1/agents', {'agent_id': agent, 'agent_type': 'human'}, 201)
        self.ask('POST', '/api/v1/namespaces/gate/standard', {'governance': dict(POLICY, write='any')}, 201)
        gone = self.ask('POST', '/api/v1/memories', {'title': 'unwanted', 'content': 'x', 'namespace': 'gate'}, 201)[
            'id'
        ]
        self.ask('POST', '/api/v1/namespaces/gate/standard', {'governance': POLICY}, 201)
        self.alike('a policy')
        waits = [
            self.ask('POST', '/api/v1/memories', {'title': 'wanted', 'content': 'x', 'namespace': 'gate'}, 202),
            self.ask('DELETE', '/api/v1/memories/' + gone, status=202),
        ]
        self.alike('what waits')

        def vote(node, agent):
            for w in waits:
                path = '/api/v1/pending/%s/approve' % w['pending_id']
                a = node.post(path, None, headers={'X-Write-Quorum': '1', 'X-Agent-Id': agent})
                self.assertEqual((a.status, a.json['votes']), (202, 1))

        late, others = self.mesh.nodes[2], self.mesh.nodes[:2]
        late.kill()
        vote(others[0], 'ann')
        for n in others:
            n.kill()
        late.start()
        vote(late, 'ben')
        for n in others:
            n.start()
        self.mesh.linked()

        def decided():
            rows = [p for n in self.mesh.nodes for p in n.get('/api/v1/pending').json['pending']]
            return all(p['status'] == 'approved' for p in rows)

        until('all know that it is decided', decided, 15)
        state = self.alike('what was decided')
        titles = sorted(m['title'] for m in state['memories'] if m['namespace'] == 'gate')
        self.assertEqual(titles, ['_standard:gate', 'wanted'])
        self.assertEqual([v['agent_id'] for v in state['pending'][0]['approvals']], ['ann', 'ben'])


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings="ignore")
