/* plot.h - small charts as inline SVG: points, lines and a marked moment. No script, no network. */
#ifndef AIM_CHAOS_PLOT_H
#define AIM_CHAOS_PLOT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum plot_style { PLOT_DOTS, PLOT_RINGS /* a dot inside a ring: two that agree */, PLOT_LINE };

struct plot_point { double x, y; bool bad; };

struct plot_series {
    const char *name, *color;
    enum plot_style style;
    const struct plot_point *point; size_t points;
};

struct plot {
    const char *title, *x, *y;            /* texts of the axes, with units */
    const struct plot_series *series; unsigned count;
    bool whole_x;                         /* x counts something */
    const char *mark;                     /* what happened at x = 0; NULL: nothing */
};

void plot_print(struct buf *b, const struct plot *p);
void html_text(struct buf *b, const char *text);   /* escaped; NULL prints nothing */

#endif
