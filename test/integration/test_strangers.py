"""The original's program, or somebody by hand, writes into the file of a running server."""

import json
import sqlite3
import unittest

from mesh import Mesh, until
from original import stamp

# What the original does when it opens a file.
OPENING = """
CREATE VIRTUAL TABLE IF NOT EXISTS memories_fts USING fts5(title, content, tags, content=memories, content_rowid=rowid);
CREATE TRIGGER IF NOT EXISTS memories_ai AFTER INSERT ON memories BEGIN
  INSERT INTO memories_fts(rowid, title, content, tags) VALUES (new.rowid, new.title, new.content, new.tags); END;
CREATE TRIGGER IF NOT EXISTS memories_ad AFTER DELETE ON memories BEGIN
  INSERT INTO memories_fts(memories_fts, rowid, title, content, tags)
  VALUES ('delete', old.rowid, old.title, old.content, old.tags); END;
CREATE TRIGGER IF NOT EXISTS memories_au AFTER UPDATE ON memories BEGIN
  INSERT INTO memories_fts(memories_fts, rowid, title, content, tags)
  VALUES ('delete', old.rowid, old.title, old.content, old.tags);
  INSERT INTO memories_fts(rowid, title, content, tags) VALUES (new.rowid, new.title, new.content, new.tags); END;
"""


class Stranger:
    def __init__(self, path, opens=True):
        self.db = sqlite3.connect(path, timeout=10, isolation_level=None)
        if opens:
            self.db.executescript(OPENING + "INSERT INTO memories_fts(memories_fts) VALUES ('rebuild');")

    def insert(self, id, title, content, ns='t'):
        at = stamp()
        self.db.execute(
            'INSERT INTO memories (id, tier, namespace, title, content, tags, priority, confidence, source,'
            ' access_count, created_at, updated_at, metadata) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)',
            (
                id,
                'mid',
                ns,
                title,
                content,
                json.dumps(['x']),
                6,
                0.9,
                'cli',
                0,
                at,
                at,
                json.dumps({'agent_id': 'stranger'}),
            ),
        )

    def edit(self, id, content):
        self.db.execute('UPDATE memories SET content = ?, updated_at = ? WHERE id = ?', (content, stamp(), id))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.close()


def found(node, words):
    return [m['id'] for m in node.get('/api/v1/search?q=' + words).json['results']]


def traces(node):
    with sqlite3.connect(node.db) as db:
        names = [
            r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'memories\\_%' ESCAPE '\\'")
        ]
    return names


class Strangers(unittest.TestCase):
    def test_what_the_original_writes_beside_a_server_is_found_and_goes_to_all(self):
        with Mesh(writes=2) as m:
            n = m.nodes[0]
            ours = n.create('ours', 'before it came').json['id']
            with Stranger(n.db) as stranger:
                stranger.insert('stranger-1', 'its own', 'mulberry written beside')
                stranger.edit(ours, 'quince edited beside')
                for one in m.nodes:
                    until('the row is found', lambda: found(one, 'mulberry') == ['stranger-1'], 10)
                    until('the edit is found', lambda: found(one, 'quince') == [ours], 10)
                    self.assertEqual(found(one, 'before'), [])
            m.agreed()
            self.assertEqual(traces(n), [])
            row = m.nodes[2].get('/api/v1/memories/stranger-1').json['memory']
            self.assertEqual((row['priority'], row['tags'], row['source']), (6, ['x'], 'cli'))
            self.assertEqual(n.create('after it').status, 201)

    def test_a_row_without_the_originals_triggers(self):
        """It had the file open before we took them away."""
        with Mesh(count=2, writes=1) as m:
            n = m.nodes[0]
            with Stranger(n.db, opens=False) as stranger:
                for i in range(150):
                    stranger.insert('plain-%d' % i, 'plain %d' % i, 'medlar number%d' % i)
                    if i % 50 == 49:
                        n.create('between %d' % i)
                for one in m.nodes:
                    until('the last one is found', lambda: found(one, 'number149') == ['plain-149'], 15)
            m.agreed()
            self.assertEqual(len(n.ids('t')), 153)
            self.assertEqual(found(n, 'number77'), ['plain-77'])

    def test_an_edit_by_hand_while_the_server_was_down(self):
        with Mesh(count=2, writes=1) as m:
            n = m.nodes[0]
            id = n.create('edited by hand', 'damson').json['id']
            m.agreed()
            self.assertEqual(n.stop(), 0)
            with Stranger(n.db, opens=False) as stranger:
                stranger.edit(id, 'greengage')
            n.start()
            for one in m.nodes:
                until('the edit is found', lambda: found(one, 'greengage') == [id], 10)
                self.assertEqual(found(one, 'damson'), [])

    def test_commands_beside_a_server_are_no_strangers(self):
        with Mesh(count=1, writes=0) as m:
            n = m.nodes[0]
            n.create('here')
            for i in range(5):
                n.cli('store', '--title', 'beside %d' % i, '--content', 'sloe', '--namespace', 't')
            until('all are found', lambda: len(found(n, 'sloe')) == 5)
            before = n.status()['pos']
            self.assertEqual(n.create('after').status, 201)
            self.assertEqual(n.status()['pos'], before + 1)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
