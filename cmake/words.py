"""Gate: no marks of unfinished work in the program's sources; no package registry's address anywhere."""
import re

import gate

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|\b(un" r"implemented|not imple" r"mented)\b")
REGISTRY = re.compile(r"\b(registry\.(npm" r"js\.org|yarn" r"pkg\.com)|(files\.python" r"hosted|py" r"pi)\.org"
                      r"|(static\.|index\.)?crates" r"\.io|proxy\.gol" r"ang\.org|(deb|security|ftp)\.deb" r"ian\.org"
                      r"|repo1?\.mav" r"en\.(apache\.)?org|arti" r"factory|ne" r"xus\.)")
BINARY = (".db", ".png", ".gz", ".xz", ".zip", ".ico", ".pem", ".der", ".bin")


def main():
    args = gate.arguments(__doc__)
    found = [p for p in gate.files(args.root) if not p.endswith(BINARY)]
    violations = []
    for path in found:
        ours = path.split("/")[0] in ("src", "chaos", "include")
        for n, line in enumerate(gate.lines(args.root, path), 1):
            word = ours and UNFINISHED.search(line) or REGISTRY.search(line)
            if word:
                violations.append(f"{path}:{n}: {word[0]}")
    gate.finish("words", len(found), violations)


main()
