/* table.h - inside of src/ops: the argument structs, descriptors and functions that table.c puts together. */
#ifndef AIM_OPS_TABLE_H
#define AIM_OPS_TABLE_H

#include "ops/ops.h"

extern const char *const tier_words[], *const source_words[], *const scope_words[], *const format_words[];

/* ---- rules by type (args.c runs them; rules.c) ------------------------------------------------------------------- */
int arg_rule_title(const void *value, int64_t now_us, struct err *err);
int arg_rule_content(const void *value, int64_t now_us, struct err *err);
int arg_rule_namespace(const void *value, int64_t now_us, struct err *err);
int arg_rule_as_agent(const void *value, int64_t now_us, struct err *err);
int arg_rule_source(const void *value, int64_t now_us, struct err *err);
int arg_rule_source_any(const void *value, int64_t now_us, struct err *err); /* also what the program itself writes */
int arg_rule_tags(const void *value, int64_t now_us, struct err *err);
int arg_rule_priority(const void *value, int64_t now_us, struct err *err);
int arg_rule_confidence(const void *value, int64_t now_us, struct err *err);
int arg_rule_expires_create(const void *value, int64_t now_us, struct err *err);
int arg_rule_expires_update(const void *value, int64_t now_us, struct err *err);
int arg_rule_ttl(const void *value, int64_t now_us, struct err *err);
int arg_rule_metadata(const void *value, int64_t now_us, struct err *err);
int arg_rule_metadata_stamped(const void *value, int64_t now_us,
                              struct err *err); /* as stored: with room for what we stamp in */
int arg_rule_metadata_whole(const void *value, int64_t now_us, struct err *err); /* of a row: not counting the stamps */
int arg_rule_id(const void *value, int64_t now_us, struct err *err);
int arg_rule_agent(const void *value, int64_t now_us, struct err *err); /* empty is absent */
int arg_rule_agent_filter(const void *value, int64_t now_us, struct err *err);
int arg_rule_sender(const void *value, int64_t now_us, struct err *err);
int arg_rule_clock(const void *value, int64_t now_us, struct err *err);
int arg_rule_scope(const void *value, int64_t now_us, struct err *err);
int arg_rule_since(const void *value, int64_t now_us, struct err *err);
int arg_rule_count(const void *value, int64_t now_us, struct err *err);
int arg_rule_created(const void *value, int64_t now_us, struct err *err);
int arg_rule_updated(const void *value, int64_t now_us, struct err *err);
int arg_rule_accessed(const void *value, int64_t now_us, struct err *err);
int arg_rule_expires_any(const void *value, int64_t now_us, struct err *err);

/* ---- create, bulk (create.c) ------------------------------------------------------------------------------------- */
enum { CREATE_TTL = 8 }; /* index of ttl_secs in create_arg */
struct create_args {
    struct args_head h;
    struct str title, content, tier, ns, source;
    struct strs tags;
    int64_t priority;
    double confidence;
    struct str expires_at;
    int64_t ttl_secs;
    json_t *metadata;
    struct str agent_id, scope;
};
struct bulk_args {
    struct args_head h;
    struct items items;
};
extern const struct arg create_arg[], bulk_arg[];
/* `m` as it is stored over the row of its title: tier, priority and confidence only rise. */
void memory_over(struct memory *m, const struct memory *old);
int op_create(struct op_ctx *c, const void *args, struct reply *r);
int op_create_aside(struct op_ctx *c, const void *args, struct reply *r);
int op_bulk(struct op_ctx *c, const void *args, struct reply *r);

/* ---- reading one memory (get.c) ---------------------------------------------------------------------------------- */
struct get_args {
    struct args_head h;
    struct str id, consistency;
};
extern const struct arg get_arg[], sync_row_arg[];
int op_get(struct op_ctx *c, const void *args, struct reply *r);
int op_sync_row(struct op_ctx *c, const void *args, struct reply *r); /* what a peer asks for the same */

/* ---- one memory (memories.c) ------------------------------------------------------------------------------------- */
struct id_args {
    struct args_head h;
    struct str id;
};
struct delete_args {
    struct args_head h;
    struct str id, agent_id;
};
struct promote_args {
    struct args_head h;
    struct str id, to_ns, agent_id;
};
enum {
    UPDATE_TAGS = 5,
    UPDATE_PRIORITY,
    UPDATE_CONFIDENCE,
    UPDATE_EXPIRES,
    UPDATE_METADATA
}; /* indices in update_arg */
struct update_args {
    struct args_head h;
    struct str id, title, content, tier, ns;
    struct strs tags;
    int64_t priority;
    double confidence;
    struct str expires_at;
    json_t *metadata;
};
extern const struct arg id_arg[], delete_arg[], promote_arg[], update_arg[];
int op_update(struct op_ctx *c, const void *args, struct reply *r);
/* Does what somebody deletes, forgets or merges go into the archive? On the command line always; elsewhere the setting
 * archive_on_gc says. */
bool keeps_copies(const struct op_ctx *c);
/* Tombstone, and a copy into the archive when those are kept. Inside a group of the caller's. */
int delete_kept(struct op_ctx *c, const struct row *row, const char *reason);
/* To the long tier, or (to_ns) a copy linked to it in that namespace. Inside a group of the caller's. */
int promote_row(struct op_ctx *c, const struct row *row, const char *to_ns, struct row *ret);
int op_delete(struct op_ctx *c, const void *args, struct reply *r);
int op_promote(struct op_ctx *c, const void *args, struct reply *r);

/* ---- many memories (lists.c) ------------------------------------------------------------------------------------- */
enum { LIST_MIN_PRIORITY = 4, SEARCH_MIN_PRIORITY = 4, RECALL_BUDGET = 7 }; /* indices in their descriptors */
/* What filters have in common; pointers of `f` go into `own`. */
struct filter_own {
    enum tier tier;
    int min_priority;
    int64_t since_us, until_us;
    struct viewer viewer;
};
struct filter_args {
    const struct str *ns, *tier, *since, *until, *agent_id, *as_agent; /* NULL: the operation has none */
    const int64_t *min_priority;
    const struct strs *tags;
};
/* Fills f for live rows. Returns false when nothing can match (a text with U+0000, an empty agent). E_TOO_LARGE past
 * the arena. */
int filter_fill(struct op_ctx *c, const struct filter_args *a, struct filter_own *own, struct filter *f,
                bool *ret_none);
struct list_args {
    struct args_head h;
    struct str ns, tier;
    int64_t limit, offset, min_priority;
    struct str since, until;
    struct strs tags;
    struct str agent_id, cursor, format;
};
struct search_args {
    struct args_head h;
    struct str query, ns, tier;
    int64_t limit, min_priority;
    struct str since, until;
    struct strs tags;
    struct str agent_id, as_agent, format;
};
struct recall_args {
    struct args_head h;
    struct str context, ns;
    int64_t limit;
    struct strs tags;
    struct str since, until, as_agent;
    int64_t budget_tokens;
    struct strs context_tokens;
    struct str feature_tier, format;
};
struct none_args {
    struct args_head h;
};
extern const struct arg list_arg[], search_arg[], recall_arg[], none_arg[];
int op_list(struct op_ctx *c, const void *args, struct reply *r);
int op_search(struct op_ctx *c, const void *args, struct reply *r);
int op_recall(struct op_ctx *c, const void *args, struct reply *r);
int op_namespaces(struct op_ctx *c, const void *args, struct reply *r);
int op_stats(struct op_ctx *c, const void *args, struct reply *r);

/* ---- nodes of the original, pollers (sync.c) --------------------------------------------------------------------- */
struct memory_args { /* a whole memory, as exports and peers send it */
    struct args_head h;
    struct str id, title, content, ns, source;
    struct strs tags;
    int64_t priority;
    double confidence;
    int64_t access_count;
    struct str created_at, updated_at, last_accessed_at, expires_at, tier;
    json_t *metadata;
};
struct push_args {
    struct args_head h;
    struct str sender;
    json_t *clock;
    struct items memories;
    struct strs deletions;
    bool dry_run;
};
struct since_args {
    struct args_head h;
    struct str since;
    int64_t limit;
    struct str peer, after_id;
};
struct member_args { /* members.c */
    struct args_head h;
    struct str node;
};
extern const struct arg memory_arg[], push_arg[], since_arg[], member_arg[];
int op_member_remove(struct op_ctx *c, const void *args, struct reply *r);
int memory_from_args(struct op_ctx *c, const struct memory_args *a, struct memory *m); /* borrows; E_TOO_LARGE */
int op_sync_push(struct op_ctx *c, const void *args, struct reply *r);
int op_sync_since(struct op_ctx *c, const void *args, struct reply *r);

/* ---- helpers of several families (reply.c) ----------------------------------------------------------------------- */
/* A moment as filters take it: RFC 3339, or the beginning of one ("2026-05"), read as UTC; anything else sorts as
 * text would. `until`: the last moment that is not beyond the text. */
int64_t time_bound(const struct str *s, bool until);
/* Why one of many was refused with rc: the operation's text, else the store's. In the arena; both are forgotten, so
 * that the next one does not answer with them. */
const char *refusal_text(struct op_ctx *c, int rc);
json_t *tags_json(const char *text);     /* [] when unreadable */
json_t *metadata_json(const char *text); /* {} when unreadable */
/* Compact text in the arena; NULL when it does not fit there. */
const char *json_arena(struct arena *a, const json_t *v, size_t *ret_len);
json_t *strs_json(const struct strs *s);
/* The metadata to store: what was sent (NULL: {}) with agent_id and scope put in (NULL: not), and `keep`'s agent_id
 * and policy (metadata text of the row there is; NULL: none) over all. In the arena. E_TOO_LARGE; E_INVALID when
 * the result is too big. */
int metadata_stamp(struct op_ctx *c, const json_t *sent, const char *agent_id, const char *scope, const char *keep,
                   const char **ret);
bool metadata_has(const char *metadata, const char *key);
/* The agent_id (or another text member) of a metadata text, in the arena; NULL: none. */
const char *metadata_text(const char *metadata, const char *key, struct arena *a);

#endif
