/* limit_options.h - the options that `exec` and `run` share: what one command may use, and the receipt of what it
 * used. */
#pragma once

#include "cli/cli.h"

struct limit_args {
    int64_t cpu_ms, wall_ms;
    uint64_t memory, output_bytes;
    uint32_t pids;
    bool no_network;
    bool usage, json;
};

/* clang-format off */
#define LIMIT_OPTIONS(args, member) \
    { 0, "cpu-time", "TIME", "kill the command when it has used so much processor time; its status is 137 then", CLI_DURATION, offsetof(args, member.cpu_ms) }, \
    { 0, "wall-time", "TIME", "kill the command and all it has started after TIME; its status is 137 then", CLI_DURATION, offsetof(args, member.wall_ms) }, \
    { 0, "output-bytes", "SIZE", "kill the command when it has written more; so much is delivered", CLI_SIZE, offsetof(args, member.output_bytes) }, \
    { 0, "usage", NULL, "tell on standard error what the command used, and why it ended", CLI_FLAG, offsetof(args, member.usage) }, \
    { 0, "json", NULL, "--usage in JSON", CLI_FLAG, offsetof(args, member.json) }
/* clang-format on */

/* The command's limits, into `limits`, or NULL: it has none, and nobody wants a receipt. */
const struct berm_exec_limits *limit_request(const struct limit_args *args, struct berm_exec_limits *limits);

/* What --usage asks for, once the command has ended. */
void tell_usage(const struct limit_args *args, const struct berm_usage *usage);
