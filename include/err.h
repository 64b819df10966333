/* err.h - the error table of the whole program.
 *
 * One X-macro names every way a call can fail: code, number (never reused), HTTP status, whether the same request
 * may succeed later, and the text when nobody said anything more precise. The code decides; the message informs. */
#ifndef AIM_ERR_H
#define AIM_ERR_H

#include <stdarg.h>

#define ERR_LIST(X) \
    X(INVALID,      -1,  400, 0, "invalid argument")                 /* a value breaks a rule */ \
    X(SYNTAX,       -2,  400, 0, "malformed input")                  /* bytes that are no JSON, no HTTP, no query */ \
    X(TYPE,         -3,  422, 0, "wrong type")                       /* well formed, of the wrong shape */ \
    X(NOT_FOUND,    -4,  404, 0, "not found")                        \
    X(AMBIGUOUS,    -5,  400, 0, "ambiguous id prefix")              \
    X(CONFLICT,     -6,  409, 0, "conflict")                         \
    X(DENIED,       -7,  403, 0, "denied")                           \
    X(UNAUTHORIZED, -8,  401, 0, "missing or invalid API key")       \
    X(TOO_LARGE,    -9,  413, 0, "too large")                        \
    X(MEDIA_TYPE,  -10,  415, 0, "unsupported content type")         \
    X(BUSY,        -11,  503, 1, "busy")                             /* a queue is full: nothing was done */ \
    X(STOPPING,    -12,  503, 1, "shutting down")                    \
    X(TIMEOUT,     -13,  504, 1, "deadline passed")                  \
    X(QUORUM,      -14,  503, 1, "quorum_not_met")                   \
    X(DISK_FULL,   -15,  503, 1, "disk full")                        \
    X(READ_ONLY,   -16,  503, 0, "database is read-only")            \
    X(CORRUPT,     -17,  500, 0, "database is corrupt")              \
    X(IO,          -18,  500, 0, "input/output error")               \
    X(LOCKED,      -19,  503, 1, "database is in use")               \
    X(CANCELLED,   -20,  503, 1, "cancelled")                        \
    X(UNREACHABLE, -21,  502, 1, "peer unreachable")                 \
    X(PROTOCOL,    -22,  502, 0, "peer spoke another protocol")      \
    X(MISMATCH,    -23,  422, 0, "key used for another request")     /* Idempotency-Key with another payload */ \
    X(PENDING,     -24,  202, 0, "governance requires approval")     /* no failure: queued for a decision */ \
    X(INTERNAL,    -25,  500, 0, "internal server error")            \
    X(MISSING,     -26,  400, 0, "missing argument")                 /* a required query or CLI argument is absent */ \
    X(AGAIN,       -27,  503, 1, "try again")                        /* internal: run the operation once more */ \
    X(GONE,        -28,  410, 0, "gone")                             /* trimmed: only a snapshot has it */ \
    X(NEED,        -29,  503, 1, "another node's word is needed")    /* internal: ask, then run it once more */ \
    X(MOVED,       -30,  503, 0, "the database file was removed or replaced")

enum err_code {
    E_OK = 0,
#define X(name, number, status, retry, text) E_##name = number,
    ERR_LIST(X)
#undef X
};

/* What went wrong. `arg` names the argument or field at fault, or is empty. Plain values: copy freely. */
struct err {
    int code;
    char arg[64];
    char msg[1536];
};

/* Sets code and formatted message (cut to fit), clears `arg`; returns `code`. err may be NULL. Any thread. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same, naming the argument at fault. */
int err_arg(struct err *err, int code, const char *arg, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Puts "<context>: " before the message that is there; returns the code that is there. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_name(int code);  /* "NOT_FOUND" */
const char *err_text(int code);  /* the table's text */
int err_status(int code);        /* HTTP status; 200 for 0; 500 for an unknown code */
int err_retryable(int code);

#endif
