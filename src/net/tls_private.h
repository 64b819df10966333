/* tls_private.h - what tls.c and tls_context.c share; nobody else's. */
#ifndef AIM_NET_TLS_PRIVATE_H
#define AIM_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "net/tls.h"

#define TLS_SCRATCH_BYTES 65536

struct tls_context {
    SSL_CTX *ssl;
    uint8_t (*allowed)[32];              /* owned: SHA-256 of certificates' DER */
    size_t allowed_count;
    char scratch[TLS_SCRATCH_BYTES];
};

#endif
