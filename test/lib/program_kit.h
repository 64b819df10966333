/* program_kit.h - the real program under test: started on a scratch directory and a free port, asked over plain
 * sockets. Every wait has a deadline; program_stop leaves no process and no file. */
#ifndef AIM_TEST_PROGRAM_KIT_H
#define AIM_TEST_PROGRAM_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>
#include <jansson.h>

#define PROGRAM_ARGS_MAX 24

extern const char *program_path;         /* set by main from argv[1] */

struct program {
    char dir[64];                        /* scratch; also HOME */
    pid_t pid;
    int out;                             /* its standard output and error */
    char said[16384];                    /* what it said so far */
    size_t said_len;
    uint16_t port;                       /* once it listens */
};

struct reply_text {
    int status;                          /* 0: no answer */
    char head[4096];                     /* lines as received, lower case names */
    char *body; size_t len;              /* owned; NUL behind */
    json_t *json;                        /* owned; NULL: no JSON */
};

/* A scratch directory; nothing runs yet. */
void program_init(struct program *p);
/* `ai-memory <args>` in the scratch directory, environment cleared of ours but for `env` ("NAME=value", NULL: none). */
void program_run(struct program *p, const char *env, const char *const *args);
/* `serve --db DIR/a.db --port 0 <more>` and waits for its port. */
void program_serve(struct program *p, const char *env, const char *const *more);
void program_signal(struct program *p, int number);
/* Waits for the end; the exit status, or 128 + signal. */
int program_wait(struct program *p);
/* SIGTERM, expects 0, removes the scratch directory. */
void program_stop(struct program *p);
void program_remove(struct program *p);
/* Reads what it says until `text` is there. */
void program_until(struct program *p, const char *text);

int raw_connect(const struct program *p);
void raw_put(int fd, const char *text, size_t len);
/* One answer; false: the connection ended before. head: answers have no body. */
bool raw_take(int fd, bool head, struct reply_text *ret);
/* One request on a connection of its own. headers: "name: value\r\n..." or NULL; body NULL: none, else JSON unless
 * the headers say another content-type. */
void ask(const struct program *p, const char *method, const char *target, const char *headers, const char *body,
    struct reply_text *ret);
/* The same, status checked, answer thrown away. */
void expect_status(const struct program *p, int status, const char *method, const char *target, const char *headers,
    const char *body);
/* A header's value, NULL: not there. Points into a static buffer. */
const char *reply_header_of(const struct reply_text *r, const char *name);
const char *reply_string(const struct reply_text *r, const char *key);   /* of the JSON object; "" when not there */
void reply_free(struct reply_text *r);

#endif
