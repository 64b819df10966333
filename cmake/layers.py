"""Gate: which folder may include what. One row per folder: project headers, and vendor or system headers beyond ISO C.

base < memory, repl < store, net < cluster < ops < http, mcp, cli < app: downward only, siblings never. The first row
whose pattern fits the file decides."""
import re

import gate

ISO_C = r"(assert|ctype|errno|float|inttypes|limits|locale|math|setjmp|signal|stdalign|stdarg|stdatomic|stdbool" \
        r"|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|time|uchar|wchar)\.h"
PURE_C = r"(ctype|errno|float|inttypes|limits|math|stdalign|stdarg|stdbool|stddef|stdint|stdlib|string)\.h"
POSIX = r"(strings|unistd|fcntl|dirent|pthread|termios|poll|libgen|pwd|grp|netdb|fnmatch|glob|sched|semaphore" \
        r"|execinfo|syslog|ucontext|endian|byteswap|ifaddrs|spawn|wordexp|langinfo|getopt" \
        r"|(sys|net|netinet|arpa|linux)/.+)\.h"
SYSTEM = f"({ISO_C}|{POSIX})"
BASE = r"(base/.+|err\.h)"
PURE_BASE = r"(base/(alloc|buf|bytes|check|clock|digest|id|json|list)\.h|err\.h)"


def any_of(*patterns):
    return "(" + "|".join(patterns) + ")"


# file pattern, allowed "project" includes, allowed <system> includes
RULES = [
    (r"include/err\.h", r"(?!)", PURE_C),
    (r"include/memory\.h", PURE_BASE, any_of(PURE_C, r"jansson\.h")),
    (r"include/repl\.h", any_of(PURE_BASE, r"repl/.+"), PURE_C),
    (r"include/store\.h", any_of(BASE, r"memory\.h", r"memory/.+", r"repl/clock\.h"), ISO_C),
    (r"src/base/digest\.c", BASE, any_of(SYSTEM, r"openssl/.+\.h")),
    (r"src/base/alloc\.c", BASE, any_of(SYSTEM, r"malloc\.h")),
    (r"src/base/.*", BASE, any_of(SYSTEM, r"jansson\.h")),
    (r"src/memory/.*", any_of(PURE_BASE, r"memory\.h", r"memory/.+"), any_of(PURE_C, r"jansson\.h")),
    (r"src/repl/.*", any_of(PURE_BASE, r"repl\.h", r"repl/.+"), PURE_C),
    (r"src/store/sqlite/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store)/.+"),
     any_of(SYSTEM, r"jansson\.h", r"sqlite3\.h")),
    (r"src/store/postgres/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store)/.+"),
     any_of(SYSTEM, r"jansson\.h", r"libpq-fe\.h")),
    (r"src/store/(lane|readers).*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store)/.+"),
     any_of(SYSTEM, r"jansson\.h", r"uv\.h")),
    (r"src/store/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store)/.+"),
     any_of(SYSTEM, r"jansson\.h")),
    (r"src/net/tls.*", any_of(BASE, r"net/.+"), any_of(SYSTEM, r"uv\.h", r"openssl/.+\.h")),
    (r"src/net/.*", any_of(BASE, r"net/.+"), any_of(SYSTEM, r"uv\.h", r"llhttp\.h")),
    (r"src/cluster/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store|net|cluster)/.+"),
     any_of(SYSTEM, r"jansson\.h", r"uv\.h")),
    (r"src/ops/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store|net|cluster|ops)/.+"),
     any_of(SYSTEM, r"jansson\.h", r"uv\.h")),
    (r"src/(?P<door>http|mcp|cli)/.*",
     any_of(BASE, r"(memory|repl|store)\.h", r"(memory|repl|store|net|cluster|ops|{door})/.+"),
     any_of(SYSTEM, r"jansson\.h")),
    (r"src/app/.*", r".+", any_of(SYSTEM, r"jansson\.h", r"uv\.h")),
    (r"test/sim/.*", any_of(PURE_BASE, BASE, r"(memory|repl)/.+|store/change(_snapshot)?\.h", r"[a-z_0-9]+\.h"),
     any_of(SYSTEM, r"cmocka\.h")),
    (r"(test/bench|chaos)/.*", any_of(BASE, r"(memory|repl|store)\.h", r"(net|chaos|bench)/.+", r"[a-z_0-9]+\.h"),
     any_of(SYSTEM, r"jansson\.h", r"uv\.h", r"cmocka\.h")),
    (r"test/.*", r".+", r".+"),
]
# JSON text is parsed and printed in one file; documents may be built and read anywhere.
JSON_TEXT = re.compile(r"\bjson_(load|dump)[a-z_]*\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def look(root, path):
    for pattern, project, system in RULES:
        match = re.fullmatch(pattern, path)
        if match:
            break
    else:
        return [f"{path}: no rule for this folder"]
    project = project.replace("{door}", match.groupdict().get("door") or "")
    bad = []
    for n, line in enumerate(gate.lines(root, path), 1):
        found = INCLUDE.match(line)
        if found and found[1] is not None and not re.fullmatch(project, found[1]):
            bad.append(f'{path}:{n}: must not include "{found[1]}"')
        if found and found[2] is not None and not re.fullmatch(system, found[2]):
            bad.append(f"{path}:{n}: must not include <{found[2]}>")
        if path.startswith("src/") and not path.startswith("src/base/json") and JSON_TEXT.search(line):
            bad.append(f"{path}:{n}: JSON text is the business of base/json")
    return bad


def main():
    args = gate.arguments(__doc__)
    found = gate.files(args.root, folders=["include", "src", "chaos", "test"], endings=[".c", ".h"])
    gate.finish("layers", len(found), [bad for path in found for bad in look(args.root, path)])


main()
