"""Real nodes on loopback for the integration tests: start, stop, kill, pause, cut, ask. Standard library only.

Every wait is a condition with a deadline; every process and file is gone after Mesh.close()."""

import concurrent.futures, hashlib, http.client, json, os, random, shutil, signal
import socket, ssl, subprocess, sys, tempfile, threading, time

BIN = os.environ.get('AI_MEMORY_BIN') or os.path.join(os.path.dirname(__file__), '../../build/release/ai-memory')


def until(what, condition, seconds=10.0):
    """Waits for condition() to be true; returns its value and how long it took (seconds)."""
    start = time.monotonic()
    while True:
        value = condition()
        if value:
            return value, time.monotonic() - start
        if time.monotonic() - start > seconds:
            raise AssertionError('not within %.1f s: %s' % (seconds, what))
        time.sleep(0.01)


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(('127.0.0.1', 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Certs:
    """An authority and what it signs, in a directory of files NAME.pem and NAME.key; `allow` lists fingerprints."""

    def __init__(self, where):
        self.dir = where
        os.makedirs(where, exist_ok=True)
        self._openssl('req -x509 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem ' + self.NEW)

    NEW = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1'

    def _openssl(self, arguments):
        run = subprocess.run(['openssl'] + arguments.split(), cwd=self.dir, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, san='IP:127.0.0.1,DNS:localhost', days=30):
        """A certificate of the authority's; days -1: it has expired."""
        with open(self.path(name + '.ext'), 'w') as f:
            f.write('subjectAltName=%s\n' % san)
        self._openssl('req -nodes -subj /CN=%s -keyout %s.key -out %s.csr %s' % (name, name, name, self.NEW))
        self._openssl(
            'x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days %d -extfile %s.ext -out %s.pem'
            % (name, days, name, name)
        )

    def fingerprint(self, name):
        with open(self.path(name + '.pem')) as f:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()

    def allow(self, names):
        with open(self.path('allow'), 'w') as f:
            f.write('# who may call\n' + ''.join('%s\n' % self.fingerprint(n) for n in names))

    def serve(self, name):
        """Flags of a node that shows this certificate and wants one of the list."""
        return ['--tls-cert', self.path(name + '.pem'), '--tls-key', self.path(name + '.key')] + [
            '--mtls-allowlist',
            self.path('allow'),
        ]

    def call(self, name):
        """Flags of a node that calls its peers with this certificate."""
        return ['--quorum-client-cert', self.path(name + '.pem'), '--quorum-client-key', self.path(name + '.key')] + [
            '--quorum-ca-cert',
            self.path('ca.pem'),
        ]

    def context(self, name=None):
        """A client's: it shows this certificate (None: none) and trusts the authority."""
        c = ssl.create_default_context(cafile=self.path('ca.pem'))
        if name is not None:
            c.load_cert_chain(self.path(name + '.pem'), self.path(name + '.key'))
        return c


def numbered(facts):
    """Ids, which travel as text, as the numbers they are."""
    if isinstance(facts, list):
        return [numbered(x) for x in facts]
    if not isinstance(facts, dict):
        return facts
    ids = ('node', 'stream')
    return {k: int(v) if k in ids and isinstance(v, str) else numbered(v) for k, v in facts.items()}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.raw = status, headers, body
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None

    def __repr__(self):
        return '%d %s' % (self.status, self.raw[:300])


class Node:
    def __init__(self, mesh, name, port, serve, env=None):
        self.mesh, self.name, self.port, self.serve_args, self.env = mesh, name, port, list(serve), dict(env or {})
        self.url = 'http://127.0.0.1:%d' % port
        self.tls = None  # an ssl.SSLContext: it is asked by https
        self.host = '127.0.0.1'
        self.db = os.path.join(mesh.dir, name + '.db')
        self.log = os.path.join(mesh.dir, name + '.log')
        self.proc = None
        self.local = threading.local()
        self.life = 0

    def start(self, wait=True):
        argv = [BIN, '--db', self.db, 'serve', '--host', self.host, '--port', str(self.port)] + self.serve_args
        env = {**os.environ, 'AI_MEMORY_NO_CONFIG': '1', 'HOME': self.mesh.dir, **self.env}
        env = {name: value for name, value in env.items() if value is not None}
        self.proc = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=open(self.log, 'ab'), stderr=subprocess.STDOUT, env=env
        )
        self.life += 1
        if wait:
            self.ready()
        return self

    def ready(self, seconds=20):
        def up():
            if self.proc.poll() is not None:
                raise AssertionError('%s ended with %s:\n%s' % (self.name, self.proc.returncode, self.tail()))
            try:
                return self.get('/api/v1/health', timeout=1).status == 200
            except OSError:
                return False

        until('%s answers' % self.name, up, seconds)

    def tail(self):
        with open(self.log, errors='replace') as f:
            return f.read()[-3000:]

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def kill(self):
        """SIGKILL and wait: nothing of it runs any more."""
        if self.alive():
            self.proc.kill()
        self.proc.wait()

    def stop(self, seconds=20):
        """SIGTERM; the exit code."""
        self.proc.send_signal(signal.SIGTERM)
        return self.proc.wait(seconds)

    def pause(self):
        self.proc.send_signal(signal.SIGSTOP)
        until(
            '%s is stopped' % self.name,
            lambda: open('/proc/%d/stat' % self.proc.pid).read().split(') ')[1][0] == 'T',
            5,
        )

    def go_on(self):
        self.proc.send_signal(signal.SIGCONT)

    def connection(self, timeout):
        if self.tls is None:
            return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=timeout, context=self.tls)

    def request(self, method, path, body=None, headers=None, timeout=30):
        """One request on this thread's kept connection; a connection of an earlier life is not used."""
        held = getattr(self.local, 'held', None)
        if held is None or held[1] != self.life:
            held = (self.connection(timeout), self.life)
            self.local.held = held
        connection = held[0]
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault('Content-Type', 'application/json')
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.timeout = timeout
            connection.request(method, path, body, headers)
            r = connection.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            self.local.held = None
            raise OSError('%s %s at %s: %r' % (method, path, self.name, e))

    def get(self, path, **kw):
        return self.request('GET', path, **kw)

    def post(self, path, body, **kw):
        return self.request('POST', path, body, **kw)

    def create(self, title, content='body', ns='t', headers=None, timeout=30, **fields):
        return self.post(
            '/api/v1/memories',
            dict(fields, title=title, content=content, namespace=ns),
            headers=headers,
            timeout=timeout,
        )

    def memories(self, ns=None):
        """All live memories, complete: pages until none is left and the server's total agrees."""
        found, offset = {}, 0
        while True:
            path = '/api/v1/memories?limit=1000&offset=%d' % offset + ('&namespace=' + ns if ns else '')
            page = self.get(path).json
            for m in page['memories']:
                found[m['id']] = m
            offset += len(page['memories'])
            if not page['memories'] or offset >= page['total']:
                break
        assert len(found) == page['total'], '%s listed %d of %d' % (self.name, len(found), page['total'])
        return found

    def ids(self, ns=None):
        return set(self.memories(ns))

    def digest(self, ns=None):
        """Equal on two nodes exactly when they show the same memories (access counts apart)."""
        rows = self.memories(ns)
        loose = ('access_count', 'last_accessed_at')
        return hashlib.sha256(
            json.dumps(
                [{k: v for k, v in rows[i].items() if k not in loose} for i in sorted(rows)], sort_keys=True
            ).encode()
        ).hexdigest()

    def status(self):
        return numbered(self.get('/api/v1/sync/status').json)

    def cli(self, *argv, check=True):
        r = subprocess.run(
            [BIN, '--db', self.db] + list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(os.environ, AI_MEMORY_NO_CONFIG='1', HOME=self.mesh.dir),
        )
        assert not check or r.returncode == 0, '%s: %s%s' % (argv, r.stdout, r.stderr)
        return r


class Mesh:
    """count nodes that all know each other. `serve` are more flags for each. secure: each has a certificate, n0 and so
    on, and takes calls from those of the others (and from `me`) only."""

    def __init__(self, count=3, writes=2, timeout_ms=2000, serve=(), env=None, peers=None, start=True, secure=False):
        self.dir = tempfile.mkdtemp(prefix='ai-memory-mesh.')
        self.certs = None
        self.nodes, self.extra = [], []
        ports = free_ports(count)
        urls = ['%s://127.0.0.1:%d' % ('https' if secure else 'http', p) for p in ports]
        if secure:
            self._certify(count)
        for i in range(count):
            known = peers(i, urls) if peers else [u for j, u in enumerate(urls) if j != i]
            flags = ['--quorum-writes', str(writes), '--quorum-timeout-ms', str(timeout_ms)]
            if known:
                flags += ['--quorum-peers', ','.join(known)]
            self.nodes.append(
                Node(
                    self,
                    'n%d' % i,
                    ports[i],
                    flags + list(serve),
                    (
                        (env or {}).get(i)
                        if isinstance(env, dict) and env and all(isinstance(k, int) for k in env)
                        else env
                    ),
                )
            )
        for n in self.nodes if secure else []:
            n.url, n.tls = urls[self.nodes.index(n)], self.certs.context('me')
            n.serve_args += self.certs.serve(n.name) + self.certs.call(n.name)
        if start:
            try:
                for n in self.nodes:
                    n.start(wait=False)
                for n in self.nodes:
                    n.ready()
                self.linked()
            except BaseException:
                self.close()
                raise

    def _certify(self, count):
        names = ['n%d' % i for i in range(count)] + ['me']
        self.certs = Certs(os.path.join(self.dir, 'certs'))
        for name in names:
            self.certs.make(name)
        self.certs.allow(names)

    def linked(self, nodes=None, seconds=10):
        """Until every live node is connected with every other one."""
        nodes = nodes or [n for n in self.nodes if n.alive()]
        urls = {n.url for n in nodes}

        def all_up():
            return all(
                p['state'] in ('up', 'self', 'twin') for n in nodes for p in n.status()['peers'] if p['url'] in urls
            )

        until('all links are up', all_up, seconds)

    def agreed(self, seconds=20, nodes=None, ns=None, what='all nodes show the same'):
        """Until the nodes' complete contents are equal; returns how long it took."""
        nodes = nodes or self.nodes
        return until(what, lambda: len({n.digest(ns) for n in nodes}) == 1, seconds)[1]

    def holds(self, nodes, ids, seconds=20, ns=None):
        """Until each of the nodes holds all the ids; returns how long it took."""

        def all_there():
            return all(ids <= n.ids(ns) for n in nodes)

        return until('%d acknowledged writes are on %s' % (len(ids), [n.name for n in nodes]), all_there, seconds)[1]

    def close(self):
        for n in self.nodes + self.extra:
            if n.proc is not None and n.proc.poll() is None:
                n.proc.send_signal(signal.SIGCONT)
                n.proc.kill()
            if n.proc is not None:
                n.proc.wait()
        if os.environ.get('KEEP_MESH'):
            print('kept', self.dir, file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for n in self.nodes + self.extra:
                if os.path.exists(n.log):
                    print('--- %s\n%s' % (n.name, n.tail()[-1500:]), file=sys.stderr)
        self.close()


def together(count, work, threads=None):
    """work(i) for i in range(count) on that many threads at once; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(threads or count) as pool:
        return list(pool.map(work, range(count)))


class Cut:
    """Drops what goes from one port's owner to others, by iptables. `possible()` tells whether this machine lets us."""

    @staticmethod
    def possible():
        if os.geteuid() != 0 or shutil.which('iptables') is None:
            return False
        return subprocess.run(['iptables', '-w', '-L', 'INPUT', '-n'], capture_output=True).returncode == 0

    def __init__(self, ports):
        # Both directions of every connection that ends at one of these ports.
        self.rules = [
            ['-p', 'tcp', '-i', 'lo', d, str(p), '-j', 'DROP'] for p in ports for d in ('--dport', '--sport')
        ]

    def __enter__(self):
        for r in self.rules:
            subprocess.run(['iptables', '-w', '-I', 'INPUT'] + r, check=True)
        return self

    def dropped(self):
        out = subprocess.run(
            ['iptables', '-w', '-L', 'INPUT', '-n', '-v', '-x'], capture_output=True, text=True, check=True
        ).stdout
        return sum(int(line.split()[0]) for line in out.splitlines() if ' DROP ' in line)

    def __exit__(self, *_):
        for r in self.rules:
            subprocess.run(['iptables', '-w', '-D', 'INPUT'] + r, check=False)


class Proxy:
    """A TCP relay in front of a port that can be cut (silently), slowed or reset: the twin of Cut without root."""

    def __init__(self, target):
        self.target, self.cut, self.passed, self.held = target, False, 0, 0
        self.server = socket.socket()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind(('127.0.0.1', 0))
        self.server.listen(64)
        self.port = self.server.getsockname()[1]
        self.open, self.lock, self.closing = set(), threading.Lock(), False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closing:
            try:
                near, _ = self.server.accept()
                far = socket.create_connection(('127.0.0.1', self.target), 5)
            except OSError:
                if self.closing:
                    return
                try:
                    near.close()
                except (OSError, UnboundLocalError):
                    pass
                continue
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.open.add(s)
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near), daemon=True).start()

    def _pump(self, a, b):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                while self.cut and not self.closing:
                    self.held += 1
                    time.sleep(0.005)
                b.sendall(data)
                self.passed += len(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.closing = True
        self.server.close()
        for s in list(self.open):
            s.close()
