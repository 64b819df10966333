"""Each gate passes a clean scratch tree and fails on a planted violation.

Usage: test_gates.py SOURCE_DIR [unittest arguments]"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1))

GOOD = """/* A clean file. */
#include "base/buf.h"

#include <string.h>

static size_t length(const char *s)
{
    return strlen(s);
}

size_t good_length(const char *s)
{
    return length(s) + 1;
}
"""


class Gate(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="aim-gate-")
        self.addCleanup(shutil.rmtree, self.root)
        for name in (".clang-format", ".clang-tidy"):
            shutil.copy(os.path.join(SOURCE, name), self.root)
        self.put("src/base/buf.h", "#include <stddef.h>\n\nsize_t good_length(const char *s);\n")
        self.put("src/memory/good.c", GOOD)

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def run_gate(self, name):
        run = subprocess.run([sys.executable, f"{SOURCE}/cmake/{name}.py", "--root", self.root, "--build", self.root],
                             capture_output=True, text=True, timeout=60)
        return run.returncode, run.stdout + run.stderr

    def passes(self, name):
        code, text = self.run_gate(name)
        self.assertEqual(code, 0, text)

    def catches(self, name, *words):
        code, text = self.run_gate(name)
        self.assertEqual(code, 1, text)
        for word in words:
            self.assertIn(word, text)

    def compile(self):
        """Both pure libraries from src/memory/*.c, and the compile commands a configured build would have."""
        commands = []
        for library in ("memory", "repl"):
            folder = os.path.join(self.root, "src", library)
            os.makedirs(folder, exist_ok=True)
            objects = []
            for name in sorted(os.listdir(os.path.join(self.root, "src", "memory"))):
                if name.endswith(".c"):
                    source = os.path.join(self.root, "src", "memory", name)
                    command = ["gcc", f"-I{self.root}/src", "-Wall", "-Wextra", "-O2", "-fPIC", "-c", source, "-o",
                               os.path.join(folder, name[:-2] + ".o")]
                    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
                    objects.append(command[-1])
                    commands.append({"directory": self.root, "file": source, "arguments": command})
            archive = os.path.join(folder, f"libaim_{library}.a")
            if os.path.exists(archive):
                os.unlink(archive)
            subprocess.run(["ar", "rc", archive, *objects], check=True)
        self.put("compile_commands.json", json.dumps(commands))


class Format(Gate):
    def test_format(self):
        self.passes("format")
        self.put("src/memory/bad.c", "int bad(int a) {\n  return a;\n}\n")
        self.catches("format", "src/memory/bad.c")

    def test_format_of_tests_and_chaos(self):
        self.put("test/unit/bad.c", "int bad(int a){return a;}\n")
        self.put("chaos/bad.c", "int bad(int a){return a;}\n")
        self.catches("format", "test/unit/bad.c", "chaos/bad.c")

    def test_tab_in_header(self):
        self.put("include/bad.h", "int bad(int a);\t\n")
        self.catches("format", "include/bad.h:1")

    def test_nothing_to_look_at(self):
        shutil.rmtree(os.path.join(self.root, "src"))
        self.catches("format", "nothing to look at")


class Layers(Gate):
    def plant(self, path, include):
        self.put(path, f"#include {include}\n")
        self.catches("layers", f"{path}:1", include)
        os.unlink(os.path.join(self.root, path))

    def test_layers(self):
        self.passes("layers")
        self.plant("src/memory/bad.c", "<uv.h>")
        self.plant("src/memory/bad.c", "<time.h>")
        self.plant("src/memory/bad.c", '"base/log.h"')
        self.plant("src/repl/bad.c", '"memory.h"')
        self.plant("src/repl/bad.h", "<stdio.h>")
        self.plant("src/base/bad.c", '"store.h"')
        self.plant("src/net/bad.c", '"store.h"')
        self.plant("src/net/bad.c", "<openssl/ssl.h>")
        self.plant("src/store/bad.c", "<sqlite3.h>")
        self.plant("src/store/bad.c", '"net/http.h"')
        self.plant("src/store/sqlite/bad.c", "<uv.h>")
        self.plant("src/cluster/bad.c", '"ops/ops.h"')
        self.plant("src/http/bad.c", '"mcp/mcp.h"')
        self.plant("src/ops/bad.c", '"http/door.h"')
        self.plant("src/cli/bad.c", "<llhttp.h>")
        self.plant("test/sim/bad.c", "<uv.h>")
        self.plant("chaos/bad.c", '"store/lane.h"')

    def test_downward_is_fine(self):
        self.put("src/http/good.c", '#include "ops/ops.h"\n#include "net/http.h"\n#include "http/door.h"\n')
        self.put("src/net/good.c", '#include "base/log.h"\n#include <llhttp.h>\n#include <uv.h>\n')
        self.put("src/store/sqlite/good.c", '#include "store.h"\n#include <sqlite3.h>\n')
        self.passes("layers")

    def test_json_text(self):
        self.put("src/ops/bad.c", "void *bad(char *s);\nvoid *bad(char *s) { return json_loads(s, 0, 0); }\n")
        self.catches("layers", "src/ops/bad.c:2", "base/json")

    def test_folder_without_rule(self):
        self.put("src/cellar/bad.c", "int bad;\n")
        self.catches("layers", "src/cellar/bad.c", "no rule")


class Purity(Gate):
    def plant(self, text, *words):
        self.put("src/memory/bad.c", text)
        self.compile()
        self.catches("purity", *words)

    def test_purity(self):
        self.compile()
        self.passes("purity")
        self.plant("#include <time.h>\nlong bad(void) { return time(0); }\n", "memory: bad.o: calls time")
        self.plant("#include <stdlib.h>\nvoid *bad(void) { return malloc(1); }\n", "calls malloc")
        self.plant("void log_line(void);\nvoid bad(void) { log_line(); }\n", "calls log_line")
        self.plant("long clock_wall_us(void *);\nlong bad(void) { return clock_wall_us(0); }\n", "calls clock_wall_us")
        self.plant("static int calls;\nint bad(void) { return calls++; }\n", ".bss")
        self.plant("int bad = 3;\n", ".data")
        self.plant("_Thread_local int bad;\n", ".tbss")

    def test_constant_tables_are_fine(self):
        self.put("src/memory/table.c", 'const char *const table_word[] = { "one", "two" };\n')
        self.compile()
        self.passes("purity")

    def test_library_missing(self):
        self.catches("purity", "not built")


class Size(Gate):
    def test_size(self):
        self.passes("size")
        self.put("src/memory/bad.c", "int bad(int a)\n{\n" + "    a++;\n" * 67 + "    return a;\n}\n")
        self.catches("size", "src/memory/bad.c:1: bad has 71 lines")

    def test_just_fits(self):
        self.put("src/memory/good2.c", "int good(int a)\n{\n" + "    a++;\n" * 66 + "    return a;\n}\n")
        self.passes("size")

    def test_long_file(self):
        self.put("test/unit/bad.c", "/* line */\n" * 801)
        self.put("src/base/bad.h", "/* line */\n" * 251)
        self.catches("size", "test/unit/bad.c: 801 lines", "src/base/bad.h: 251 lines")

    def test_wide_line(self):
        self.put("chaos/bad.c", "/*" + "x" * 119 + "*/\n")
        self.catches("size", "chaos/bad.c:1: 123 columns")


class Tidy(Gate):
    def plant(self, text, *words):
        self.put("src/memory/bad.c", text)
        self.compile()
        self.catches("tidy", *words)

    def test_tidy(self):
        self.compile()
        self.passes("tidy")
        self.plant("int bad(const int *p);\nint bad(const int *p)\n{\n    return p == 0 ? *p : 0;\n}\n",
                   "clang-analyzer")
        self.plant("#include <string.h>\nint bad(char *p);\nint bad(char *p)\n{\n"
                   "    return memset(p, 0, sizeof(p)) == p;\n}\n",
                   "src/memory/bad.c")

    def test_compiler_warning(self):
        self.plant("int bad(void);\nint bad(void)\n{\n    int unused;\n    return 1;\n}\n", "unused")

    def test_remembers_what_passed_and_not_what_failed(self):
        bad = "int bad(void);\nint bad(void)\n{\n    int unused;\n    return 1;\n}\n"
        self.plant(bad, "unused")
        self.catches("tidy", "unused")
        self.put("src/memory/bad.c", bad.replace("    int unused;\n", ""))
        self.compile()
        self.passes("tidy")
        self.plant(bad, "unused")


class Words(Gate):
    def test_words(self):
        self.passes("words")
        for word in ("TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"):
            self.put("src/memory/bad.c", f"/* {word}: later */\n")
            self.catches("words", "src/memory/bad.c:1", word)

    def test_registry(self):
        self.put("README.md", "see https://registry.npm" "js.org/x\n")
        self.catches("words", "README.md:1")


unittest.main()
