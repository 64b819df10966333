/* visible.c - the tree of namespaces, and who standing where in it sees what; labels. */
#include "memory.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

int namespace_depth(const char *ns)
{
    int depth = 0;

    for (size_t i = 0; ns[i] != '\0'; i++) {
        if (ns[i] != '/' && (i == 0 || ns[i - 1] == '/')) depth++;
    }
    return depth;
}

const char *namespace_parent(const char *ns, struct arena *a)
{
    const char *slash = strrchr(ns, '/');

    return slash != NULL && slash > ns ? arena_strndup(a, ns, (size_t)(slash - ns)) : NULL;
}

bool namespace_within(const char *ns, const char *root)
{
    size_t n = strlen(root);

    return strncmp(ns, root, n) == 0 && (ns[n] == '\0' || ns[n] == '/');
}

void viewer_of(const char *as_agent, struct arena *a, struct viewer *ret)
{
    ret->p1 = as_agent;
    ret->p2 = ret->p1 ? namespace_parent(ret->p1, a) : NULL;
    ret->p3 = ret->p2 ? namespace_parent(ret->p2, a) : NULL;
    ret->p4 = ret->p3 ? namespace_parent(ret->p3, a) : NULL;
}

static bool scope_reaches(const struct viewer *v, const char *ns, const char *scope)
{
    const char *root = NULL;

    if (strcmp(scope, "collective") == 0) return true;
    if (strcmp(scope, "private") == 0) return v->p1 != NULL && strcmp(ns, v->p1) == 0;
    if (strcmp(scope, "team") == 0) root = v->p2;
    if (strcmp(scope, "unit") == 0) root = v->p3;
    if (strcmp(scope, "org") == 0) root = v->p4;
    return root != NULL && namespace_within(ns, root);
}

bool memory_visible(const struct viewer *v, const char *ns, const char *metadata)
{
    json_t *doc, *scope;
    bool visible;

    if (v == NULL) return true;
    if (metadata == NULL || strstr(metadata, "\"scope\"") == NULL) return scope_reaches(v, ns, "private");
    doc = json_parse(metadata, strlen(metadata), NULL, 0, NULL);
    scope = json_object_get(doc, "scope");
    if (scope == NULL || json_is_null(scope))
        visible = scope_reaches(v, ns, "private");
    else
        visible = json_is_string(scope) && scope_reaches(v, ns, json_string_value(scope));
    json_decref(doc);
    return visible;
}

static bool is_wanted(const char *tag, size_t len, const char *const *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(wanted[i], tag, len) == 0 && wanted[i][len] == '\0') return true;
    }
    return false;
}

/* A list as we print it, of ASCII labels that need no escape: 1 has one, 0 has none, -1 it is another kind of text. */
static int plain_has_tag(const char *tags, const char *const *wanted, size_t count)
{
    const char *p = tags;
    int found = 0;

    if (*p++ != '[') return -1;
    if (p[0] == ']' && p[1] == '\0') return 0;
    do {
        const char *from = ++p;
        if (from[-1] != '"') return -1;
        while (*p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\') p++;
        if (*p != '"') return -1;
        if (is_wanted(from, (size_t)(p - from), wanted, count)) found = 1;
    } while (*++p == ',' && *++p != '\0');
    return p[0] == ']' && p[1] == '\0' ? found : -1;
}

bool memory_has_tag(const char *tags, const char *const *wanted, size_t count)
{
    int plain = plain_has_tag(tags, wanted, count);
    bool found = false;
    json_t *list, *tag;
    size_t i;

    if (plain >= 0) return plain > 0;
    list = json_parse(tags, strlen(tags), NULL, 0, NULL);
    json_array_foreach (list, i, tag) {
        if (json_is_string(tag))
            found = found || is_wanted(json_string_value(tag), json_string_length(tag), wanted, count);
    }
    json_decref(list);
    return found;
}
