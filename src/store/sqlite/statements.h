/* statements.h - every statement the verbs use, prepared once a connection on first use. Columns are always named:
 * their order differs in files that began with an older schema. */
#ifndef AIM_STORE_SQLITE_STATEMENTS_H
#define AIM_STORE_SQLITE_STATEMENTS_H

/* What sq_row reads, in this order. */
#define SQ_ROW_OF \
    "SELECT m.rowid, m.id, m.tier, m.namespace, m.title, m.content, m.tags, m.priority, m.confidence, m.source," \
    " m.access_count, m.created_at, m.updated_at, m.last_accessed_at, m.expires_at, m.metadata," \
    " m.ver, m.stream, m.seq, o.body FROM "
#define SQ_ROW SQ_ROW_OF "memories m LEFT JOIN repl_row o ON o.kind = 3 AND o.id = m.id"

/* What is lent (memories.c), in this order. */
#define SQ_LENT \
    "SELECT m.ver, m.id, m.tier, m.namespace, m.title, m.content, m.tags, m.priority, m.confidence," \
    " m.access_count, m.created_at, m.updated_at, m.expires_at, m.metadata, m.rowid"

/* aim_keep(filter, ...) is the whole filter in C; what an index can do is said in SQL besides. */
#define SQ_KEEP "aim_keep(?1, m.namespace, m.tier, m.priority, m.created_at, m.expires_at, m.tags, m.metadata)"
/* ?9: a tier's name or NULL for all; what is none of them counts as mid. */
#define SQ_OF_TIER "(?9 IS NULL OR m.tier = ?9 OR (?9 = 'mid' AND m.tier NOT IN ('short', 'mid', 'long')))"
#define SQ_PAGE \
    " AND (m.priority, m.ver) <= (?3, ?4) AND m.priority >= ?8 AND " SQ_OF_TIER \
    " AND NOT (m.priority = ?3 AND m.ver = ?4 AND m.id <= ?5) AND " SQ_KEEP \
    " ORDER BY m.priority DESC, m.ver DESC, m.id LIMIT ?6 OFFSET ?7"

/* A stream stands where its log ends, or where a snapshot put it. */
#define SQ_SEQ_MASK "1099511627775"
#define SQ_POS \
    "SELECT s.stream, s.node, coalesce(o.at & " SQ_SEQ_MASK ", s.pos), coalesce(o.chain, s.chain), s.trimmed," \
    " s.ended FROM repl_stream s LEFT JOIN repl_log o ON o.at = (SELECT at FROM repl_log" \
    " WHERE at > (s.number << 40 | s.pos) AND at < (s.number + 1) << 40 ORDER BY at DESC LIMIT 1)"

#define SQ_SKIPS \
    " AND CASE WHEN " SQ_OF_TIER " THEN aim_skip(?1, m.priority, m.ver, m.rowid) ELSE 0 END" \
    " ORDER BY m.priority DESC, m.ver DESC"

/* Rows that may have expired at ?1, a moment; ?4: that moment and a second, in days as SQLite counts them. */
#define SQ_EXPIRED_ROWS \
    "FROM memories m INDEXED BY repl_memories_due WHERE expires_at IS NOT NULL AND " SQ_DUE " < ?4" \
    " AND NOT aim_live(expires_at, ?1)"

#define SQ_STATEMENTS(X) \
    X(BEGIN_READ, "BEGIN") \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE") \
    X(COMMIT, "COMMIT") \
    X(ROLLBACK, "ROLLBACK") \
    X(SAVEPOINT, "SAVEPOINT item") \
    X(RELEASE, "RELEASE item") \
    X(ROLLBACK_TO, "ROLLBACK TO item") \
    X(DATA_VERSION, "PRAGMA data_version") \
    X(TRACES, \
      "SELECT 1 FROM sqlite_master WHERE name IN ('memories_fts', 'memories_ai', 'memories_ad', 'memories_au')") \
    /* memories */ \
    X(GET, SQ_ROW " WHERE m.id = ?1") \
    /* by the beginning of its id; else it has an entry in the index of those whose id does not tell */ \
    X(BY_TITLE, SQ_ROW " WHERE m.id >= ?3 AND m.id < ?3 || '~' AND +m.title = ?1 AND +m.namespace = ?2" \
                " UNION ALL " SQ_ROW " WHERE m.titled = 0 AND m.title = ?1 AND m.namespace = ?2") \
    X(BY_ROWID, SQ_ROW " WHERE m.rowid = ?1") \
    /* what ranking looks at; ?1: a JSON array of rowids, whose order the rows have */ \
    X(EACH_ROW, SQ_LENT ", j.key FROM json_each(?1) j CROSS JOIN memories m WHERE m.rowid = j.value") \
    X(BEYOND, SQ_LENT " FROM memories m WHERE m.rowid > ?1 ORDER BY m.rowid") \
    X(BY_PREFIX, \
      "SELECT id FROM memories WHERE id >= ?1 AND id < ?2 AND substr(id, 1, length(?3)) = ?3 COLLATE NOCASE") \
    X(LIST, SQ_ROW " WHERE 1" SQ_PAGE) \
    X(LIST_NS, SQ_ROW " WHERE m.namespace = ?2" SQ_PAGE) \
    /* of the rowids in a JSON array; what is sorted is short */ \
    X(LIST_OF, SQ_ROW_OF "(SELECT m.rowid AS r FROM json_each(?2) j CROSS JOIN memories m WHERE m.rowid = j.value" \
               SQ_PAGE ") p CROSS JOIN memories m ON m.rowid = p.r" \
               " LEFT JOIN repl_row o ON o.kind = 3 AND o.id = m.id") \
    X(COUNT_OF, \
      "SELECT count(*) FROM json_each(?2) j CROSS JOIN memories m WHERE m.rowid = j.value AND " SQ_KEEP) \
    X(SKIP, "SELECT 1 FROM memories m INDEXED BY repl_memories_page WHERE m.priority >= ?8" SQ_SKIPS) \
    X(SKIP_NS, "SELECT 1 FROM memories m INDEXED BY repl_memories_space WHERE m.namespace = ?2" \
               " AND m.priority >= ?8" SQ_SKIPS) \
    X(EXPIRED_ROWIDS, "SELECT m.rowid " SQ_EXPIRED_ROWS) \
    X(COUNT, "SELECT count(*) FROM memories m WHERE " SQ_KEEP) \
    X(COUNT_ALL, "SELECT count(*) FROM memories") \
    X(COUNT_KNOWN, "SELECT count(*) FROM memories m INDEXED BY repl_memories_page" \
                   " WHERE priority >= ?8 AND " SQ_OF_TIER) \
    X(COUNT_KNOWN_NS, "SELECT count(*) FROM memories m INDEXED BY repl_memories_space WHERE namespace = ?2" \
                    " AND priority >= ?8 AND " SQ_OF_TIER) \
    X(COUNT_EXPIRED, "SELECT count(*) " SQ_EXPIRED_ROWS " AND (?2 IS NULL OR +namespace = ?2)" \
                     " AND +priority >= ?8 AND " SQ_OF_TIER) \
    X(COUNT_NS, "SELECT count(*) FROM memories m WHERE m.namespace = ?2 AND " SQ_KEEP) \
    X(SINCE, SQ_ROW " WHERE (aim_row_us(m.ver, m.updated_at), m.id) > (?1, ?2)" \
                    " AND (?3 OR aim_live(m.expires_at, ?4)) ORDER BY aim_row_us(m.ver, m.updated_at), m.id LIMIT ?5") \
    X(EXPIRED, \
      SQ_ROW " WHERE m.id IN (SELECT id " SQ_EXPIRED_ROWS " AND +id > ?2 ORDER BY id LIMIT ?3) ORDER BY m.id") \
    X(UNSTAMPED_NEW, "SELECT 1 FROM memories WHERE priority IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10) AND ver = 0") \
    X(UNSTAMPED, SQ_ROW " WHERE NOT aim_stamped(m.ver, m.updated_at) LIMIT ?1") \
    X(INSERT, \
      "INSERT INTO memories (id, tier, namespace, title, content, tags, priority, confidence, source, access_count," \
      " created_at, updated_at, last_accessed_at, expires_at, metadata, ver, stream, seq, titled)" \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?20)") \
    X(UPDATE_ALL, \
      "UPDATE memories SET tier = ?2, priority = ?7, confidence = ?8, source = ?9, access_count = ?10," \
      " content = ?5, tags = ?6, created_at = ?11, updated_at = ?12, last_accessed_at = ?13, expires_at = ?14," \
      " metadata = ?15, ver = ?16, stream = ?17, seq = ?18, namespace = ?3, title = ?4, titled = ?20," \
      " embedding = CASE WHEN ?19 THEN NULL ELSE embedding END WHERE id = ?1") \
    /* title and namespace stay: spares the unique index */ \
    X(UPDATE_EDIT, \
      "UPDATE memories SET tier = ?2, priority = ?7, confidence = ?8, source = ?9, access_count = ?10," \
      " content = ?5, tags = ?6, created_at = ?11, updated_at = ?12, last_accessed_at = ?13, expires_at = ?14," \
      " metadata = ?15, ver = ?16, stream = ?17, seq = ?18," \
      " embedding = CASE WHEN ?19 THEN NULL ELSE embedding END WHERE id = ?1") \
    /* an access: no index changes; they do if it moves the tier or the expiry */ \
    X(UPDATE_COUNT, "UPDATE memories SET access_count = ?10, last_accessed_at = ?13 WHERE id = ?1") \
    X(UPDATE_TOUCH, "UPDATE memories SET tier = ?2, access_count = ?10, last_accessed_at = ?13, expires_at = ?14" \
                    " WHERE id = ?1") \
    X(REMOVE, "DELETE FROM memories WHERE id = ?1") \
    X(TOP, "SELECT 1 FROM memories WHERE aim_give(?2, rowid) ORDER BY priority DESC, ver DESC") \
    X(MAX_ROWID, "SELECT max(rowid) FROM memories") \
    /* words */ \
    X(STAT_GET, "SELECT rows, words, mark, edits FROM recall_stat") \
    X(STAT_PUT, "UPDATE recall_stat SET rows = ?1, words = ?2, mark = ?3, edits = ?4") \
    X(TAIL_TEXT, \
      "SELECT sum(length(CAST(title AS BLOB)) + length(CAST(content AS BLOB)) + length(CAST(tags AS BLOB)))" \
      " FROM memories WHERE rowid > ?1") \
    X(WORDS_ADD, "INSERT INTO recall_fts (rowid, title, content, tags) VALUES (?1, ?2, ?3, ?4)") \
    X(WORDS_DROP, \
      "INSERT INTO recall_fts (recall_fts, rowid, title, content, tags) VALUES ('delete', ?1, ?2, ?3, ?4)") \
    X(WORDS_MERGE, "INSERT INTO recall_fts (recall_fts, rank) VALUES ('merge', ?1)") \
    X(WORDS_SCAN, "SELECT 1 FROM recall_fts WHERE recall_fts MATCH ?1 AND aim_give(?2, rowid) ORDER BY rowid DESC") \
    /* links as shown */ \
    X(LINKS_OF, \
      "SELECT source_id, target_id, relation, created_at FROM memory_links WHERE source_id = ?1 OR target_id = ?1" \
      " ORDER BY aim_us(created_at), source_id, target_id, relation") \
    X(LINK_SHOW, "INSERT INTO memory_links (source_id, target_id, relation, created_at) VALUES (?1, ?2, ?3, ?4)" \
                 " ON CONFLICT (source_id, target_id, relation) DO UPDATE SET created_at = excluded.created_at") \
    X(LINK_GET, \
      "SELECT created_at FROM memory_links WHERE source_id = ?1 AND target_id = ?2 AND relation = ?3") \
    X(LINK_HIDE, "DELETE FROM memory_links WHERE source_id = ?1 AND target_id = ?2 AND relation = ?3") \
    /* counters */ \
    X(COUNT_EXPIRED_BY_NS, "SELECT namespace, count(*) " SQ_EXPIRED_ROWS " GROUP BY namespace ORDER BY namespace") \
    X(COUNT_BY_NS, "SELECT namespace, count(*) FROM memories INDEXED BY repl_memories_space" \
                   " GROUP BY namespace ORDER BY namespace") \
    X(COUNT_TIERS, \
      "SELECT count(*) FILTER (WHERE tier = 'short'), count(*) FILTER (WHERE tier = 'mid')," \
      " count(*) FILTER (WHERE tier = 'long') FROM memories INDEXED BY repl_memories_page") \
    X(COUNT_BY_TIER, "SELECT tier, count(*) FROM memories GROUP BY tier") \
    X(COUNT_SOON, "SELECT count(*) " SQ_EXPIRED_ROWS " AND aim_live(expires_at, ?2)") \
    X(STATS_LINKS, "SELECT count(*) FROM memory_links") \
    /* the original's side tables */ \
    X(STANDARD_OF, "SELECT standard_id, parent_namespace FROM namespace_meta WHERE namespace = ?1") \
    X(STANDARD_SET, \
      "INSERT INTO namespace_meta (namespace, standard_id, parent_namespace, updated_at) VALUES (?1, ?2, ?3, ?4)" \
      " ON CONFLICT (namespace) DO UPDATE SET standard_id = excluded.standard_id," \
      " parent_namespace = excluded.parent_namespace, updated_at = excluded.updated_at") \
    X(STANDARD_CLEAR, "DELETE FROM namespace_meta WHERE namespace = ?1") \
    X(STANDARD_DETACH, "DELETE FROM namespace_meta WHERE standard_id = ?1") \
    X(ARCHIVE_PUT, \
      "INSERT INTO archived_memories (id, tier, namespace, title, content, tags, priority, confidence, source," \
      " access_count, created_at, updated_at, last_accessed_at, expires_at, metadata, archived_at, archive_reason)" \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)" \
      " ON CONFLICT (id) DO UPDATE SET tier = excluded.tier, namespace = excluded.namespace, title = excluded.title," \
      " content = excluded.content, tags = excluded.tags, priority = excluded.priority, confidence = " \
      "excluded.confidence," \
      " source = excluded.source, access_count = excluded.access_count, created_at = excluded.created_at," \
      " updated_at = excluded.updated_at, last_accessed_at = excluded.last_accessed_at, expires_at = " \
      "excluded.expires_at," \
      " metadata = excluded.metadata, archived_at = excluded.archived_at, archive_reason = excluded.archive_reason") \
    X(SYNC_SEEN, \
      "INSERT INTO sync_state (agent_id, peer_id, last_seen_at, last_pulled_at) VALUES (?1, ?2, ?3, ?4)" \
      " ON CONFLICT (agent_id, peer_id) DO UPDATE SET last_pulled_at = excluded.last_pulled_at, last_seen_at =" \
      " CASE WHEN aim_us(excluded.last_seen_at) > aim_us(last_seen_at) THEN excluded.last_seen_at ELSE last_seen_at " \
      "END") \
    X(SYNC_CLOCK, "SELECT peer_id, last_seen_at FROM sync_state WHERE agent_id = ?1 ORDER BY peer_id") \
    /* rows of ours */ \
    X(SIDE_GET, "SELECT id, ver, stream, seq, key, body FROM repl_row WHERE kind = ?1 AND id = ?2") \
    X(SIDE_PUT, \
      "INSERT INTO repl_row (kind, id, ver, stream, seq, key, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)" \
      " ON CONFLICT (kind, id) DO UPDATE SET ver = excluded.ver, stream = excluded.stream, seq = excluded.seq," \
      " key = excluded.key, body = excluded.body") \
    X(SIDE_REMOVE, "DELETE FROM repl_row WHERE kind = ?1 AND id = ?2") \
    X(SIDE_BY_KEY, "SELECT id, ver, stream, seq, key, body FROM repl_row INDEXED BY repl_row_key WHERE kind = ?1 AND " \
                   "key = ?2 AND key IS NOT NULL") \
    X(SIDE_SCAN, \
      "SELECT id, ver, stream, seq, key, body FROM repl_row WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3") \
    X(SIDE_SCAN_PREFIX, \
      "SELECT id, ver, stream, seq, key, body FROM repl_row WHERE kind = ?1 AND +id > ?2 AND id >= ?4" \
      " AND id < ?5 ORDER BY id LIMIT ?3") \
    /* log and vector */ \
    X(OP_APPEND, "INSERT INTO repl_log (at, ver, chain, body) VALUES (?1, ?2, ?3, ?4)") \
    X(OP_PAGE, \
      "SELECT at & " SQ_SEQ_MASK ", ver, chain, body FROM repl_log WHERE at >=" \
      " (SELECT number << 40 | max(?2, trimmed + 1) FROM repl_stream WHERE stream = ?1)" \
      " AND at < (SELECT (number + 1) << 40 FROM repl_stream WHERE stream = ?1) ORDER BY at LIMIT ?3") \
    X(OP_CHAIN, "SELECT chain FROM repl_log" \
                " WHERE at = (SELECT number << 40 | ?2 FROM repl_stream WHERE stream = ?1)") \
    X(OP_TRIM, "DELETE FROM repl_log WHERE at > (SELECT number << 40 FROM repl_stream WHERE stream = ?1)" \
               " AND at < (SELECT (number << 40) + ?2 FROM repl_stream WHERE stream = ?1)") \
    X(STREAM_GET, SQ_POS " WHERE s.stream = ?1") \
    /* one that left has no ops and gives its number free */ \
    X(STREAM_PUT, \
      "INSERT INTO repl_stream (stream, node, pos, chain, trimmed, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6)" \
      " ON CONFLICT (stream) DO UPDATE SET node = excluded.node, pos = excluded.pos, chain = excluded.chain," \
      " trimmed = excluded.trimmed, ended = excluded.ended," \
      " number = CASE WHEN excluded.ended < 2 THEN number END") \
    X(NUMBER_GET, "SELECT number FROM repl_stream WHERE stream = ?1 AND number IS NOT NULL") \
    X(NUMBER_PUT, \
      "INSERT INTO repl_stream (stream, node, pos, chain, trimmed, ended, number) VALUES (?1, 0, 0, 0, 0, 0, ?2)" \
      " ON CONFLICT (stream) DO UPDATE SET number = excluded.number") \
    X(NUMBER_LAST, "SELECT coalesce(max(number), 0) FROM repl_stream WHERE number IS NOT NULL") \
    X(NUMBER_FREE, \
      "SELECT min(n) FROM (SELECT 1 AS n UNION ALL SELECT number + 1 FROM repl_stream WHERE number IS NOT NULL)" \
      " WHERE n NOT IN (SELECT number FROM repl_stream WHERE number IS NOT NULL)") \
    X(STREAMS, SQ_POS " WHERE s.ended < 2 ORDER BY s.stream") \
    X(LOCAL_GET, "SELECT value FROM repl_local WHERE key = ?1") \
    X(LOCAL_PUT, \
      "INSERT INTO repl_local (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value") \
    X(LOCAL_REMOVE, "DELETE FROM repl_local WHERE key = ?1") \
    X(IDEM_GET, "SELECT fingerprint, ver, stream, seq, expires FROM repl_idem WHERE key = ?1") \
    X(IDEM_PUT, "INSERT INTO repl_idem (key, fingerprint, ver, stream, seq, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)" \
                " ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, ver = excluded.ver," \
                " stream = excluded.stream, seq = excluded.seq, expires = excluded.expires") \
    /* keys of whole tables */ \
    X(IDS_AFTER, \
      "SELECT id FROM memories WHERE id > ?1 UNION SELECT id FROM repl_row WHERE kind = 1 AND id > ?1" \
      " UNION SELECT id FROM repl_row WHERE kind = 2 AND id > ?1 ORDER BY 1 LIMIT ?2") \
    X(ARCHIVE_AFTER, "SELECT id FROM archived_memories WHERE id > ?1 ORDER BY id LIMIT ?2") \
    X(IDEM_AFTER, "SELECT key FROM repl_idem WHERE key > ?1 ORDER BY key LIMIT ?2") \
    X(IDEM_EXPIRE, "DELETE FROM repl_idem WHERE key IN (SELECT key FROM repl_idem WHERE expires < ?1 LIMIT 256)")

#endif
