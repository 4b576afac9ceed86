/* create_options.h - the options that `run` and `create` share: what the new sandbox is like. */
#pragma once

#include "cli/cli.h"

struct create_args {
    const char *name, *image;
    const char *sleep_after;
    uint64_t memory, disk;
    uint32_t cpu_millis, pids, nofile;
    struct cli_list env, labels;
    bool keep_alive;
    const char *network, *egress;
};

/* clang-format off */
#define CREATE_OPTIONS(args, member) \
    { 0, "name", "TEXT", "what to call it in lists; need not be unique", CLI_TEXT, offsetof(args, member.name) }, \
    { 0, "image", "IMAGE", "image to start from (default: the daemon's)", CLI_TEXT, offsetof(args, member.image) }, \
    { 'm', "memory", "SIZE", "most memory, e.g. 512m", CLI_SIZE, offsetof(args, member.memory) }, \
    { 0, "cpus", "N", "most CPU, e.g. 1 or 0.5", CLI_CPUS, offsetof(args, member.cpu_millis) }, \
    { 0, "disk", "SIZE", "most disk, e.g. 1g", CLI_SIZE, offsetof(args, member.disk) }, \
    { 0, "pids", "N", "most processes and threads", CLI_COUNT, offsetof(args, member.pids) }, \
    { 0, "nofile", "N", "most open files per process", CLI_COUNT, offsetof(args, member.nofile) }, \
    { 'e', "env", "NAME=VALUE", "set a variable; a bare NAME is taken from the environment", CLI_ENV, offsetof(args, member.env) }, \
    { 'l', "label", "NAME=VALUE", "put a label on the sandbox", CLI_LIST, offsetof(args, member.labels) }, \
    { 0, "network", "internet|none", "the internet as far as the policy allows, or nothing but loopback", CLI_TEXT, offsetof(args, member.network) }, \
    { 0, "egress", "JSON", "policy of the network, as in docs/api.md", CLI_TEXT, offsetof(args, member.egress) }
/* clang-format on */

static inline struct berm_create create_request(const struct create_args *args)
{
    return (struct berm_create){
        .name = args->name,
        .image = args->image,
        .limits = { .memory_bytes = args->memory,
                    .disk_bytes = args->disk,
                    .cpu_millis = args->cpu_millis,
                    .pids = args->pids,
                    .nofile = args->nofile },
        .env = args->env.items,
        .labels = args->labels.items,
        .sleep_after = args->sleep_after,
        .keep_alive = args->keep_alive,
        .network = args->network,
        .egress = args->egress,
    };
}
