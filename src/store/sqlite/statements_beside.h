/* statements_beside.h - statements of the archive, of pending actions and of exports; see statements.h. */
#ifndef AIM_STORE_SQLITE_STATEMENTS_BESIDE_H
#define AIM_STORE_SQLITE_STATEMENTS_BESIDE_H

/* What archived_row reads, in this order. */
#define SQ_ARCHIVED                                                                                      \
    "SELECT id, tier, namespace, title, content, tags, priority, confidence, source, access_count,"      \
    " created_at, updated_at, last_accessed_at, expires_at, metadata, archived_at, archive_reason FROM " \
    "archived_memories"
#define SQ_PENDING                                                                                             \
    "SELECT id, action_type, memory_id, namespace, payload, requested_by, requested_at, status, decided_by,"   \
    " decided_at, approvals FROM pending_actions"

#define SQ_STATEMENTS_BESIDE(X)                                                                                     \
    X(BY_CREATED, SQ_ROW " WHERE (coalesce(aim_us(m.created_at), 0), m.id) > (?1, ?2) AND aim_live(m.expires_at, ?3)" \
                         " ORDER BY coalesce(aim_us(m.created_at), 0), m.id LIMIT ?4")                               \
    X(ARCHIVE_GET, SQ_ARCHIVED " WHERE id = ?1")                                                                     \
    X(ARCHIVE_LIST, SQ_ARCHIVED " WHERE ?1 IS NULL OR namespace = ?1"                                                \
                                " ORDER BY coalesce(aim_us(archived_at), 0) DESC, id LIMIT ?2 OFFSET ?3")            \
    X(ARCHIVE_REMOVE, "DELETE FROM archived_memories WHERE id = ?1 AND (?2 IS NULL OR archive_reason = ?2)")         \
    X(ARCHIVE_OLDER,                                                                                                 \
      "SELECT id FROM archived_memories WHERE coalesce(aim_us(archived_at), 0) < ?1 ORDER BY id LIMIT ?2")           \
    X(ARCHIVE_STATS, "SELECT namespace, count(*) FROM archived_memories GROUP BY namespace"                          \
                     " ORDER BY count(*) DESC, namespace")                                                           \
    X(PENDING_PUT,                                                                                                   \
      "INSERT INTO pending_actions (id, action_type, memory_id, namespace, payload, requested_by, requested_at,"     \
      " status, decided_by, decided_at, approvals) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"            \
      " ON CONFLICT (id) DO UPDATE SET action_type = excluded.action_type, memory_id = excluded.memory_id,"          \
      " namespace = excluded.namespace, payload = excluded.payload, requested_by = excluded.requested_by,"           \
      " requested_at = excluded.requested_at, status = excluded.status, decided_by = excluded.decided_by,"           \
      " decided_at = excluded.decided_at, approvals = excluded.approvals")                                           \
    X(PENDING_GET, SQ_PENDING " WHERE id = ?1")                                                                      \
    X(PENDING_LIST, SQ_PENDING " WHERE ?1 IS NULL OR status = ?1"                                                    \
                               " ORDER BY coalesce(aim_us(requested_at), 0) DESC, id LIMIT ?2")

#endif
