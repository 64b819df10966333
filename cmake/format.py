"""Gate: .c files are as clang-format leaves them; no C file has tabs or trailing blanks."""
import os
import re
import subprocess

import gate


def main():
    args = gate.arguments(__doc__)
    found = gate.files(args.root, endings=[".c", ".h"])
    violations = []
    for path in found:
        for n, line in enumerate(gate.lines(args.root, path), 1):
            if "\t" in line or line != line.rstrip():
                violations.append(f"{path}:{n}: tab or trailing blank")
    sources = [os.path.join(args.root, p) for p in found if p.endswith(".c")]
    if sources:
        style = f"--style=file:{args.root}/.clang-format"
        run = subprocess.run(["clang-format", "--dry-run", "-Werror", style, *sources], capture_output=True, text=True)
        bad = set(re.findall(r"^(.+?\.c):\d+:\d+: error:", run.stderr, re.M))
        violations += [f"{os.path.relpath(p, args.root)}: run `./dev format`" for p in sorted(bad)]
        if run.returncode and not bad:
            violations.append(run.stderr.strip() or "clang-format failed")
    gate.finish("format", len(found), violations)


main()
