/* verb_cp.c - cp: what is copied where, and how far it has come. */
#include <sys/stat.h>

#include "base/loop.h"
#include "cli/cp.h"
#include "cli/units.h"

struct cp_args {
    bool recursive, quiet;
};

static const struct cli_option cp_options[] = {
    { 'r', "recursive", NULL, "copy directories", CLI_FLAG, offsetof(struct cp_args, recursive) },
    { 'q', "quiet", NULL, "show no progress", CLI_FLAG, offsetof(struct cp_args, quiet) },
    CLI_OPTIONS_END,
};

#define PROGRESS_EVERY_MS 100

void cp_progress(struct cp *cp, size_t n)
{
    char size[SIZE_TEXT_MAX];
    uint64_t now;

    cp->bytes += n;
    if (cp->quiet || !cp->cli->terminal)
        return;
    now = clock_monotonic_ns() / 1000000;
    if (cp->shown_ms == 0)
        cp->shown_ms = now + 4 * PROGRESS_EVERY_MS; /* a quick copy shows none */
    if (now < cp->shown_ms + PROGRESS_EVERY_MS)
        return;
    cp->shown_ms = now;
    fprintf(stderr, "\r\033[K%s", format_size(cp->bytes, size));
    fflush(stderr);
}

void cp_progress_end(struct cp *cp)
{
    if (cp->shown_ms != 0)
        fputs("\r\033[K", stderr);
    cp->shown_ms = 0;
}

/* "ID:PATH", PATH relative to /workspace unless absolute. A local name with a colon needs a slash before it. */
static bool split_remote(struct arena *arena, const char *word, const char **ret_id, const char **ret_path)
{
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz234567");
    const char *path = word + n + 1;

    if (n == 0 || word[n] != ':')
        return false;
    *ret_id = arena_printf(arena, "%.*s", (int)MIN(n, (size_t)1024), word);
    *ret_path = path[0] == '/' ? path : arena_printf(arena, "/workspace/%s", path);
    return true;
}

/* The last part of a path that the user gave; NULL if it is none that a file can have. */
static const char *base_name(struct arena *arena, const char *path)
{
    size_t end = strlen(path), start;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (end == start || (end - start == 1 && path[start] == '.') ||
        (end - start == 2 && strncmp(path + start, "..", 2) == 0))
        return NULL;
    return arena_strdup(arena, (struct str){ path + start, end - start });
}

static bool ends_with_slash(const char *path)
{
    size_t n = strlen(path);

    return n > 0 && path[n - 1] == '/';
}

/* `path` itself, or below it by the source's name if `path` is a directory. NULL: it was told why not. */
static const char *place(struct cp *cp, const char *path, bool is_directory, const char *source)
{
    struct arena *arena = &cp->cli->arena;
    const char *name;

    if (!is_directory && !ends_with_slash(path))
        return path;
    name = base_name(arena, source);
    if (!name || strcmp(source, "-") == 0) {
        cli_fail(cp->cli, "'%s' is a directory: name the file to make in it", path);
        return NULL;
    }
    return arena_printf(arena, "%s%s%s", path, ends_with_slash(path) ? "" : "/", name);
}

static int copy_up(struct cp *cp)
{
    struct cp_remote_info there;
    struct stat here = { .st_mode = S_IFREG };
    bool from_stdin = strcmp(cp->local, "-") == 0;
    const char *remote;
    int status;

    if (!from_stdin && stat(cp->local, &here) < 0)
        return cli_fail(cp->cli, "%s: %s", cp->local, strerror(errno));
    if (S_ISDIR(here.st_mode) && !cp->recursive)
        return cli_fail(cp->cli, "%s is a directory: use -r", cp->local);
    status = cp_probe(cp, cp->remote, &there);
    if (status != STATUS_OK)
        return status;
    /* "dir/." means what is in dir, as with cp(1). */
    if (S_ISDIR(here.st_mode) && !base_name(&cp->cli->arena, cp->local))
        return cp_tree_up(cp, cp->remote);
    remote = place(cp, cp->remote, there.type == CP_DIRECTORY, cp->local);
    if (!remote)
        return STATUS_FAILED;
    return S_ISDIR(here.st_mode) ? cp_tree_up(cp, remote) : cp_file_up(cp, remote);
}

static int copy_down(struct cp *cp)
{
    struct cp_remote_info there;
    struct stat here;
    bool to_stdout = strcmp(cp->local, "-") == 0;
    bool is_directory = !to_stdout && stat(cp->local, &here) == 0 && S_ISDIR(here.st_mode);
    const char *local;
    int status = cp_probe(cp, cp->remote, &there);

    if (status != STATUS_OK)
        return status;
    if (there.type == CP_MISSING)
        return cli_fail(cp->cli, "%s:%s: there is no such file", cp->id, cp->remote);
    if (there.type == CP_OTHER)
        return cli_fail(cp->cli, "%s:%s is neither a file nor a directory", cp->id, cp->remote);
    if (there.type == CP_DIRECTORY && (!cp->recursive || to_stdout))
        return cli_fail(cp->cli, "%s:%s is a directory: %s", cp->id, cp->remote,
                        to_stdout ? "it cannot go to standard output" : "use -r");
    if (there.type == CP_DIRECTORY && !base_name(&cp->cli->arena, cp->remote))
        return cp_tree_down(cp, cp->local);
    local = to_stdout ? cp->local : place(cp, cp->local, is_directory, cp->remote);
    if (!local)
        return STATUS_FAILED;
    if (local != cp->local && lstat(local, &here) == 0 && S_ISLNK(here.st_mode))
        return cli_fail(cp->cli, "%s is a link: name its target to copy to that", local);
    return there.type == CP_DIRECTORY ? cp_tree_down(cp, local) : cp_file_down(cp, local, there.executable);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct cp_args args = { 0 };
    struct cli_operands operands;
    struct cp cp = { .cli = cli };
    const char *ignored_id, *ignored_path;
    bool up, down;
    int status;

    if (cli_parse(cli, argc, argv, &args, 2, 2, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    up = split_remote(&cli->arena, operands.items[1], &cp.id, &cp.remote);
    down = split_remote(&cli->arena, operands.items[0], up ? &ignored_id : &cp.id, up ? &ignored_path : &cp.remote);
    if (up == down)
        return cli_usage(cli, "exactly one of the two must be ID:PATH");
    cp.local = operands.items[up ? 0 : 1];
    cp.recursive = args.recursive;
    cp.quiet = args.quiet;
    cp.client = cli_client(cli);
    if (!cp.client)
        return STATUS_FAILED;
    status = up ? copy_up(&cp) : copy_down(&cp);
    cp_progress_end(&cp);
    return status;
}

const struct verb verb_cp = {
    .name = "cp",
    .operands = "FILE ID:PATH | ID:PATH FILE",
    .summary = "copy a file or directory into a sandbox or out of it",
    .details =
        "PATH is absolute or relative to /workspace. FILE - is standard input or output. If the destination is a\n"
        "directory, the copy is made in it. Links that lead out of a copied directory are left out.",
    .options = cp_options,
    .run = run,
};
