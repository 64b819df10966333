/* check_read.h - what the checker reads: a cycle's history and dumps as plain structs. */
#ifndef AIM_CHAOS_CHECK_READ_H
#define AIM_CHAOS_CHECK_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define RECORD_NODES 8
#define RECORD_STAGES 8

enum op_kind { OP_CREATE, OP_EDIT, OP_DELETE };
enum op_fate {
    FATE_OK,        /* acknowledged */
    FATE_PENDING,   /* 503: durable somewhere, travelling */
    FATE_NOTHING,   /* refused without effect */
    FATE_UNKNOWN    /* no answer, or one that tells nothing */
};

struct op {
    enum op_kind kind;
    enum op_fate fate;
    int node, status;
    bool probe;                           /* of the supervisor itself: judged, not counted */
    int64_t from_us, to_us;               /* to_us: INT64_MAX without an answer */
    const char *id, *title, *content;     /* borrowed from doc; NULL where there is none */
    const char *reason, *outcome, *error;
    int64_t got, needed;
    json_t *invoke, *answer;              /* owned */
    size_t next;                          /* further operations on the memory (they hang on its create); 0: none */
};

struct dump {
    bool live;
    json_t *doc;                          /* owned; NULL: missing */
    json_t *by_id, *by_title;             /* owned: id or title -> row (borrowed by json's own counting) */
    size_t rows, doubled;
    char digest[65];
};

struct stage { const char *name; int64_t at_us; struct dump node[RECORD_NODES]; unsigned destroyed; json_t *line; };

struct record {
    char dir[1024];
    json_t *meta;                         /* owned; NULL: the history has none */
    struct op *op; size_t ops;            /* op[0] is unused: numbers start at 1 */
    json_t *creates;                      /* id or title -> number of the create */
    struct stage stage[RECORD_STAGES]; unsigned stages;
    int64_t fault_us;                     /* when the first fault began; INT64_MAX: none */
    unsigned faults, proofs, empty_proofs;
    char empty_proof[64];
};

int record_read(struct record *r, const char *dir, struct err *err);   /* needs record_release in any case */
void record_release(struct record *r);

#endif
