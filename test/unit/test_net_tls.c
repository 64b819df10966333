/* The TLS filter without a socket: two of them, or one and OpenSSL's own, talk through memory. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/cert_kit.h"
#include "base/alloc.h"
#include "net/tls.h"

#define MORE 0
#define TURNS 64

static struct certs certs, impostor; /* another authority of the same name */

static int setup(void **state)
{
    (void)state;
    certs_open(&certs);
    certs_open(&impostor);
    certs_make(&impostor, "node", "DNS:node.test", -1, 1);
    certs_make(&certs, "node", "DNS:node.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", -1, 1);
    certs_make(&certs, "old", "DNS:node.test", -9, -1);
    certs_make(&certs, "early", "DNS:node.test", 1, 9);
    certs_make(&certs, "self", NULL, -9, -1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    certs_close(&impostor);
    certs_close(&certs);
    return 0;
}

static struct tls_context *server_of(const char *name, const char *allowlist)
{
    char cert[64], key[64];
    struct tls_context *x = NULL;
    struct err err = { 0 };
    snprintf(cert, sizeof cert, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    struct tls_files f = { .cert = certs_path(&certs, cert), .key = certs_path(&certs, key) };
    if (allowlist != NULL) f.allowlist = certs_path(&certs, allowlist);
    if (tls_context_server(&f, &x, &err) != 0) fail_msg("%s", err.msg);
    return x;
}

/* name: whose certificate it shows, NULL: none; ca: NULL: the system's store. */
static struct tls_context *client_of(const char *name, const char *ca)
{
    char cert[64], key[64];
    struct tls_context *x = NULL;
    struct err err = { 0 };
    struct tls_files f = { .ca = ca != NULL ? certs_path(&certs, ca) : NULL };
    if (name != NULL) {
        snprintf(cert, sizeof cert, "%s.pem", name);
        snprintf(key, sizeof key, "%s.key", name);
        f.cert = certs_path(&certs, cert);
        f.key = certs_path(&certs, key);
    }
    if (tls_context_client(&f, &x, &err) != 0) fail_msg("%s", err.msg);
    return x;
}

/* A client and a server, and what each read so far. */
struct pair {
    struct tls_context *context[2];
    struct tls *end[2]; /* client, server */
    int rc[2];
    char *got[2];
    size_t got_len[2];
    size_t piece; /* bytes fed at a time; 0: all */
};

static void pair_open(struct pair *p, struct tls_context *client, struct tls_context *server, const char *host)
{
    memset(p, 0, sizeof *p);
    p->context[0] = client;
    p->context[1] = server;
    p->end[0] = tls_new(client, host);
    p->end[1] = tls_new(server, NULL);
}

static void pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        tls_free(p->end[i]);
        tls_context_free(p->context[i]);
        free(p->got[i]);
    }
}

static void pull(struct pair *p, int i)
{
    char bytes[5000];
    size_t len;
    while (p->rc[i] == 0) {
        p->rc[i] = tls_read(p->end[i], bytes, sizeof bytes, &len);
        if (len == 0) break;
        p->got[i] = realloc(p->got[i], p->got_len[i] + len);
        memcpy(p->got[i] + p->got_len[i], bytes, len);
        p->got_len[i] += len;
    }
}

/* Carries bytes until neither has anything more to say. */
static void pump(struct pair *p)
{
    for (int turn = 0, quiet = 0; quiet < 2; turn++) {
        int from = turn % 2, to = 1 - from;
        size_t len;
        if (turn > TURNS) fail_msg("they never end");
        pull(p, from);
        char *data = tls_take(p->end[from], &len);
        quiet = data == NULL ? quiet + 1 : 0;
        if (data == NULL) continue;
        size_t piece = p->piece == 0 ? len : p->piece;
        for (size_t at = 0; at < len; at += piece) {
            assert_int_equal(tls_feed(p->end[to], data + at, len - at < piece ? len - at : piece), 0);
            pull(p, to);
        }
        mem_free(data);
    }
}

static void says(struct pair *p, int i, const char *text)
{
    if (strstr(tls_why(p->end[i]), text) == NULL) fail_msg("%s, and not: %s", tls_why(p->end[i]), text);
    assert_int_equal(p->rc[i], E_PROTOCOL);
    assert_false(tls_open(p->end[i]));
    assert_int_equal(tls_write(p->end[i], "x", 1), E_PROTOCOL);
}

static void bytes_go_through(void **state)
{
    static const size_t pieces[] = { 0, 1, 7, 1460 };
    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct pair p;
        pair_open(&p, client_of(NULL, "ca.pem"), server_of("node", NULL), "node.test");
        p.piece = pieces[i];
        assert_int_equal(tls_write(p.end[0], "early", 5), E_PROTOCOL); /* nothing leaves unprotected */
        pump(&p);
        assert_true(tls_open(p.end[0]) && tls_open(p.end[1]));
        assert_int_equal(tls_write(p.end[0], "question", 8), 0);
        assert_int_equal(tls_write(p.end[1], "an answer", 9), 0);
        pump(&p);
        assert_int_equal(p.got_len[1], 8);
        assert_memory_equal(p.got[1], "question", 8);
        assert_int_equal(p.got_len[0], 9);
        assert_memory_equal(p.got[0], "an answer", 9);
        assert_string_equal(tls_why(p.end[0]), "");
        tls_close(p.end[0]);
        pump(&p);
        assert_int_equal(p.rc[1], E_GONE);
        assert_int_equal(p.rc[0], MORE);
        assert_int_equal(tls_write(p.end[1], "!", 1), 0); /* half closed: the other half goes on */
        pump(&p);
        assert_int_equal(p.got_len[0], 10);
        pair_close(&p);
    }
}

static void much_goes_through(void **state)
{
    struct pair p;
    char *much = malloc(TLS_WRITE_MAX);
    (void)state;
    for (size_t i = 0; i < TLS_WRITE_MAX; i++) much[i] = (char)(i * 31 >> 3);
    pair_open(&p, client_of(NULL, "ca.pem"), server_of("node", NULL), "127.0.0.1");
    pump(&p);
    p.piece = 40000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tls_write(p.end[i % 2], much, TLS_WRITE_MAX), 0);
        pump(&p);
    }
    assert_int_equal(p.got_len[1], 2 * TLS_WRITE_MAX);
    assert_memory_equal(p.got[1] + TLS_WRITE_MAX, much, TLS_WRITE_MAX);
    assert_int_equal(p.got_len[0], TLS_WRITE_MAX);
    assert_memory_equal(p.got[0], much, TLS_WRITE_MAX);
    pair_close(&p);
    free(much);
}

/* What is fed and not read has an end. */
static void unread_bytes_are_bounded(void **state)
{
    static char bytes[65536];
    struct tls_context *x = server_of("node", NULL);
    struct tls *t = tls_new(x, NULL);
    int fed = 0;
    (void)state;
    while (tls_feed(t, bytes, sizeof bytes) == 0) assert_true(++fed < 64);
    assert_true(fed > 0);
    tls_free(t);
    tls_context_free(x);
}

static void garbage_is_an_error(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        { "GET / HTTP/1.1\r\nhost: a\r\n\r\n", 27, "does not speak TLS" },
        { "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", 10, "does not speak TLS" },
        { "\x16\x03\x01\xff\xff", 5, "TLS: " },                 /* a record longer than any */
        { "\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9, "TLS: " }, /* a hello longer than any */
        { "\x17\x03\x03\x00\x05hello", 10, "TLS: " },           /* data before hands are shaken */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_context *x = server_of("node", NULL);
        struct pair p = { .context = { NULL, x }, .end = { NULL, tls_new(x, NULL) } };
        assert_int_equal(tls_feed(p.end[1], rows[i].bytes, rows[i].len), 0);
        pull(&p, 1);
        says(&p, 1, rows[i].why);
        pair_close(&p);
    }
}

/* Every byte of a record counts, and half a record says nothing. */
static void damage_is_noticed(void **state)
{
    (void)state;
    for (size_t at = 5; at < 30; at += 6) {
        struct pair p;
        size_t len;
        pair_open(&p, client_of(NULL, "ca.pem"), server_of("node", NULL), "::1");
        pump(&p);
        assert_int_equal(tls_write(p.end[0], "a text to be damaged", 20), 0);
        char *data = tls_take(p.end[0], &len);
        assert_int_equal(tls_feed(p.end[1], data, at), 0);
        pull(&p, 1);
        assert_int_equal(p.rc[1], MORE);
        assert_int_equal(p.got_len[1], 0);
        data[at] ^= 1;
        assert_int_equal(tls_feed(p.end[1], data + at, len - at), 0);
        pull(&p, 1);
        says(&p, 1, "TLS: ");
        assert_int_equal(p.got_len[1], 0);
        mem_free(data);
        pair_close(&p);
    }
}

/* One byte of the handshake damaged, each time another one: it fails, or waits for bytes that never come. Bytes that
 * nobody looks at (a record's version) may pass. */
static void damaged_handshakes(void **state)
{
    unsigned open = 0, seed = 1;
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct pair p;
        pair_open(&p, client_of(NULL, "ca.pem"), server_of("node", NULL), "node.test");
        for (int turn = 0; turn < 8; turn++) {
            int from = turn % 2;
            size_t len;
            pull(&p, from);
            char *data = tls_take(p.end[from], &len);
            if (data == NULL) continue;
            seed = seed * 1103515245 + 12345;
            if (turn == round % 4) data[(seed >> 8) % len] ^= (char)(1 << (seed >> 28) % 8);
            assert_int_equal(tls_feed(p.end[1 - from], data, len), 0);
            pull(&p, 1 - from);
            mem_free(data);
        }
        open += tls_open(p.end[0]) && tls_open(p.end[1]);
        pair_close(&p);
    }
    assert_true(open < 100); /* a quarter is not damaged: there is no fourth flight */
}

static void client_checks_the_server(void **state)
{
    static const struct {
        const char *server, *ca, *host, *why; /* why NULL: fine */
    } rows[] = {
        { "node", "ca.pem", "node.test", NULL },
        { "node", "ca.pem", "a.wild.test", NULL },
        { "node", "ca.pem", "127.0.0.1", NULL },
        { "node", "ca.pem", "::1", NULL },
        { "node", "node.pem", "node.test", NULL }, /* its own certificate is trusted as such */
        { "node", "ca.pem", "other.test", "the certificate of other.test: " },
        { "node", "ca.pem", "127.0.0.2", "the certificate of 127.0.0.2: IP address mismatch" },
        { "node", "ca.pem", "a.b.wild.test", "hostname mismatch" },
        { "node", "node.pem", "other.test", "hostname mismatch" },
        { "node", NULL, "node.test", "the certificate of node.test: " },
        { "node", "self.pem", "node.test", "the certificate of node.test: " },
        { "old", "ca.pem", "node.test", "the certificate of node.test: certificate has expired" },
        { "early", "ca.pem", "node.test", "certificate is not yet valid" },
        { "self", "ca.pem", "node.test", "self-signed certificate" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        pair_open(&p, client_of(NULL, rows[i].ca), server_of(rows[i].server, NULL), rows[i].host);
        pump(&p);
        if (rows[i].why == NULL) {
            if (!tls_open(p.end[0])) fail_msg("row %zu: %s", i, tls_why(p.end[0]));
        } else {
            says(&p, 0, rows[i].why);
            says(&p, 1, "refused by the other side");
        }
        pair_close(&p);
    }
}

static void an_impostor_is_not_believed(void **state)
{
    struct pair p;
    struct tls_context *x = NULL;
    struct tls_files f = { .cert = certs_path(&impostor, "node.pem"), .key = certs_path(&impostor, "node.key") };
    (void)state;
    assert_int_equal(tls_context_server(&f, &x, NULL), 0);
    pair_open(&p, client_of(NULL, "ca.pem"), x, "node.test");
    pump(&p);
    says(&p, 0, "the certificate of node.test: certificate signature failure");
    pair_close(&p);
}

/* Only the fingerprint decides: neither date nor signer. */
static void allowlist_decides(void **state)
{
    static const struct {
        const char *client, *why;
    } rows[] = {
        { "node", NULL },
        { "self", NULL },
        { "old", NULL },
        { "early", "the client's certificate is not on the allowlist" },
        { NULL, "did not return a certificate" },
    };
    char list[400], a[65], b[65], c[65];
    (void)state;
    certs_print(&certs, "node", a);
    certs_print(&certs, "self", b);
    certs_print(&certs, "old", c);
    for (char *s = b; *s != 0; s++)
        if (*s >= 'a') *s = (char)(*s - 32);
    snprintf(list, sizeof list, "# nodes\n\n  %s\r\nsha256:%s\n#%.10s\n\t%.2s:%.62s", a, b, c, c, c + 2);
    certs_write(&certs, "allow", list);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        pair_open(&p, client_of(rows[i].client, "ca.pem"), server_of("node", "allow"), "node.test");
        pump(&p);
        if (rows[i].why == NULL) {
            assert_true(tls_open(p.end[1]));
        } else {
            says(&p, 1, rows[i].why);
            says(&p, 0, "refused by the other side: "); /* the alert comes behind a handshake that was fine to it */
        }
        pair_close(&p);
    }
}

/* ---- against OpenSSL's own client ------------------------------------------------------------------------------- */
struct foreign {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
    struct tls_context *x;
    struct tls *server;
    int rc;
};

static void foreign_open(struct foreign *f, int version, const char *protocols, size_t protocols_len, bool mtls)
{
    f->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(f->context, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(f->context, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(f->context, version), 1);
    if (mtls) {
        SSL_CTX_use_certificate_file(f->context, certs_path(&certs, "node.pem"), SSL_FILETYPE_PEM);
        SSL_CTX_use_PrivateKey_file(f->context, certs_path(&certs, "node.key"), SSL_FILETYPE_PEM);
    }
    f->ssl = SSL_new(f->context);
    f->in = BIO_new(BIO_s_mem());
    f->out = BIO_new(BIO_s_mem());
    SSL_set_bio(f->ssl, f->in, f->out);
    if (protocols != NULL) SSL_set_alpn_protos(f->ssl, (const unsigned char *)protocols, (unsigned)protocols_len);
    SSL_set_connect_state(f->ssl);
    f->x = server_of("node", mtls ? "allow" : NULL);
    f->server = tls_new(f->x, NULL);
    f->rc = 0;
}

static void foreign_close(struct foreign *f)
{
    SSL_free(f->ssl);
    SSL_CTX_free(f->context);
    tls_free(f->server);
    tls_context_free(f->x);
    ERR_clear_error();
}

/* Carries bytes both ways some times; `turn` is what the client does each time. */
static void foreign_pump(struct foreign *f, int (*turn)(SSL *))
{
    char bytes[65536], plain[64];
    for (int i = 0; i < 8; i++) {
        size_t len;
        (void)turn(f->ssl);
        int n = BIO_read(f->out, bytes, sizeof bytes);
        if (n > 0) assert_int_equal(tls_feed(f->server, bytes, (size_t)n), 0);
        do {
            f->rc = tls_read(f->server, plain, sizeof plain, &len);
        } while (len > 0);
        char *data = tls_take(f->server, &len);
        if (data != NULL) assert_int_equal(BIO_write(f->in, data, (int)len), len);
        mem_free(data);
    }
}

static int read_nothing(SSL *ssl)
{
    char byte;
    return SSL_read(ssl, &byte, 1);
}

static void versions_and_protocols(void **state)
{
    static const struct {
        int version;
        const char *offers, *chosen; /* chosen NULL: no handshake; "": no protocol */
        bool mtls;
    } rows[] = {
        { TLS1_3_VERSION, NULL, "", false },
        { TLS1_2_VERSION, NULL, "", false },
        { TLS1_1_VERSION, NULL, NULL, false },
        { TLS1_3_VERSION, "\x02h2\x08http/1.1", "http/1.1", false },
        { TLS1_2_VERSION, "\x08http/1.1", "http/1.1", false },
        { TLS1_3_VERSION, "\x02h2", NULL, false },
        { TLS1_3_VERSION, "\x02h2\x08http/1.1", "", true },
        { TLS1_2_VERSION, "\x02h2", "", true },
    };
    char print[65];
    (void)state;
    certs_write(&certs, "allow", certs_print(&certs, "node", print));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct foreign f;
        const unsigned char *chosen;
        unsigned len;
        foreign_open(&f, rows[i].version, rows[i].offers, rows[i].offers ? strlen(rows[i].offers) : 0, rows[i].mtls);
        foreign_pump(&f, SSL_do_handshake);
        bool open = tls_open(f.server);
        if (open != (rows[i].chosen != NULL)) fail_msg("row %zu: %s", i, tls_why(f.server));
        if (!open) assert_int_equal(f.rc, E_PROTOCOL);
        SSL_get0_alpn_selected(f.ssl, &chosen, &len);
        if (open) assert_int_equal(len, strlen(rows[i].chosen));
        if (open) assert_memory_equal(chosen, rows[i].chosen, len);
        foreign_close(&f);
    }
}

static void hands_are_shaken_once(void **state)
{
    struct foreign f;
    (void)state;
    foreign_open(&f, TLS1_2_VERSION, NULL, 0, false);
    foreign_pump(&f, SSL_do_handshake);
    assert_true(tls_open(f.server));
    assert_int_equal(SSL_renegotiate(f.ssl), 1);
    foreign_pump(&f, read_nothing);
    assert_int_not_equal(SSL_do_handshake(f.ssl), 1);
    assert_int_equal(SSL_num_renegotiations(f.ssl), 1); /* asked for; it was not granted */
    assert_true(SSL_renegotiate_pending(f.ssl) || SSL_in_init(f.ssl) || SSL_get_shutdown(f.ssl) != 0);
    foreign_close(&f);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */
static void refuses(const struct tls_files *f, bool server, int code, const char *text)
{
    struct tls_context *x = NULL;
    struct err err = { 0 };
    int rc = server ? tls_context_server(f, &x, &err) : tls_context_client(f, &x, &err);
    if (rc != code || strstr(err.msg, text) == NULL) fail_msg("%d: %s\nnot: %s", rc, err.msg, text);
    assert_null(x);
}

static void files_that_do_not_serve(void **state)
{
    char cert[160], key[160], other[160], none[160], junk[160], text[400];
    (void)state;
    certs_write(&certs, "junk", "no certificate\n");
    certs_write(&certs, "torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    snprintf(cert, sizeof cert, "%s", certs_path(&certs, "node.pem"));
    snprintf(key, sizeof key, "%s", certs_path(&certs, "node.key"));
    snprintf(other, sizeof other, "%s", certs_path(&certs, "old.key"));
    snprintf(none, sizeof none, "%s", certs_path(&certs, "none"));
    snprintf(junk, sizeof junk, "%s", certs_path(&certs, "junk"));
    snprintf(text, sizeof text, "failed to read TLS cert from %s", none);
    refuses(&(struct tls_files){ .cert = none, .key = key }, true, E_IO, text);
    snprintf(text, sizeof text, "failed to read TLS key from %s", none);
    refuses(&(struct tls_files){ .cert = cert, .key = none }, true, E_IO, text);
    snprintf(text, sizeof text, "failed to read mTLS allowlist from %s", none);
    refuses(&(struct tls_files){ .cert = cert, .key = key, .allowlist = none }, true, E_IO, text);
    refuses(&(struct tls_files){ .cert = junk, .key = key }, true, E_INVALID, "TLS cert at");
    refuses(&(struct tls_files){ .cert = certs_path(&certs, "torn.pem"), .key = key }, true, E_INVALID, "TLS cert at");
    refuses(&(struct tls_files){ .cert = cert, .key = junk }, true, E_INVALID, "TLS key at");
    refuses(&(struct tls_files){ .cert = cert, .key = cert }, true, E_INVALID, "TLS key at");
    refuses(&(struct tls_files){ .cert = cert, .key = other }, true, E_INVALID, "key values mismatch");
    refuses(&(struct tls_files){ .cert = cert, .key = other }, false, E_INVALID, "client key at");
    refuses(&(struct tls_files){ .cert = cert }, false, E_INVALID, "go together");
    refuses(&(struct tls_files){ .ca = none }, false, E_IO, "failed to read CA certificates from");
    refuses(&(struct tls_files){ .ca = junk }, false, E_INVALID, "CA certificates at");
    refuses(&(struct tls_files){ .ca = key }, false, E_INVALID, "CA certificates at");
}

static void allowlists_that_do_not_serve(void **state)
{
    static const struct {
        const char *list, *text;
    } rows[] = {
        { "ab", "mTLS allowlist line 1: expected 64 hex chars (optionally with `:` separators), got 2" },
        { "#\n\nab:cd:e\n", "mTLS allowlist line 3: expected 64 hex chars (optionally with `:` separators), got 5" },
        { "SHA256:00", "mTLS allowlist line 1: expected 64 hex chars (optionally with `:` separators), got 8" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg", "mTLS allowlist line 1: invalid hex" },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff # me",
          "mTLS allowlist line 1: expected 64 hex chars (optionally with `:` separators), got 69" },
    };
    char text[300];
    struct tls_files f = { .cert = certs_path(&certs, "node.pem"), .key = certs_path(&certs, "node.key") };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        certs_write(&certs, "list", rows[i].list);
        f.allowlist = certs_path(&certs, "list");
        refuses(&f, true, E_INVALID, rows[i].text);
    }
    static const char *const empty[] = { "", "\n \n", "# nobody\n" };
    for (size_t i = 0; i < 3; i++) {
        certs_write(&certs, "list", empty[i]);
        f.allowlist = certs_path(&certs, "list");
        snprintf(text, sizeof text,
                 "mTLS allowlist at %s is empty — refuse to start rather than silently accept all peers", f.allowlist);
        refuses(&f, true, E_INVALID, text);
    }
}

static void run(const char *command)
{
    char line[600];
    snprintf(line, sizeof line, "cd %s && { %s; } 2>/dev/null", certs.dir, command);
    if (system(line) != 0) fail_msg("%s", line); // NOLINT(cert-env33-c)
}

/* PKCS#8, PKCS#1 and SEC1, with or without what some tools write in front; a chain behind the certificate. */
static void forms_of_keys(void **state)
{
    static const char *const forms[] = {
        "openssl ec -in node.key -out form.key; cp node.pem form.pem",
        "openssl ecparam -name prime256v1 > form.key; openssl ec -in node.key >> form.key; cp node.pem form.pem",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=f -keyout form.key -out form.pem",
        "openssl rsa -in form.key -traditional -out t.key; mv t.key form.key",
        "cat node.key > form.key; cat node.pem ca.pem > form.pem",
        "cat node.pem node.key > form.pem; cp form.pem form.key",
    };
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct pair p;
        run(forms[i]);
        pair_open(&p, client_of(NULL, "form.pem"), server_of("form", NULL), i == 2 || i == 3 ? "f" : "node.test");
        pump(&p);
        if (!tls_open(p.end[0])) fail_msg("%s: %s", forms[i], tls_why(p.end[0]));
        pair_close(&p);
    }
    run("openssl ec -in node.key -aes128 -passout pass:secret -out form.key");
    refuses(&(struct tls_files){ .cert = certs_path(&certs, "node.pem"), .key = certs_path(&certs, "form.key") }, true,
            E_INVALID, "TLS key at");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_through),
        cmocka_unit_test(much_goes_through),
        cmocka_unit_test(unread_bytes_are_bounded),
        cmocka_unit_test(garbage_is_an_error),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(damaged_handshakes),
        cmocka_unit_test(client_checks_the_server),
        cmocka_unit_test(an_impostor_is_not_believed),
        cmocka_unit_test(allowlist_decides),
        cmocka_unit_test(versions_and_protocols),
        cmocka_unit_test(hands_are_shaken_once),
        cmocka_unit_test(files_that_do_not_serve),
        cmocka_unit_test(allowlists_that_do_not_serve),
        cmocka_unit_test(forms_of_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
