/* verb_key.c - the keys of a daemon's API, and those of the daemons behind an edge. */
#include <fcntl.h>
#include <openssl/evp.h>

#include "base/json.h"
#include "base/sys.h"
#include "cli/cli.h"

struct key_args {
    bool json;
};

static const struct cli_option key_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct key_args, json) },
    CLI_OPTIONS_END,
};

struct key_add_args {
    bool json;
    const char *edge;
};

static const struct cli_option key_add_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct key_add_args, json) },
    { 0, "edge", "FILE", "a daemon's key for an edge, added to its edge.link_keys", CLI_TEXT,
      offsetof(struct key_add_args, edge) },
    CLI_OPTIONS_END,
};

/* `kind`: what `id` is called. */
static int print_new_key(struct cli *cli, bool as_json, const char *kind, const char *id, const char *key)
{
    struct json_writer w;
    struct buf out;

    if (!as_json) {
        printf("%s\n", key);
        if (cli->terminal)
            fprintf(stderr, "berm: this is the key of %s; it is not shown again\n", id);
        return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the key: %s", strerror(errno));
    }
    buf_init(&out, 64 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_cstring(&w, kind, id);
    json_pair_cstring(&w, "key", key);
    json_object_end(&w);
    return print_json_written(cli, &w);
}

/* ---- keys of an edge, which nobody but a file on this machine has to know ---- */

#define EDGE_KEY_PREFIX "berm_"
#define EDGE_KEY_BYTES  32
#define EDGE_NAME_MAX   20 /* src/daemon/link/name.h */

static bool edge_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

    return name[n] == '\0' && n > 0 && n <= EDGE_NAME_MAX && name[0] > '9';
}

/* What is there stays as it is, and is not run into. */
static int append_line(const char *path, const char *line)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    char last = '\n';

    if (end < 0 || (end > 0 && pread(fd, &last, 1, end - 1) != 1) || (last != '\n' && write_all(fd, "\n", 1) < 0))
        return -1;
    return write_all(fd, line, strlen(line)) < 0 || fsync(fd) < 0 ? -1 : 0;
}

static int add_edge_key(struct cli *cli, const struct key_add_args *args, const char *name)
{
    char key[sizeof(EDGE_KEY_PREFIX) + 2 * (size_t)EDGE_KEY_BYTES] = EDGE_KEY_PREFIX;
    char line[EDGE_NAME_MAX + sizeof(" sha256:\n") + 2 * (size_t)EVP_MAX_MD_SIZE],
        hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned char secret[EDGE_KEY_BYTES], digest[EVP_MAX_MD_SIZE];
    unsigned n;

    random_bytes(secret, sizeof(secret));
    hex_encode(secret, sizeof(secret), key + sizeof(EDGE_KEY_PREFIX) - 1);
    if (EVP_Digest(key, strlen(key), digest, &n, EVP_sha256(), NULL) != 1)
        return cli_fail(cli, "the key cannot be hashed");
    hex_encode(digest, n, hex);
    snprintf(line, sizeof(line), "%s sha256:%s\n", name, hex);
    if (append_line(args->edge, line) < 0)
        return cli_fail(cli, "%s: %s", args->edge, strerror(errno));
    return print_new_key(cli, args->json, "name", name, key);
}

static int run_add_edge(struct cli *cli, const struct key_add_args *args, const struct cli_operands *operands)
{
    if (operands->count == 1 && edge_name_valid(operands->items[0]))
        return add_edge_key(cli, args, operands->items[0]);
    return cli_usage(cli, "--edge needs the daemon's name: 1 to %d of a-z and 0-9, a letter first", EDGE_NAME_MAX);
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct key_add_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    char *id = NULL, *key = NULL;
    int status;

    if (cli_parse(cli, argc, argv, &args, 0, 1, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (args.edge)
        return run_add_edge(cli, &args, &operands);
    if (!cli_client(cli))
        return STATUS_FAILED;
    if (berm_key_create(cli->client, operands.items[0], &id, &key, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_new_key(cli, args.json, "id", id, key);
    free(id);
    free(key);
    return status;
}

const struct verb verb_key_add = {
    .name = "key add",
    .operands = "[LABEL]",
    .summary = "make an API key and print it",
    .details =
        "The daemon stores a hash: the key is shown this once. As soon as there is a key, every client needs one.\n"
        "With --edge LABEL is the name of a daemon behind an edge, and no daemon is asked: the name and the hash "
        "are\n"
        "added to FILE on the edge, which reads it again at SIGHUP, and the key is for the daemon's edge.link_key.",
    .options = key_add_options,
    .run = run_add,
};

static int run_ls(struct cli *cli, int argc, char **argv)
{
    static const char *const header[] = { "ID", "LABEL", "CREATED" };
    struct key_args args = { 0 };
    struct cli_operands operands;
    struct berm_key_list *list;
    struct berm_problem problem;
    struct table table;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 0, 0, &operands, &status))
        return status;
    if (berm_key_list(cli->client, &list, &problem) < 0)
        return cli_problem(cli, &problem);
    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++)
        table_row(&table,
                  (const char *const[]){ list->items[i].id, list->items[i].label, list->items[i].created_at });
    if (args.json)
        status = print_json(cli, list->json);
    else if (table_print(&table, stdout) < 0)
        status = cli_fail(cli, "writing the list: %s", strerror(errno));
    berm_key_list_free(list);
    return status;
}

const struct verb verb_key_ls = {
    .name = "key ls",
    .operands = "",
    .summary = "list the daemon's API keys, without the secrets",
    .options = key_options,
    .run = run_ls,
};

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct key_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (berm_key_delete(cli->client, operands.items[0], &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, "removed", operands.items[0]) : STATUS_OK;
}

const struct verb verb_key_rm = {
    .name = "key rm",
    .operands = "KEY-ID",
    .summary = "revoke an API key",
    .options = key_options,
    .run = run_rm,
};
