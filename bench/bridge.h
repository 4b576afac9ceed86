/* bridge.h - the figures of the bridge's API: creation from the pool, commands, lists. */
#pragma once

/* PORT RUNS, of a bermd with a warm pool. Returns how many targets were missed. */
int bench_bridge(int argc, char **argv);
