"""What the hostile tests share: raw bytes to a node, and a watch over what an attack may not change."""

import os
import re
import socket

from mesh import together, until


def raw(node, data, seconds=5, parts=None):
    """Sends bytes as they are on a connection of their own; what came back until the server closed or said no more.
    `parts`: more bytes, sent one after the other; a server that has hung up meanwhile is no failure."""
    with socket.create_connection(('127.0.0.1', node.port), seconds) as s:
        got = b''
        try:
            s.sendall(data)
            for part in parts or ():
                s.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while True:
                chunk = s.recv(65536)
                if not chunk:
                    break
                got += chunk
        except socket.timeout:
            raise AssertionError('no end after %s s; so far %r' % (seconds, got[:200]))
        except ConnectionResetError:
            pass
        return got


def statuses(answer):
    """The status of every answer in the bytes."""
    return [int(status) for status in re.findall(rb'HTTP/1\.1 (\d{3}) ', answer)]


def request(method, target, body=b'', headers=(), ends=True):
    """The bytes of one request; `ends`: it is the last of its connection."""
    lines = ['%s %s HTTP/1.1' % (method, target), 'Host: h'] + ['Connection: close'] * ends + list(headers)
    if body:
        lines.append('Content-Length: %d' % len(body))
    return '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n' + body


def figure(node, name):
    with open('/proc/%d/status' % node.proc.pid) as f:
        for line in f:
            if line.startswith(name + ':'):
                return int(line.split()[1])
    raise AssertionError('no %s' % name)


def descriptors(node):
    return len(os.listdir('/proc/%d/fd' % node.proc.pid))


def sanitized(node):
    with open('/proc/%d/maps' % node.proc.pid) as f:
        return 'libasan' in f.read() or 'libtsan' in f.read()


class Watch:
    """Around an attack: afterwards the same things are stored, nothing was logged for other nodes, the server answers
    and takes a write, has no more descriptors than before, and its memory has not grown."""

    def __init__(self, node, stores_nothing=True, links=0, growth_kb=24 * 1024):
        """links: connections to other nodes that the attack makes it open, and keep; growth_kb: memory it may keep."""
        self.node, self.strict, self.links, self.growth_kb = node, stores_nothing, links, growth_kb

    def __enter__(self):
        node = self.node
        self.write_once()
        together(8, lambda i: node.get('/api/v1/recall?context=what+opens+readers'))
        self.pid, self.fds, self.rss = node.proc.pid, descriptors(node), figure(node, 'VmRSS')
        self.stored = self.contents()
        return self

    def contents(self):
        """All that is shown, and how far every stream of ops has come."""
        return self.node.digest(), self.node.get('/api/v1/stats').json['total'], self.positions()

    def positions(self):
        return sorted((v['stream'], v['pos']) for v in self.node.status()['vector'])

    def nothing_stored(self, what):
        now = self.positions()
        assert now == self.stored[2], '%s was written to the log' % (what,)

    def __exit__(self, kind, value, trace):
        if kind is not None:
            return
        node = self.node
        assert node.alive() and node.proc.pid == self.pid, 'the server ended:\n' + node.tail()
        assert node.get('/api/v1/health').json['status'] == 'ok'
        if self.strict:
            assert self.contents() == self.stored, 'something was stored'
        until('its descriptors are back', lambda: descriptors(node) <= self.fds + self.links, 10)
        if not sanitized(node):
            until('its memory is back', lambda: figure(node, 'VmRSS') - self.rss < self.growth_kb, 15)
        self.write_once()

    def write_once(self):
        answer = self.node.create('still serving', 'around an attack', ns='watch')
        assert answer.status == 201, answer
        assert self.node.request('DELETE', '/api/v1/memories/' + answer.json['id']).status == 200
