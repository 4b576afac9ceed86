/*
 * config.h - the daemon's settings: one table of options, read from a file, the environment and flags.
 *
 * Strength: default < file < environment (BERM_<SECTION>_<NAME>, without the section for [server]) < flag
 * (--<section>-<name>, likewise). The table in config_options.c is the only place that names an option; --help,
 * --print-config and the manual's list come from it. What a file says is checked as strictly as a flag: an unknown
 * key, a value out of range or a key given twice is an error with its line.
 */
#pragma once

#include "base/error.h"

#define CONFIG_FILE_DEFAULT "/etc/berm/berm.conf"
#define CONFIG_DATA_DEFAULT "/var/lib/berm"
#define CONFIG_MAX_LISTEN   16

struct config_list {
    char *items[CONFIG_MAX_LISTEN];
    size_t count;
};

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

struct config {
    /* [server] */
    struct config_list listen;
    char *data, *images, *docker_socket, *docker_socket_mode, *docker_socket_group, *user, *spawn, *agent;
    uint64_t spawn_fd; /* UINT64_MAX: start berm-spawn ourselves */
    char *log_format, *log_level, *proxy_header;
    struct config_list trusted_proxies;
    uint64_t drain_timeout_ms, max_connections, max_connections_peer, max_body, max_file_put, max_hydrate;

    /* [tls] */
    struct config_list tls_listen, tls_certificate, tls_key;

    /* [auth] */
    char *keys_file;

    /* [edge] */
    char *edge_url, *edge_tunnels;
    char *edge_link, *edge_link_key, *edge_link_authority, *edge_link_transport; /* the daemon's */
    char *edge_link_listen, *edge_link_keys;                                     /* of bermd --edge */
    char *link_program;
    char *edge_connector, *edge_cloudflared, *edge_cloudflared_token, *connector_program;

    /* [sandbox] */
    char *image, *runtime, *network, *bindings_file;
    uint64_t memory, cpu, pids, disk, nofile;
    uint64_t max_memory, max_cpu, max_pids, max_disk, max_nofile;
    uint64_t sleep_after_ms, max_sandboxes, start_timeout_ms, agent_timeout_ms;

    /* [egress] */
    char *egress_enabled, *egress_mode, *egress_resolvers, *egress_proxy, *egress_proxy_authorization,
        *egress_ca_file;
    struct config_list egress_allow_cidrs, egress_deny_cidrs;
    uint64_t egress_max_connections, egress_connect_timeout_ms, egress_idle_timeout_ms;

    /* [pool] */
    uint64_t pool_size, pool_max, pool_slots;
    struct config_list pool_images;

    uint8_t origins[96]; /* enum config_origin, by row of the table */
};

enum config_action {
    CONFIG_RUN,
    CONFIG_EDGE,
    CONFIG_CHECK,
    CONFIG_PRINT,
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_STOP_ALL
};

/*
 * Reads everything. `environment` is a NULL-terminated list of "NAME=value". On success *ret holds values that have
 * been checked against each other, to be freed with config_free(); on failure *err says file and line, variable or
 * flag.
 */
int config_load(int argc, char *const *argv, char *const *environment, struct config *ret,
                enum config_action *ret_action, struct berm_error *err);
void config_free(struct config *config);

/* Every option with its value and where it came from, in the format of the file. */
void config_print(const struct config *config, FILE *out);
void config_help(FILE *out);

/* Text to value: "512", "64KiB", "1.5GiB" (powers of 1024; K, M, G are short for them); "90s", "10m", "2h",
 * "500ms". */
int config_parse_size(struct str text, uint64_t *ret);
int config_parse_duration(struct str text, uint64_t *ret_ms);
