/* list.h - an intrusive doubly linked ring. A zeroed node is on no list. */
#ifndef AIM_BASE_LIST_H
#define AIM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list { struct list *next, *prev; };

static inline void list_init(struct list *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline bool list_linked(const struct list *node) { return node->next != NULL && node->next != node; }
static inline void list_add_tail(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_remove(struct list *node)
{
    if (node->next == NULL) return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}
static inline struct list *list_pop_head(struct list *head)
{
    if (list_empty(head)) return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}
/* Moves all nodes of `from` to the tail of `to`. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
    struct list *node;
    while ((node = list_pop_head(from)) != NULL) list_add_tail(to, node);
}
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe against removal of the current node. */
#define list_each_safe(it, tmp, head) \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

#endif
