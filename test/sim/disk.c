/* disk.c - what a node keeps, as simple as can be: the log of each stream with the prefix rule and its chain. An op's
 * body is its client's key. Quick, so that most seeds spend their time on the protocol; real.c has the rows. */
#include "sim.h"

#include <string.h>

#include "base/digest.h"

struct log {
    uint64_t stream, node, pos, chain;
    bool ended;
    struct op **op; /* op[seq - 1]; NULL is a hole, which must never be */
    size_t cap;
};
struct model {
    struct disk d;
    struct log log[STREAMS_MAX];
    size_t count;
    struct {
        uint64_t stream, pos, chain;
        bool ended;
    } copy[STREAMS_MAX];
    size_t copies;
    struct {
        uint64_t stream, seq;
    } key[KEYS_MAX + 1];
    struct log **grown; /* owned; of a lazy disk: which log grew by one op, in order */
    size_t grown_count, grown_cap;
    uint64_t grown_before; /* how many were forgotten */
};

static struct model *model_of(struct disk *d)
{
    return container_of(d, struct model, d);
}

static struct log *find(struct model *m, uint64_t stream)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->log[i].stream == stream) return &m->log[i];
    return NULL;
}

static struct log *make(struct model *m, uint64_t stream, uint64_t node)
{
    struct log *l = find(m, stream);
    if (l != NULL) return l;
    CHECK(m->count < STREAMS_MAX);
    l = &m->log[m->count++];
    *l = (struct log){ .stream = stream, .node = node };
    return l;
}

static void append(struct model *m, struct log *l, struct op *op)
{
    while (op->seq > l->cap) {
        size_t cap = l->cap == 0 ? 16 : l->cap * 2;
        l->op = mem_realloc(l->op, cap * sizeof(struct op *));
        memset(l->op + l->cap, 0, (cap - l->cap) * sizeof(struct op *));
        l->cap = cap;
    }
    CHECK(l->op != NULL);
    l->op[op->seq - 1] = op;
    l->pos = op->seq;
    l->chain = op->chain;
    if (m->d.lazy && m->grown_count == m->grown_cap) {
        m->grown_cap = m->grown_cap == 0 ? 256 : m->grown_cap * 2;
        m->grown = mem_realloc(m->grown, m->grown_cap * sizeof(struct log *));
    }
    if (m->d.lazy) m->grown[m->grown_count++] = l;
    CHECK(op->key <= KEYS_MAX);
    if (m->key[op->key].seq != 0) return;
    m->key[op->key].stream = op->stream;
    m->key[op->key].seq = op->seq;
}

static void write_op(struct model *m, struct log *l, uint64_t key)
{
    uint64_t chain = hash64(&key, sizeof(key), l->chain) | 1;
    struct op *op = sim_bind(m->d.s, l->stream, l->pos + 1, chain, &key, sizeof(key));
    op->key = key;
    append(m, l, op);
}

static enum work_result foreign(struct model *m, struct work *w)
{
    struct log *l = find(m, w->stream);
    uint64_t pos = l == NULL ? 0 : l->pos;
    if (w->first > pos + 1 && !MUTANT(NO_PREFIX)) return WORK_REWIND;
    if (l == NULL) l = make(m, w->stream, w->node);
    uint64_t before = w->first == 1 ? 0 : w->first - 1 <= pos ? l->op[w->first - 2]->chain : w->before;
    if (before != w->before) return WORK_FORK;
    for (size_t i = 0; i < w->count; i++) {
        struct op *op = w->ops[i];
        if (op->seq > l->pos)
            append(m, l, op);
        else if (l->op[op->seq - 1] != op)
            return WORK_FORK;
    }
    return WORK_DONE;
}

static void model_run(struct disk *d, struct work **work, size_t count, int64_t wall_us)
{
    struct model *m = model_of(d);
    (void)wall_us;
    for (size_t i = 0; i < count; i++) {
        struct work *w = work[i];
        if (w->foreign) {
            w->result = foreign(m, w);
            struct log *l = find(m, w->stream);
            w->pos = l == NULL ? 0 : l->pos;
            w->chain = l == NULL ? 0 : l->chain;
            continue;
        }
        struct log *own = find(m, d->stream);
        write_op(m, own, w->key);
        w->pos = own->pos;
        w->result = WORK_DONE;
    }
    d->pos = find(m, d->stream)->pos;
    d->chain = find(m, d->stream)->chain;
}

static uint64_t new_stream(struct disk *d)
{
    return (uint64_t)(d->index + 1) << 32 | ++d->s->streams;
}

static void model_life(struct disk *d, int64_t wall_us)
{
    (void)wall_us;
    if (d->id == 0) d->id = 0x1000 + ++d->s->streams;
    d->pos = d->chain = 0;
    if (MUTANT(SEQ_REUSED) && d->stream != 0) {
        struct log *l = find(model_of(d), d->stream);
        l->pos = l->chain = 0;
        return;
    }
    d->stream = new_stream(d);
    make(model_of(d), d->stream, d->id);
}

static void model_life_end(struct disk *d)
{
    (void)d;
}

static uint64_t model_command(struct disk *d, uint64_t key, const struct edit *e, int64_t wall_us)
{
    (void)wall_us;
    struct log *l = make(model_of(d), new_stream(d), d->id);
    write_op(model_of(d), l, key);
    for (unsigned i = e->text % 3; i > 0; i--) write_op(model_of(d), l, key);
    l->ended = true;
    return l->stream;
}

static size_t model_vector(struct disk *d, struct repl_entry *ret)
{
    struct model *m = model_of(d);
    for (size_t i = 0; i < m->count; i++) {
        const struct log *l = &m->log[i];
        ret[i] = (struct repl_entry){ .stream = l->stream, .node = l->node, .pos = l->pos, .chain = l->chain };
    }
    return m->count;
}

static size_t model_page(struct disk *d, uint64_t stream, uint64_t from, uint64_t to, struct op **ret)
{
    struct log *l = find(model_of(d), stream);
    size_t n = 0;
    for (uint64_t seq = from; l != NULL && seq <= to && seq <= l->pos && l->op[seq - 1] != NULL; seq++)
        ret[n++] = l->op[seq - 1];
    return n;
}

static bool model_chain(struct disk *d, uint64_t stream, uint64_t seq, uint64_t *ret)
{
    struct log *l = find(model_of(d), stream);
    *ret = 0;
    if (seq == 0) return true;
    if (l == NULL || seq > l->pos || l->op[seq - 1] == NULL) return false;
    *ret = l->op[seq - 1]->chain;
    return true;
}

static bool model_key(struct disk *d, uint64_t key, uint64_t *ret_stream, uint64_t *ret_seq)
{
    struct model *m = model_of(d);
    *ret_stream = m->key[key].stream;
    *ret_seq = m->key[key].seq;
    return *ret_seq != 0;
}

static void model_copy(struct disk *d)
{
    struct model *m = model_of(d);
    for (size_t i = 0; i < m->count; i++) {
        m->copy[i].stream = m->log[i].stream;
        m->copy[i].pos = m->log[i].pos;
        m->copy[i].chain = m->log[i].chain;
        m->copy[i].ended = m->log[i].ended;
    }
    m->copies = m->count;
}

static void forget_keys(struct model *m)
{
    for (size_t k = 0; k <= KEYS_MAX; k++) {
        struct log *l = m->key[k].seq == 0 ? NULL : find(m, m->key[k].stream);
        if (l == NULL || m->key[k].seq > l->pos) m->key[k].seq = 0;
    }
}

static uint64_t model_mark(struct disk *d, bool durable)
{
    const struct model *m = model_of(d);
    return m->grown_before + (durable ? 0 : m->grown_count);
}

static void model_power(struct disk *d, uint64_t mark)
{
    struct model *m = model_of(d);
    CHECK(mark >= m->grown_before && mark <= m->grown_before + m->grown_count);
    while (m->grown_before + m->grown_count > mark) {
        struct log *l = m->grown[--m->grown_count];
        l->pos--;
        l->chain = l->pos == 0 ? 0 : l->op[l->pos - 1]->chain;
    }
    forget_keys(m);
}

/* Logs are only ever added and grown, so the older copy is the front part of each. */
static void model_set_back(struct disk *d)
{
    struct model *m = model_of(d);
    m->grown_before += m->grown_count;
    m->grown_count = 0;
    while (m->count > m->copies) mem_free(m->log[--m->count].op);
    for (size_t i = 0; i < m->count; i++) {
        m->log[i].pos = m->copy[i].pos;
        m->log[i].chain = m->copy[i].chain;
        m->log[i].ended = m->copy[i].ended;
    }
    forget_keys(m);
}

static void model_close(struct disk *d)
{
    struct model *m = model_of(d);
    for (size_t i = 0; i < m->count; i++) mem_free(m->log[i].op);
    mem_free(m->grown);
    disk_free(d);
    mem_free(m);
}

struct disk *disk_model(struct sim *s, unsigned index)
{
    static const struct disk_verbs verbs = {
        .close = model_close,
        .copy = model_copy,
        .set_back = model_set_back,
        .life = model_life,
        .life_end = model_life_end,
        .run = model_run,
        .command = model_command,
        .vector = model_vector,
        .page = model_page,
        .chain = model_chain,
        .key = model_key,
        .mark = model_mark,
        .power = model_power,
    };
    struct model *m = mem_alloc(sizeof(*m));
    m->d.v = &verbs;
    m->d.s = s;
    m->d.index = index;
    return &m->d;
}

struct disk *disk_new(struct sim *s, unsigned index)
{
    struct disk *d = s->real ? disk_real(s, index) : disk_model(s, index);
    d->lazy = s->lazy;
    return d;
}

/* ---- any disk ------------------------------------------------------------------------------------------------ */
uint64_t disk_trimmed(struct disk *d, uint64_t stream)
{
    return d->v->trimmed == NULL ? 0 : d->v->trimmed(d, stream);
}

bool disk_has(struct disk *d, const struct op *op)
{
    uint64_t chain;
    if (op->seq <= disk_trimmed(d, op->stream)) return true;
    return d->v->chain(d, op->stream, op->seq, &chain) && chain == op->chain;
}

uint64_t disk_pos(struct disk *d, uint64_t stream, uint64_t *ret_chain)
{
    struct repl_entry v[STREAMS_MAX];
    size_t count = d->v->vector(d, v);
    for (size_t i = 0; i < count; i++) {
        if (v[i].stream != stream) continue;
        if (ret_chain != NULL) *ret_chain = v[i].chain;
        return v[i].pos;
    }
    if (ret_chain != NULL) *ret_chain = 0;
    return d->s->ends ? disk_trimmed(d, stream) : 0; /* it left: all of it was here, or is with a snapshot */
}

/* ---- what power cannot take ---------------------------------------------------------------------------------- */
void disk_grew(struct disk *d, const struct repl_entry *at)
{
    if (!d->lazy) return;
    if (at->stream == d->lost_stream && at->pos > d->lost_pos) d->s->goal[GOAL_LOST_AND_BACK] = true;
    if (d->kept_count == d->kept_cap) {
        d->kept_cap = d->kept_cap == 0 ? 256 : d->kept_cap * 2;
        d->kept = mem_realloc(d->kept, d->kept_cap * sizeof(*d->kept));
    }
    d->kept[d->kept_count++] = (struct kept){ .stream = at->stream, .pos = at->pos, .mark = d->v->mark(d, false) };
}

static uint64_t safe_mark(struct disk *d)
{
    uint64_t durable = d->v->mark(d, true);
    return durable > d->safe ? durable : d->safe;
}

uint64_t disk_safe_pos(struct disk *d, uint64_t stream)
{
    if (!d->lazy) return disk_pos(d, stream, NULL);
    uint64_t safe = safe_mark(d);
    for (size_t i = d->kept_count; i > 0; i--)
        if (d->kept[i - 1].stream == stream && d->kept[i - 1].mark <= safe) return d->kept[i - 1].pos;
    return 0;
}

bool disk_keeps(struct disk *d, const struct op *op)
{
    return disk_has(d, op) && (!d->lazy || disk_safe_pos(d, op->stream) >= op->seq);
}

void disk_synced(struct disk *d, uint64_t mark)
{
    if (mark > d->safe) d->safe = mark;
}

void disk_power(struct disk *d, uint64_t mark)
{
    uint64_t safe = safe_mark(d);
    if (mark < safe) mark = safe;
    d->v->power(d, mark);
    while (d->kept_count > 0 && d->kept[d->kept_count - 1].mark > mark) d->kept_count--;
    d->seen_count = d->v->vector(d, d->seen);
    d->lost_stream = d->stream;
    d->lost_pos = disk_pos(d, d->stream, NULL);
    d->clock = 0;
}

void disk_free(struct disk *d)
{
    mem_free(d->kept);
}
