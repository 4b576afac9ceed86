/* ls, inspect, logs and rm: what sandboxes there are, and their end. */
#include <limits.h>

#include "base/json.h"
#include "cli/cli.h"

/* ---- ls ---- */

struct ls_args {
    const char *label;
    bool json, quiet;
};

/* clang-format off */
static const struct cli_option ls_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct ls_args, json) },
    { 'q', "quiet", NULL, "print ids only", CLI_FLAG, offsetof(struct ls_args, quiet) },
    { 'l', "label", "NAME=VALUE", "only sandboxes with this label", CLI_TEXT, offsetof(struct ls_args, label) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* Calls `take` for each page until one of them, or the daemon, fails. A status. */
static int each_page(struct cli *cli, const char *label,
                     int (*take)(struct cli *cli, const struct berm_sandbox_list *page, void *data), void *data)
{
    struct berm_client *client = cli->client ? cli->client : cli_client(cli);
    const char *cursor = NULL;
    int status = client ? STATUS_OK : STATUS_FAILED;

    while (status == STATUS_OK) {
        struct berm_sandbox_list *page;
        struct berm_problem problem;

        if (berm_sandbox_list(client, label, cursor, &page, &problem) < 0)
            return cli_problem(cli, &problem);
        status = take(cli, page, data);
        cursor = page->cursor ? arena_strdup(&cli->arena, str_from(page->cursor)) : NULL;
        berm_sandbox_list_free(page);
        if (!cursor)
            break;
    }
    return status;
}

static int take_ids(struct cli *cli, const struct berm_sandbox_list *page, void *data)
{
    int status = STATUS_OK;

    (void)data;
    for (size_t i = 0; status == STATUS_OK && i < page->count; i++)
        status = print_line(cli, page->items[i].id);
    return status;
}

/* The daemon's own objects, so that nothing it says is lost on the way. */
static int take_json(struct cli *cli, const struct berm_sandbox_list *page, void *data)
{
    struct json_writer *w = data;
    const struct json *document, *items;

    if (json_parse(&cli->arena, str_from(page->json), JSON_MAX_DEPTH, &document, NULL) < 0)
        return cli_fail(cli, "unexpected answer from the daemon");
    items = json_get(document, "sandboxes");
    for (size_t i = 0; items && i < items->array.count; i++)
        json_value(w, &items->array.items[i]);
    return STATUS_OK;
}

static int take_rows(struct cli *cli, const struct berm_sandbox_list *page, void *data)
{
    struct table *table = data;

    for (size_t i = 0; i < page->count; i++) {
        const struct berm_sandbox *s = &page->items[i];
        const char *labels = "", *state = s->state;

        for (const char *const *l = s->labels; *l; l++)
            labels = arena_printf(&cli->arena, "%s%s%s", labels, l == s->labels ? "" : ",", *l);
        if (s->end_reason)
            state = arena_printf(&cli->arena, "%s (%s)", s->state, s->end_reason);
        table_row(table, (const char *const[]){ s->id, s->name ? s->name : "", state, s->image, s->created_at,
                                                s->last_used_at, labels });
    }
    return STATUS_OK;
}

static int ls_json(struct cli *cli, const char *label)
{
    struct json_writer w;
    struct buf out;
    char *text;
    int status;

    buf_init(&out, (size_t)128 << 20);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "sandboxes");
    json_array_begin(&w);
    status = each_page(cli, label, take_json, &w);
    json_array_end(&w);
    json_object_end(&w);
    text = json_writer_finish(&w) == 0 ? buf_steal(&out, NULL) : NULL;
    if (status == STATUS_OK)
        status = text ? print_json(cli, text) : cli_fail(cli, "the list is too large");
    free(text);
    buf_free(&out);
    return status;
}

static int ls_table(struct cli *cli, const char *label)
{
    static const char *const header[] = { "ID", "NAME", "STATE", "IMAGE", "CREATED", "LAST USED", "LABELS" };
    struct table table;
    int status;

    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    status = each_page(cli, label, take_rows, &table);
    if (status == STATUS_OK && table_print(&table, stdout) < 0)
        return cli_fail(cli, "writing the list: %s", strerror(errno));
    return status;
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    struct ls_args args = { 0 };
    struct cli_operands operands;

    if (cli_parse(cli, argc, argv, &args, 0, 0, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (args.json)
        return ls_json(cli, args.label);
    return args.quiet ? each_page(cli, args.label, take_ids, NULL) : ls_table(cli, args.label);
}

const struct verb verb_ls = {
    .name = "ls",
    .operands = "",
    .summary = "list sandboxes",
    .options = ls_options,
    .run = run_ls,
};

/* ---- inspect ---- */

struct inspect_args {
    bool json; /* it is what comes anyway */
};

static const struct cli_option inspect_options[] = {
    { 0, "json", NULL, "print JSON, as without it", CLI_FLAG, offsetof(struct inspect_args, json) },
    CLI_OPTIONS_END,
};

static int run_inspect(struct cli *cli, int argc, char **argv)
{
    struct inspect_args args = { 0 };
    struct berm_sandbox_list *found;
    struct cli_operands operands;
    struct berm_client *client;
    struct berm_problem problem;
    int status;

    client = cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status);
    if (!client)
        return status;
    if (berm_sandbox_get(client, operands.items[0], &found, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_json(cli, found->json);
    berm_sandbox_list_free(found);
    return status;
}

const struct verb verb_inspect = {
    .name = "inspect",
    .operands = "ID",
    .summary = "print all about a sandbox, as JSON",
    .options = inspect_options,
    .run = run_inspect,
};

/* ---- logs ---- */

struct logs_args {
    bool json;
};

static const struct cli_option logs_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct logs_args, json) },
    CLI_OPTIONS_END,
};

static int run_logs(struct cli *cli, int argc, char **argv)
{
    static const char *const header[] = { "TIME", "EVENT", "DETAIL" };
    struct logs_args args = { 0 };
    struct cli_operands operands;
    struct berm_event_list *list;
    struct berm_client *client;
    struct berm_problem problem;
    struct table table;
    int status;

    client = cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status);
    if (!client)
        return status;
    if (berm_sandbox_events(client, operands.items[0], &list, &problem) < 0)
        return cli_problem(cli, &problem);
    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++)
        table_row(&table,
                  (const char *const[]){ list->items[i].time, list->items[i].event, list->items[i].detail });
    if (args.json)
        status = print_json(cli, list->json);
    else if (table_print(&table, stdout) < 0)
        status = cli_fail(cli, "writing the list: %s", strerror(errno));
    berm_event_list_free(list);
    return status;
}

const struct verb verb_logs = {
    .name = "logs",
    .operands = "ID",
    .summary = "print the last life-cycle events of a sandbox",
    .options = logs_options,
    .run = run_logs,
};

/* ---- rm ---- */

struct rm_args {
    bool all, json;
};

static const struct cli_option rm_options[] = {
    { 'a', "all", NULL, "remove every sandbox of the daemon", CLI_FLAG, offsetof(struct rm_args, all) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct rm_args, json) },
    CLI_OPTIONS_END,
};

/*
 * Removes them and prints the id of each, or leaves the list with the removed ones; a failure is told and leaves
 * the others their turn.
 */
static int remove_each(struct cli *cli, struct cli_list *ids, bool print)
{
    struct berm_problem problem;
    int status = STATUS_OK;
    size_t removed = 0;

    for (size_t i = 0; i < ids->count; i++) {
        if (berm_sandbox_delete(cli->client, ids->items[i], &problem) < 0) {
            status = cli_problem(cli, &problem);
            continue;
        }
        if (print && print_line(cli, ids->items[i]) != STATUS_OK)
            print = false;
        ids->items[removed++] = ids->items[i];
    }
    ids->count = removed;
    return status;
}

static int take_names(struct cli *cli, const struct berm_sandbox_list *page, void *data)
{
    struct cli_list *ids = data;
    const char **more = arena_calloc(&cli->arena, ids->count + page->count + 1, sizeof(*more));

    if (!more)
        return cli_fail(cli, "out of memory");
    for (size_t i = 0; i < ids->count; i++)
        more[i] = ids->items[i];
    for (size_t i = 0; i < page->count; i++) {
        more[ids->count + i] = arena_strdup(&cli->arena, str_from(page->items[i].id));
        if (!more[ids->count + i])
            return cli_fail(cli, "out of memory");
    }
    ids->items = more;
    ids->count += page->count;
    return STATUS_OK;
}

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct rm_args args = { 0 };
    struct cli_operands operands;
    struct cli_list ids;
    int status = STATUS_OK, printed;

    if (cli_parse(cli, argc, argv, &args, 0, INT_MAX, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (args.all == (operands.count > 0))
        return cli_usage(cli, args.all ? "either --all or ids" : "which sandbox?");
    if (!cli_client(cli))
        return STATUS_FAILED;
    ids = (struct cli_list){ (const char **)operands.items, (size_t)operands.count };
    if (args.all) /* all ids first: removing while paging would move the pages under us */
        status = each_page(cli, NULL, take_names, &ids);
    if (status != STATUS_OK)
        return status;
    status = remove_each(cli, &ids, !args.json);
    if (args.json)
        printed = print_json_list(cli, "removed", &ids);
    else
        printed = fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the output: %s", strerror(errno));
    return status == STATUS_OK ? printed : status;
}

const struct verb verb_rm = {
    .name = "rm",
    .operands = "ID... | --all",
    .summary = "end sandboxes and free everything they hold",
    .options = rm_options,
    .run = run_rm,
};
