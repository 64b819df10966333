/* cert_kit.h - certificates for tests of TLS, made afresh in a scratch directory: an authority, and what it signs. */
#ifndef AIM_TEST_CERT_KIT_H
#define AIM_TEST_CERT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/x509.h>

struct certs {
    char dir[64];
    X509 *ca;                            /* also DIR/ca.pem */
    EVP_PKEY *ca_key;
};

void certs_open(struct certs *k);
void certs_close(struct certs *k);       /* removes the directory */
/* NAME.pem and NAME.key (PKCS#8, P-256), good from and until so many days from now. san: "DNS:a,IP:127.0.0.1"; NULL:
 * signed by itself, for nobody. */
void certs_make(struct certs *k, const char *name, const char *san, int from_days, int to_days);
void certs_write(struct certs *k, const char *file, const char *text);
/* The path of a file of the directory; good for the next seven calls. */
const char *certs_path(struct certs *k, const char *file);
/* SHA-256 of NAME.pem's certificate in lower-case hex. */
const char *certs_print(struct certs *k, const char *name, char out[65]);

#endif
