#include "stats.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

void samples_add(struct samples *s, double us)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->us = reallocarray(s->us, s->cap, sizeof(*s->us));
        if (!s->us)
            err(1, "memory");
    }
    s->us[s->count++] = us;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_percentile(struct samples *s, double p)
{
    if (s->count == 0)
        return 0;
    qsort(s->us, s->count, sizeof(*s->us), compare);
    return s->us[(size_t)((double)(s->count - 1) * p)];
}

void samples_free(struct samples *s)
{
    free(s->us);
    s->us = NULL;
    s->count = s->cap = 0;
}

void print_samples(struct samples *s)
{
    printf("  %-44s p50 %8.3f ms   p99 %8.3f ms   min %8.3f ms   n=%zu\n", s->name,
           samples_percentile(s, 0.5) / 1e3, samples_percentile(s, 0.99) / 1e3, samples_percentile(s, 0) / 1e3,
           s->count);
}

void print_against(struct samples *ours, struct samples *peer)
{
    double a = samples_percentile(ours, 0.5), b = samples_percentile(peer, 0.5);

    printf("  %-44s %.2f of %s (p50), %.2f (p99)\n", ours->name, a / b, peer->name,
           samples_percentile(ours, 0.99) / samples_percentile(peer, 0.99));
}

int print_target(const char *what, double value, const char *unit, char side, double limit)
{
    int met = side == '<' ? value <= limit : value >= limit;

    printf("  %-44s %10.3f %-12s target %s %.3f   %s\n", what, value, unit, side == '<' ? "<=" : ">=", limit,
           met ? "met" : "NOT MET");
    return met;
}
