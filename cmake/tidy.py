"""Gate: clang. src/ and chaos/ pass clang-tidy (.clang-tidy, with the compiler's own warnings); test/ compiles clean.

Works from compile_commands.json of the build directory. What passed is
remembered in <root>/build/tidy-cache under a hash of the file, every header it includes, its flags and .clang-tidy."""
import concurrent.futures
import hashlib
import json
import os
import shlex
import subprocess

import gate


def read(path):
    with open(path, "rb") as f:
        return f.read()


def clang_flags(entry):
    """The compile command as clang takes it: neither compiler nor output nor source."""
    words = shlex.split(entry["command"]) if "command" in entry else list(entry["arguments"])
    flags, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD", "-MMD") and word != entry["file"]:
            flags.append(word)
    return flags


def digest(entry, flags, config):
    run = subprocess.run(["clang", "-fsyntax-only", "-MM", *flags, entry["file"]], cwd=entry["directory"],
                         capture_output=True, text=True)
    if run.returncode:
        return None
    h = hashlib.sha256(config + "\0".join(flags).encode())
    for path in run.stdout.replace("\\\n", " ").split()[1:]:
        h.update(path.encode() + b"\0" + read(os.path.join(entry["directory"], path)))
    return h.hexdigest()


def look(entry, path, cache, config):
    flags = clang_flags(entry)
    key = digest(entry, flags, config)
    mark = os.path.join(cache, key) if key else None
    if mark and os.path.exists(mark):
        return []
    command = ["clang", "-fsyntax-only", "-fno-color-diagnostics", *flags, entry["file"]]
    if not path.startswith("test/"):
        command = ["clang-tidy", "--quiet", entry["file"], "--", *flags]
    run = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True)
    text = run.stdout + run.stderr
    if run.returncode or "warning:" in text or "error:" in text:
        return [f"{path}:\n{text.strip()}"]
    if mark:
        open(mark, "w").close()
    return []


def main():
    args = gate.arguments(__doc__)
    cache = os.path.join(args.root, "build", "tidy-cache")
    os.makedirs(cache, exist_ok=True)
    config = read(os.path.join(args.root, ".clang-tidy"))
    work = {}
    for entry in json.loads(read(os.path.join(args.build, "compile_commands.json"))):
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), args.root)
        if path.split(os.sep)[0] in ("src", "chaos", "test"):
            work[path] = entry
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        found = pool.map(lambda item: look(item[1], item[0], cache, config), sorted(work.items()))
        violations = [bad for part in found for bad in part]
    gate.finish("tidy", len(work), violations)


main()
