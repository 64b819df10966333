#!/usr/bin/env python3
"""The bench driver: three nodes (W=2, fsynced, full text on all), single node, recall, start, memory, healing; beside
them, in the same run, etcd and PostgreSQL with two synchronous standbys (without and with full text) when this machine
has them. A table on stdout, JSON with --out.

    ./dev bench                      all, about five minutes
    ./dev bench --only writes,etcd   parts: writes etcd postgres single recall start heal
    ./dev bench --sizes 1000,10000   recall over stores of these many memories (add 1000000 for the long one)

Everything shares this machine's cores with the load generator; ratios are within one run."""

import argparse, glob, json, os, pwd, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))
sys.path.insert(0, HERE)
PARTS = ('start', 'writes', 'etcd', 'postgres', 'single', 'recall', 'heal')
POSTGRES, POSTGRES_WORDS = 'PostgreSQL ANY 1 of 2', 'PostgreSQL, full text'
FULL_TEXT = ", words tsvector generated always as (to_tsvector('english', title || ' ' || content)) stored"


def corpus(path, count=20000):
    """Real prose, a line a paragraph: package descriptions of this machine, else what its packages document."""
    lines = []
    if shutil.which('apt-cache'):
        text = subprocess.run(['apt-cache', 'dumpavail'], capture_output=True, text=True, errors='replace').stdout
        for block in text.split('\n\n'):
            at = block.find('\nDescription')
            if at >= 0:
                lines.append(' '.join(block[at:].split()[1:])[:600])
    if len(lines) < 1000:
        for f in sorted(glob.glob('/usr/share/doc/*/copyright') + glob.glob('/usr/share/doc/*/README*')):
            try:
                with open(f, errors='replace') as fh:
                    lines += [' '.join(p.split())[:600] for p in fh.read().split('\n\n') if len(p) > 80]
            except OSError:
                pass
    lines = [l for l in dict.fromkeys(lines) if len(l) > 60 and l.isprintable()][:count]
    with open(path, 'w') as f:
        f.write('\n'.join(lines) + '\n')
    return len(lines)


class Bench:
    def __init__(self, args):
        self.a, self.results, self.dir = args, [], tempfile.mkdtemp(prefix='ai-memory-bench.')
        self.text = os.path.join(self.dir, 'text')
        print('prose: %d lines' % corpus(self.text), flush=True)

    def load(self, url, **options):
        argv = [self.a.load, '--url', url, '--text', self.text]
        for k, v in options.items():
            argv += ['--' + k.replace('_', '-'), str(v)]
        return self.figures(subprocess.run(argv, capture_output=True, text=True).stdout)

    def figures(self, text):
        try:
            return json.loads(text)
        except ValueError:
            raise SystemExit('load failed: ' + text)

    def fact(self, what, note, **values):
        self.results.append(dict(values, what=what))
        print('%-28s %s' % (what, note), flush=True)

    def say(self, what, r, note=''):
        self.results.append(dict(r, what=what, note=note))
        print(
            '%-28s %4s conns %9.0f/s   p50 %8.3f   p95 %8.3f   p99 %8.3f ms   refused %d %s'
            % (
                what,
                r.get('conns', ''),
                r['per_second'],
                r['p50_ms'],
                r['p95_ms'],
                r['p99_ms'],
                r.get('refused', 0),
                note,
            ),
            flush=True,
        )

    # ---- ours
    def writes(self):
        from mesh import Mesh

        for conns in self.a.conns:
            with Mesh(writes=2, timeout_ms=5000) as m:
                self.load(m.nodes[0].url, conns=conns, seconds=min(1, self.a.seconds), seed=9)
                before = [cpu(n.proc.pid) for n in m.nodes]
                r = self.load(m.nodes[0].url, conns=conns, seconds=self.a.seconds)
                used = [cpu(n.proc.pid) - b for n, b in zip(m.nodes, before)]
                r['cpu_us_per_write'] = [round(u * 1e6 / max(1, r['ok']), 1) for u in used]
                done = time.monotonic()
                while len({n.get('/api/v1/stats').json['total'] for n in m.nodes}) > 1:
                    if time.monotonic() - done > 30:
                        raise SystemExit('nodes do not agree after the load')
                    time.sleep(0.01)
                r['converged_s'] = round(time.monotonic() - done, 3)
                self.say(
                    'ai-memory W=2/N=3',
                    r,
                    'cpu us/write %s, agreed after %.2f s' % (r['cpu_us_per_write'], r['converged_s']),
                )

    def single(self):
        from mesh import Mesh

        for conns in self.a.conns:
            with Mesh(count=1, writes=0) as m:
                self.load(m.nodes[0].url, conns=conns, seconds=min(1, self.a.seconds), seed=9)
                self.say('ai-memory one node', self.load(m.nodes[0].url, conns=conns, seconds=self.a.seconds))

    def recall(self):
        from mesh import Mesh

        with Mesh(count=1, writes=0) as m:
            n, have = m.nodes[0], 0
            for size in sorted(self.a.sizes):
                r = self.load(
                    n.url, conns=64, seconds=3600, count=size - have, seed=100 + size, ids_out=self.dir + '/ids'
                )
                have = size
                for kind in ('recall', 'get'):
                    q = self.load(n.url, conns=1, seconds=self.a.seconds, kind=kind, ids=self.dir + '/ids')
                    self.say('%s, %d memories' % (kind, size), q)
                print(
                    '    (filled at %.0f/s; database %.1f MB)'
                    % (r['per_second'], n.get('/api/v1/stats').json['db_size_bytes'] / 1e6),
                    flush=True,
                )

    def start(self):
        from mesh import Mesh

        with Mesh(count=1, writes=0) as m:
            n, took = m.nodes[0], []
            for _ in range(5):
                n.stop()
                begun = time.monotonic()
                n.start(wait=False)
                while True:
                    try:
                        socket.create_connection(('127.0.0.1', n.port), 1).close()
                        if n.get('/api/v1/health').status == 200:
                            break
                    except OSError:
                        time.sleep(0.0005)
                took.append((time.monotonic() - begun) * 1000)
            rss = rss_mib(n.proc.pid)
        with Mesh(writes=2) as m:
            mesh_rss = [rss_mib(n.proc.pid) for n in m.nodes]
        size = os.path.getsize(self.a.bin) / 1e6
        stripped = self.dir + '/stripped'
        subprocess.run(['strip', '-o', stripped, self.a.bin], check=True)
        self.results.append(
            {
                'what': 'start',
                'start_ms': took,
                'rss_mib': rss,
                'mesh_rss_mib': mesh_rss,
                'binary_mb': size,
                'stripped_mb': os.path.getsize(stripped) / 1e6,
            }
        )
        print(
            'start to first reply         median %.1f ms (of %d)   idle RSS %.1f MiB, in a mesh %s   '
            'program %.2f MB (%.2f stripped)'
            % (
                sorted(took)[len(took) // 2],
                len(took),
                rss,
                ['%.1f' % r for r in mesh_rss],
                size,
                os.path.getsize(stripped) / 1e6,
            ),
            flush=True,
        )

    def heal(self):
        import heal

        heal.run(self)

    # ---- others
    def etcd(self):
        if not shutil.which('etcd'):
            print('etcd: NOT RUN (not installed)')
            return
        from mesh import free_ports

        ports, procs = free_ports(6), []
        cluster = ','.join('e%d=http://127.0.0.1:%d' % (i, ports[i]) for i in range(3))
        for i in range(3):
            procs.append(
                subprocess.Popen(
                    [
                        'etcd',
                        '--name',
                        'e%d' % i,
                        '--data-dir',
                        '%s/e%d' % (self.dir, i),
                        '--initial-cluster',
                        cluster,
                        '--initial-cluster-state',
                        'new',
                        '--listen-peer-urls',
                        'http://127.0.0.1:%d' % ports[i],
                        '--initial-advertise-peer-urls',
                        'http://127.0.0.1:%d' % ports[i],
                        '--listen-client-urls',
                        'http://127.0.0.1:%d' % ports[3 + i],
                        '--advertise-client-urls',
                        'http://127.0.0.1:%d' % ports[3 + i],
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        try:
            leader = None
            for _ in range(600):
                for i in range(3):
                    try:
                        q = urllib.request.Request('http://127.0.0.1:%d/v3/maintenance/status' % ports[3 + i], b'{}')
                        s = json.load(urllib.request.urlopen(q, timeout=1))
                        if s.get('leader') and s['leader'] == s['header']['member_id']:
                            leader = i
                    except OSError:
                        pass
                if leader is not None:
                    break
                time.sleep(0.05)
            for conns in self.a.conns:
                self.say(
                    'etcd, 3 nodes',
                    self.load(
                        'http://127.0.0.1:%d' % ports[3 + leader],
                        kind='etcd',
                        conns=conns,
                        seconds=self.a.seconds,
                        seed=conns,
                    ),
                )
        finally:
            for p in procs:
                p.kill()
                p.wait()

    def postgres(self):
        bins = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
        if not bins or not os.path.exists(bins[-1] + '/pgbench'):
            print('PostgreSQL: NOT RUN (not installed)')
            return
        Postgres(self, bins[-1]).run()

    def run(self):
        try:
            for part in PARTS:
                if part in self.a.only:
                    print('\n== ' + part, flush=True)
                    getattr(self, part)()
            self.ratios()
            if self.a.out:
                with open(self.a.out, 'w') as f:
                    json.dump(
                        {
                            'results': self.results,
                            'cores': os.cpu_count(),
                            'when': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
                        },
                        f,
                        indent=1,
                    )
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def ratios(self):
        rate = {(r['what'], r.get('conns')): r for r in self.results}
        for other in ('etcd, 3 nodes', POSTGRES, POSTGRES_WORDS):
            for c in self.a.conns:
                ours, theirs = rate.get(('ai-memory W=2/N=3', c)), rate.get((other, c))
                if ours and theirs and theirs['per_second']:
                    print(
                        'ratio to %-24s %4d conns: %.2f x writes/s, %.2f x p50'
                        % (
                            other,
                            c,
                            ours['per_second'] / theirs['per_second'],
                            ours['p50_ms'] / max(0.001, theirs['p50_ms']),
                        )
                    )


class Postgres:
    """A primary and two standbys, an insert acknowledged by any one of them: the same shape as W=2 of 3."""

    def __init__(self, bench, bindir):
        self.b, self.bin = bench, bindir
        self.user = 'postgres' if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.dir = tempfile.mkdtemp(prefix='ai-memory-pg.')
        os.chmod(self.dir, 0o777)
        self.started = []

    def cmd(self, *argv, **kw):
        prefix = ['runuser', '-u', self.user, '--'] if os.geteuid() == 0 else []
        return subprocess.run(prefix + list(argv), capture_output=True, text=True, cwd=self.dir, **kw)

    def ok(self, *argv):
        r = self.cmd(*argv)
        if r.returncode:
            raise SystemExit('%s: %s %s' % (argv[0], r.stdout, r.stderr))
        return r.stdout

    def start(self, name, port):
        self.ok(
            self.bin + '/pg_ctl',
            '-D',
            self.dir + '/' + name,
            '-w',
            '-l',
            self.dir + '/%s.log' % name,
            '-o',
            '-p %d -k %s -c listen_addresses=127.0.0.1' % (port, self.dir),
            'start',
        )
        self.started.append(name)

    def psql(self, sql):
        return self.ok(
            self.bin + '/psql', '-h', self.dir, '-p', str(self.port), '-U', self.user, '-d', 'postgres', '-Atc', sql
        )

    def prose(self):
        """The paragraphs that our own load sends."""
        self.psql('create table prose (id int primary key, text text not null)')
        copy = self.dir + '/prose'
        with open(self.b.text) as lines, open(copy, 'w') as out:
            for i, line in enumerate(lines):
                out.write('%d\t%s\n' % (i, line.rstrip('\n').replace('\\', '\\\\').replace('\t', ' ')[:400]))
        os.chmod(copy, 0o644)
        self.psql("copy prose from '%s'" % copy)

    def inserts(self, name, extra):
        self.psql('drop table if exists m')
        self.psql(
            'create table m (id uuid primary key, ns text not null, title text not null, content text not null, '
            'tags jsonb, priority int, updated timestamptz default now()%s, unique (title, ns))' % extra
        )
        self.psql('create index on m (priority desc, updated desc)')
        self.psql('create index on m (ns, priority desc, updated desc)')
        if extra:
            self.psql('create index on m using gin (words)')
        script = self.dir + '/insert.sql'
        with open(script, 'w') as f:
            f.write(
                "\\set r random(1, 2000000000)\n\\set q random(1, 2000000000)\n"
                "\\set p random(0, %d)\n"
                "insert into m select gen_random_uuid(), 'bench', 'title of ' || :r || ' ' || :q, text, "
                "'[\"bench\"]', 5 from prose where id = :p;\n" % (int(self.psql('select count(*) from prose')) - 1)
            )
        os.chmod(script, 0o644)
        for conns in self.b.a.conns:
            self.insert(name, script, conns)

    def insert(self, name, script, conns):
        seconds = str(max(1, int(self.b.a.seconds)))
        prefix = '%s/lat.%s.%d' % (self.dir, 'w' if name == POSTGRES_WORDS else 'p', conns)
        argv = [self.bin + '/pgbench', '-h', self.dir, '-p', str(self.port), '-U', self.user, '-n', '-f', script]
        argv += ['-M', 'prepared', '-c', str(conns), '-j', '2' if conns > 1 else '1', '-T', seconds]
        out = self.cmd(*argv, '--log', '--log-prefix=' + prefix, 'postgres')
        lat = sorted(int(l.split()[2]) for f in glob.glob(prefix + '*') for l in open(f))
        tps = [l for l in out.stdout.splitlines() if l.startswith('tps')]
        if not lat or not tps:
            raise SystemExit('pgbench: ' + out.stdout + out.stderr)
        at = lambda q: lat[min(len(lat) - 1, int(q * len(lat)))] / 1000
        r = {'conns': conns, 'per_second': float(tps[0].split()[2])}
        self.b.say(name, dict(r, p50_ms=at(0.5), p95_ms=at(0.95), p99_ms=at(0.99)))

    def run(self):
        from mesh import free_ports

        try:
            ports = free_ports(3)
            self.port = ports[0]
            self.ok(self.bin + '/initdb', '-D', self.dir + '/p', '-A', 'trust', '-U', self.user)
            with open(self.dir + '/p/postgresql.conf', 'a') as f:
                f.write(
                    "max_connections=400\nwal_level=replica\nmax_wal_senders=8\nhot_standby=on\nshared_buffers=256MB\n"
                    "max_wal_size=4GB\nsynchronous_commit=on\n"
                )
            self.start('p', ports[0])
            for i in (1, 2):
                self.ok(
                    self.bin + '/pg_basebackup',
                    '-h',
                    self.dir,
                    '-p',
                    str(ports[0]),
                    '-U',
                    self.user,
                    '-D',
                    '%s/s%d' % (self.dir, i),
                    '-R',
                    '-X',
                    'stream',
                )
                with open('%s/s%d/postgresql.auto.conf' % (self.dir, i), 'a') as f:
                    f.write(
                        "primary_conninfo='host=%s port=%d user=%s application_name=s%d'\n"
                        % (self.dir, ports[0], self.user, i)
                    )
                self.start('s%d' % i, ports[i])
            self.psql("alter system set synchronous_standby_names='ANY 1 (s1,s2)'")
            self.psql('select pg_reload_conf()')
            deadline = time.monotonic() + 20
            while self.psql("select count(*) from pg_stat_replication where sync_state='quorum'").strip() != '2':
                if time.monotonic() > deadline:
                    raise SystemExit('standbys do not follow')
                time.sleep(0.05)
            self.prose()
            for name, extra in ((POSTGRES, ''), (POSTGRES_WORDS, FULL_TEXT)):
                self.inserts(name, extra)
        finally:
            for name in reversed(self.started):
                self.cmd(self.bin + '/pg_ctl', '-D', self.dir + '/' + name, '-m', 'immediate', '-w', 'stop')
            shutil.rmtree(self.dir, ignore_errors=True)


def cpu(pid):
    with open('/proc/%d/stat' % pid) as f:
        parts = f.read().rsplit(') ', 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf('SC_CLK_TCK')


def rss_mib(pid):
    with open('/proc/%d/status' % pid) as f:
        return [int(l.split()[1]) / 1024 for l in f if l.startswith('VmRSS')][0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--bin', default=os.path.join(HERE, '../../build/release/ai-memory'))
    p.add_argument('--load', default=os.path.join(HERE, '../../build/release/test/bench/load'))
    p.add_argument('--only', default=','.join(PARTS), type=lambda s: s.split(','))
    p.add_argument('--conns', default='1,16,64,256', type=lambda s: [int(x) for x in s.split(',')])
    p.add_argument('--sizes', default='1000,10000,100000', type=lambda s: [int(x) for x in s.split(',')])
    p.add_argument('--seconds', default=5.0, type=float)
    p.add_argument('--out')
    p.add_argument('--smoke', action='store_true', help='a second of everything of ours: does the driver work')
    a = p.parse_args()
    for part in a.only:
        if part not in PARTS:
            p.error('no such part: ' + part)
    if a.smoke:
        a.only, a.conns, a.sizes, a.seconds = ['start', 'writes', 'single', 'recall', 'heal'], [1, 16], [300], 0.5
    a.bin, a.load = os.path.abspath(a.bin), os.path.abspath(a.load)
    os.environ['AI_MEMORY_BIN'] = a.bin
    Bench(a).run()


if __name__ == '__main__':
    main()
