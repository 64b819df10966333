/* plot.h - small charts as inline SVG: points, lines, marked moments. No script, no network. */
#ifndef AIM_CHAOS_PLOT_H
#define AIM_CHAOS_PLOT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum plot_style { PLOT_DOTS, PLOT_LINE, PLOT_STEPS };

struct plot_point { double x, y; bool bad; };

struct plot_series {
    const char *name, *color;
    enum plot_style style;
    const struct plot_point *point; size_t points;
};

struct plot {
    const char *title, *x, *y;            /* texts of the axes, with units */
    const struct plot_series *series; unsigned count;
    double from, to; const char *span;    /* a shaded stretch of x and its name; NULL: none */
};

void plot_print(struct buf *b, const struct plot *p);
void html_text(struct buf *b, const char *text);   /* escaped; NULL prints nothing */

#endif
