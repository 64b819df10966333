/* disk.h - a node's disk as the harness rules it, through the preload library (shim.h). */
#ifndef AIM_CHAOS_DISK_H
#define AIM_CHAOS_DISK_H

#include <stdint.h>

#include "err.h"

struct node;
struct shim_page;
struct world;

/* Puts the library under a node, before it starts. *ret is mapped until disk_unmap. */
int disk_attach(struct node *n, const char *library, struct shim_page **ret, struct err *err);
void disk_unmap(struct shim_page *page);
void disk_mode(struct shim_page *page, uint32_t mode);
/* The power fails: of a dead node's files, what was written and never synced is taken back; with chance `some` > 0 each
 * write for itself, else all of them. Returns how many writes were taken back. */
uint64_t disk_power_cut(struct world *w, const struct node *n, double some);

/* Real small file systems (tmpfs), in a mount namespace of this process's own: nobody else sees them, and they end with
 * it, however it ends. 0, or a line that tells why this machine does not permit it. */
int disk_mounts_possible(struct err *err);
/* Mounts one of that many MiB on dir (made). */
int disk_mount(const char *dir, unsigned mib, struct err *err);
void disk_unmount(const char *dir);
/* Takes all the room there is: a file of that name grows until it cannot. *ret: its bytes. */
int disk_fill(const char *path, uint64_t *ret, struct err *err);

#endif
