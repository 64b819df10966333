"""Gate: functions of 70 lines, files of 800, headers of 250, lines of 120 columns at most."""
import os
import subprocess

import gate

FUNCTION, FILE, HEADER, COLUMNS = 70, 800, 250, 120


def functions(root, sources):
    if not sources:
        return
    command = ["ctags", "-x", "--language-force=C", "--c-kinds=f", "--fields=+ne",
               "--_xformat=%F\t%n\t%{end}\t%N", "-L", "-"]
    run = subprocess.run(command, input="\n".join(sources), cwd=root, check=True, capture_output=True, text=True)
    for line in run.stdout.splitlines():
        path, start, end, name = line.split("\t")
        if end.isdigit():
            yield path, int(start), name, int(end) - int(start) + 1


def main():
    args = gate.arguments(__doc__)
    # test/golden is a recording of its own with its replayer, carried as it is
    tracked = [p for p in gate.files(args.root, endings=[".c", ".h", ".py", ".sh"]) if not p.startswith("test/golden/")]
    found = tracked + \
            [p for p in ("dev", ".ci/run", "test/integration/up") if os.path.exists(os.path.join(args.root, p))]
    violations = []
    for path in found:
        text = gate.lines(args.root, path)
        count = len(text) - (text[-1] == "")
        limit = HEADER if path.endswith(".h") else FILE
        if count > limit:
            violations.append(f"{path}: {count} lines, {limit} allowed")
        violations += [f"{path}:{n}: {len(line)} columns, {COLUMNS} allowed"
                       for n, line in enumerate(text, 1) if len(line) > COLUMNS]
    sources = [p for p in found if p.endswith((".c", ".h"))]
    violations += [f"{path}:{start}: {name} has {count} lines, {FUNCTION} allowed"
                   for path, start, name, count in functions(args.root, sources) if count > FUNCTION]
    gate.finish("size", len(found), violations)


main()
