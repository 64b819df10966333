/* writer_memory.h - what a writer knows beside its file, to be put back together with an older copy of that: a machine
 * that is set back while it runs. */
#ifndef AIM_TEST_WRITER_MEMORY_H
#define AIM_TEST_WRITER_MEMORY_H

struct change;
struct writer_memory;

/* Between transactions. NULL while a snapshot is merged. Freed by mem_free. */
struct writer_memory *writer_memory_save(const struct change *c);
/* In the same life of the writer; its file was put back before. */
void writer_memory_resume(struct change *c, const struct writer_memory *m);

#endif
