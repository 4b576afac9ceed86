/* units.h - sizes, times and numbers as people write and read them. The parsers return 0, or -1 leaving *ret alone.
 */
#pragma once

#include "base/base.h"

/* "1048576", "512k", "512m", "1g", "2t", also with "b" or "ib" behind the letter; powers of 1024; at least 1. */
int parse_size(const char *text, uint64_t *ret_bytes);
int parse_count(const char *text, uint32_t *ret);
/* "2", "0.5", "1.25": up to three digits behind the point; more than 0. */
int parse_cpus(const char *text, uint32_t *ret_millis);
/* "500ms", "30s", "10m", "2h", "30" (seconds); more than 0. */
int parse_duration(const char *text, int64_t *ret_ms);

#define SIZE_TEXT_MAX 24

/* "512 B", "1.5 MiB": into `out` of SIZE_TEXT_MAX, which is returned. */
const char *format_size(uint64_t bytes, char *out);
