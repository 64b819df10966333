/* prompts.c - what a model should know to use this memory well. */
#include <string.h>

#include "base/buf.h"
#include "mcp/prompts.h"

#define PROMPT_MAX (1u << 20)

const char *const prompt_rules =
    "RECALL FIRST: this is your lasting memory. Rules:\n"
    "1. At the start of a conversation, and before you answer from what you only believe, call memory_recall with a "
    "few "
    "words of the topic.\n"
    "2. When the user corrects you or states a preference, call memory_store at once: tier long, priority 9.\n"
    "3. Lists answer in TOON, one line a memory, columns divided by '|'. Ask for format json only when you parse the "
    "answer or need the content; memory_get shows one memory whole.\n"
    "4. Tiers: short lives six hours, mid a week, long for good. A mid memory recalled five times becomes long.\n"
    "5. DEDUP is done for you: the same title in the same namespace is updated. Choose titles you would choose again.\n"
    "6. Always name a namespace, one for each project or topic; levels are divided by '/'.\n"
    "7. Look at memory_stats once in a session to see what there is.\n"
    "8. Tags cut across namespaces: use few, and the same ones.\n";

static const char workflow[] =
    "STORE: memory_store {title, content, namespace, tier, tags, priority}\n"
    "RECALL: memory_recall {context, namespace, limit, budget_tokens}; answers in TOON, best first\n"
    "SEARCH: memory_search {query, namespace, tier}; every word must occur\n"
    "LIST: memory_list {namespace, tier, limit}\n"
    "GET: memory_get {id}; the beginning of an id is enough\n"
    "UPDATE: memory_update {id, what changes}\n"
    "PROMOTE: memory_promote {id}; keeps it for good; with to_namespace copies it upwards\n"
    "DELETE: memory_delete {id}\n"
    "CONSOLIDATE: recall what belongs together, store one summary, delete the parts\n";

static const struct prompt {
    const char *name, *about, *text, *argument, *argument_about;
} prompts[] = {
    { "recall-first", "Rules for working with the memory: recall before answering, store what lasts", NULL, "namespace",
      "Namespace to keep to" },
    { "memory-workflow", "One line for each thing that can be done with the memory", workflow, NULL, NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

json_t *prompts_list(void)
{
    json_t *list = json_array();
    for (const struct prompt *p = prompts; p->name; p++) {
        json_t *o = json_pack("{s:s, s:s}", "name", p->name, "description", p->about);
        if (p->argument)
            json_object_set_new(
                o, "arguments",
                json_pack("[{s:s, s:s, s:b}]", "name", p->argument, "description", p->argument_about, "required", 0));
        json_array_append_new(list, o);
    }
    return json_pack("{s:o}", "prompts", list);
}

json_t *prompts_get(const char *name, const json_t *arguments)
{
    const struct prompt *p = prompts;
    while (p->name && strcmp(p->name, name) != 0) p++;
    if (p->name == NULL) return NULL;
    const json_t *given = p->argument ? json_object_get(arguments, p->argument) : NULL;
    struct buf b;
    buf_init(&b, PROMPT_MAX);
    buf_puts(&b, p->text ? p->text : prompt_rules);
    if (json_is_string(given) && json_string_length(given) > 0) {
        buf_puts(&b, "\nKeep to the namespace \"");
        buf_put(&b, json_string_value(given), json_string_length(given));
        buf_puts(&b, "\".\n");
    }
    json_t *text = json_stringn_nocheck(buf_str(&b), b.len);
    buf_release(&b);
    return json_pack("{s:[{s:s, s:{s:s, s:o}}]}", "messages", "role", "user", "content", "type", "text", "text", text);
}
