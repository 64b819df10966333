/* memstore.h - the storage port in memory, for unit tests and the simulator: deterministic, no clock, no files.
 * Everything is kept in ordered tables of immutable blobs, so a snapshot is cheap and a whole store can be compared as
 * text. It has no word index: words_stat, words_df and words_scan find nothing. */
#ifndef AIM_TEST_MEMSTORE_H
#define AIM_TEST_MEMSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"

struct buf;

/* `threads`: readers work on a copy made at begin, under a lock, so that other threads may read beside the writer.
 * Without, they read the live tables: quicker, one thread, no reader across a commit. Freed by b->close. */
struct store *memstore_open(bool threads);

/* The `nth` call from now (1: the next) fails with `code`, without effect; begin, commit and every verb count. 0:
 * never. */
void memstore_fail(struct store *s, uint64_t nth, int code);
uint64_t memstore_calls(const struct store *s);      /* calls so far */
/* Commits are refused with `code` until 0 is given (E_DISK_FULL, E_IO). */
void memstore_fail_commits(struct store *s, int code);
void memstore_fail_syncs(struct store *s, int code);              /* those asked for by themselves */
/* Such syncs wait until they are let go. */
void memstore_hold_syncs(struct store *s, bool hold);
void memstore_want_upkeep(struct store *s, bool want);
unsigned memstore_upkeeps(struct store *s);                       /* how often it ran */
/* Another process's transaction: begin answers E_BUSY that many times. */
void memstore_busy(struct store *s, unsigned times);

/* The committed state, to be put back later (an older copy of the file, a clone on another machine). */
struct memstore_image;
struct memstore_image *memstore_snapshot(struct store *s);
void memstore_restore(struct store *s, const struct memstore_image *image);   /* no transaction may be open */
void memstore_image_free(struct memstore_image *image);
/* Power fails: open transactions and commits without fsync are gone. Connections stay valid. */
void memstore_crash(struct store *s);
/* The same, but of the commits without fsync those survive that were there at `mark`, as memstore_mark told it after
 * one of them. */
uint64_t memstore_mark(const struct store *s, bool durable);   /* durable: of the last durable commit */
void memstore_crash_to(struct store *s, uint64_t mark);
uint64_t memstore_fsyncs(const struct store *s);     /* durable commits so far */

/* The original's program writes a row into the file: no stamp on a new one, the old stamp on one that was there. */
void memstore_original(struct store *s, const struct memory *m);

/* A row of pending_actions is deleted behind our back; inside a transaction of the writer. */
void memstore_lose_pending(struct store_tx *tx, const char *id);

/* Appends what replicas must agree on, one line each, sorted: visible and swept rows, shadows, tombstones, touches,
 * links and standards of record, keys; with `shown` also links and standards as the original's tables show them (a
 * swept row has none). Not the log, positions, rowids, archive, what is held or awaited. */
void memstore_dump(struct store *s, bool shown, struct buf *b);
/* Archived rows, when and why, one line each, or only their texts: a text that rests is shown without what merges by
 * itself. mem_free */
char *memstore_archive_dump(struct store *s, bool whole);

#endif
