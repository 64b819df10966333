"""Gate: the two pure libraries call nothing of the outside world and keep no state between calls.

Reads the compiled libaim_memory.a and libaim_repl.a of a build without sanitizers: undefined symbols must be in the
list below, writable data must be empty (tables of constant pointers, which the loader relocates, are no state)."""
import os
import re
import subprocess

import gate

LIBRARIES = ["memory", "repl"]
ALLOWED = re.compile("|".join([
    r"(mem(cpy|move|set|cmp|chr|rchr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|str|casestr|spn|cspn|pbrk|cpy|ncpy|cat|tok_r)"
    r"|stpcpy|strcasecmp|strncasecmp|rawmemchr|strchrnul)",
    r"__(mem(cpy|move|set)|str(cpy|ncpy|cat)|stpcpy|v?snprintf)_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_",
    r"v?snprintf|qsort(_r)?|bsearch|l?l?abs|(__isoc23_)?strto(d|ll?|ull?|imax|umax)",
    r"__ctype_(b|tolower|toupper)_loc|tolower|toupper|is(alnum|alpha|digit|space|upper|lower|xdigit|print|punct)",
    r"(exp2?|expm1|log(2|10|1p)?|pow|sqrt|fabs|floor|ceil|l?l?round|trunc|fmin|fmax|fmod|ldexp|frexp|nextafter"
    r"|sin|cos|tan|atan2?|__(isnan|isinf|finite|fpclassify|signbit))f?",
    r"__errno_location",
    # of base: memory, bytes, checks, errors, digests, the text of times and ids, JSON
    r"(mem|arena|buf|reader|read|err|check|hex|chain|hash)_\w+|hash64|sha256|hmac_sha256|equal_secret",
    r"time_(print|parse)|uuid_from_hash|json_(parse|print|print_\w+|depth|kind)",
    # of jansson: documents, not their text
    r"json_(?!load|dump|set_alloc|object_seed|get_alloc|vunpack|unpack_)\w+|jansson_\w+",
]))
FORBIDDEN = re.compile(r"mem_(dump|log)\w*|json_(load|dump)\w*")
WRITABLE = re.compile(r"^\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)\s+\S+\s+(\w*)")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def undefined(library):
    defined, wanted = set(), {}
    member = ""
    for line in output("nm", library).splitlines():
        if line.endswith(".o:"):
            member = line[:-1]
            continue
        word = line.split()
        if len(word) == 2 and word[0] in "Uw":
            wanted.setdefault(word[1], member)
        elif len(word) == 3:
            defined.add(word[2])
    return [f"{member}: calls {symbol}" for symbol, member in sorted(wanted.items())
            if symbol not in defined and (not ALLOWED.fullmatch(symbol) or FORBIDDEN.fullmatch(symbol))]


def writable(library):
    bad, member = [], ""
    for line in output("readelf", "-SW", library).splitlines():
        if line.startswith("File: "):
            member = line.split("(")[-1].rstrip(")")
        section = WRITABLE.match(line)
        if section and "W" in section[3] and int(section[2], 16) and not section[1].startswith(".data.rel.ro"):
            bad.append(f"{member}: {int(section[2], 16)} writable bytes in {section[1]}")
    return bad


def main():
    args = gate.arguments(__doc__)
    violations, looked_at = [], 0
    for name in LIBRARIES:
        library = os.path.join(args.build, "src", name, f"libaim_{name}.a")
        if not os.path.exists(library):
            violations.append(f"{library} is not built")
            continue
        looked_at += 1
        violations += [f"{name}: {bad}" for bad in undefined(library) + writable(library)]
    gate.finish("purity", looked_at, violations)


main()
