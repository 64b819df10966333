/* plot.c - charts as SVG. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "plot.h"

#define WIDTH 640.0
#define HEIGHT 220.0
#define LEFT 56.0
#define RIGHT 12.0
#define TOP 26.0
#define BOTTOM 38.0
#define STEPS_MAX 8

struct frame {
    double x0, x1, y1;
};

void html_text(struct buf *b, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '<': buf_puts(b, "&lt;"); break;
        case '>': buf_puts(b, "&gt;"); break;
        case '&': buf_puts(b, "&amp;"); break;
        case '"': buf_puts(b, "&quot;"); break;
        default: buf_putc(b, *text);
        }
    }
}

/* The next of 1, 2, 5 times a power of ten. */
static double round_up(double v)
{
    double unit = pow(10, floor(log10(v > 0 ? v : 1)));
    double steps[] = { 1, 2, 5, 10 };
    for (int i = 0; i < 4; i++)
        if (v <= steps[i] * unit * 1.0001) return steps[i] * unit;
    return 10 * unit;
}

static struct frame frame_of(const struct plot *p)
{
    struct frame f = { 0, 1, 0 };
    bool any = false;
    for (unsigned s = 0; s < p->count; s++)
        for (size_t i = 0; i < p->series[s].points; i++) {
            const struct plot_point *q = &p->series[s].point[i];
            if (!any || q->x < f.x0) f.x0 = q->x;
            if (!any || q->x > f.x1) f.x1 = q->x;
            if (q->y > f.y1) f.y1 = q->y;
            any = true;
        }
    if (p->mark && f.x0 > 0) f.x0 = 0;
    if (p->mark && f.x1 < 0) f.x1 = 0;
    if (f.x1 <= f.x0) f.x1 = f.x0 + 1;
    f.y1 = round_up(f.y1 > 0 ? f.y1 : 1);
    return f;
}

static double at_x(const struct frame *f, double x)
{
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}
static double at_y(const struct frame *f, double y)
{
    return HEIGHT - BOTTOM - y / f->y1 * (HEIGHT - TOP - BOTTOM);
}

/* Numbers a reader knows: 4 to 8 steps of 1, 2 or 5 times a power of ten. */
static double step_of(double range, bool whole)
{
    double step = round_up(range / STEPS_MAX);
    return whole && step < 1 ? 1 : step;
}

static void axes(struct buf *b, const struct plot *p, const struct frame *f)
{
    double dx = step_of(f->x1 - f->x0, p->whole_x), dy = step_of(f->y1, false);
    for (int i = 0; i * dy <= f->y1 * 1.0001; i++) {
        double y = at_y(f, i * dy);
        buf_printf(b, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, y,
                   y);
        buf_printf(b, "<text class=\"tick\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\">%.6g</text>", LEFT - 5, y + 3,
                   i * dy);
    }
    for (double v = ceil(f->x0 / dx) * dx; v <= f->x1 + dx / 1000; v += dx) {
        const char *anchor = at_x(f, v) > WIDTH - RIGHT - 14 ? "end" : "middle";
        buf_printf(b, "<text class=\"tick\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">%.6g</text>", anchor, at_x(f, v),
                   HEIGHT - BOTTOM + 14, fabs(v) < dx / 1000 ? 0 : v);
    }
    buf_printf(b, "<text class=\"axis\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">", (LEFT + WIDTH - RIGHT) / 2,
               HEIGHT - 6);
    html_text(b, p->x);
    buf_printf(b, "</text><text class=\"axis\" x=\"4\" y=\"%.1f\">", TOP - 10);
    html_text(b, p->y);
    buf_puts(b, "</text>");
}

static void series(struct buf *b, const struct plot_series *s, const struct frame *f)
{
    if (s->style == PLOT_LINE && s->points > 0) {
        buf_printf(b, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", s->color);
        for (size_t i = 0; i < s->points; i++)
            buf_printf(b, "%.1f,%.1f ", at_x(f, s->point[i].x), at_y(f, s->point[i].y));
        buf_puts(b, "\"/>");
    }
    for (size_t i = 0; i < s->points; i++) {
        const struct plot_point *q = &s->point[i];
        if (s->style == PLOT_LINE && !q->bad) continue;
        const char *color = q->bad ? "#d33" : s->color;
        if (s->style == PLOT_RINGS)
            buf_printf(b, "<circle r=\"5\" cx=\"%.1f\" cy=\"%.1f\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\"/>",
                       at_x(f, q->x), at_y(f, q->y), color);
        else
            buf_printf(b, "<circle r=\"%s\" cx=\"%.1f\" cy=\"%.1f\" fill=\"%s\"/>", q->bad ? "4" : "2.4", at_x(f, q->x),
                       at_y(f, q->y), color);
    }
}

static void legend(struct buf *b, const struct plot *p)
{
    double x = WIDTH - RIGHT;
    for (unsigned s = p->count; s-- > 0 && p->count > 1;) {
        x -= 14 + 5.4 * (double)strlen(p->series[s].name);
        buf_printf(b,
                   "<circle r=\"4\" cx=\"%.1f\" cy=\"%.1f\" fill=\"%s\" stroke=\"%s\"/><text class=\"tick\" x=\"%.1f\" "
                   "y=\"%.1f\">",
                   x, TOP - 14, p->series[s].style == PLOT_RINGS ? "none" : p->series[s].color, p->series[s].color,
                   x + 7, TOP - 11);
        html_text(b, p->series[s].name);
        buf_puts(b, "</text>");
        x -= 10;
    }
}

void plot_print(struct buf *b, const struct plot *p)
{
    struct frame f = frame_of(p);
    buf_puts(b, "<figure><figcaption>");
    html_text(b, p->title);
    buf_printf(b, "</figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">", WIDTH, HEIGHT);
    if (p->mark && f.x0 <= 0 && f.x1 >= 0) {
        buf_printf(b, "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", at_x(&f, 0),
                   at_x(&f, 0), TOP, HEIGHT - BOTTOM);
        bool right = at_x(&f, 0) > WIDTH * 3 / 4;
        buf_printf(b, "<text class=\"tick\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", right ? "end" : "start",
                   at_x(&f, 0) + (right ? -4 : 4), TOP + 8);
        html_text(b, p->mark);
        buf_puts(b, "</text>");
    }
    axes(b, p, &f);
    for (unsigned s = 0; s < p->count; s++) series(b, &p->series[s], &f);
    legend(b, p);
    buf_puts(b, "</svg></figure>\n");
}
