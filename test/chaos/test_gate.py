"""The gate must fail where it has to: stubs that lose, page, revive; injectors that do nothing; campaigns without data;
machines that lack something. And it must pass where nothing is wrong, or the failures above would prove nothing."""

import json, os, shutil, signal, socket, subprocess, sys, tempfile, time, unittest

CHAOS = os.environ['CHAOS_BIN']
STUB = os.environ['CHAOS_STUB_BIN']
PROGRAM = os.environ.get('AI_MEMORY_BIN')


def permitted(*command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


MOUNTS = permitted('unshare', '-m', 'true')
CUTS = permitted('iptables', '-w', '-n', '-L', 'INPUT')


class Gate(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='chaos-test.')
        self.work = os.path.join(self.dir, 'work')
        os.mkdir(self.work)
        self.out = os.path.join(self.dir, 'runs', 'one')

    def tearDown(self):
        self.assertEqual(os.listdir(self.work), [], 'scratch files were left behind')
        self.assertEqual(self.children(), [], 'processes were left behind')
        shutil.rmtree(self.dir)

    def children(self):
        """Processes that have a file below our directory on their command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/cmdline' % pid, 'rb') as f:
                    if self.work.encode() in f.read():
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def command(self, *args, bin=STUB):
        return [
            CHAOS,
            'gate',
            '--bin',
            bin,
            '--out',
            self.out,
            '--ref',
            'test',
            '--cut',
            'proxy',
            '--settle-ms',
            '1500',
            *args,
        ]

    def env(self, **more):
        return dict(os.environ, WORKDIR=self.work, **more)

    def gate(self, *args, stub='honest', bin=STUB, env=None, seconds=100, before=None):
        run = subprocess.run(
            (before or []) + self.command(*args, bin=bin),
            capture_output=True,
            text=True,
            env=self.env(CHAOS_STUB=stub, **(env or {})),
            timeout=seconds,
        )
        self.text = run.stdout + run.stderr
        return run.returncode

    def summary(self):
        with open(os.path.join(self.out, 'campaign-summary.json')) as f:
            return json.load(f)

    def refused(self, code, words=None):
        self.assertEqual(code, 1, self.text)
        if os.path.exists(os.path.join(self.out, 'campaign-summary.json')):
            self.assertIs(self.summary()['overall_pass'], False)
        if words:
            self.assertIn(words, self.text)


KILL = ('--phases', '4', '--faults', 'kill_primary_mid_write', '--cycles', '1', '--writes', '100', '--seed', '4')


class Stubs(Gate):
    def test_an_honest_one_passes(self):
        self.assertEqual(self.gate(*KILL), 0, self.text)
        self.assertIs(self.summary()['overall_pass'], True)
        self.assertEqual(self.summary()['phases'][0]['convergence_by_fault'], {'kill_primary_mid_write': 1.0})
        self.assertEqual([n['phase'] for n in self.summary()['not_run']], [1, 2, 3])
        with open(os.path.join(self.out, 'index.html')) as f:
            page = f.read()
        self.assertIn('NOT RUN', page)
        self.assertIn('<svg', page)
        self.assertNotIn('http://', page.replace('http://127.0.0.1', ''))

    def test_one_that_loses_one_write_in_fifty(self):
        self.refused(self.gate(*KILL, '--keep', stub='lossy'), 'acknowledged writes lost')
        # The checker alone, from the evidence, says the same.
        evidence = os.path.join(self.out, 'evidence', 'kill_primary_mid_write', 'c001')
        again = subprocess.run([CHAOS, 'check', evidence], capture_output=True, text=True, timeout=30)
        self.assertEqual(again.returncode, 1)
        self.assertGreaterEqual(json.loads(again.stdout)['numbers']['lost'], 1)

    def test_one_that_serves_a_page_only(self):
        self.refused(self.gate(*KILL, stub='paging'), 'acknowledged writes lost')

    def test_one_that_ignores_the_offset(self):
        self.refused(self.gate(*KILL, stub='pages'), 'listed 20 of')

    def test_one_that_keeps_what_was_deleted(self):
        self.refused(self.gate(*KILL, stub='reviving'), 'deleted memories back')

    def test_one_that_stores_twice(self):
        self.refused(self.gate(*KILL, stub='doubling'), 'writes doubled')


class Checker(Gate):
    """The evidence of a cycle that passed, with one more write in it that nobody has."""

    def judged(self, evidence, answer):
        path = os.path.join(evidence, 'history.jsonl')
        with open(path) as f:
            before = f.read()
        lines = before.splitlines()
        ops = [json.loads(line) for line in lines]
        stage = next(i for i, line in enumerate(ops) if line['t'] == 'stage')
        number, at = max(line.get('op', 0) for line in ops) + 1, ops[stage]['at_us'] - 10
        # Node 1 lives on, so what it keeps must be there.
        asked = dict(t='invoke', op=number, at_us=at, client=0, node=1, kind='create', title='more', content='more')
        lines[stage:stage] = [json.dumps(asked), json.dumps(dict(t='answer', op=number, at_us=at + 1, **answer))]
        with open(path, 'w') as f:
            f.write('\n'.join(lines) + '\n')
        run = subprocess.run([CHAOS, 'check', evidence], capture_output=True, text=True, timeout=30)
        with open(path, 'w') as f:
            f.write(before)
        return run.returncode, run.stdout

    def test_a_write_that_nobody_has(self):
        self.assertEqual(self.gate(*KILL, '--keep'), 0, self.text)
        evidence = os.path.join(self.out, 'evidence', 'kill_primary_mid_write', 'c001')
        late = dict(status=503, error='quorum_not_met', reason='timeout', got=1, needed=2)
        for answer, finding in (
            (dict(status=201, id='0' * 36), 'acknowledged writes lost'),
            (dict(late, outcome='pending'), 'writes half there'),
            (dict(late, outcome='not_applied'), None),
            (dict(status=503, error='the log could not be synced', outcome='pending'), None),
            (dict(status=503, error='too many writes are waiting'), '503 answers without explanation'),
            (dict(status=0), None),
        ):
            code, text = self.judged(evidence, answer)
            self.assertEqual(code, 1 if finding else 0, (answer, text))
            self.assertIn(finding or '"findings": []', text)


class Injectors(Gate):
    def cut(self, *more, **kw):
        return self.gate(
            '--phases', '4', '--faults', 'partition_minority', '--cycles', '1', '--writes', '60', *more, **kw
        )

    def test_one_that_touches_nothing(self):
        # The stub speaks to no peer: a cut of its links holds nothing back.
        self.refused(self.cut(), 'no sign of: pieces held back')

    def fake(self, code):
        place = os.path.join(self.dir, 'bin')
        os.mkdir(place)
        for name in ('iptables', 'iptables-restore'):
            with open(os.path.join(place, name), 'w') as f:
                f.write('#!/bin/sh\n[ %d = 0 ] || echo "Permission denied" >&2\nexit %d\n' % (code, code))
            os.chmod(f.name, 0o755)
        return {'PATH': place + ':' + os.environ['PATH']}

    def test_a_tool_that_silently_does_nothing(self):
        self.refused(self.cut('--cut', 'iptables', env=self.fake(0)), 'no sign of: packets dropped')

    def test_no_rights(self):
        self.refused(self.cut('--cut', 'iptables', env=self.fake(4)), 'no rights to cut links')


class NoData(Gate):
    def test_no_cycles(self):
        self.refused(self.gate('--phases', '4', '--cycles', '0'), 'no data')

    def test_no_writes(self):
        self.refused(
            self.gate('--phases', '4', '--faults', 'kill_primary_mid_write', '--cycles', '1', '--writes', '0')
        )

    def test_no_classes(self):
        self.refused(self.gate('--phases', '4', '--faults', ','), 'no data')

    def test_no_phases(self):
        self.refused(self.gate('--phases', ','))

    def test_a_phase_that_cannot_run_was_asked_for(self):
        self.refused(self.gate('--phases', '3'), 'phase 3: NOT RUN')
        with open(os.path.join(self.out, 'index.html')) as f:
            page = f.read()
        self.assertIn('<li>Phase 3: NOT RUN</li>', page)
        self.assertIn('>FAILED<', page)
        self.assertNotIn('passed everything', page)


class BadInput(Gate):
    def test_no_program(self):
        self.refused(self.gate(*KILL, bin='/nonexistent/ai-memory'), 'no program to test')

    def test_a_program_that_ends_at_once(self):
        self.refused(self.gate(*KILL, bin='/bin/false'), 'ended at its start')

    def test_a_busy_port(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen(1)
            self.refused(self.gate(*KILL, env={'N1_PORT': str(s.getsockname()[1])}), 'is busy')

    def test_no_room(self):
        self.refused(self.gate(*KILL, before=['bash', '-c', 'ulimit -f 8; exec "$@"', '-']), 'cannot write')

    def test_a_node_that_is_never_ready(self):
        self.refused(self.gate(*KILL, '--ready-ms', '700', stub='mute'), 'is not ready after 700 ms')
        self.assertIs(self.summary()['complete'], False)

    def test_a_place_nobody_can_write_to(self):
        self.out = '/proc/chaos-runs/one'
        self.refused(self.gate(*KILL), 'cannot make')

    def test_no_iptables(self):
        place = os.path.join(self.dir, 'bin')
        os.mkdir(place)
        self.refused(
            self.gate(
                '--phases',
                '4',
                '--faults',
                'partition_minority',
                '--cut',
                'iptables',
                '--cycles',
                '1',
                env={'PATH': place},
            ),
            'iptables is missing',
        )

    def test_no_faketime(self):
        self.refused(
            self.gate(
                '--phases', '4', '--faults', 'clock_skew_peer', '--cycles', '1', env={'FAKETIME_LIB': '/nonexistent'}
            ),
            'libfaketime is missing',
        )

    @unittest.skipUnless(MOUNTS and PROGRAM, 'no right to mount here')
    def test_a_full_scratch_disk(self):
        mount = 'mount -t tmpfs -o size=64k none "$WORKDIR" && exec "$@"'
        self.refused(self.gate(*KILL, bin=PROGRAM, before=['unshare', '-m', 'sh', '-c', mount, '-']))
        self.assertRegex(self.text, 'No space left|disk is full|ended at its start|is not ready')

    @unittest.skipUnless(MOUNTS, 'nothing to take away')
    def test_no_right_to_mount(self):
        drop = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
        only = ('--phases', '4', '--faults', 'small_disk_full', '--cycles', '1')
        self.refused(self.gate(*only, before=drop), 'no rights to mount')

    def test_wrong_command_lines(self):
        for args in (
            ['--cycles', 'many'],
            ['--faults', 'gremlins'],
            ['--phases', '7'],
            ['--cut', 'axe'],
            ['--wat'],
            ['--seed'],
        ):
            self.assertEqual(self.gate(*args), 2, args)
        self.assertEqual(subprocess.run([CHAOS, 'check', self.dir], capture_output=True).returncode, 1)

    def test_a_place_that_holds_a_campaign(self):
        self.assertEqual(self.gate(*KILL), 0, self.text)
        self.assertEqual(self.gate(*KILL), 1)
        self.assertIn('holds a campaign already', self.text)


class Ended(Gate):
    def start(self):
        p = subprocess.Popen(
            self.command('--phases', '4', '--cycles', '1000', '--faults', 'kill_primary_mid_write'),
            env=self.env(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = os.path.join(self.out, 'phase4-kill_primary_mid_write.jsonl')
        until = time.monotonic() + 60
        while not (os.path.exists(lines) and self.children()):
            self.assertLess(time.monotonic(), until)
            self.assertIsNone(p.poll())
            time.sleep(0.01)
        return p

    def test_by_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            p = self.start()
            p.send_signal(number)
            self.assertEqual(p.wait(20), 1)
            p.stderr.close()
            s = self.summary()
            self.assertEqual((s['overall_pass'], s['complete']), (False, False))
            self.assertIn('ended by signal', s['broken'])
            self.assertEqual((os.listdir(self.work), self.children()), ([], []))
            shutil.rmtree(self.out)

    @unittest.skipUnless(CUTS and PROGRAM, 'no right to cut links here')
    def test_in_the_middle_of_a_cut(self):
        args = ('--phases', '4', '--faults', 'partition_minority', '--cycles', '1000', '--cut', 'iptables')
        p = subprocess.Popen(self.command(*args, bin=PROGRAM), env=self.env(), stdout=subprocess.DEVNULL)
        chain = '-N AIMCHAOS%d\n' % p.pid
        until = time.monotonic() + 60
        rules = lambda: subprocess.run(['iptables', '-w', '-S'], capture_output=True, text=True).stdout
        while chain not in rules():
            self.assertLess(time.monotonic(), until)
            self.assertIsNone(p.poll())
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 1)
        self.assertNotIn('AIMCHAOS%d' % p.pid, rules())
        self.assertIs(self.summary()['overall_pass'], False)
        self.assertIn('ended by signal', self.summary()['broken'])

    def test_by_force(self):
        p = self.start()
        p.kill()
        p.wait(20)
        p.stderr.close()
        s = self.summary()
        self.assertEqual((s['overall_pass'], s['completed_at']), (False, None))
        until = time.monotonic() + 10
        while self.children():  # the nodes die with their supervisor
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        for name in os.listdir(self.work):
            shutil.rmtree(os.path.join(self.work, name))


if __name__ == '__main__':
    unittest.main(verbosity=1)
