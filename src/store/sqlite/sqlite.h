/* sqlite.h - the storage port on one SQLite file in WAL mode. The only room that knows SQL.
 *
 * Beside the database lies "<file>-lock"; its bytes are locks between processes (F_OFD); its content, if any, is the
 * address of the server:
 *   byte 0          the one server of the file, held while the store is open
 *   byte 1          the turnstile: held by a writer from before BEGIN IMMEDIATE until after COMMIT, and by checkpoints
 *   byte 2          its door: held while waiting for byte 1, so that a busy server cannot starve the others
 *   byte 16+stream  the life of a writer: held while the process that writes this stream lives */
#ifndef AIM_STORE_SQLITE_H
#define AIM_STORE_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "memory/text.h"
#include "store.h"

enum sqlite_durability {
    SQLITE_DURABLE_FULL,
    SQLITE_DURABLE_NORMAL
}; /* NORMAL: no fsync at commit, only at checkpoints */

struct sqlite_options {
    bool serving;   /* take the one-server lock; the writer then begins with a whole checkpoint */
    bool read_only; /* never create, upgrade or write */
    enum sqlite_durability durability;
    int busy_ms; /* longest wait for another process's write; 0: 5000 */
};

/* Opens, creates or upgrades the file; before the first upgrade of a file of the original it is copied to
 * "<file>.before-upgrade". *ret is freed by its b->close, after all its connections. Any thread; blocking.
 * E_CORRUPT: no database, or a damaged one; E_LOCKED: another server has it; E_READ_ONLY; E_BUSY; E_DISK_FULL; E_IO:
 * no such directory; E_INVALID: made by a later program than this knows. */
int sqlite_store_open(const char *path, const struct sqlite_options *o, struct store **ret, struct err *err);

/* The raw words of FTS5's unicode61 tokenizer, folded, accents removed as FTS5 does by default. Any thread. */
const struct tokenizer *sqlite_tokenizer(void);

/* Builds the word index anew from the memories, in a transaction of its own. For restore and doctor; no transaction
 * may be open. */
int sqlite_rebuild_words(struct store_conn *writer, struct err *err);

/* Notes beside the file where its server, this one, can be reached; "": nowhere any more. */
void sqlite_server_note(struct store *s, const char *url);
/* Where the server of this file noted that it can be reached. E_NOT_FOUND: there is none; E_BUSY: it starts or ends;
 * E_TOO_LARGE. Looks at the lock file only. */
int sqlite_server_find(const char *path, char *url, size_t size, struct err *err);

/* Holds the byte of a stream until the store is closed: says that its writer lives. E_LOCKED: another life holds it. */
int sqlite_life_hold(struct store *s, uint64_t stream, struct err *err);
/* Whether some process (this one too) holds the byte of a stream. */
bool sqlite_life_held(struct store *s, uint64_t stream);
/* Which other process writes the database just now, "1234 (its name)"; false: none, or it cannot be told. */
bool sqlite_writer_find(struct store *s, char *text, size_t size);

#endif
