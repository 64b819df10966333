/* check.h - the judge. It knows one directory: history.jsonl and the dumps its stages name (history.h); no process, no
 * mesh.
 *
 * For every stage and every node alive then:
 *   lost       an acknowledged create is not there, though nobody deleted it
 *   wrong      it is there with a content nobody wrote for it
 *   stale      its content is not an allowed outcome: an edit that a later one on the same node replaced, or none of
 *              those acknowledged or possibly applied; an edit that came second and lost is not in the archive
 *   revived    an acknowledged delete, and the memory is there
 *   doubled    two rows of one title
 *   invented   a row nobody wrote
 *   half       refused writes that are there; unanswered ones that some nodes have and others not
 *   differ     two nodes' complete contents differ
 *   partial    a list that did not bring what its total says; a dump that is missing
 * and, of the history alone: 503s without a reason, without an outcome or before any fault (unexplained); proofs that
 * a fault acted; something acknowledged at all. */
#ifndef AIM_CHAOS_CHECK_H
#define AIM_CHAOS_CHECK_H

#include <jansson.h>

#include "err.h"

/* Judges. *ret: {pass, checks: [{name, expected, got, pass}], findings: [texts, the first 50], numbers: {...}}, a new
 * reference, also when the verdict is no. An error only when there is nothing to judge: E_IO, E_SYNTAX. */
int check_run(const char *dir, json_t **ret, struct err *err);

#endif
