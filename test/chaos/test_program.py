"""A few cycles of every class of the ship gate against the program itself, and the older script's command line."""

import json, os, shutil, subprocess, unittest

from test_gate import CHAOS, MOUNTS, PROGRAM, Gate

PLANTED = os.environ.get('CHAOS_PLANTED_BIN')
RUN_CHAOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../chaos/run-chaos.sh')


class Smoke(Gate):
    def test_phase_2_and_two_cycles_a_class(self):
        code = self.gate('--phases', '2,4', '--cycles', '2', '--cut', 'auto', '--settle-ms', '20000', bin=PROGRAM)
        print(self.text)
        self.assertEqual(code, 0)
        s = self.summary()
        self.assertIs(s['overall_pass'], True)
        two, four = s['phases']
        self.assertEqual((two['ok'], two['counts']), (200, {'a': 200, 'b': 200, 'c': 200}))
        self.assertEqual((two['probe1_single_peer_down'], two['probe2_both_peers_down']), ('201', '503'))
        self.assertEqual(len(four['convergence_by_fault']), 4)
        self.assertEqual(set(four['convergence_by_fault'].values()), {1.0})
        for name in four['convergence_by_fault']:
            with open(os.path.join(self.out, 'phase4-%s.jsonl' % name)) as f:
                lines = [json.loads(line) for line in f]
            self.assertEqual([line['cycle'] for line in lines], [1, 2])
            for line in lines:
                self.assertEqual(
                    list(line)[:9],
                    [
                        'cycle',
                        'fault',
                        'writes',
                        'ok',
                        'quorum_not_met',
                        'fail',
                        'count_node0',
                        'count_node1',
                        'count_node2',
                    ],
                )
                self.assertEqual(line['writes'], line['ok'] + line['quorum_not_met'] + line['fail'])
                self.assertEqual(line['found'], line['ok'])
        kills = os.path.join(self.out, 'phase4-kill_primary_mid_write.jsonl')
        with open(kills) as f:
            self.assertTrue(all(json.loads(line)['in_flight_at_strike'] >= 8 for line in f))


class Beyond(Gate):
    """One cycle of classes beyond the gate's own whose injection is easily lost: a log cap, a real file system."""

    def test_one_cycle_each(self):
        classes = ['split_past_log', 'answers_swallowed'] + (['small_disk_full'] if MOUNTS else [])
        code = self.gate(
            *('--phases', '4', '--cycles', '1', '--settle-ms', '20000', '--faults', ','.join(classes)), bin=PROGRAM
        )
        self.assertEqual(code, 0, self.text)
        self.assertEqual(set(self.summary()['phases'][0]['convergence_by_fault'].values()), {1.0})
        with open(os.path.join(self.out, 'phase4-split_past_log.jsonl')) as f:
            self.assertGreater(json.loads(f.read())['proofs']['snapshots merged'], 0)


class Planted(Gate):
    """Bugs in the program itself, and a disk that lies: each must be found, and none where nothing is planted."""

    def run_class(self, name, plant='', cycles=1, **env):
        self.assertTrue(PLANTED)
        settle = '1500' if plant or env else '8000'
        return self.gate(
            '--phases',
            '4',
            '--faults',
            name,
            '--cycles',
            str(cycles),
            '--settle-ms',
            settle,
            bin=PLANTED,
            env=dict(env, CHAOS_STUB_PLANT=plant),
        )

    def lost(self, name):
        return self.summary()['phases'][0]['details_by_fault'][name]['lost']

    def test_nothing_planted(self):
        self.assertEqual(self.run_class('lonely_writer_dies,kill_primary_mid_write,power_cut'), 0, self.text)

    def test_acknowledged_before_a_peer_has_committed(self):
        # Shows when something is sent between the cut and the window's end: that takes luck, more on a busy machine.
        for _ in range(6):
            code = self.run_class('lonely_writer_dies', 'cursor-on-send', cycles=4)
            if code != 0:
                break
            shutil.rmtree(self.out)
        self.refused(code)
        self.assertGreater(self.lost('lonely_writer_dies'), 0)

    def test_sends_cancelled_at_quorum(self):
        # The writer lives on: were it dead, the survivors would ask each other for what it kept back.
        self.refused(self.run_class('partition_minority', 'cancel'))

    def test_what_nobody_pushes_not_asked_for(self):
        # A command's ops never come by themselves. Of a dead writer's, both survivors may happen to hold the same.
        self.refused(self.run_class('two_processes', 'no-pull'))

    def test_acknowledged_before_the_disk_has_it(self):
        self.refused(self.run_class('power_cut', CHAOS_LYING_DISK='1'))
        self.assertGreater(self.lost('power_cut'), 0)


class Classic(Gate):
    def test_lines_and_summary(self):
        run = subprocess.run(
            [RUN_CHAOS, '--cycles', '2', '--writes', '40', '--fault', 'drop_random_acks'],
            env=self.env(AI_MEMORY_BIN=PROGRAM, AI_MEMORY_CHAOS=CHAOS, N0_PORT='0', N1_PORT='0', N2_PORT='0'),
            capture_output=True,
            text=True,
            timeout=100,
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        report = os.path.join(self.work, 'chaos-report.jsonl')
        with open(report) as f:
            lines = [json.loads(line) for line in f]
        os.unlink(report)
        self.assertEqual([line['cycle'] for line in lines], [1, 2])
        self.assertEqual((lines[0]['writes'], lines[0]['ok'], lines[0]['count_node2']), (40, 40, '40'))
        text = run.stdout[run.stdout.index('{') : run.stdout.rindex('}') + 1]
        self.assertEqual(
            json.loads(text),
            {
                'total_cycles': 2,
                'total_writes': 80,
                'total_ok': 80,
                'total_quorum_not_met': 0,
                'total_fail': 0,
                'convergence_bound': 1,
            },
        )

    def test_wrong_calls(self):
        for args in (['--fault', 'gremlins'], ['--cycles', 'x'], ['--what']):
            run = subprocess.run(
                [RUN_CHAOS, *args],
                env=self.env(AI_MEMORY_BIN=PROGRAM, AI_MEMORY_CHAOS=CHAOS),
                capture_output=True,
                text=True,
                timeout=30,
            )
            self.assertEqual(run.returncode, 1)
            self.assertIn('[chaos] FATAL', run.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=1)
