/* main.c - the table of verbs, and which of them is meant. */
#include "base/standard_fds.h"
#include "cli/cli.h"

/* clang-format off */
const struct verb *const verbs[] = {
    /* sandboxes */
    &verb_run, &verb_create, &verb_exec, &verb_shell, &verb_cp, &verb_ls, &verb_inspect, &verb_logs, &verb_events, &verb_stats, &verb_label,
    &verb_env, &verb_rm,
    /* what is in them */
    &verb_ps, &verb_process_start, &verb_process_ls, &verb_process_logs, &verb_process_kill,
    &verb_code_run, &verb_context_create, &verb_context_ls, &verb_context_rm, &verb_context_interrupt,
    &verb_file_ls, &verb_file_stat, &verb_file_mv, &verb_file_rm, &verb_file_mkdir, &verb_watch,
    &verb_session_create, &verb_session_ls, &verb_session_rm, &verb_git_clone, &verb_persist, &verb_hydrate, &verb_bucket_mount, &verb_bucket_unmount,
    /* ways in and out */
    &verb_port_expose, &verb_port_ls, &verb_port_rm, &verb_port_wait, &verb_tunnel_open, &verb_tunnel_ls, &verb_tunnel_rm,
    &verb_egress_show, &verb_egress_set, &verb_egress_reset, &verb_secret_set, &verb_secret_ls, &verb_secret_rm,
    /* the daemon and this machine */
    &verb_image_build, &verb_image_import, &verb_image_ls, &verb_image_rm, &verb_key_add, &verb_key_ls, &verb_key_rm,
    &verb_pool_stats, &verb_pool_prime, &verb_pool_shutdown, &verb_mcp, &verb_docker, &verb_doctor, &verb_version, &verb_help,
    NULL,
};

const struct cli_option global_options[] = {
    { 0, "url", "URL", "the daemon (default: $BERM_URL, or " BERM_DEFAULT_URL ")", CLI_TEXT, offsetof(struct cli, url) },
    { 0, "api-key-file", "FILE", "read the API key from FILE (default: $BERM_API_KEY)", CLI_TEXT, offsetof(struct cli, key_file) },
    { 0, "ca-file", "FILE", "trust the certificates in FILE for https (default: $BERM_CA_FILE, or the system's)", CLI_TEXT, offsetof(struct cli, ca_file) },
    { 'h', "help", NULL, "show this help", CLI_FLAG, offsetof(struct cli, help) },
    CLI_OPTIONS_END
};

const struct cli_option no_options[] = { CLI_OPTIONS_END };

/* Before the verb only. */
static const struct cli_option leading_options[] = {
    { 'V', "version", NULL, "print berm's version", CLI_FLAG, offsetof(struct cli, version) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* "image build" is two words; how many of argv are the verb goes to *ret_words. */
static const struct verb *find_verb(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; verbs[i]; i++) {
        const char *name = verbs[i]->name, *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);

        if (strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
            continue;
        if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0))
            continue;
        *ret_words = space ? 2 : 1;
        return verbs[i];
    }
    return NULL;
}

static int no_verb(struct cli *cli, int argc, char **argv)
{
    size_t n = strlen(argv[0]);

    for (size_t i = 0; verbs[i]; i++) {
        if (strncmp(verbs[i]->name, argv[0], n) == 0 && verbs[i]->name[n] == ' ')
            return argc < 2 ? cli_usage(cli, "'%s' needs a verb: see 'berm help %s'", argv[0], argv[0])
                            : cli_usage(cli, "there is no '%s %s': see 'berm help %s'", argv[0], argv[1], argv[0]);
    }
    return cli_usage(cli, "there is no verb '%s': see 'berm help'", argv[0]);
}

/* Global options may stand before the verb as well; whatever belongs to the verb stays for its own table. */
static int dispatch(struct cli *cli, int argc, char **argv)
{
    struct cli_option_set sets[] = { { global_options, cli }, { leading_options, cli } };
    struct cli_operands words;
    struct berm_error err;
    int verb_words = 0;

    if (options_parse(sets, ARRAY_SIZE(sets), true, &cli->arena, argc, argv, &words, &err) < 0)
        return cli_usage(cli, "%s", err.message);
    if (cli->version && words.count == 0) {
        cli->verb = &verb_version;
        return verb_version.run(cli, 0, NULL);
    }
    if (words.count == 0) {
        bool asked = cli->help;
        cli->help = false;
        return verb_help.run(cli, 0, NULL) != STATUS_OK || !asked ? STATUS_USAGE : STATUS_OK;
    }
    cli->verb = find_verb(words.count, words.items, &verb_words);
    if (!cli->verb)
        return no_verb(cli, words.count, words.items);
    return cli->verb->run(cli, words.count - verb_words, words.items + verb_words);
}

/* The same program by another name, for those who want a path and no arguments. */
static bool is_berm_docker(const char *path)
{
    const char *slash = strrchr(path ? path : "", '/');

    return strcmp(slash ? slash + 1 : path ? path : "", "berm-docker") == 0;
}

static int run_berm_docker(struct cli *cli, int argc, char **argv)
{
    cli->verb = &verb_docker;
    return verb_docker.run(cli, argc, argv);
}

int main(int argc, char **argv)
{
    struct cli cli = { .signal_fd = -1 };
    const char *no_colour = getenv("NO_COLOR");
    int status;

    if (open_standard_fds() < 0)
        return STATUS_FAILED;
    arena_init(&cli.arena, (size_t)256 << 20);
    cli.terminal = isatty(STDERR_FILENO);
    cli.colour = cli.terminal && !(no_colour && no_colour[0]);
    status =
        is_berm_docker(argv[0]) ? run_berm_docker(&cli, argc - 1, argv + 1) : dispatch(&cli, argc - 1, argv + 1);
    berm_client_free(cli.client);
    close_fd(&cli.signal_fd);
    arena_free(&cli.arena);
    return status;
}
