/* text_beside.c - what commands print of what stands beside the memories: links, archive, agents, pending actions; and
 * of those that move many at once. */
#include <string.h>

#include "base/buf.h"
#include "cli/forms.h"

static void text_forget(const struct text *t)
{
    if (json_is_true(json_object_get(t->doc, "dry_run")))
        buf_printf(t->out, "would forget %lld memories\n", (long long)form_num(t->doc, "would_delete"));
    else
        buf_printf(t->out, "forgot %lld memories\n", (long long)form_num(t->doc, "deleted"));
}

static void text_link(const struct text *t)
{
    buf_printf(t->out, "linked: %s --[%s]--> %s\n", form_str(t->doc, "source_id"), form_str(t->doc, "relation"),
               form_str(t->doc, "target_id"));
}

static void text_resolve(const struct text *t)
{
    buf_printf(t->out, "resolved: %s supersedes %s\n", form_str(t->doc, "winner"), form_str(t->doc, "loser"));
}

static void text_consolidate(const struct text *t)
{
    buf_printf(t->out, "consolidated %lld memories into: %s\n", (long long)form_num(t->doc, "consolidated"),
               form_str(t->doc, "id"));
}

static void text_gc(const struct text *t)
{
    bool dry = json_is_true(json_object_get(t->doc, "dry_run"));
    buf_printf(t->out, "expired memories %s: %lld\n", dry ? "to delete" : "deleted",
               (long long)form_num(t->doc, "expired_deleted"));
}

static void text_import(const struct text *t)
{
    const json_t *errors = json_object_get(t->doc, "errors");
    if (json_is_true(json_object_get(t->doc, "trusted_source")))
        buf_puts(t->notes, "warning: --trust-source: agent_id from imported JSON was preserved as-is\n");
    buf_printf(t->out, "imported: %lld (restamped agent_id on %lld)\n", (long long)form_num(t->doc, "imported"),
               (long long)form_num(t->doc, "restamped"));
    for (size_t i = 0; i < json_array_size(errors); i++)
        buf_printf(t->notes, "  %s\n", json_string_value(json_array_get(errors, i)));
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */
static void text_archive_list(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "archived");
    if (json_array_size(rows) == 0) {
        buf_puts(t->out, "no archived memories\n");
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *m = json_array_get(rows, i);
        const char *id = form_str(m, "id");
        buf_printf(t->out, "[%.*s] %s (archived: %s)\n", form_id8(id), id, form_str(m, "title"),
                   form_str(m, "archived_at"));
    }
    buf_printf(t->out, "%zu archived memories\n", json_array_size(rows));
}

static void text_archive_restore(const struct text *t)
{
    const char *id = form_str(t->doc, "id");
    buf_printf(t->out, "restored: %.*s\n", form_id8(id), id);
}

static void text_archive_purge(const struct text *t)
{
    buf_printf(t->out, "purged %lld archived memories\n", (long long)form_num(t->doc, "purged"));
}

static void text_archive_stats(const struct text *t)
{
    buf_printf(t->out, "archived: %lld total\n", (long long)form_num(t->doc, "archived_total"));
    form_counts(t, "by_namespace", "namespace", "");
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */
static void put_list(struct buf *b, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        buf_printf(b, "%s%s", i ? "," : "", json_string_value(json_array_get(list, i)));
}

static void text_agents(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "agents");
    if (json_array_size(rows) == 0) {
        buf_puts(t->out, "no registered agents\n");
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *a = json_array_get(rows, i), *can = json_object_get(a, "capabilities");
        buf_printf(t->out, "%s  type=%s  registered=%s  last_seen=%s", form_str(a, "agent_id"),
                   form_str(a, "agent_type"), form_str(a, "registered_at"), form_str(a, "last_seen_at"));
        if (json_array_size(can) > 0) {
            buf_puts(t->out, " [");
            put_list(t->out, can);
            buf_putc(t->out, ']');
        }
        buf_putc(t->out, '\n');
    }
    buf_printf(t->out, "%zu registered agents\n", json_array_size(rows));
}

static void text_agent_register(const struct text *t)
{
    const json_t *can = json_object_get(t->doc, "capabilities");
    buf_printf(t->out, "registered %s (type=%s, capabilities=", form_str(t->doc, "agent_id"),
               form_str(t->doc, "agent_type"));
    if (json_array_size(can) == 0) buf_putc(t->out, '-');
    put_list(t->out, can);
    buf_puts(t->out, ")\n");
}

/* ---- pending actions --------------------------------------------------------------------------------------------- */
static void text_pending_list(const struct text *t)
{
    const json_t *rows = json_object_get(t->doc, "pending");
    if (json_array_size(rows) == 0) {
        buf_puts(t->out, "no pending actions\n");
        return;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *p = json_array_get(rows, i);
        const char *id = form_str(p, "id");
        buf_printf(t->out, "[%.*s] %s ns=%s action=%s by=%s (%s)\n", form_id8(id), id, form_str(p, "status"),
                   form_str(p, "namespace"), form_str(p, "action_type"), form_str(p, "requested_by"),
                   form_str(p, "requested_at"));
    }
    buf_printf(t->out, "%zu pending action(s)\n", json_array_size(rows));
}

static void text_approve(const struct text *t)
{
    const char *id = form_str(t->doc, "id");
    if (json_is_true(json_object_get(t->doc, "approved")))
        buf_printf(t->out, "approved + executed: %s (by %s)\n", id, form_str(t->doc, "decided_by"));
    else
        buf_printf(t->out, "approval recorded: %s (%lld/%lld consensus, not yet met)\n", id,
                   (long long)form_num(t->doc, "votes"), (long long)form_num(t->doc, "quorum"));
}

static void text_reject(const struct text *t)
{
    buf_printf(t->out, "rejected: %s (by %s)\n", form_str(t->doc, "id"), form_str(t->doc, "decided_by"));
}

const struct form forms_beside[] = {
    { "forget", text_forget, NULL },
    { "link", text_link, NULL },
    { "resolve", text_resolve, NULL },
    { "consolidate", text_consolidate, NULL },
    { "gc", text_gc, NULL },
    { "import", text_import, NULL },
    { "archive_list", text_archive_list, NULL },
    { "archive_restore", text_archive_restore, NULL },
    { "archive_purge", text_archive_purge, NULL },
    { "archive_stats", text_archive_stats, NULL },
    { "agents", text_agents, NULL },
    { "agent_register", text_agent_register, NULL },
    { "pending_list", text_pending_list, NULL },
    { "approve", text_approve, NULL },
    { "reject", text_reject, NULL },
    { NULL, NULL, NULL },
};
