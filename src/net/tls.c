/* tls.c - one connection's filter. OpenSSL reads from `in` and writes to `out` through a BIO of our own: a memory BIO
 * of OpenSSL keeps the memory of its largest moment, and ten thousand connections idle most of the time. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "net/tls_private.h"

#define IN_MAX (4 * TLS_SCRATCH_BYTES) /* a reader that was told to wait stops feeding long before */
#define OUT_MAX (4 * TLS_WRITE_MAX)
#define KEEP_BYTES 4096 /* larger buffers go when they are empty */

struct tls {
    struct tls_context *context;
    SSL *ssl;
    struct buf in, out;
    size_t in_pos;
    bool client, failed;
    char host[256];
    char why[320];
};

/* ---- the BIO ---------------------------------------------------------------------------------------------------- */
static int bio_read(BIO *b, char *to, size_t size, size_t *ret_len)
{
    struct tls *t = BIO_get_data(b);
    size_t left = t->in.len - t->in_pos;
    BIO_clear_retry_flags(b);
    if (left == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    *ret_len = left < size ? left : size;
    memcpy(to, t->in.data + t->in_pos, *ret_len);
    t->in_pos += *ret_len;
    return 1;
}

static int bio_write(BIO *b, const char *data, size_t len, size_t *ret_len)
{
    struct tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    buf_put(&t->out, data, len);
    *ret_len = len;
    return t->out.failed ? 0 : 1;
}

static long bio_control(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bytes");
    CHECK(method != NULL && BIO_meth_set_read_ex(method, bio_read) && BIO_meth_set_write_ex(method, bio_write) &&
          BIO_meth_set_ctrl(method, bio_control));
}

/* ---- life ------------------------------------------------------------------------------------------------------- */
/* Whom a client wants to talk to: the certificate must say that name or that address. */
static void expect_host(struct tls *t, const char *host)
{
    uint8_t address[16];
    bool literal = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    snprintf(t->host, sizeof t->host, "%s", host);
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (literal) {
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host) == 1);
    } else {
        CHECK(SSL_set1_host(t->ssl, host) == 1 && SSL_set_tlsext_host_name(t->ssl, host) == 1);
    }
}

struct tls *tls_new(struct tls_context *x, const char *host)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tls *t = mem_alloc(sizeof *t);
    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    t->context = x;
    t->client = host != NULL;
    t->ssl = SSL_new(x->ssl);
    CHECK(bio != NULL && t->ssl != NULL); /* out of memory, as for mem_alloc */
    buf_init(&t->in, IN_MAX);
    buf_init(&t->out, OUT_MAX);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    if (t->client) {
        expect_host(t, host);
        SSL_set_connect_state(t->ssl);
    } else {
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL) return;
    SSL_free(t->ssl);
    buf_release(&t->in);
    buf_release(&t->out);
    mem_free(t);
}

char *tls_scratch(struct tls *t, size_t *ret_size)
{
    *ret_size = sizeof t->context->scratch;
    return t->context->scratch;
}

bool tls_open(const struct tls *t)
{
    return !t->failed && SSL_is_init_finished(t->ssl);
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}

/* ---- failing ---------------------------------------------------------------------------------------------------- */
/* The last error that OpenSSL queued is that of TLS; those before it are of its tools. */
static int fail(struct tls *t)
{
    unsigned long e = ERR_peek_last_error();
    int reason = ERR_GET_REASON(e);
    long verified = SSL_get_verify_result(t->ssl);
    const char *text = ERR_reason_error_string(e);
    bool ssl = ERR_GET_LIB(e) == ERR_LIB_SSL;
    t->failed = true;
    if (ssl && reason == SSL_R_CERTIFICATE_VERIFY_FAILED && t->client)
        snprintf(t->why, sizeof t->why, "TLS: the certificate of %s: %s", t->host,
                 X509_verify_cert_error_string(verified));
    else if (ssl && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(t->why, sizeof t->why, "TLS: the client's certificate is not on the allowlist");
    else if (ssl && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST))
        snprintf(t->why, sizeof t->why, "TLS: the other side does not speak TLS");
    else if (ssl && reason >= SSL_AD_REASON_OFFSET)
        snprintf(t->why, sizeof t->why, "TLS: refused by the other side: %s", text != NULL ? text : "alert");
    else
        snprintf(t->why, sizeof t->why, "TLS: %s", text != NULL ? text : "failed");
    ERR_clear_error();
    return E_PROTOCOL;
}

/* What a call that did not succeed means: 0 when it only wants more bytes. */
static int judge(struct tls *t, int result)
{
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: return E_GONE;
    default: return fail(t);
    }
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */
static void shrink(struct buf *b)
{
    if (b->cap > KEEP_BYTES)
        buf_release(b);
    else
        buf_clear(b);
}

int tls_feed(struct tls *t, const char *data, size_t len)
{
    if (t->in_pos > 0) buf_drop_front(&t->in, t->in_pos);
    t->in_pos = 0;
    if (len > IN_MAX - t->in.len) return E_TOO_LARGE;
    buf_put(&t->in, data, len);
    return 0;
}

static int give(struct tls *t, char *to, size_t size, size_t *ret_len)
{
    int result;
    ERR_clear_error(); /* what others left in this thread's queue would be taken for ours */
    if (!SSL_is_init_finished(t->ssl)) {
        result = SSL_do_handshake(t->ssl);
        if (result != 1) return judge(t, result);
    }
    result = SSL_read_ex(t->ssl, to, size, ret_len);
    return result == 1 ? 0 : judge(t, result);
}

int tls_read(struct tls *t, char *to, size_t size, size_t *ret_len)
{
    *ret_len = 0;
    if (t->failed) return E_PROTOCOL;
    /* Shaking hands takes OpenSSL 50 KiB: nothing is begun with a client that only connects. */
    if (!t->client && SSL_in_before(t->ssl) && t->in.len == 0) return 0;
    int rc = give(t, to, size, ret_len);
    if (t->in_pos == t->in.len) {
        t->in_pos = 0;
        shrink(&t->in);
    }
    return rc;
}

int tls_write(struct tls *t, const char *data, size_t len)
{
    size_t written = 0;
    CHECK(len <= TLS_WRITE_MAX);
    if (!tls_open(t)) return E_PROTOCOL;
    if (len == 0) return 0;
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, data, len, &written) != 1) return fail(t);
    CHECK(written == len); /* nothing ever blocks here */
    return 0;
}

void tls_close(struct tls *t)
{
    if (!tls_open(t)) return;
    ERR_clear_error();
    if (SSL_shutdown(t->ssl) < 0) fail(t);
}

char *tls_take(struct tls *t, size_t *ret_len)
{
    if (t->out.len == 0) return NULL;
    return buf_take(&t->out, ret_len);
}
