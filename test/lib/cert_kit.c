#include "cert_kit.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"

#define DAY_S 86400L

const char *certs_path(struct certs *k, const char *file)
{
    static char path[8][400];
    static unsigned next;
    char *at = path[next++ % 8];
    snprintf(at, sizeof path[0], "%s/%s", k->dir, file);
    return at;
}

static void extend(X509 *cert, X509 *signer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, signer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *make(EVP_PKEY *key, const char *name, int from_days, int to_days)
{
    static long serial;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    assert_int_equal(X509_set_version(cert, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_days * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), to_days * DAY_S);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    return cert;
}

static void write_cert(struct certs *k, const char *file, X509 *cert)
{
    FILE *f = fopen(certs_path(k, file), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

static void write_key(struct certs *k, const char *file, EVP_PKEY *key)
{
    FILE *f = fopen(certs_path(k, file), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

void certs_open(struct certs *k)
{
    memset(k, 0, sizeof *k);
    snprintf(k->dir, sizeof k->dir, "/tmp/aim-certs-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    k->ca_key = EVP_EC_gen("P-256");
    assert_non_null(k->ca_key);
    k->ca = make(k->ca_key, "test authority", -1, 10);
    X509_set_issuer_name(k->ca, X509_get_subject_name(k->ca));
    extend(k->ca, k->ca, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(k->ca, k->ca_key, EVP_sha256()) > 0);
    write_cert(k, "ca.pem", k->ca);
}

void certs_close(struct certs *k)
{
    DIR *d = opendir(k->dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) (void)unlink(certs_path(k, e->d_name));
    closedir(d);
    assert_int_equal(rmdir(k->dir), 0);
    X509_free(k->ca);
    EVP_PKEY_free(k->ca_key);
}

void certs_make(struct certs *k, const char *name, const char *san, int from_days, int to_days)
{
    char file[64];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make(key, name, from_days, to_days), *signer = san != NULL ? k->ca : cert;
    X509_set_issuer_name(cert, X509_get_subject_name(signer));
    if (san != NULL) extend(cert, signer, NID_subject_alt_name, san);
    assert_true(X509_sign(cert, san != NULL ? k->ca_key : key, EVP_sha256()) > 0);
    snprintf(file, sizeof file, "%s.pem", name);
    write_cert(k, file, cert);
    snprintf(file, sizeof file, "%s.key", name);
    write_key(k, file, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void certs_write(struct certs *k, const char *file, const char *text)
{
    FILE *f = fopen(certs_path(k, file), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

const char *certs_print(struct certs *k, const char *name, char out[65])
{
    char file[64];
    uint8_t print[32];
    unsigned len = 0;
    snprintf(file, sizeof file, "%s.pem", name);
    FILE *f = fopen(certs_path(k, file), "r");
    assert_non_null(f);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_int_equal(X509_digest(cert, EVP_sha256(), print, &len), 1);
    X509_free(cert);
    hex_print(out, print, sizeof print);
    return out;
}
