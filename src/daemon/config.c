#include "daemon/config.h"

#include "base/sys.h"
#include "daemon/config_options.h"
#include "daemon/config_value.h"
#include "daemon/edge/routes.h"
#include "daemon/sender.h"
#include "net/server.h"

#include <ctype.h>
#include <fcntl.h>

#define FILE_MAX_BYTES (256 * 1024)

/* What the flags say before the options are read. */
struct command_line {
    const char *file;
    enum config_action action;
};

static const struct {
    const char *flag;
    enum config_action action;
    const char *doc;
} actions[] = {
    { "--edge", CONFIG_EDGE, "be the public end of daemons behind NAT, and run no sandboxes" },
    { "--check-config", CONFIG_CHECK, "check the settings and leave" },
    { "--print-config", CONFIG_PRINT, "print the settings in force, and where each came from" },
    { "--stop-all", CONFIG_STOP_ALL, "end every sandbox of the data directory (no daemon may be running on it)" },
    { "--version", CONFIG_VERSION, "print the version" },
    { "--help", CONFIG_HELP, "print this" },
};

/* "--pool-size", "--listen": [server] has no prefix. */
static void flag_name(const struct option_row *row, char *out, size_t size)
{
    if (!strcmp(row->section, "server"))
        snprintf(out, size, "--%s", row->name);
    else
        snprintf(out, size, "--%s-%s", row->section, row->name);
    for (char *c = out; *c; c++)
        if (*c == '_')
            *c = '-';
}

static void variable_name(const struct option_row *row, char *out, size_t size)
{
    if (!strcmp(row->section, "server"))
        snprintf(out, size, "BERM_%s", row->name);
    else
        snprintf(out, size, "BERM_%s_%s", row->section, row->name);
    for (char *c = out; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

/* A stronger source replaces a list as a whole; the same source adds to it. */
static int set_option(struct config *config, size_t row, struct str text, enum config_origin origin,
                      struct berm_error *err)
{
    if (option_table[row].type == OPTION_LIST && config->origins[row] != origin)
        config_list_clear((struct config_list *)(void *)((char *)config + option_table[row].offset));
    if (option_set(config, &option_table[row], text, err) < 0)
        return -1;
    config->origins[row] = (uint8_t)origin;
    return 0;
}

static int set_defaults(struct config *config, struct berm_error *err)
{
    config->spawn_fd = UINT64_MAX;
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].fallback &&
            set_option(config, i, str_from(option_table[i].fallback), CONFIG_DEFAULT, err) < 0)
            return -1;
    return 0;
}

/* --- the file --- */

static int find_option(struct str section, struct str name)
{
    for (size_t i = 0; i < option_count; i++)
        if (str_is(section, option_table[i].section) && str_is(name, option_table[i].name))
            return (int)i;
    return -1;
}

static bool section_known(struct str section)
{
    for (size_t i = 0; i < option_count; i++)
        if (str_is(section, option_table[i].section))
            return true;
    return false;
}

static int read_setting(struct config *config, struct str line, struct str section, struct berm_error *err)
{
    const char *equals = memchr(line.p, '=', line.n);
    struct str key, value;
    int row;

    if (!equals)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "expected \"key = value\" or \"[section]\"");
    key = str_trim((struct str){ line.p, (size_t)(equals - line.p) });
    value = str_trim((struct str){ equals + 1, line.n - (size_t)(equals + 1 - line.p) });
    row = find_option(section, key);
    if (row < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "unknown key \"%.*s\" in [%.*s]",
                         (int)MIN(key.n, (size_t)64), key.p, (int)section.n, section.p);
    if (config->origins[row] == CONFIG_FILE)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "\"%.*s\" is given twice", (int)key.n, key.p);
    return set_option(config, (size_t)row, value, CONFIG_FILE, err);
}

static int read_line(struct config *config, struct str line, struct str *section, struct berm_error *err)
{
    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    if (line.p[0] != '[')
        return read_setting(config, line, *section, err);
    if (line.p[line.n - 1] != ']')
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "a section ends with ]");
    *section = (struct str){ line.p + 1, line.n - 2 };
    if (!section_known(*section))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "unknown section [%.*s]", (int)MIN(section->n, (size_t)64),
                         section->p);
    return 0;
}

static int read_file(struct config *config, const char *path, bool required, struct berm_error *err)
{
    _cleanup_free_ char *text = malloc(FILE_MAX_BYTES);
    struct str section = STR("server");
    unsigned number = 0;
    ssize_t n;

    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "%s", path);
    n = read_small_file(AT_FDCWD, path, text, FILE_MAX_BYTES);
    if (n < 0 && errno == ENOENT && !required)
        return 0;
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", path);
    for (size_t at = 0; at < (size_t)n;) {
        const char *end = memchr(text + at, '\n', (size_t)n - at);
        size_t length = end ? (size_t)(end - text) - at : (size_t)n - at;

        number++;
        if (read_line(config, (struct str){ text + at, length }, &section, err) < 0)
            return berm_error_wrap(err, "%s:%u", path, number);
        at += length + 1;
    }
    return 0;
}

/* --- environment and flags --- */

static int read_environment(struct config *config, char *const *environment, struct berm_error *err)
{
    char name[96];

    for (size_t i = 0; i < option_count; i++) {
        variable_name(&option_table[i], name, sizeof(name));
        for (char *const *e = environment; e && *e; e++) {
            size_t n = strlen(name);

            if (strncmp(*e, name, n) || (*e)[n] != '=')
                continue;
            if (set_option(config, i, str_from(*e + n + 1), CONFIG_ENVIRONMENT, err) < 0)
                return berm_error_wrap(err, "%s", name);
        }
    }
    return 0;
}

/* Splits "--name=value" or "--name value": the length of the name; *value is NULL if there is none. */
static size_t split_flag(int argc, char *const *argv, int *i, const char **value)
{
    const char *equals = strchr(argv[*i], '=');

    if (equals) {
        *value = equals + 1;
        return (size_t)(equals - argv[*i]);
    }
    *value = *i + 1 < argc ? argv[*i + 1] : NULL;
    return strlen(argv[*i]);
}

static bool take_action(const char *arg, struct command_line *line)
{
    for (size_t a = 0; a < ARRAY_SIZE(actions); a++) {
        if (strcmp(arg, actions[a].flag))
            continue;
        line->action = actions[a].action;
        return true;
    }
    return false;
}

static int read_flag(struct config *config, struct str flag, const char *value, struct berm_error *err)
{
    char name[96];

    for (size_t row = 0; row < option_count; row++) {
        flag_name(&option_table[row], name, sizeof(name));
        if (!str_is(flag, name))
            continue;
        if (!value)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s needs a value", name);
        if (!config)
            return 0;
        if (set_option(config, row, str_from(value), CONFIG_FLAG, err) < 0)
            return berm_error_wrap(err, "%s", name);
        return 0;
    }
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "unknown flag %.*s (see --help)", (int)MIN(flag.n, (size_t)64),
                     flag.p);
}

/* Called twice: first with `config` NULL for the actions and --config, then for the options. */
static int read_flags(struct config *config, int argc, char *const *argv, struct command_line *line,
                      struct berm_error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        struct str flag = { argv[i], 0 };
        bool separate;

        if (take_action(argv[i], line))
            continue;
        flag.n = split_flag(argc, argv, &i, &value);
        separate = !strchr(argv[i], '=');
        if (str_is(flag, "--config")) {
            if (!value)
                return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "--config needs a value");
            line->file = value;
        } else if (read_flag(config, flag, value, err) < 0) {
            return -1;
        }
        i += separate;
    }
    return 0;
}

/* --- what only makes sense together --- */

/* Beside bermd, where they are installed, or in a build directory; the last place if it is nowhere, for the error.
 */
static int find_program(const char *dir, const char *name, const char *part, char **slot, struct berm_error *err)
{
    const char *const places[] = { ".", "../libexec/berm", part };
    char path[4200];

    if (*slot)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        snprintf(path, sizeof(path), "%s/%s/%s", dir, places[i], name);
        if (access(path, F_OK) == 0)
            break;
    }
    *slot = strdup(path);
    return *slot ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
}

static int default_paths(struct config *config, struct berm_error *err)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (!config->images && asprintf(&config->images, "%s/images", config->data) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "/proc/self/exe");
    self[n] = '\0';
    slash = strrchr(self, '/');
    *slash = '\0';
    if (find_program(self, "berm-spawn", "../spawn", &config->spawn, err) < 0 ||
        find_program(self, "berm-link", "../link", &config->link_program, err) < 0 ||
        find_program(self, "berm-connector", "../connector", &config->connector_program, err) < 0)
        return -1;
    return find_program(self, "berm-agent", "../..", &config->agent, err);
}

static int check_pair(const char *name, uint64_t value, uint64_t most, struct berm_error *err)
{
    if (value > most)
        return berm_fail_field(err, name, "sandbox.%s is above sandbox.max_%s", name, name);
    return 0;
}

static int check_runtime(const char *runtime, struct berm_error *err)
{
    if (!strcmp(runtime, "native") || (!strncmp(runtime, "oci:/", 5) && runtime[5]))
        return 0;
    return berm_fail_field(err, "runtime", "sandbox.runtime is native or oci:<absolute path>");
}

static int check_addresses(const char *name, const struct config_list *listen, struct berm_error *err)
{
    for (size_t i = 0; i < listen->count; i++)
        if (tcp_check_address(listen->items[i], err) < 0)
            return berm_error_wrap(err, "%s", name);
    return 0;
}

/* Later, in another directory, a relative path would be another file. */
static int check_files(const char *name, const struct config_list *files, struct berm_error *err)
{
    for (size_t i = 0; i < files->count; i++)
        if (files->items[i][0] != '/')
            return berm_fail_field(err, name, "tls.%s: %s is not an absolute path", name, files->items[i]);
    return 0;
}

static int check_tls(const struct config *config, struct berm_error *err)
{
    if (check_addresses("tls.listen", &config->tls_listen, err) < 0 ||
        check_files("certificate", &config->tls_certificate, err) < 0 ||
        check_files("key", &config->tls_key, err) < 0)
        return -1;
    if ((config->tls_listen.count > 0) != (config->tls_certificate.count > 0))
        return berm_fail_field(err, "certificate",
                               "tls.listen and tls.certificate are of no use without each other");
    if (config->tls_key.count > 0 && config->tls_key.count != config->tls_certificate.count)
        return berm_fail_field(err, "key", "tls.key: one for each tls.certificate, or none at all");
    return 0;
}

/* Of a daemon that is reached by an edge. */
static int check_link(const struct config *config, struct berm_error *err)
{
    const char *colon = config->edge_link ? strrchr(config->edge_link, ':') : NULL;
    uint64_t port;

    if (!config->edge_link)
        return 0;
    if (!colon || colon == config->edge_link || str_to_u64(str_from(colon + 1), &port) < 0 || port == 0 ||
        port > 65535)
        return berm_fail_field(err, "link", "edge.link: \"%s\" is not HOST:PORT", config->edge_link);
    if (!config->edge_link_key)
        return berm_fail_field(err, "link_key", "edge.link needs edge.link_key, a file with the key");
    return 0;
}

static int check_connector(const struct config *config, struct berm_error *err)
{
    bool used = !strcmp(config->edge_connector, "cloudflared");

    if (!used && (config->edge_cloudflared || config->edge_cloudflared_token))
        return berm_fail_field(err, "connector",
                               "edge.cloudflared and edge.cloudflared_token need edge.connector = cloudflared");
    if (used && config->edge_link)
        return berm_fail_field(err, "connector", "edge.link and edge.connector = cloudflared exclude each other");
    if (config->edge_cloudflared_token && !config->edge_url)
        return berm_fail_field(err, "url", "edge.cloudflared_token needs edge.url, as Cloudflare knows it");
    return 0;
}

/* Of bermd --edge. */
static int check_edge(const struct config *config, struct berm_error *err)
{
    if (config->edge_link)
        return berm_fail_field(err, "link", "edge.link is for daemons and not for the edge itself");
    if (strcmp(config->edge_connector, "none") != 0)
        return berm_fail_field(err, "connector", "edge.connector is for daemons and not for the edge itself");
    if (!config->edge_url || !config->edge_link_keys || config->tls_certificate.count == 0)
        return berm_fail_field(err, "edge",
                               "--edge needs edge.url, edge.link_keys, tls.listen and tls.certificate");
    if (tcp_check_address(config->edge_link_listen, err) < 0)
        return berm_error_wrap(err, "edge.link_listen");
    return 0;
}

static int check_together(const struct config *config, struct berm_error *err)
{
    struct trusted_proxies proxies;
    struct edge_base base;

    if (check_pair("memory", config->memory, config->max_memory, err) < 0 ||
        check_pair("cpu", config->cpu, config->max_cpu, err) < 0 ||
        check_pair("pids", config->pids, config->max_pids, err) < 0 ||
        check_pair("disk", config->disk, config->max_disk, err) < 0 ||
        check_pair("nofile", config->nofile, config->max_nofile, err) < 0)
        return -1;
    if (config->listen.count == 0)
        return berm_fail_field(err, "listen", "server.listen is empty");
    if (check_addresses("server.listen", &config->listen, err) < 0)
        return -1;
    if (check_tls(config, err) < 0 || trusted_proxies_parse(config, &proxies, err) < 0)
        return -1;
    if (config->edge_url && edge_base_parse(config->edge_url, &base, err) < 0)
        return berm_error_wrap(err, "edge.url");
    if (check_link(config, err) < 0 || check_connector(config, err) < 0)
        return -1;
    return check_runtime(config->runtime, err);
}

int config_load(int argc, char *const *argv, char *const *environment, struct config *ret,
                enum config_action *ret_action, struct berm_error *err)
{
    struct command_line line = { 0 };

    memset(ret, 0, sizeof(*ret));
    if (read_flags(NULL, argc, argv, &line, err) < 0)
        return -1;
    *ret_action = line.action;
    if (set_defaults(ret, err) < 0 ||
        read_file(ret, line.file ? line.file : CONFIG_FILE_DEFAULT, line.file != NULL, err) < 0 ||
        read_environment(ret, environment, err) < 0 || read_flags(ret, argc, argv, &line, err) < 0 ||
        default_paths(ret, err) < 0 || check_together(ret, err) < 0 ||
        (line.action == CONFIG_EDGE && check_edge(ret, err) < 0)) {
        config_free(ret);
        return -1;
    }
    return 0;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < option_count; i++) {
        void *slot = (char *)config + option_table[i].offset;

        if (option_table[i].type == OPTION_LIST) {
            config_list_clear(slot);
        } else if (option_table[i].type <= OPTION_CHOICE) {
            free(*(char **)slot);
            *(char **)slot = NULL;
        }
    }
}

void config_print(const struct config *config, FILE *out)
{
    static const char *const origins[] = { "default", "file", "environment", "flag" };
    const char *section = "";

    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];

        if (strcmp(section, row->section))
            fprintf(out, "%s[%s]\n", *section ? "\n" : "", row->section);
        section = row->section;
        fprintf(out, "# %s (%s)\n%s%s = ", row->doc, origins[config->origins[i]],
                option_is_set(config, row) ? "" : "# ", row->name);
        option_print(config, row, out);
        fputc('\n', out);
    }
}

void config_help(FILE *out)
{
    char name[96];

    fputs("bermd - the daemon of Berm\n\nUsage: bermd [flags]\n\n", out);
    fprintf(out, "  %-30s %s\n", "--config FILE", "settings file; default: " CONFIG_FILE_DEFAULT " if it exists");
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        fprintf(out, "  %-30s %s\n", actions[i].flag, actions[i].doc);
    fputc('\n', out);
    for (size_t i = 0; i < option_count; i++) {
        flag_name(&option_table[i], name, sizeof(name));
        fprintf(out, "  %-30s %s%s%s%s\n", name, option_table[i].doc, option_table[i].fallback ? " [" : "",
                option_table[i].fallback ? option_table[i].fallback : "", option_table[i].fallback ? "]" : "");
    }
    fputs("\nEvery flag is also a key of the file and a variable: --pool-size is size in [pool], and "
          "BERM_POOL_SIZE;\n"
          "flags without a section's name belong to [server].\n",
          out);
}
