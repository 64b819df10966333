/* shim.h - what the harness and its preload library share: one mapped page that says how a node's disk behaves. */
#ifndef AIM_CHAOS_SHIM_H
#define AIM_CHAOS_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

#define SHIM_MAGIC 0x61696d73u
#define SHIM_BYTES 4096
#define SHIM_UNDO ".undo"            /* beside a file: what its unsynced writes replaced */

enum shim_mode {
    SHIM_FULL = 1,                   /* a write that makes a file longer: ENOSPC */
    SHIM_SYNC_FAILS = 2,             /* fsync, fdatasync: EIO */
    SHIM_TORN = 4,                   /* the next write to a log gets half through, then the process is gone */
    SHIM_UNDOES = 8,                 /* keeps what unsynced writes replaced, so that a power cut can be played */
    SHIM_LIES = 16                   /* with UNDOES: a sync answers yes and does nothing, as a false cache */
};

struct shim_page {
    _Atomic uint32_t magic, mode;
    _Atomic uint64_t writes, syncs, refused, torn;
};

/* One record of an undo file; `len` bytes of old content follow. */
struct shim_undo { uint64_t offset, size, len; };

#endif
