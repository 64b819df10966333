/* guard.h - who may write where: reserved namespaces and the governance of a namespace's standard. Runs inside the
 * write's transaction, before the change; what comes from peers enters below it. */
#ifndef AIM_OPS_GUARD_H
#define AIM_OPS_GUARD_H

#include "ops/ops.h"

enum guard_action { GUARD_STORE, GUARD_UPDATE, GUARD_DELETE, GUARD_PROMOTE };

/* What is asked: by whom, in which namespace, on which memory (the stored one; STORE: the one to be made). */
struct guard {
    enum guard_action action;
    const char *ns, *agent_id;
    const struct memory *memory;
    const char *to_ns; /* PROMOTE: where a copy goes; NULL: none */
    bool at_once;      /* part of something larger that cannot wait: `approve` denies it */
};

/* 0: go on. E_DENIED: refused, with the contract's reason. E_PENDING: queued for a decision, `r` says so (202): the
 * caller returns 0 without a change of its own. A policy that cannot be read denies; an update cannot be queued, so
 * `approve` denies it. */
int guard_check(struct op_ctx *c, const struct guard *g, struct reply *r);
/* Who decides over what waits in a namespace: anybody with a name (agent NULL, votes 0), one agent, or so many. */
struct approver {
    const char *agent;
    int64_t votes;
};
int guard_approver(struct op_ctx *c, const char *ns, struct approver *ret);
/* 0, or E_NOT_FOUND: no such agent is registered (names are compared exactly). */
int guard_registered(struct op_ctx *c, const char *agent_id);
/* Checks a policy a client sent; *ret gets its four members (a new reference). E_INVALID with the contract's text. */
int guard_policy(const json_t *sent, json_t **ret, struct err *err);
/* E_DENIED for namespaces only the program itself writes: _agents, _messages, _curator and what lies below. */
int guard_reserved(const char *ns, struct err *err);

#endif
