/*
 * hand_clock.h - time as a test makes it: it stands still where the test's hand_ns is not 0. For test programs
 * linked with -Wl,--wrap=clock_monotonic_ns; include it in one source file only, where hand_ns is (net_peer.h has
 * one).
 */
#pragma once

uint64_t __real_clock_monotonic_ns(void);
uint64_t __wrap_clock_monotonic_ns(void);

uint64_t __wrap_clock_monotonic_ns(void)
{
    return hand_ns > 0 ? hand_ns : __real_clock_monotonic_ns();
}

/* Before the loop is made; until hand_ns is 0 again. */
static inline void clock_by_hand(void)
{
    hand_ns = __real_clock_monotonic_ns();
}
