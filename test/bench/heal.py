"""How fast healing is and what it costs: a cut amid writers, an empty node joining a mesh under load, an idle mesh."""

import os, subprocess, time

from mesh import Cut, Mesh, until


def flow(bench, node, conns, seconds, seed):
    """A load in the background; wait() gives its figures."""
    argv = [bench.a.load, '--url', node.url, '--text', bench.text, '--conns', str(conns)]
    argv += ['--seconds', str(seconds), '--seed', str(seed)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def has(node, stream, pos):
    return any(s['stream'] == stream and s['pos'] >= pos for s in node.status()['vector'])


def total(node):
    return node.get('/api/v1/stats').json['total']


def seldom(condition):
    """To be asked four times a second: counting a hundred thousand memories takes the node that counts 12 ms."""
    time.sleep(0.25)
    return condition()


def same(m, seconds):
    until('all hold as many', lambda: len({total(n) for n in m.nodes}) == 1 and settled(m), seconds)
    m.agreed(seconds)


def settled(m):
    return (
        len({tuple(sorted((s['stream'], s['pos']) for s in n.status()['vector'] if s['pos'] > 0)) for n in m.nodes})
        == 1
    )


def after_cut(bench):
    """500 ms in which node 0 reaches nobody, amid 64 writers: when has everybody what it had when the cut ended?"""
    if not Cut.possible():
        print('a cut of 500 ms: NOT RUN (needs root and iptables)')
        return
    with Mesh(writes=2, timeout_ms=5000) as m:
        load = flow(bench, m.nodes[0], 64, 2 if bench.a.smoke else 4, 5)
        until('writes flow', lambda: m.nodes[0].status()['pos'] > 100)
        with Cut([m.nodes[1].port, m.nodes[2].port]):
            time.sleep(0.5)
        begun, s = time.monotonic(), m.nodes[0].status()
        until('all have it', lambda: all(has(n, s['stream'], s['pos']) for n in m.nodes[1:]), 30)
        caught_up = time.monotonic() - begun
        r = bench.figures(load.communicate()[0])
        ended = time.monotonic()
        same(m, 30)
        note = 'all positions of that moment everywhere %.3f s after the cut; refused %d of %d' % (
            caught_up,
            r['refused'] + r['failed'],
            r['ok'] + r['refused'] + r['failed'],
        )
        bench.fact('a cut of 500 ms', note, caught_up_s=caught_up, agreed_s=time.monotonic() - ended, load=r)


def join(bench, rows):
    """A node that lost everything returns to a mesh that goes on writing."""
    with Mesh(writes=2, timeout_ms=5000) as m:
        a, _, c = m.nodes
        bench.load(a.url, conns=64, seconds=3600, count=rows, seed=77)
        until('all nodes hold them', lambda: len({total(n) for n in m.nodes}) == 1, 60)
        idle(bench, m, rows)
        whole = bench.load(a.url, conns=64, seconds=bench.a.seconds, seed=78)
        c.kill()
        for f in os.listdir(m.dir):
            if f.startswith('n2.db'):
                os.remove(os.path.join(m.dir, f))
        load = flow(bench, a, 64, 60, 79)
        have, begun = total(a), time.monotonic()
        written = a.status()['pos']
        c.start()
        until('it has what was there', lambda: seldom(lambda: total(c) >= have), 120)
        took = time.monotonic() - begun
        rate = (a.status()['pos'] - written) / took
        load.terminate()
        load.communicate()
        same(m, 120)
        note = '%d rows in %.2f s: %.0f rows/s; the mesh wrote %.0f/s meanwhile, %.0f/s before (%.0f %%)' % (
            have,
            took,
            have / took,
            rate,
            whole['per_second'],
            100 * rate / whole['per_second'],
        )
        bench.fact('an empty node joins', note, rows=have, seconds=took, rate=rate, before=whole['per_second'])


def idle(bench, m, rows):
    from bench import cpu

    seconds = 1 if bench.a.smoke else 10
    time.sleep(seconds / 4 + rows / 2000)  # what the load left to be done: the log is trimmed for 40 s at 100,000
    before = [cpu(n.proc.pid) for n in m.nodes]
    time.sleep(seconds)
    share = [100 * (cpu(n.proc.pid) - b) / seconds for n, b in zip(m.nodes, before)]
    bench.fact(
        'an idle mesh', '%d memories: %s %% of a core' % (rows, ', '.join('%.1f' % s for s in share)), percent=share
    )


def run(bench):
    after_cut(bench)
    join(bench, max(bench.a.sizes))
