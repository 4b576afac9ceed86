/*
 * log.h - one line per event on stderr: `key=value` pairs, or one JSON object with --log-format json.
 *
 * Only top-level code logs. Values are escaped, so that text from a sandbox or a client can neither forge a line
 * nor reach a terminal. File contents, environment values and tokens never go in.
 */
#pragma once

#include "base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_setup(const char *program, enum log_level level, bool json);

/*
 * Emits {ts, level, program, event, ...}. The rest are pairs: const char *key, const char *value, ended by NULL.
 * A NULL value drops its pair. Numbers are formatted by the caller (see log_num).
 */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));
bool log_enabled(enum log_level level);

/* A decimal in a small ring of static buffers; good until 16 more calls. For log_event arguments only. */
const char *log_num(long long value);

#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, ##__VA_ARGS__, (char *)NULL)
#define log_warn(event, ...)  log_event(LOG_LEVEL_WARN, event, ##__VA_ARGS__, (char *)NULL)
#define log_info(event, ...)  log_event(LOG_LEVEL_INFO, event, ##__VA_ARGS__, (char *)NULL)
#define log_debug(event, ...) log_event(LOG_LEVEL_DEBUG, event, ##__VA_ARGS__, (char *)NULL)
