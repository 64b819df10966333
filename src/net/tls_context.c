/* tls_context.c - what is read from files once: certificates, keys, the allowlist, whom to trust. */
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/digest.h"
#include "base/log.h"
#include "net/tls_private.h"

#define FILE_MAX (1u << 20)

/* The one protocol we speak, as ALPN writes it. HTTP/2 is not offered: no client may depend on it, and whoever
 * could speak it takes HTTP/1.1 when only that is offered. */
static const unsigned char http11[] = "\x08http/1.1";
#define HTTP11_LEN (sizeof http11 - 1)

/* ---- files ------------------------------------------------------------------------------------------------------ */
static int read_file(const char *path, const char *what, struct buf *b, struct err *err)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return err_set(err, E_IO, "failed to read %s from %s: %s", what, path, strerror(errno));
    char chunk[4096];
    size_t n;
    buf_init(b, FILE_MAX);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) buf_put(b, chunk, n);
    int rc = ferror(f) ? err_set(err, E_IO, "failed to read %s from %s: %s", what, path, strerror(errno)) : 0;
    fclose(f);
    if (rc == 0 && b->failed)
        rc = err_set(err, E_INVALID, "failed to read %s from %s: larger than %u bytes", what, path, FILE_MAX);
    if (rc != 0) buf_release(b);
    return rc;
}

/* Opens a file's bytes for OpenSSL. `b` must outlive the result. */
static int open_pem(const char *path, const char *what, struct buf *b, BIO **ret, struct err *err)
{
    int rc = read_file(path, what, b, err);
    if (rc != 0) return rc;
    *ret = BIO_new_mem_buf(buf_str(b), (int)b->len);
    CHECK(*ret != NULL);
    ERR_clear_error();
    return 0;
}

static void close_pem(struct buf *b, BIO *bio)
{
    BIO_free(bio);
    if (b->data != NULL) OPENSSL_cleanse(b->data, b->len);
    buf_release(b);
    ERR_clear_error();
}

/* What is in the file does not serve, and why OpenSSL thinks so. */
static int unfit(struct err *err, const char *path, const char *what)
{
    unsigned long e = ERR_peek_error();
    const char *text = ERR_reason_error_string(e);
    if (ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE)
        text = "there is none in it, PEM is wanted";
    return err_set(err, E_INVALID, "%s at %s does not serve: %s", what, path, text != NULL ? text : "unknown form");
}

/* A server has nobody to ask for a password. */
static int no_password(char *to, int size, int writing, void *data)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)data;
    return 0;
}

/* Nothing more is in the file; else what comes next is damaged. */
static bool at_end(void)
{
    unsigned long e = ERR_peek_last_error();
    return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

/* It may still serve: who lists its fingerprint does not look at dates. */
static void look_at_dates(const X509 *cert, const char *path, const char *what)
{
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        log_warn("tls", "%s at %s has expired: who checks dates refuses it", what, path);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        log_warn("tls", "%s at %s is not valid yet: who checks dates refuses it", what, path);
}

static int load_cert(SSL_CTX *ssl, const char *path, const char *what, struct err *err)
{
    struct buf b;
    BIO *bio;
    int rc = open_pem(path, what, &b, &bio, err);
    if (rc != 0) return rc;
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    if (cert == NULL || SSL_CTX_use_certificate(ssl, cert) != 1)
        rc = unfit(err, path, what);
    else
        look_at_dates(cert, path, what);
    X509_free(cert);
    while (rc == 0 && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ssl, cert) == 1) continue;
        X509_free(cert);
        rc = unfit(err, path, what);
    }
    if (rc == 0 && !at_end()) rc = unfit(err, path, what);
    close_pem(&b, bio);
    return rc;
}

static int load_key(SSL_CTX *ssl, const char *path, const char *what, struct err *err)
{
    struct buf b;
    BIO *bio;
    int rc = open_pem(path, what, &b, &bio, err);
    if (rc != 0) return rc;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (key == NULL || SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1)
        rc = unfit(err, path, what);
    EVP_PKEY_free(key);
    close_pem(&b, bio);
    return rc;
}

/* These instead of the system's. Partial chain: a listed certificate is trusted whoever signed it, so that naming a
 * peer's own certificate is enough. */
static int load_ca(SSL_CTX *ssl, const char *path, struct err *err)
{
    struct buf b;
    BIO *bio;
    X509 *cert;
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    size_t count = 0;
    int rc = open_pem(path, "CA certificates", &b, &bio, err);
    if (rc != 0) return rc;
    while (rc == 0 && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (X509_STORE_add_cert(store, cert) != 1) rc = unfit(err, path, "CA certificates");
        X509_free(cert);
        count++;
    }
    if (rc == 0 && (count == 0 || !at_end())) rc = unfit(err, path, "CA certificates");
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    close_pem(&b, bio);
    return rc;
}

/* ---- the allowlist ---------------------------------------------------------------------------------------------- */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One line: 64 hex digits, ':' anywhere between them, "sha256:" in front if one likes; blank ones and comments are
 * none. */
static int read_line(struct tls_context *x, const char *line, size_t len, unsigned number, struct err *err)
{
    uint8_t print[32];
    size_t digits = 0, i = 0;
    bool hex = true;
    while (len > 0 && isspace((unsigned char)line[len - 1])) len--;
    while (i < len && isspace((unsigned char)line[i])) i++;
    if (i == len || line[i] == '#') return 0;
    if (len - i >= 7 && memcmp(line + i, "sha256:", 7) == 0) i += 7;
    for (; i < len; i++) {
        if (line[i] == ':') continue;
        int digit = hex_digit(line[i]);
        if (digit < 0) hex = false;
        if (digits < 64 && hex) print[digits / 2] = (uint8_t)(digits % 2 == 0 ? digit << 4 : print[digits / 2] | digit);
        digits++;
    }
    if (digits != 64)
        return err_set(err, E_INVALID,
                       "mTLS allowlist line %u: expected 64 hex chars (optionally with `:` separators), got %zu",
                       number, digits);
    if (!hex) return err_set(err, E_INVALID, "mTLS allowlist line %u: invalid hex", number);
    x->allowed = mem_realloc(x->allowed, (x->allowed_count + 1) * sizeof *x->allowed);
    memcpy(x->allowed[x->allowed_count++], print, sizeof print);
    return 0;
}

static int load_allowlist(struct tls_context *x, const char *path, struct err *err)
{
    struct buf b;
    unsigned number = 0;
    int rc = read_file(path, "mTLS allowlist", &b, err);
    if (rc != 0) return rc;
    const char *at = buf_str(&b), *end = at + b.len;
    while (rc == 0 && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        rc = read_line(x, at, (size_t)(stop - at), ++number, err);
        at = stop + 1;
    }
    buf_release(&b);
    if (rc == 0 && x->allowed_count == 0)
        rc = err_set(err, E_INVALID,
                     "mTLS allowlist at %s is empty — refuse to start rather than silently accept all peers", path);
    return rc;
}

/* Instead of OpenSSL's look at the chain: the certificate itself is listed, or it is not. The whole list is compared,
 * each in constant time: how long it takes says nothing. That its holder has the key is proved by the handshake. */
static int is_listed(X509_STORE_CTX *chain, void *arg)
{
    const struct tls_context *x = arg;
    X509 *cert = X509_STORE_CTX_get0_cert(chain);
    uint8_t print[32];
    unsigned len = 0;
    int listed = 0;
    if (cert != NULL && X509_digest(cert, EVP_sha256(), print, &len) == 1 && len == sizeof print)
        for (size_t i = 0; i < x->allowed_count; i++)
            listed |= equal_secret((const char *)print, sizeof print, (const char *)x->allowed[i], sizeof print);
    X509_STORE_CTX_set_error(chain, listed ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return listed;
}

/* ---- contexts --------------------------------------------------------------------------------------------------- */
static struct tls_context *make(const SSL_METHOD *method)
{
    struct tls_context *x = mem_alloc(sizeof *x);
    x->ssl = SSL_CTX_new(method);
    CHECK(x->ssl != NULL);
    CHECK(SSL_CTX_set_min_proto_version(x->ssl, TLS1_2_VERSION) == 1);
    SSL_CTX_set_options(x->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(x->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(x->ssl, SSL_SESS_CACHE_OFF);
    return x;
}

/* A client that speaks ALPN and not HTTP/1.1 would be answered in a language that it does not know. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
                           unsigned offered_len, void *arg)
{
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, ret_len, http11, HTTP11_LEN, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Every connection shows its certificate and is looked up: none resumes what another one had proved. */
static void demand_certificates(struct tls_context *x)
{
    SSL_CTX_set_verify(x->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(x->ssl, is_listed, x);
    SSL_CTX_set_options(x->ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(x->ssl, 0);
}

int tls_context_server(const struct tls_files *f, struct tls_context **ret, struct err *err)
{
    struct tls_context *x = make(TLS_server_method());
    int rc = f->allowlist != NULL ? load_allowlist(x, f->allowlist, err) : 0;
    if (rc == 0) rc = load_cert(x->ssl, f->cert, "TLS cert", err);
    if (rc == 0) rc = load_key(x->ssl, f->key, "TLS key", err);
    if (rc != 0) {
        tls_context_free(x);
        return rc;
    }
    if (f->allowlist != NULL)
        demand_certificates(x);
    else
        SSL_CTX_set_alpn_select_cb(x->ssl, choose_protocol, NULL);
    *ret = x;
    return 0;
}

int tls_context_client(const struct tls_files *f, struct tls_context **ret, struct err *err)
{
    if ((f->cert == NULL) != (f->key == NULL))
        return err_set(err, E_INVALID, "a client certificate and its key go together");
    struct tls_context *x = make(TLS_client_method());
    int rc = f->cert != NULL ? load_cert(x->ssl, f->cert, "client cert", err) : 0;
    if (rc == 0 && f->cert != NULL) rc = load_key(x->ssl, f->key, "client key", err);
    if (rc == 0 && f->ca != NULL)
        rc = load_ca(x->ssl, f->ca, err);
    else if (rc == 0)
        CHECK(SSL_CTX_set_default_verify_paths(x->ssl) == 1);
    if (rc != 0) {
        tls_context_free(x);
        return rc;
    }
    SSL_CTX_set_verify(x->ssl, SSL_VERIFY_PEER, NULL);
    CHECK(SSL_CTX_set_alpn_protos(x->ssl, http11, HTTP11_LEN) == 0);
    *ret = x;
    return 0;
}

void tls_context_free(struct tls_context *x)
{
    if (x == NULL) return;
    SSL_CTX_free(x->ssl);
    mem_free(x->allowed);
    mem_free(x);
}
