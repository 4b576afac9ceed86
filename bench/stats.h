/* stats.h - samples of one figure and the row that reports them. */
#pragma once

#include <stddef.h>

struct samples {
    const char *name;
    double *us; /* microseconds */
    size_t count, cap;
};

double now_us(void);
void samples_add(struct samples *s, double us);
double samples_percentile(struct samples *s, double p); /* in microseconds; sorts */
void samples_free(struct samples *s);

/* "name | p50 p99 ms (n)" */
void print_samples(struct samples *s);
/* The figure beside its peer's and its target: prints the ratio and whether the target was met. */
void print_against(struct samples *ours, struct samples *peer);
/* `value` in `unit`; `limit` with '<' or '>' says which side is good. Returns whether it was met. */
int print_target(const char *what, double value, const char *unit, char side, double limit);
