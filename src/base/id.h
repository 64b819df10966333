/* id.h - random numbers and UUIDs from the kernel's generator. Any thread. */
#ifndef AIM_BASE_ID_H
#define AIM_BASE_ID_H

#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT 37
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
void uuid_v4(char out[UUID_TEXT]);                                  /* lower case with hyphens */
void uuid_from_hash(char out[UUID_TEXT], const uint8_t hash[16]);   /* version and variant bits set to those of a v4 */

#endif
