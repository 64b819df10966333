/* heal.h - what keeps the mesh whole beside the links: members, lives, scrubs, snapshots. Loop thread only. Included by
 * internal.h. */
#ifndef AIM_CLUSTER_HEAL_H
#define AIM_CLUSTER_HEAL_H

#include "cluster/cluster.h"
#include "cluster/wire.h"

struct known_node;
struct peer;

/* members.c */
void members_told(struct cluster *c, const struct wire_head *h, const char *url, const struct wire_vector *v);
struct known_node *members_find(struct cluster *c, uint64_t node);
bool members_removed(struct cluster *c, uint64_t node);
void members_take(struct cluster *c, const struct member *list, size_t count);   /* as the file has them */
/* Whether a stream left the vector, with this op or a later one as its last. */
bool members_left(const struct cluster *c, uint64_t stream, uint64_t seq);
void members_leave(struct cluster *c, const struct stream_pos *left, size_t count);
/* Its writer's last words came late: a stream that left stands here now, or at a peer, beyond where it left. */
void members_rejoin(struct cluster *c, uint64_t stream, uint64_t pos);
/* What a peer told, without streams that left; those it holds more of go on here, too. */
void members_hear(struct cluster *c, struct wire_vector *v);
size_t members_filter(const struct cluster *c, struct repl_entry *v, size_t count);   /* in place; how many stay */
/* Whether some node told that this is where it stands in a stream. */
bool members_said(const struct cluster *c, uint64_t stream, uint64_t pos, uint64_t chain);
void members_poll(struct cluster *c);
int members_load(struct cluster *c, struct store_tx *tx, struct arena *a);
void members_free(struct cluster *c);
/* Ops this node has that the node did not tell, and the other way about. False: it told nothing yet. */
bool members_backlog(struct cluster *c, uint64_t node, uint64_t *ret_it_lacks, uint64_t *ret_we_lack);
/* How far the node told to be in a stream; 0: not at all, or nothing heard of it. */
uint64_t members_position(struct cluster *c, uint64_t node, uint64_t stream);
json_t *members_status(struct cluster *c);
void members_alarms(struct cluster *c, json_t *list);

/* status.c */
void status_alarm(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* life.c */
void life_end(struct cluster *c, enum cluster_life how, uint64_t stream);   /* stream: the forked one */
void life_poll(struct cluster *c);
/* A life with our node id; answered: on our own connection. */
void life_twin(struct cluster *c, uint64_t stream, bool answered);
/* The peer refuses us: this node was removed, it says. */
void life_refused(struct peer *p);
/* The peer as which somebody calls us who is another life than the one at its URL, which answers us; NULL: none. */
struct peer *life_doubled(struct cluster *c, uint64_t node, uint64_t stream);
/* Such a call: whether both live, for sure. */
bool life_copied(struct peer *p, uint64_t stream);
/* The peer (NULL: one that asked us) has another history of a stream of that node. */
void life_fork(struct cluster *c, struct peer *p, uint64_t stream, uint64_t node);
bool life_split(struct cluster *c, uint64_t stream);
/* 0, or the lane's refusal */
int life_repeat(struct cluster *c, uint64_t stream, void (*done)(struct cluster *c, int status));

/* scrub.c */
void scrub_ask(struct cluster *c, struct cluster_request *r);  /* one as soon as may be; its result as JSON */
void scrub_poll(struct cluster *c);
void scrub_stop(struct cluster *c);
void scrub_serve(struct cluster *c, struct cluster_request *r);

/* scrub_shown.c: what the original's tables show is compared with our records, and shown anew where it is wrong; an
 * alarm. why NULL: all were looked at; mended: rows, in how many slices. 0, or why it does not begin. */
typedef void (*shown_done)(void *data, const char *why, size_t mended, size_t slices);
int shown_start(struct cluster *c, shown_done done, void *data);

/* snapshot.c */
void snapshot_want(struct cluster *c, struct peer *from, const char *why);   /* from NULL: anyone; why is constant */
void snapshot_poll(struct cluster *c);
void snapshot_stop(struct cluster *c);
void snapshot_serve(struct cluster *c, struct cluster_request *r);
json_t *snapshot_status(const struct cluster *c, int64_t now_ms);   /* the one being merged; null: none */

#endif
