/* check.c - the judge: what a history allows the nodes to hold, and what they hold. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "check.h"
#include "check_read.h"

#define FINDINGS 50

enum fault { LOST, WRONG, STALE, REVIVED, DOUBLED, INVENTED, HALF, DIFFER, PARTIAL, UNEXPLAINED, FAULTS };

static const char *const fault_name[FAULTS] = { "acknowledged writes lost",
                                                "memories with a content nobody wrote for them",
                                                "edits with an outcome not allowed",
                                                "deleted memories back",
                                                "writes doubled",
                                                "rows nobody wrote",
                                                "writes half there",
                                                "nodes that differ",
                                                "lists that are not complete",
                                                "503 answers without explanation" };

struct judge {
    struct record r;
    unsigned count[FAULTS];
    json_t *findings;
    unsigned acked, found_by[RECORD_NODES], found, pending, nothing, unknown, lost_edits, archived;
    bool archive; /* every dump of the last stage has one */
};

static void find(struct judge *j, enum fault f, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void find(struct judge *j, enum fault f, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    j->count[f]++;
    if (json_array_size(j->findings) >= FINDINGS) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *line = json_sprintf("%s: %s", fault_name[f], text);
    json_array_append_new(j->findings, line ? line : json_string(fault_name[f]));
}

static const char *text_of(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static const json_t *row_of(const struct op *create, const struct dump *d)
{
    const json_t *row = create->id ? json_object_get(d->by_id, create->id) : NULL;
    return row ? row : create->id ? NULL : json_object_get(d->by_title, create->title);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* What an operation was at the time of a stage: one still under way then is unknown. */
static enum op_fate fate_at(const struct op *op, const struct stage *s)
{
    return op->to_us > s->at_us ? FATE_UNKNOWN : op->fate;
}

/* An operation's content can be the outcome unless it had no effect, or a later acknowledged edit certainly saw it: one
 * begun on the same node after it was answered; and every edit saw the create, or it would have been answered 404. */
static bool allowed(const struct record *r, const struct stage *s, const struct op *create, const struct op *op)
{
    if (op->fate == FATE_NOTHING || op->kind == OP_DELETE || op->from_us > s->at_us) return false;
    for (size_t i = create->next; i != 0; i = r->op[i].next) {
        const struct op *later = &r->op[i];
        if (later == op || later->kind != OP_EDIT || fate_at(later, s) != FATE_OK) continue;
        if (op == create || (later->node == op->node && later->from_us > op->to_us)) return false;
    }
    return true;
}

static const struct op *writer_of(const struct record *r, const struct op *create, const char *content)
{
    if (same(create->content, content)) return create;
    for (size_t i = create->next; i != 0; i = r->op[i].next)
        if (r->op[i].kind == OP_EDIT && same(r->op[i].content, content)) return &r->op[i];
    return NULL;
}

static void judge_content(struct judge *j, const struct stage *s, int n, const struct op *create, const json_t *row)
{
    const char *content = text_of(row, "content");
    const struct op *by = writer_of(&j->r, create, content);
    if (by == NULL)
        find(j, WRONG, "stage %s, node %d: %s", s->name, n, create->title);
    else if (!allowed(&j->r, s, create, by))
        find(j, STALE, "stage %s, node %d: %s has the content of a replaced or refused operation", s->name, n,
             create->title);
}

enum deletion { DELETE_NONE, DELETE_MAYBE, DELETE_DONE };

static enum deletion deletion_of(const struct record *r, const struct stage *s, const struct op *create)
{
    enum deletion d = DELETE_NONE;
    for (size_t i = create->next; i != 0; i = r->op[i].next) {
        const struct op *op = &r->op[i];
        if (op->kind != OP_DELETE || op->fate == FATE_NOTHING || op->from_us > s->at_us) continue;
        if (fate_at(op, s) == FATE_OK) return DELETE_DONE;
        d = DELETE_MAYBE;
    }
    return d;
}

/* One create at one node of one stage. Returns whether what was acknowledged holds there. */
static bool judge_create(struct judge *j, const struct stage *s, int n, const struct op *create, unsigned *ret_there)
{
    const json_t *row = row_of(create, &s->node[n]);
    enum deletion deletion = deletion_of(&j->r, s, create);
    enum op_fate fate = fate_at(create, s);
    bool origin_here = s->node[create->node].live && !(s->destroyed & 1u << create->node);
    if (row) *ret_there |= 1u << n;
    if (row) judge_content(j, s, n, create, row);
    if (row && deletion == DELETE_DONE) {
        find(j, REVIVED, "stage %s, node %d: %s", s->name, n, create->title);
        return false;
    }
    if (row && fate == FATE_NOTHING)
        find(j, HALF, "stage %s, node %d has %s, which was refused (%d)", s->name, n, create->title, create->status);
    if (row || deletion != DELETE_NONE) return true;
    if (fate == FATE_OK) {
        find(j, LOST, "stage %s, node %d: %s (id %s)", s->name, n, create->title, create->id);
        return false;
    }
    if (fate == FATE_PENDING && origin_here)
        find(j, HALF, "stage %s, node %d lacks %s, which node %d keeps as pending", s->name, n, create->title,
             create->node);
    return true;
}

static unsigned live_set(const struct stage *s)
{
    unsigned set = 0;
    for (int n = 0; n < RECORD_NODES; n++)
        if (s->node[n].live) set |= 1u << n;
    return set;
}

/* `found` counts those that every node but the one they were written to held at every stage. */
static void note_found(struct judge *j, const bool *holds, bool elsewhere)
{
    const struct stage *last = j->r.stages ? &j->r.stage[j->r.stages - 1] : NULL;
    j->acked++;
    if (last == NULL) return;
    j->found += elsewhere;
    for (int n = 0; n < RECORD_NODES; n++) j->found_by[n] += holds[n] && last->node[n].doc != NULL;
}

static void judge_creates(struct judge *j)
{
    for (size_t i = 1; i < j->r.ops; i++) {
        const struct op *create = &j->r.op[i];
        bool holds[RECORD_NODES] = { true, true, true, true, true, true, true, true }, elsewhere = true;
        if (create->invoke == NULL || create->kind != OP_CREATE) continue;
        for (unsigned k = 0; k < j->r.stages; k++) {
            const struct stage *s = &j->r.stage[k];
            unsigned there = 0, live = live_set(s);
            if (create->from_us > s->at_us) continue;
            for (int n = 0; n < RECORD_NODES; n++) {
                if (!s->node[n].live || s->node[n].doc == NULL) continue;
                if (judge_create(j, s, n, create, &there)) continue;
                holds[n] = false;
                if (n != create->node) elsewhere = false;
            }
            if (there != 0 && there != live && fate_at(create, s) != FATE_OK)
                find(j, HALF, "stage %s: %s (no acknowledgement) is on some nodes only", s->name, create->title);
        }
        if (create->probe) continue;
        if (create->fate == FATE_OK) note_found(j, holds, elsewhere);
        j->pending += create->fate == FATE_PENDING;
        j->nothing += create->fate == FATE_NOTHING;
        j->unknown += create->fate == FATE_UNKNOWN;
    }
}

static void judge_dump(struct judge *j, const struct stage *s, int n)
{
    const struct dump *d = &s->node[n];
    const json_t *row;
    size_t i;
    if (d->doc == NULL) {
        find(j, PARTIAL, "stage %s: nothing of node %d", s->name, n);
        return;
    }
    if (!json_is_true(json_object_get(d->doc, "complete"))) {
        const char *why = text_of(d->doc, "error");
        find(j, PARTIAL, "stage %s, node %d listed %d of %d rows%s%s", s->name, n,
             (int)json_integer_value(json_object_get(d->doc, "listed")),
             (int)json_integer_value(json_object_get(d->doc, "total")), why ? ": " : "", why ? why : "");
    }
    for (size_t k = 0; k < d->doubled; k++)
        find(j, DOUBLED, "stage %s, node %d: %zu of %zu rows", s->name, n, k + 1, d->doubled);
    json_array_foreach (json_object_get(d->doc, "memories"), i, row) {
        const char *title = text_of(row, "title");
        if (title == NULL || json_object_get(j->r.creates, title) == NULL)
            find(j, INVENTED, "stage %s, node %d: %s", s->name, n, title ? title : "(no title)");
    }
}

static void judge_stages(struct judge *j)
{
    for (unsigned k = 0; k < j->r.stages; k++) {
        const struct stage *s = &j->r.stage[k];
        int first = -1;
        for (int n = 0; n < RECORD_NODES; n++) {
            if (!s->node[n].live) continue;
            judge_dump(j, s, n);
            if (first < 0) first = n;
            if (strcmp(s->node[n].digest, s->node[first].digest) != 0)
                find(j, DIFFER, "stage %s: nodes %d and %d", s->name, first, n);
        }
    }
}

static void judge_refusals(struct judge *j)
{
    for (size_t i = 1; i < j->r.ops; i++) {
        const struct op *op = &j->r.op[i];
        if (op->status != 503) continue;
        bool quorum = same(op->error, "quorum_not_met");
        const char *why = NULL;
        if (j->r.fault_us > op->to_us)
            why = "no fault had begun";
        else if (op->outcome == NULL)
            why = "no outcome";
        else if (!same(op->outcome, "pending") && !same(op->outcome, "not_applied"))
            why = "an unknown outcome";
        else if (quorum && op->got >= op->needed)
            why = "got is not below needed";
        else if (quorum && op->reason == NULL)
            why = "no reason";
        if (why) find(j, UNEXPLAINED, "operation %zu (%s): %s", i, op->error ? op->error : "no text", why);
    }
}

static bool in_archive(const json_t *archive, const struct op *op)
{
    const json_t *row;
    size_t i;
    json_array_foreach (archive, i, row) {
        if (same(text_of(row, "content"), op->content)) return true;
    }
    return false;
}

/* An acknowledged edit that began after the final content's own operation was answered, and yet did not win, lost to a
 * clock or to a split: it must lie in every node's archive. (Of overlapping edits nobody can say which saw which.) */
static void judge_lost_edit(struct judge *j, const struct stage *s, const struct op *create, const struct op *op)
{
    for (int n = 0; n < RECORD_NODES; n++) {
        const json_t *row = s->node[n].live && s->node[n].doc ? row_of(create, &s->node[n]) : NULL;
        const struct op *winner = row ? writer_of(&j->r, create, text_of(row, "content")) : NULL;
        if (winner == NULL || winner == op || winner->to_us >= op->from_us) continue;
        j->lost_edits++;
        if (!j->archive) continue;
        if (in_archive(json_object_get(s->node[n].doc, "archive"), op))
            j->archived++;
        else
            find(j, STALE, "stage %s, node %d: an edit of %s lost and is not in the archive", s->name, n,
                 create->title);
    }
}

static void judge_edits(struct judge *j)
{
    if (j->r.stages == 0) return;
    const struct stage *s = &j->r.stage[j->r.stages - 1];
    j->archive = true;
    for (int n = 0; n < RECORD_NODES; n++)
        if (s->node[n].live && !json_is_array(json_object_get(s->node[n].doc, "archive"))) j->archive = false;
    for (size_t i = 1; i < j->r.ops; i++) {
        const struct op *create = &j->r.op[i];
        if (create->invoke == NULL || create->kind != OP_CREATE) continue;
        for (size_t k = create->next; k != 0; k = j->r.op[k].next)
            if (j->r.op[k].kind == OP_EDIT && j->r.op[k].fate == FATE_OK) judge_lost_edit(j, s, create, &j->r.op[k]);
    }
}

/* --- the verdict --- */

static bool add_check(json_t *checks, const char *name, const char *expected, json_t *got, bool pass)
{
    json_array_append_new(
        checks, json_pack("{s:s, s:s, s:o, s:b}", "name", name, "expected", expected, "got", got, "pass", pass));
    return pass;
}

static void add_counts(json_t *numbers, const struct judge *j)
{
    static const char *const key[FAULTS] = { "lost",     "wrong", "stale",  "revived", "doubled",
                                             "invented", "half",  "differ", "partial", "unexplained" };
    for (int f = 0; f < FAULTS; f++) json_object_set_new(numbers, key[f], json_integer((json_int_t)j->count[f]));
    const struct stage *s = j->r.stages ? &j->r.stage[j->r.stages - 1] : NULL;
    json_t *rows = json_array(), *found = json_array();
    for (int n = 0; s && n < RECORD_NODES; n++) {
        if (!s->node[n].live) continue;
        json_array_append_new(rows, json_integer((json_int_t)s->node[n].rows));
        json_array_append_new(found, json_integer((json_int_t)j->found_by[n]));
    }
    json_object_set_new(numbers, "rows", rows);
    json_object_set_new(numbers, "found_by_node", found);
}

static json_t *verdict(const struct judge *j)
{
    json_t *checks = json_array();
    const char *fault = text_of(j->r.meta, "fault");
    bool quiet = same(fault, "none");
    bool pass =
        add_check(checks, "acknowledged writes", "at least 1", json_integer((json_int_t)j->acked), j->acked > 0);
    pass &= add_check(checks, "stages judged", "at least 1", json_integer((json_int_t)j->r.stages), j->r.stages > 0);
    for (int f = 0; f < FAULTS; f++)
        pass &= add_check(checks, fault_name[f], "0", json_integer((json_int_t)j->count[f]), j->count[f] == 0);
    if (!quiet) {
        json_t *got = j->r.empty_proofs ? json_sprintf("no sign of: %s", j->r.empty_proof)
                                        : json_integer((json_int_t)j->r.proofs);
        pass &= add_check(checks, "proofs that the fault acted", "at least 1, none of them empty", got,
                          j->r.proofs > 0 && j->r.empty_proofs == 0 && j->r.faults > 0);
    }
    json_t *numbers =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i}", "acknowledged", (int)j->acked, "found", (int)j->found,
                  "pending", (int)j->pending, "refused", (int)j->nothing, "unknown", (int)j->unknown, "lost_edits",
                  (int)j->lost_edits, "archive_served", j->archive, "archived", (int)j->archived);
    add_counts(numbers, j);
    return json_pack("{s:b, s:o, s:O, s:o}", "pass", pass, "checks", checks, "findings", j->findings, "numbers",
                     numbers);
}

int check_run(const char *dir, json_t **ret, struct err *err)
{
    struct judge j;
    memset(&j, 0, sizeof j);
    int rc = record_read(&j.r, dir, err);
    if (rc == 0) {
        j.findings = json_array();
        judge_stages(&j);
        judge_creates(&j);
        judge_refusals(&j);
        judge_edits(&j);
        *ret = verdict(&j);
        json_decref(j.findings);
    }
    record_release(&j.r);
    return rc;
}
