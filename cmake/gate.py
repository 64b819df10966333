"""What the gates share: which files the tree holds, and how a gate ends.

A gate is a program `cmake/<name>.py [--root DIR] [--build DIR]` that prints one line per violation
(`file:line: what`), and exits 1 when there was one. test/gates plants a violation for each."""
import argparse
import os
import subprocess
import sys

SKIP = {"build", ".git", "third_party", "__pycache__", "runs"}


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--root", default=here, help="the tree to look at")
    parser.add_argument("--build", help="a configured build directory (default: ROOT/build/release)")
    args = parser.parse_args()
    args.root = os.path.abspath(args.root)
    args.build = os.path.abspath(args.build or os.path.join(args.root, "build", "release"))
    return args


def files(root, folders=(), endings=()):
    """Paths relative to root: those git tracks, or, where there is no git, all. Sorted."""
    if os.path.exists(os.path.join(root, ".git")):
        out = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
        found = [p for p in out.split("\0") if p and os.path.isfile(os.path.join(root, p))]
    else:
        found = []
        for base, dirs, names in os.walk(root):
            dirs[:] = [d for d in dirs if d not in SKIP]
            found += [os.path.relpath(os.path.join(base, n), root) for n in names]
    found = [p for p in found if not SKIP & set(p.split(os.sep)[:-1])]
    if folders:
        found = [p for p in found if p.split(os.sep)[0] in folders]
    if endings:
        found = [p for p in found if p.endswith(tuple(endings))]
    return sorted(found)


def lines(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read().split("\n")


def finish(name, looked_at, violations):
    """A gate that looked at nothing has decayed: that is a failure too."""
    for violation in violations:
        print(violation)
    if looked_at == 0:
        print(f"{name}: nothing to look at")
    print(f"{name}: {looked_at} looked at, {len(violations)} violations")
    sys.exit(1 if violations or looked_at == 0 else 0)
