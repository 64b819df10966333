/* check_read.c - a cycle's history and dumps from their files. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "check_read.h"
#include "files.h"
#include "rows.h"

#define OPS_MAX 10000000

static const char *text_of(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}
static int64_t number_of(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static struct op *op_at(struct record *r, int64_t number)
{
    if (number <= 0 || number > OPS_MAX) return NULL;
    size_t n = (size_t)number;
    if (n >= r->ops) {
        size_t count = r->ops ? r->ops : 1;
        while (count <= n) count *= 2;
        r->op = mem_realloc(r->op, count * sizeof *r->op);
        memset(r->op + r->ops, 0, (count - r->ops) * sizeof *r->op);
        for (size_t i = r->ops; i < count; i++) r->op[i].to_us = INT64_MAX;
        r->ops = count;
    }
    return &r->op[n];
}

static int take_invoke(struct record *r, json_t *line, struct err *err)
{
    struct op *op = op_at(r, number_of(line, "op"));
    const char *kind = text_of(line, "kind");
    if (op == NULL || op->invoke || kind == NULL) return err_set(err, E_SYNTAX, "an invocation without number or kind");
    op->invoke = json_incref(line);
    op->kind = strcmp(kind, "create") == 0 ? OP_CREATE : strcmp(kind, "edit") == 0 ? OP_EDIT : OP_DELETE;
    op->fate = FATE_UNKNOWN;
    op->node = (int)number_of(line, "node");
    if (op->node < 0 || op->node >= RECORD_NODES) return err_set(err, E_SYNTAX, "an invocation at no node");
    op->probe = json_is_true(json_object_get(line, "probe"));
    op->from_us = number_of(line, "at_us");
    op->id = text_of(line, "id");
    op->title = text_of(line, "title");
    op->content = text_of(line, "content");
    return 0;
}

static enum op_fate fate_of(const struct op *op)
{
    if (op->status == 201 || (op->status == 200 && op->kind != OP_CREATE)) return FATE_OK;
    if (op->status == 503 && op->outcome && strcmp(op->outcome, "not_applied") == 0) return FATE_NOTHING;
    bool tells = op->outcome && op->error && strcmp(op->error, "quorum_not_met") != 0;
    if (op->status == 503) return tells ? FATE_UNKNOWN : FATE_PENDING; /* its own disk failed: there or not */
    if (op->status >= 400 && op->status < 500) return FATE_NOTHING;
    return FATE_UNKNOWN;
}

static int take_answer(struct record *r, json_t *line, struct err *err)
{
    struct op *op = op_at(r, number_of(line, "op"));
    if (op == NULL || op->invoke == NULL || op->answer) return err_set(err, E_SYNTAX, "an answer nobody asked for");
    op->answer = json_incref(line);
    op->status = (int)number_of(line, "status");
    if (op->status != 0) op->to_us = number_of(line, "at_us");
    op->reason = text_of(line, "reason");
    op->outcome = text_of(line, "outcome");
    op->error = text_of(line, "error");
    op->got = number_of(line, "got");
    op->needed = number_of(line, "needed");
    if (op->kind == OP_CREATE && op->status == 201) op->id = text_of(line, "id");
    op->fate = fate_of(op);
    return 0;
}

static int take_stage(struct record *r, json_t *line, struct err *err)
{
    const json_t *node;
    size_t i;
    if (r->stages == RECORD_STAGES || text_of(line, "name") == NULL)
        return err_set(err, E_SYNTAX, "one stage too many");
    struct stage *s = &r->stage[r->stages++];
    s->line = json_incref(line);
    s->name = text_of(line, "name");
    s->at_us = number_of(line, "at_us");
    json_array_foreach (json_object_get(line, "live"), i, node) {
        int64_t n = json_integer_value(node);
        if (n >= 0 && n < RECORD_NODES) s->node[n].live = true;
    }
    json_array_foreach (json_object_get(line, "destroyed"), i, node) {
        int64_t n = json_integer_value(node);
        if (n >= 0 && n < RECORD_NODES) s->destroyed |= 1u << n;
    }
    return 0;
}

static int take_line(struct record *r, json_t *line, struct err *err)
{
    const char *t = text_of(line, "t");
    if (t == NULL) return err_set(err, E_SYNTAX, "a line of no kind");
    if (strcmp(t, "meta") == 0) r->meta = r->meta ? r->meta : json_incref(line);
    if (strcmp(t, "invoke") == 0) return take_invoke(r, line, err);
    if (strcmp(t, "answer") == 0) return take_answer(r, line, err);
    if (strcmp(t, "stage") == 0) return take_stage(r, line, err);
    if (strcmp(t, "fault") == 0 && json_is_true(json_object_get(line, "on"))) {
        if (r->faults++ == 0) r->fault_us = number_of(line, "at_us");
    }
    if (strcmp(t, "proof") == 0) {
        r->proofs++;
        if (number_of(line, "count") <= 0 && r->empty_proofs++ == 0)
            snprintf(r->empty_proof, sizeof r->empty_proof, "%s", text_of(line, "what") ? text_of(line, "what") : "?");
    }
    return 0;
}

static int read_history(struct record *r, struct err *err)
{
    char path[1100];
    struct buf b;
    int rc;
    unsigned number = 0;
    snprintf(path, sizeof path, "%s/history.jsonl", r->dir);
    buf_init(&b, FILE_BYTES_MAX);
    rc = file_read(path, &b, err);
    for (size_t at = 0; rc == 0 && at < b.len;) {
        const char *end = memchr(b.data + at, '\n', b.len - at);
        number++;
        if (end == NULL) {
            rc = err_set(err, E_SYNTAX, "the last line is torn");
        } else {
            size_t len = (size_t)(end - (b.data + at));
            json_t *line = json_parse(b.data + at, len, NULL, 0, err);
            rc = line ? take_line(r, line, err) : E_SYNTAX;
            json_decref(line);
            at += len + 1;
        }
        if (rc != 0) err_wrap(err, "%s line %u", path, number);
    }
    buf_release(&b);
    return rc;
}

/* A dump that cannot be read counts as missing: the verdict says so. */
static void read_dump(struct record *r, struct stage *s, int n)
{
    char path[1200];
    struct dump *d = &s->node[n];
    const json_t *row;
    size_t i;
    snprintf(path, sizeof path, "%s/dump-%s-n%d.json", r->dir, s->name, n);
    d->doc = file_read_json(path, NULL);
    d->by_id = json_object();
    d->by_title = json_object();
    json_array_foreach (json_object_get(d->doc, "memories"), i, row) {
        const char *id = text_of(row, "id"), *title = text_of(row, "title");
        d->rows++;
        if (id == NULL || title == NULL || json_object_get(d->by_id, id) || json_object_get(d->by_title, title))
            d->doubled++;
        if (id) json_object_set(d->by_id, id, (json_t *)(uintptr_t)row);
        if (title) json_object_set(d->by_title, title, (json_t *)(uintptr_t)row);
    }
    rows_digest(json_object_get(d->doc, "memories"), d->digest);
}

/* Creates are found by the id they were answered or by their title; edits and deletes hang on them. */
static void index_ops(struct record *r)
{
    for (size_t i = 1; i < r->ops; i++) {
        const struct op *op = &r->op[i];
        if (op->invoke == NULL || op->kind != OP_CREATE) continue;
        if (op->id) json_object_set_new(r->creates, op->id, json_integer((json_int_t)i));
        if (op->title) json_object_set_new(r->creates, op->title, json_integer((json_int_t)i));
    }
    for (size_t i = 1; i < r->ops; i++) {
        struct op *op = &r->op[i];
        if (op->invoke == NULL || op->kind == OP_CREATE || op->id == NULL) continue;
        size_t create = (size_t)json_integer_value(json_object_get(r->creates, op->id));
        if (create == 0) continue;
        op->next = r->op[create].next;
        r->op[create].next = i;
    }
}

int record_read(struct record *r, const char *dir, struct err *err)
{
    memset(r, 0, sizeof *r);
    snprintf(r->dir, sizeof r->dir, "%s", dir);
    r->fault_us = INT64_MAX;
    r->creates = json_object();
    int rc = read_history(r, err);
    if (rc != 0) return rc;
    if (r->meta == NULL) return err_set(err, E_SYNTAX, "%s/history.jsonl says nothing about itself", dir);
    index_ops(r);
    for (unsigned s = 0; s < r->stages; s++)
        for (int n = 0; n < RECORD_NODES; n++)
            if (r->stage[s].node[n].live) read_dump(r, &r->stage[s], n);
    return 0;
}

void record_release(struct record *r)
{
    for (size_t i = 1; i < r->ops; i++) {
        json_decref(r->op[i].invoke);
        json_decref(r->op[i].answer);
    }
    mem_free(r->op);
    for (unsigned s = 0; s < r->stages; s++) {
        json_decref(r->stage[s].line);
        for (int n = 0; n < RECORD_NODES; n++) {
            json_decref(r->stage[s].node[n].doc);
            json_decref(r->stage[s].node[n].by_id);
            json_decref(r->stage[s].node[n].by_title);
        }
    }
    json_decref(r->meta);
    json_decref(r->creates);
    memset(r, 0, sizeof *r);
}
