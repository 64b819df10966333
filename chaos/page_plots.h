/* page_plots.h - the charts of one fault class. */
#ifndef AIM_CHAOS_PAGE_PLOTS_H
#define AIM_CHAOS_PAGE_PLOTS_H

struct buf;

/* Time to agreement and acknowledged against found per cycle (from out/phase4-<class>.jsonl), and the latency of writes
 * around the fault (from the histories kept under out/evidence/<class>). */
void page_plots(struct buf *b, const char *out, const char *class);

#endif
