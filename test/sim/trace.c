/* trace.c - the protocol's main stories: the nodes, network and disks of any run, and nothing is drawn. What happens is
 * told line by line and compared with traces/NAME.txt, so that whoever changes the protocol sees what that changes. */
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "check.h"
#include "sim.h"

#define TOLD_MAX (1u << 20)
#define HELLO_MS 600 /* until all links are up */

/* ---- what is told -------------------------------------------------------------------------------------------- */

/* Streams are numbered as they begin, over all nodes: the line "starts" tells whose. */
static unsigned name_of(uint64_t stream)
{
    return (unsigned)(stream & 0xffff);
}

static void tell_vector(struct sim *s, const char *way, const char *what, const struct msg *m)
{
    struct buf b;
    if (m->vector_count == 0 && !m->whole) return; /* a ping */
    buf_init(&b, TOLD_MAX);
    for (size_t i = 0; i < m->vector_count; i++)
        buf_printf(&b, "%s s%u:%" PRIu64 "%s", i == 0 ? "" : ",", name_of(m->vector[i].stream), m->vector[i].pos,
                   m->vector[i].ended ? " ended" : "");
    sim_log(s, "%s %s%s", way, what, buf_str(&b));
    buf_release(&b);
}

static void tell_ops(struct sim *s, const char *way, const char *what, const struct msg *m)
{
    sim_log(s, "%s %s s%u:%" PRIu64 "..%" PRIu64 "%s", way, what, name_of(m->entry.stream), m->first,
            m->first + m->count - 1, m->more ? ", and there is more" : "");
}

void trace_message(struct sim *s, const struct conn *c, unsigned way, const struct msg *m)
{
    char who[20];
    const struct repl_entry *at = &m->entry;
    if (s->told == NULL) return;
    snprintf(who, sizeof(who), "  %u>%u", way == 0 ? c->a : c->b, way == 0 ? c->b : c->a);
    switch (m->kind) {
    case M_HELLO: tell_vector(s, who, "hello, I have", m); return;
    case M_HELLO_OK:
        sim_log(s, "%s of yours I have s%u:%" PRIu64, who, name_of(at->stream), at->pos);
        tell_vector(s, who, "and I have", m);
        return;
    case M_OPS: tell_ops(s, who, "ops", m); return;
    case M_ACK: sim_log(s, "%s on disk s%u:%" PRIu64, who, name_of(at->stream), at->pos); return;
    case M_VECTOR: tell_vector(s, who, "now I have", m); return;
    case M_PONG: tell_vector(s, who, "and I", m); return;
    case M_PULL: sim_log(s, "%s what follows s%u:%" PRIu64 "?", who, name_of(at->stream), at->pos); return;
    case M_PULLED:
        if (m->gone)
            sim_log(s, "%s that is trimmed", who);
        else
            tell_ops(s, who, "it follows", m);
        return;
    case M_BUSY: sim_log(s, "%s still at it", who); return;
    case M_STATE: sim_log(s, "%s your rows?", who); return;
    case M_STATE_IS: sim_log(s, "%s %s", who, m->page->end ? "that was all" : "rows"); return;
    case M_REFUSED: sim_log(s, "%s you were removed", who); return;
    case M_CLOSE: return;
    }
}

static void say(struct sim *s, const char *text)
{
    buf_printf(s->told, "\n# %s\n", text);
}

/* What readers see on a node: id, title, text. */
static void rows(struct sim *s, unsigned node)
{
    char *all = s->node[node].disk->v->dump(s->node[node].disk), *next = NULL;
    for (char *line = strtok_r(all, "\n", &next); line != NULL; line = strtok_r(NULL, "\n", &next)) {
        char *cut = strncmp(line, "row ", 4) == 0 ? strstr(line, " | []") : NULL;
        if (cut == NULL) continue;
        *cut = '\0';
        sim_log(s, "node %u shows %s", node, line + 4);
    }
    mem_free(all);
}

/* ---- steps --------------------------------------------------------------------------------------------------- */

static void begin(struct sim *s, struct buf *told, unsigned nodes, unsigned w)
{
    sim_begin(s, NULL, 0);
    s->stories = s->ends = s->real = true;
    s->n = nodes;
    s->w = w;
    for (unsigned i = 0; i < nodes; i++) {
        struct node *n = &s->node[i];
        n->s = s;
        n->i = i;
        n->disk = disk_new(s, i);
        for (unsigned j = 0; j < nodes; j++)
            if (j != i) n->target[n->targets++] = j;
    }
    s->told = told;
    for (unsigned i = 0; i < nodes; i++) node_start(&s->node[i]);
}

static void wait(struct sim *s, int64_t ms)
{
    sim_until(s, s->now_us + ms * 1000);
}

/* The links come up, which only one story tells. */
static void meet(struct sim *s)
{
    wait(s, HELLO_MS);
    buf_clear(s->told);
    for (unsigned i = 0; i < s->n; i++)
        buf_printf(s->told, "# node %u writes stream s%u\n", i, name_of(s->node[i].disk->stream));
}

static void write_edit(struct sim *s, unsigned node, enum edit_kind kind, unsigned id, unsigned text)
{
    struct edit e = { .kind = kind, .id = id, .title = id, .text = text };
    client_issue(s, node, ++s->keys, &e, 0, 0);
}

static void put(struct sim *s, unsigned node, unsigned id, unsigned text)
{
    write_edit(s, node, EDIT_PUT, id, text);
}

static void cut(struct sim *s, unsigned a, unsigned b, int64_t ms)
{
    sim_log(s, "nothing passes between node %u and node %u for %lld ms", a, b, (long long)ms);
    s->cut[a][b] = s->cut[b][a] = s->now_us + ms * 1000;
}

/* What b answers to a is lost, on the connection they have now. */
static void swallow(struct sim *s, unsigned a, unsigned b)
{
    sim_log(s, "what node %u answers node %u is lost", b, a);
    list_each (it, &s->conns) {
        struct conn *c = container_of(it, struct conn, link);
        if (c->a == a && c->b == b && c->a_open && c->b_open) c->way[1].dead = true;
    }
}

static void dies(struct sim *s, unsigned node)
{
    node_crash(&s->node[node], false, LOSS_NONE);
}

static void starts(struct sim *s, unsigned node)
{
    node_start(&s->node[node]);
}

static void agree(struct sim *s, unsigned nodes)
{
    if (!s->failed && !check_equal(s, nodes)) sim_fail(s, "no agreement at the end");
    if (!s->failed) check_rows(s, nodes);
    if (!s->failed) check_promises(s, nodes, nodes == NODE_BIT(s->n) - 1);
    sim_log(s, "agreed");
}

/* ---- stories ------------------------------------------------------------------------------------------------- */

static void links(struct sim *s)
{
    say(s, "three nodes meet");
    wait(s, 400);
    say(s, "and are at rest: pings, and vectors once a second");
    wait(s, 1500);
}

static void quorum(struct sim *s)
{
    meet(s);
    cut(s, 0, 2, 150);
    say(s, "a write goes to both peers, and is answered when W have it; the third gets it all the same");
    put(s, 0, 1, 1);
    wait(s, 600);
    agree(s, 7);
}

static void late(struct sim *s)
{
    meet(s);
    dies(s, 2);
    wait(s, 5);
    say(s, "W of N is enough; what the third misses waits in the log");
    put(s, 0, 1, 1);
    put(s, 0, 2, 1);
    wait(s, 20);
    say(s, "it comes back, tells where it stands, and gets the rest");
    starts(s, 2);
    wait(s, 1200);
    agree(s, 7);
}

static void writer_dies(struct sim *s)
{
    meet(s);
    cut(s, 0, 2, 100000);
    put(s, 0, 1, 1);
    wait(s, 5);
    say(s, "the writer is gone for good, and the third never heard of the write: it asks for what it lacks");
    dies(s, 0);
    wait(s, 1500);
    agree(s, 6);
}

static void lost_answer(struct sim *s)
{
    meet(s);
    say(s,
        "batches arrive, answers are lost: after half a second new connections tell positions, nothing is sent twice");
    struct edit e = { .kind = EDIT_PUT, .id = 1, .title = 1, .text = 1 };
    swallow(s, 0, 1);
    swallow(s, 0, 2);
    client_issue(s, 0, ++s->keys, &e, 3, 0);
    wait(s, 1500);
    agree(s, 7);
}

static void older_copy(struct sim *s)
{
    meet(s);
    put(s, 1, 1, 1);
    wait(s, 5);
    s->node[1].disk->v->copy(s->node[1].disk);
    put(s, 1, 2, 2);
    put(s, 0, 3, 3);
    wait(s, 10);
    say(s,
        "an older copy of its file is put back: a new life asks for the end of its old stream, and is sent the rest");
    node_crash(&s->node[1], false, LOSS_SET_BACK);
    s->losses++;
    starts(s, 1);
    wait(s, 1500);
    agree(s, 7);
}

static void empty_joiner(struct sim *s)
{
    meet(s);
    for (unsigned i = 1; i < 6; i++) put(s, 0, i, i);
    wait(s, 20);
    write_edit(s, 0, EDIT_DELETE, 2, 0);
    wait(s, 10);
    for (unsigned i = 0; i < 2; i++) s->node[i].disk->v->trim(s->node[i].disk, 0, node_wall(&s->node[i]));
    say(s, "the logs are trimmed, and a node comes back without its disk: rows come page by page, then the tail");
    node_crash(&s->node[2], false, LOSS_ALL);
    s->losses++;
    starts(s, 2);
    wait(s, 400);
    put(s, 0, 6, 6);
    wait(s, 1500);
    agree(s, 7);
    rows(s, 2);
}

static void same_title(struct sim *s)
{
    meet(s);
    cut(s, 0, 1, 300);
    cut(s, 0, 2, 300);
    say(s, "one title is made on both sides of a cut; the later one is shown everywhere");
    struct edit one = { .kind = EDIT_CREATE, .id = 1, .title = 1, .text = 1 };
    struct edit two = { .kind = EDIT_CREATE, .id = 2, .title = 1, .text = 2 };
    client_issue(s, 0, ++s->keys, &one, 1, 0);
    wait(s, 5);
    client_issue(s, 1, ++s->keys, &two, 2, 0);
    wait(s, 10);
    rows(s, 0);
    rows(s, 1);
    wait(s, 1500);
    agree(s, 7);
    for (unsigned i = 0; i < 3; i++) rows(s, i);
}

static void late_edit(struct sim *s)
{
    meet(s);
    put(s, 0, 1, 1);
    wait(s, 10);
    cut(s, 0, 1, 300);
    cut(s, 0, 2, 300);
    say(s, "a row is deleted on one side, while the other edits what it had seen before: the later one wins on all");
    struct edit gone = { .kind = EDIT_DELETE, .id = 1, .title = 1 };
    struct edit edit = { .kind = EDIT_UPDATE, .id = 1, .title = 1, .text = 2 };
    client_issue(s, 1, ++s->keys, &edit, 2, 0);
    wait(s, 5);
    client_issue(s, 0, ++s->keys, &gone, 1, 0);
    wait(s, 1500);
    agree(s, 7);
    for (unsigned i = 0; i < 3; i++) rows(s, i);
}

static void unreachable(struct sim *s)
{
    meet(s);
    dies(s, 1);
    dies(s, 2);
    say(s, "no W can be reached: the answer is no, long before the deadline");
    put(s, 0, 1, 1);
    wait(s, 400);
    say(s, "the write is not undone: it travels when they are back");
    starts(s, 1);
    starts(s, 2);
    wait(s, 1500);
    agree(s, 7);
}

static void retry(struct sim *s)
{
    meet(s);
    struct edit e = { .kind = EDIT_PUT, .id = 1, .title = 1, .text = 1 };
    cut(s, 0, 2, 100000);
    uint64_t key = ++s->keys;
    client_issue(s, 0, key, &e, 3, 0);
    wait(s, 5);
    say(s, "the writer dies before it could answer: the same key on another node stands on the first attempt's op");
    dies(s, 0);
    client_issue(s, 2, key, &e, 2, 1);
    client_issue(s, 1, key, &e, 2, 1);
    wait(s, 1500);
    agree(s, 6);
    rows(s, 1);
}

static void command(struct sim *s)
{
    meet(s);
    say(s, "a command writes to the file of a running node: a stream of its own, which peers ask for at once");
    s->quiet = false;
    client_event(s, &(struct event){ .kind = EV_COMMAND, .node = 0, .life = s->node[0].life, .a = ++s->keys });
    wait(s, 600);
    agree(s, 7);
    say(s, "its process is gone: the stream ends, and when all have it whole it leaves every vector");
    sim_at(s, 0, (struct event){ .kind = EV_ENDS });
    wait(s, 3000);
    agree(s, 7);
    check_tell(s, 7);
}

static const struct {
    const char *name;
    unsigned nodes, w;
    void (*run)(struct sim *s);
} tales[] = {
    { "links", 3, 2, links },
    { "quorum", 3, 2, quorum },
    { "late", 3, 2, late },
    { "writer_dies", 3, 2, writer_dies },
    { "lost_answer", 3, 2, lost_answer },
    { "older_copy", 3, 2, older_copy },
    { "empty_joiner", 3, 2, empty_joiner },
    { "same_title", 3, 2, same_title },
    { "late_edit", 3, 2, late_edit },
    { "unreachable", 3, 2, unreachable },
    { "retry", 3, 2, retry },
    { "command", 3, 2, command },
};

/* ---- comparing ----------------------------------------------------------------------------------------------- */

static char *read_all(const char *path)
{
    struct buf b;
    FILE *f = fopen(path, "r");
    if (f == NULL) return mem_strdup("");
    buf_init(&b, TOLD_MAX);
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof(part), f)) > 0;) buf_put(&b, part, n);
    fclose(f);
    return buf_take(&b, NULL);
}

static int compare(const char *path, const char *is)
{
    char *was = read_all(path);
    size_t at = 0, line = 0, number = 1;
    for (; was[at] == is[at] && is[at] != '\0'; at++) {
        if (is[at] != '\n') continue;
        line = at + 1;
        number++;
    }
    bool same = was[at] == is[at];
    if (!same)
        printf("%s, line %zu:\n  was: %.*s\n  is:  %.*s\n", path, number, (int)strcspn(was + line, "\n"), was + line,
               (int)strcspn(is + line, "\n"), is + line);
    mem_free(was);
    return !same;
}

static int record_as(const char *path, const char *is)
{
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(is, f) < 0) {
        printf("%s: cannot be written\n", path);
        if (f != NULL) fclose(f);
        return 1;
    }
    return fclose(f) != 0;
}

int trace_all(struct sim *s, const char *dir, bool record)
{
    int bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(tales); i++) {
        char path[512];
        struct buf told;
        snprintf(path, sizeof(path), "%s/%s.txt", dir, tales[i].name);
        buf_init(&told, TOLD_MAX);
        begin(s, &told, tales[i].nodes, tales[i].w);
        tales[i].run(s);
        s->told = NULL;
        sim_end(s);
        if (s->failed) printf("%s: %s\n", tales[i].name, s->why);
        CHECK(!told.failed);
        bad |= s->failed | (record ? record_as(path, buf_str(&told)) : compare(path, buf_str(&told)));
        buf_release(&told);
    }
    printf("%zu stories%s\n", ARRAY_LEN(tales), record ? " recorded" : bad ? "" : ", all as before");
    return bad;
}
