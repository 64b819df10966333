/* log.h - levelled lines, "TIME LEVEL area: text key=value ...". Written by the loop thread (or a single-threaded
 * command) only. The last 64 lines are kept in memory for check_failed. */
#ifndef AIM_BASE_LOG_H
#define AIM_BASE_LOG_H

#include <stdio.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_start(FILE *to, enum log_level level);   /* default: stderr, LOG_WARN */
/* "info", or a RUST_LOG list such as "ai_memory=debug,warn": the entry for ai_memory wins over one without a name,
 * entries for other names are passed over (*ret stays as it is when there is nothing else). 0 or E_INVALID. */
int log_level_of(const char *word, enum log_level *ret);
void log_line(enum log_level level, const char *area, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void log_dump(FILE *to);                          /* the kept lines */

#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_line(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_line(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_line(LOG_DEBUG, area, __VA_ARGS__)

#endif
