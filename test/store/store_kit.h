/* store_kit.h - what the store's tests share: a scratch directory, a store with its connections, rows made quickly. */
#ifndef TEST_STORE_KIT_H
#define TEST_STORE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "store.h"
#include "store/sqlite/sqlite.h"

/* A backend under test. `words`: it has a word index; `lasts`: its rows outlive the store. */
struct kit_backend {
    const char *name;
    bool words, lasts;
    int (*open)(const char *dir, struct store **ret, struct err *err);
};

struct kit {
    const struct kit_backend *backend;
    char dir[64];
    struct store *store;
    struct store_conn *writer, *reader;
    struct store_tx *tx; /* of the writer, while one is open */
    struct arena arena;
    struct err err;
};

/* Runs the tests on the backend the first argument names (sqlite, memory; none: sqlite). Each test has a fresh struct
 * kit as its state. */
extern const struct kit_backend *kit_backend;
int kit_run(int argc, char **argv, const struct CMUnitTest *tests, size_t count);
int kit_set_up(void **state);
int kit_tear_down(void **state);
#define KIT_TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)

void kit_open(struct kit *k, const struct kit_backend *b);
void kit_close(struct kit *k); /* and removes the directory */
void kit_reopen(struct kit *k);
struct store_tx *kit_begin(struct kit *k);
void kit_commit(struct kit *k);
struct store_tx *kit_read(struct kit *k); /* a snapshot on the reader */
void kit_read_end(struct kit *k);

void kit_dir(char dir[64]);
void kit_remove(const char *dir);
/* Checks rc, printing the text of the error. */
void kit_ok(int rc, const struct err *err);

/* A row of tier mid, priority 5, stamped ver (0: unstamped) in stream 7, times from ver. Strings live in the arena. */
struct row kit_row(struct arena *a, const char *id, const char *ns, const char *title, const char *content,
                   uint64_t ver);
/* Puts it in a transaction of its own. */
void kit_put(struct kit *k, const struct row *next, const struct row *before);

#define KIT_T0 1760000000000000LL  /* microseconds: some day in 2025 */
uint64_t kit_ver(int64_t seconds); /* version of that many seconds after KIT_T0 */

/* ---- files */
char *kit_path(struct kit *k, const char *name);             /* in the scratch directory */
void kit_read_file(const char *path, struct buf *ret);
void kit_write_file(const char *path, const void *data, size_t len);
char *kit_golden(struct kit *k, const char *name);           /* copies a file of the original there */
/* Runs SQL on a file behind the store's back, as another program would; the first number of the result. */
int64_t kit_raw(const char *path, const char *sql);

/* A second store on any file. */
struct other {
    struct store *store;
    struct store_conn *conn;
    struct store_tx *tx;
    struct err err;
};
void other_open(struct other *o, const char *path, bool serving);
void other_begin(struct other *o);
void other_commit(struct other *o);
void other_close(struct other *o);

int64_t kit_df(struct store_tx *tx, const char *word);       /* rows that hold a word */

#endif
