/* files.h - small file work of the harness: directories, whole files, JSON documents and JSON lines. */
#ifndef AIM_CHAOS_FILES_H
#define AIM_CHAOS_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct buf;

#define FILE_BYTES_MAX ((size_t)1 << 30)

int dir_make(const char *path, struct err *err);           /* with its parents */
void dir_remove(const char *path);                         /* with all it holds; symbolic links are not followed */
/* Calls each(data, name) for every entry but . and .. in the order of names. E_IO. */
int dir_each(const char *path, void (*each)(void *data, const char *name), void *data, struct err *err);
int64_t dir_bytes(const char *path);                       /* of all files below */

int file_read(const char *path, struct buf *ret, struct err *err);           /* appends */
int file_write(const char *path, const void *data, size_t len, struct err *err);   /* whole, by rename */
int file_copy(const char *from, const char *to, struct err *err);
bool file_exists(const char *path);
int64_t file_size(const char *path);                       /* -1: none */
json_t *file_read_json(const char *path, struct err *err); /* a new reference, or NULL */
int file_write_json(const char *path, const json_t *doc, struct err *err);   /* indented, declaration order */
int file_append_json(const char *path, const json_t *doc, struct err *err);  /* one line */

#endif
