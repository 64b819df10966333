/* err.c - the error table as functions. */
#include "err.h"

#include <stdio.h>
#include <string.h>

static void set_text(struct err *err, int code, const char *arg, const char *fmt, va_list ap)
{
    char msg[sizeof(err->msg)]; /* an argument may point into err itself */
    char name[sizeof(err->arg)];
    vsnprintf(msg, sizeof(msg), fmt, ap);
    snprintf(name, sizeof(name), "%s", arg);
    memcpy(err->msg, msg, sizeof(msg));
    memcpy(err->arg, name, sizeof(name));
    err->code = code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err == NULL) return code;
    va_list ap;
    va_start(ap, fmt);
    set_text(err, code, "", fmt, ap);
    va_end(ap);
    return code;
}

int err_arg(struct err *err, int code, const char *arg, const char *fmt, ...)
{
    if (err == NULL) return code;
    va_list ap;
    va_start(ap, fmt);
    set_text(err, code, arg == NULL ? "" : arg, fmt, ap);
    va_end(ap);
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (err == NULL) return E_INTERNAL; /* never turn a failure into success */
    char msg[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    size_t len = strlen(msg), old = strlen(err->msg);
    if (len > sizeof(msg) - 3) len = sizeof(msg) - 3;
    if (old > sizeof(msg) - 3 - len) old = sizeof(msg) - 3 - len;
    memmove(err->msg + len + 2, err->msg, old);
    err->msg[len + 2 + old] = '\0';
    memcpy(err->msg, msg, len);
    memcpy(err->msg + len, ": ", 2);
    return err->code;
}

const char *err_name(int code)
{
    switch (code) {
    case E_OK: return "OK";
#define X(name, number, status, retry, text) \
    case E_##name: return #name;
        ERR_LIST(X)
#undef X
    default: return "UNKNOWN";
    }
}

const char *err_text(int code)
{
    switch (code) {
    case E_OK: return "ok";
#define X(name, number, status, retry, text) \
    case E_##name: return text;
        ERR_LIST(X)
#undef X
    default: return "unknown error";
    }
}

int err_status(int code)
{
    switch (code) {
    case E_OK: return 200;
#define X(name, number, status, retry, text) \
    case E_##name: return status;
        ERR_LIST(X)
#undef X
    default: return 500;
    }
}

int err_retryable(int code)
{
    switch (code) {
#define X(name, number, status, retry, text) \
    case E_##name: return retry;
        ERR_LIST(X)
#undef X
    default: return 0;
    }
}
