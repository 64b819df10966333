/* beside.h - inside of src/ops, like table.h: argument structs, descriptors and functions of what stands beside the
 * memories (links, archive, agents, pending actions, standards) and of what moves many at once (forget, sweep,
 * consolidate, export, import). */
#ifndef AIM_OPS_BESIDE_H
#define AIM_OPS_BESIDE_H

#include "ops/table.h"

/* ---- rules by type (beside_rules.c) ------------------------------------------------------------------------------ */
int arg_rule_relation(const void *value, int64_t now_us, struct err *err);
int arg_rule_summary(const void *value, int64_t now_us, struct err *err);
int arg_rule_agent_named(const void *value, int64_t now_us, struct err *err); /* empty is refused too */
int arg_rule_agent_type(const void *value, int64_t now_us, struct err *err);
int arg_rule_ids(const void *value, int64_t now_us, struct err *err);         /* 2 to 100, valid, each once */
int arg_rule_days(const void *value, int64_t now_us, struct err *err);

/* ---- links (links.c) --------------------------------------------------------------------------------------------- */
struct link_args {
    struct args_head h;
    struct str source_id, target_id, relation, created_at;
};
struct resolve_args {
    struct args_head h;
    struct str winner_id, loser_id;
};
/* A link as exports hold it: all four texts. */
extern const struct arg link_arg[], unlink_arg[], exact_id_arg[], resolve_arg[], whole_link_arg[];
int op_link(struct op_ctx *c, const void *args, struct reply *r);
int op_unlink(struct op_ctx *c, const void *args, struct reply *r);
int op_links(struct op_ctx *c, const void *args, struct reply *r);
int op_resolve(struct op_ctx *c, const void *args, struct reply *r);

/* ---- forget, sweep (forget.c) ------------------------------------------------------------------------------------ */
struct forget_args {
    struct args_head h;
    struct str ns, pattern, tier;
    bool dry_run;
};
struct gc_args {
    struct args_head h;
    bool dry_run;
    bool when_due; /* set by the program itself: not if it was done a short while ago and costs something */
};
extern const struct arg forget_arg[], gc_arg[];
int op_forget(struct op_ctx *c, const void *args, struct reply *r);
int op_gc(struct op_ctx *c, const void *args, struct reply *r);

/* ---- consolidate (consolidate.c) --------------------------------------------------------------------------------- */
struct consolidate_args {
    struct args_head h;
    struct strs ids;
    struct str title, summary, ns, tier, agent_id;
};
extern const struct arg consolidate_arg[];
int op_consolidate(struct op_ctx *c, const void *args, struct reply *r);

/* ---- export, import (exchange.c) --------------------------------------------------------------------------------- */
struct export_args {
    struct args_head h;
    struct str cursor;
    int64_t limit;
};
struct import_args {
    struct args_head h;
    struct items memories, links;
    bool trust;
};
extern const struct arg export_arg[], import_arg[];
int op_export(struct op_ctx *c, const void *args, struct reply *r);
int op_import(struct op_ctx *c, const void *args, struct reply *r);

/* ---- the archive (archive.c) ------------------------------------------------------------------------------------- */
struct archive_list_args {
    struct args_head h;
    struct str ns;
    int64_t limit, offset;
};
struct purge_args {
    struct args_head h;
    int64_t days;
    bool all;
};
extern const struct arg archive_list_arg[], purge_arg[];
int op_archive_list(struct op_ctx *c, const void *args, struct reply *r);
int op_archive_restore(struct op_ctx *c, const void *args, struct reply *r);
int op_archive_purge(struct op_ctx *c, const void *args, struct reply *r);
int op_archive_stats(struct op_ctx *c, const void *args, struct reply *r);

/* ---- agents (agents.c) ------------------------------------------------------------------------------------------- */
struct register_args {
    struct args_head h;
    struct str agent_id, agent_type;
    struct strs capabilities;
};
extern const struct arg register_arg[];
int op_agent_register(struct op_ctx *c, const void *args, struct reply *r);
int op_agents(struct op_ctx *c, const void *args, struct reply *r);

/* ---- pending actions (pending.c) --------------------------------------------------------------------------------- */
struct pending_list_args {
    struct args_head h;
    struct str status;
    int64_t limit;
};
struct decide_args {
    struct args_head h;
    struct str id, agent_id;
};
extern const struct arg pending_list_arg[], decide_arg[];
int op_pending_list(struct op_ctx *c, const void *args, struct reply *r);
int op_approve(struct op_ctx *c, const void *args, struct reply *r);
int op_reject(struct op_ctx *c, const void *args, struct reply *r);
/* Lane: carries out actions whose votes are enough, `limit` looked at beyond *after (owned, replaced as it goes on).
 * E_AGAIN: there are more. */
int pending_settle(const struct op_env *env, struct change *change, size_t limit, char **after);

/* ---- standards (standards.c) ------------------------------------------------------------------------------------- */
struct standard_args {
    struct args_head h;
    struct str ns, id, own_id, parent; /* id: where it is required; own_id: where it is not */
    json_t *governance;
    bool inherit;
};
extern const struct arg standard_set_arg[], standard_get_arg[], standard_clear_arg[];
int op_standard_set(struct op_ctx *c, const void *args, struct reply *r);
int op_standard_get(struct op_ctx *c, const void *args, struct reply *r);
int op_standard_clear(struct op_ctx *c, const void *args, struct reply *r);

/* ---- helpers of several families --------------------------------------------------------------------------------- */
/* Exact id (a shadow's stands for its winner). E_NOT_FOUND with "<what> not found: <id>", naming `arg`. */
int exact_find(struct op_ctx *c, const struct str *id, const char *arg, const char *what, struct row *ret);
/* A member of the call's carry (made as {} when there is none) as number; and adding to it. */
json_int_t carry_number(struct op_ctx *c, const char *key);
void carry_add(struct op_ctx *c, const char *key, json_int_t more);
json_t *counts_json(const struct counts *counts, const char *name);
/* now + seconds, in the arena. */
const char *time_after(struct op_ctx *c, int64_t secs);

#endif
