/* ops.h - the operation table: every thing a user can ask for, written once. A row names its arguments, its function
 * and its place at each door; decoding, checks, JSON schemas, --help, OpenAPI come from the rows. Adding an operation
 * is one row and one function. Operations are plain blocking code on a store transaction: no socket, no loop, no
 * thread, no effect outside the transaction, so each may be run twice. */
#ifndef AIM_OPS_H
#define AIM_OPS_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "err.h"
#include "memory.h"
#include "store.h"

struct change;
struct tokenizer;
struct df_cache;

enum door { DOOR_HTTP, DOOR_MCP, DOOR_CLI, DOORS };
enum { ON_HTTP = 1, ON_MCP = 2, ON_CLI = 4, ON_ALL = 7 };

/* READ: one snapshot on a reader. TOUCH: a read that notes accesses. WRITE: the lane, the log, the quorum.
 * LOCAL: upkeep of this node, in the lane, no op, no quorum. */
enum op_effect { OP_READ, OP_TOUCH, OP_WRITE, OP_LOCAL };

/* ---- arguments --------------------------------------------------------------------------------------------------- */
struct str {
    const char *s;
    size_t len;
}; /* may hold U+0000: rules refuse it; s NUL-terminated; NULL: absent */
struct strs { struct str *item; size_t count; };
struct items {
    void *item;
    size_t count;
    size_t item_size;
    const char **error;
}; /* array of args structs; error[i]: why item i was refused, or NULL */

enum arg_type {
    ARG_TEXT,   /* struct str */
    ARG_WORD,   /* struct str, one of `words` */
    ARG_INT,    /* int64_t */
    ARG_UINT,   /* int64_t, negative is a wrong type */
    ARG_REAL,   /* double */
    ARG_BOOL,   /* bool */
    ARG_TEXTS,  /* struct strs: JSON array of strings; CLI: comma list; query: comma list */
    ARG_OBJECT, /* json_t * (borrowed): any JSON value; the shared check wants an object */
    ARG_ITEMS,  /* struct items, each decoded by `item` descriptors (bulk, sync push, import) */
};
/* NULL_CLEARS: JSON null is a value of its own (head.null), and so is an empty text from the command line. OPTION:
 * null is absence; without it null is a wrong type. CLAMP: beyond max is cut, not refused. PATH, QUERY: where HTTP
 * has it although the route takes a body. BODY_ARRAY: the HTTP body itself is this array. POSITIONAL, REST (may begin
 * with '-'), STDIN ('-' reads standard input): the command line. COMMA: a JSON string is a comma list too; an empty
 * list of a query stays one empty word, which matches nothing. FILLED: HTTP takes blank for absent, E_INVALID "<name>
 * is required". HIDDEN: taken, not shown in schemas and help. I32: beyond 32 bits is a wrong type. STRICT: MCP does not
 * take an object of a wrong type for absent; the operation judges it. EACH: elements of a wrong type are refused alone
 * (items: with their error; texts: as NULL), unless there is no other. */
enum arg_flags {
    ARG_REQUIRED = 1,
    ARG_NULL_CLEARS = 2,
    ARG_PATH = 4,
    ARG_POSITIONAL = 8,
    ARG_CLAMP = 16,
    ARG_OPTION = 32,
    ARG_REST = 64,
    ARG_BODY_ARRAY = 128,
    ARG_QUERY = 256,
    ARG_STDIN = 512,
    ARG_COMMA = 1024,
    ARG_FILLED = 2048, ARG_HIDDEN = 4096,
    ARG_I32 = 8192, ARG_STRICT = 16384, ARG_EACH = 32768,
};
/* The rules of memory.h, run by the shared check in descriptor order on what was given or is a default; `value`
 * points at the field, of the argument's type. NULL: none beyond type and bounds. */
typedef int (*arg_rule)(const void *value, int64_t now_us, struct err *err);

struct arg {
    const char *name;
    enum arg_type type;
    size_t offset; /* into the op's args struct, which begins with args_head */
    uint16_t flags, doors;
    const char *const *words; /* ended by NULL; ARG_WORD: nothing else is taken; others: told in schemas */
    const char *doc;
    int64_t min;
    struct {
        const char *name, *dflt;
        int64_t max;
    } at[DOORS]; /* name there (NULL: `name`), default text (NULL: none), cap (0: none) */
    arg_rule rule;
    char letter; /* CLI short option, 0: none */
    const struct arg *item;
    size_t item_size; /* ARG_ITEMS */
    size_t items_max;
    const char *items_over; /* more than that: 400 with this text */
};
struct args_head {
    uint64_t set, null;
}; /* bit i: descriptor i was given / was null */
static inline bool arg_set(const struct args_head *h, unsigned i)
{
    return (h->set >> i) & 1;
}
static inline bool arg_null(const struct args_head *h, unsigned i)
{
    return (h->null >> i) & 1;
}

/* ---- who asks, what is answered ---------------------------------------------------------------------------------- */
struct caller {
    enum door door;
    const char *agent_id;    /* resolved; checked unless agent_error says why it is no good */
    const char *agent_error; /* rule_agent_id's text, which operations that need a caller answer; NULL: it is fine */
    bool anonymous;
    const char *default_ns; /* CLI derives one; else "global" */
    bool quorum_on;         /* federation is on: create tells quorum_acks in its body */
};

struct seen { const char *agent, *peer, *at; }; /* in the call's arena; agent NULL: none */

/* One JSON document with every fact some door wants; doors reshape it where they must. */
struct reply {
    json_t *doc;           /* owned */
    int status;            /* HTTP status when not the row's own: 201 or 200, 202 for pending */
    bool changed;          /* a WRITE that changed nothing (no op) answers at once */
    bool no_quorum;        /* answered after the local commit whatever W (sync/push, dry runs) */
    struct seen seen;      /* TOUCH: how far a peer has read, to be remembered (sync_state) with the next touches */
    struct stamp wait_for; /* a retry: answer once W have the first attempt's op (stream 0: none) */
    bool wait_all;         /* parts may have been done before: W must have all that is here, too */
    /* Not 0: the work was done already, by the op wait_for: perhaps an earlier attempt. While W lack that op, the
     * answer is doc, as that attempt's would have been; afterwards it is this error, texts in err. */
    int afterwards;
};
int reply_set(struct reply *r, const char *fmt, ...); /* json_pack format; replaces doc; E_INTERNAL on a bad format */

struct ids {
    char id[4][37];
    unsigned used;
}; /* id[0] is drawn once a call (or derived from its key): a second run gets the same values */
const char *ids_next(
    struct ids *ids); /* further ones are derived from the first; each lives until the third after it */

struct limits {
    struct lifetimes lifetimes;
    bool archive_on_gc;
    int64_t archive_days; /* older archive rows of this node go; 0 or less: they stay */
    int64_t gone_keep_secs; /* deletions are remembered that long at least; 0: a day */
    size_t page_bytes_max;
};

/* Everything the operations share and do not change: borrowed, read by pool threads. */
struct op_env {
    const struct tokenizer *tokenizer;
    struct df_cache *df;
    struct limits limits;
    const char *version;
    const struct clock *clock; /* reads; NULL: the real one */
};

#define TOUCHES_MAX 1000
struct touches {
    char (*id)[129];
    size_t count;
}; /* noted by a TOUCH operation; the engine merges them into the lane */

struct op_ctx {
    struct store_tx *tx;
    struct change *change; /* WRITE and LOCAL: the lane's; NULL on a reader */
    const struct caller *caller;
    int64_t now_us;
    struct ids *ids;
    const struct op_env *env;
    struct arena *arena; /* the call's */
    struct touches *touches;
    uint64_t *progress; /* a long write's place between slices (E_AGAIN); starts at 0 */
    json_t **carry;     /* what earlier slices answered (owned by the call) */
    const char **need_row; /* a READ that wants other nodes' rows of an id names it here and returns E_NEED; */
    const json_t *given;   /* then it is run again with their answers to /api/v1/sync/row, unchecked; NULL: not yet */
    struct err *err;
};

/* ---- the row ----------------------------------------------------------------------------------------------------- */
enum http_verb { HTTP_NONE, HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_DELETE };
struct http_route {
    enum http_verb verb;
    const char *path;
    int status;
    bool body; /* takes a JSON body */
};             /* {id} in path names the PATH argument */
enum mcp_hints { MCP_READ_ONLY = 1, MCP_DESTRUCTIVE = 2, MCP_IDEMPOTENT = 4 };
struct mcp_tool {
    const char *name, *doc;
    unsigned hints;
};
struct cli_verb {
    const char *name, *about;
};

struct op {
    const char *name, *doc;
    enum op_effect effect;
    const struct arg *args;
    size_t args_size; /* ended by name == NULL */
    int (*run)(struct op_ctx *, const void *args, struct reply *);
    /* WRITE: hints on a reader, beside the quorum, adds to reply.doc; capped; may be NULL */
    int (*aside)(struct op_ctx *, const void *args, struct reply *);
    struct http_route http[2];
    struct mcp_tool mcp;
    struct cli_verb cli;
    unsigned sweeps; /* doors: without a server expired rows are swept before it, when that is due */
    bool anonymous;  /* HTTP: X-Agent-Id is not looked at (reads, update) */
    bool tells_acks; /* the engine puts quorum_acks into doc when caller.quorum_on */
};
extern const struct op op_table[]; /* ended by name == NULL */
const struct op *op_by_name(const char *name);
const struct op *op_by_tool(const char *mcp_name);
const struct op *op_by_verb(const char *cli_name);

/* ---- decoding (src/ops/args.c) ----------------------------------------------------------------------------------- */
/* From a JSON object (HTTP body, MCP arguments). Wrong types, missing required ones and unknown words: E_TYPE with
 * the argument's path in err->arg ("memories[0].tier", "" for a missing field at the top) and the detail in err->msg;
 * a word that is no string: E_SYNTAX; more items than allowed: E_INVALID. MCP: null, tags that are no strings,
 * metadata that is no object count as absent; messages stand alone ("title is required"). HTTP: path and query
 * arguments are left out. Values borrow from `doc`. Defaults of the door are filled in. */
int args_from_json(const struct arg *desc, enum door door, json_t *doc, struct arena *a, void *args, struct err *err);
/* One argument from text (query parameter, CLI value, path segment; copied into the arena; a flag of the CLI: "").
 * E_TYPE with the name in err->arg and the detail in err->msg ("invalid digit found in string"); CLI, MCP: an unknown
 * word is E_INVALID ("invalid tier: x ..."). */
int args_from_text(const struct arg *desc, unsigned index, enum door door, const char *text, size_t len,
                   struct arena *a, void *args, struct err *err);
/* Fills defaults of what is not set; E_MISSING naming the first required argument that is absent. */
int args_finish(const struct arg *desc, enum door door, struct arena *a, void *args, struct err *err);
/* Ranges and text rules in descriptor order: E_INVALID. Before anything queues; a bad request never enters the lane. */
int args_check(const struct arg *desc, enum door door, int64_t now_us, struct arena *a, void *args, struct err *err);
int arg_index(const struct arg *desc, enum door door, const char *name); /* by the door's name; -1 */

/* ---- shared by operations ---------------------------------------------------------------------------------------- */
/* The 15 fields; absent times are left out, unreadable tags or metadata read as [] and {}. */
json_t *memory_json(const struct memory *m);
json_t *link_json(const struct link *l);
/* Who acts: `own` (an argument; NULL or empty: not given), else the caller. E_INVALID. */
int op_agent(struct op_ctx *c, const struct str *own, const char **ret);
/* Exact id, a shadow's id, or a unique prefix: E_NOT_FOUND, E_AMBIGUOUS with one full id per line. */
int memory_find(struct op_ctx *c, const struct str *id, bool prefix, struct row *ret);

#endif
