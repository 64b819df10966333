/* tls.h - TLS 1.2 and 1.3 as a filter between bytes; knows no socket. OpenSSL over memory. Loop thread only.
 *
 *     socket ── tls_feed ──▶ ┌─────┐ ── tls_read ──▶ HTTP          HANDSHAKE ─▶ OPEN ─ their close_notify ─▶ E_GONE
 *                            │ tls │                                   │         │
 *     socket ◀── tls_take ── └─────┘ ◀── tls_write ── HTTP             └─ alert, garbage, refused certificate ─▶ FAILED
 *
 * A context is what many connections share: certificate, key, whom to believe; all of it is read once, when it is made.
 * A server with an allowlist wants a certificate of every client, and the SHA-256 of that certificate is all that
 * decides: neither chain nor date nor name, but the client has to prove that it holds the key. A client checks the
 * server's chain, dates and name or address, always. */
#ifndef AIM_NET_TLS_H
#define AIM_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define TLS_WRITE_MAX (240 * 1024)   /* plain bytes of one tls_write: with its records just below a power of two */

struct tls;
struct tls_context;

struct tls_files {
    const char *cert, *key;              /* PEM, the chain behind the certificate; a client may have none (both NULL) */
    const char *allowlist;               /* server: clients' fingerprints, one a line; NULL: none is asked for */
    const char *ca;                      /* client: PEM, trusted instead of the system's store; NULL: the system's */
};

/* 0; E_IO (a file cannot be read), E_INVALID (what is in it does not serve), with text. */
int tls_context_server(const struct tls_files *f, struct tls_context **ret, struct err *err);
int tls_context_client(const struct tls_files *f, struct tls_context **ret, struct err *err);
/* After the last connection's tls_free; NULL is fine. */
void tls_context_free(struct tls_context *x);
/* A place to read encrypted bytes into before they are fed: the context's, good until the next call. */
char *tls_scratch(struct tls *t, size_t *ret_size);

/* host: of a client, the name or address literal of the server (copied); NULL for a server. The context is borrowed. */
struct tls *tls_new(struct tls_context *x, const char *host);
void tls_free(struct tls *t);            /* NULL is fine */
/* Encrypted bytes that came; copied. 0, or E_TOO_LARGE: more than is sane waits for tls_read. */
int tls_feed(struct tls *t, const char *data, size_t len);
/* Shakes hands, then gives plain bytes. 0: *ret_len of them; none: more must be fed. E_GONE: the other side has ended
 * its part. E_PROTOCOL: see tls_why; nothing comes any more. After each call tls_take may have something. */
int tls_read(struct tls *t, char *to, size_t size, size_t *ret_len);
/* Encrypts all of it (TLS_WRITE_MAX at most). 0, or E_PROTOCOL: failed, or hands are not shaken yet. */
int tls_write(struct tls *t, const char *data, size_t len);
/* Ends our part: close_notify. */
void tls_close(struct tls *t);
/* Encrypted bytes for the socket: to mem_free; NULL: none. */
char *tls_take(struct tls *t, size_t *ret_len);
bool tls_open(const struct tls *t);      /* hands are shaken, and nothing failed */
const char *tls_why(const struct tls *t);/* "" while nothing failed */

#endif
