/* fault.c - the table of classes and what they need. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "disk.h"
#include "fault.h"

static const struct fault_class end = { 0 };

const struct fault_class *fault_classes(void)
{
    static struct fault_class all[64];
    static const struct fault_class *const listed[] = {
        &fault_kill_primary, &fault_partition,  &fault_drop_acks,   &fault_clock_skew,   &fault_one_way,
        &fault_flapping,     &fault_slow_links, &fault_swallowed,   &fault_duplicated,   &fault_corrupted,
        &fault_long_split,   &fault_lonely,     &fault_past_log,    &fault_lagging,      &fault_kill_any,
        &fault_kill_two,     &fault_kill_all,   &fault_storm,       &fault_rolling,      &fault_pause,
        &fault_disk_full,    &fault_small_disk, &fault_fsync,       &fault_torn,         &fault_power,
        &fault_replaced,     &fault_processes,  &fault_clock_jumps, &fault_clock_drifts, &end,
    };
    if (all[0].name == NULL)
        for (size_t i = 0; i < ARRAY_LEN(listed); i++) all[i] = *listed[i];
    return all;
}

const struct fault_class *fault_find(const char *name)
{
    for (const struct fault_class *f = fault_classes(); f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

unsigned fault_variants(const struct fault_class *f)
{
    unsigned n = 0;
    while (n < FAULT_VARIANTS && f->variant[n]) n++;
    return n;
}

bool fault_clock_library(char ret[WORLD_PATH])
{
    static const char *const places[] = { "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                          "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
                                          "/usr/lib/faketime/libfaketimeMT.so.1",
                                          "/usr/lib64/faketime/libfaketimeMT.so.1",
                                          "/usr/local/lib/faketime/libfaketimeMT.so.1" };
    const char *told = getenv("FAKETIME_LIB");
    if (told) snprintf(ret, WORLD_PATH, "%s", told);
    if (told) return access(told, R_OK) == 0;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (access(places[i], R_OK) != 0) continue;
        snprintf(ret, WORLD_PATH, "%s", places[i]);
        return true;
    }
    return false;
}

void fault_clock_set(struct node *n, const char *library, const char *how)
{
    snprintf(n->preload, sizeof n->preload, "%s", library);
    if (how) node_env(n, "FAKETIME=%s", how);
    node_env(n, "FAKETIME_DONT_FAKE_MONOTONIC=1");
    node_env(n, "DONT_FAKE_MONOTONIC=1");
    node_env(n, "NO_FAKE_STAT=1");
}

int fault_possible(const struct fault_class *f, const struct cycle_options *o, struct err *err)
{
    char library[WORLD_PATH];
    int rc = 0;
    if ((f->flags & FAULT_CUTS) && o->cut == CUT_IPTABLES) rc = cut_possible(err);
    if (rc == 0 && (f->flags & FAULT_CLOCK) && !fault_clock_library(library))
        rc = err_set(err, E_NOT_FOUND, "libfaketime is missing: install the package faketime");
    if (rc == 0 && (f->flags & FAULT_SHIM) && (o->shim == NULL || access(o->shim, R_OK) != 0))
        rc = err_set(err, E_NOT_FOUND, "the preload library is missing: %s", o->shim ? o->shim : "build it");
    if (rc == 0 && (f->flags & FAULT_MOUNTS)) rc = disk_mounts_possible(err);
    if (rc != 0) err_wrap(err, "%s", f->name);
    return rc;
}

int fault_clock_seen(struct cycle *c, int node, int64_t *ret_s, struct err *err)
{
    json_t *answer = NULL;
    struct reply r = { 0 };
    char path[128];
    int64_t at = 0, now = clock_wall_us(NULL);
    int rc = cycle_write(c, node, NULL, &answer, err);
    const char *id = json_string_value(json_object_get(answer, "id"));
    snprintf(path, sizeof path, "/api/v1/memories/%.64s", id ? id : "");
    if (rc == 0) rc = node_ask(&c->mesh.node[node], "GET", path, NULL, 5000, &r, err);
    const json_t *memory = json_object_get(r.json, "memory");
    const char *text = json_string_value(json_object_get(memory ? memory : r.json, "created_at"));
    if (rc == 0 && (text == NULL || time_parse(text, strlen(text), &at) != 0))
        rc = err_set(err, E_PROTOCOL, "node %d does not say when it created a memory", node);
    *ret_s = (at - now) / 1000000;
    json_decref(answer);
    reply_release(&r);
    return rc;
}
