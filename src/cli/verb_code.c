/* verb_code.c - code in interpreters that remember what it defined. */
#include "base/base64.h"
#include "base/json.h"
#include "cli/cli.h"

struct code_args {
    const char *language, *context, *cwd, *images;
    struct cli_list env;
    int64_t timeout_ms;
    bool json;
};

/* clang-format off */
static const struct cli_option run_options[] = {
    { 'l', "language", "NAME", "python (the default), javascript or typescript", CLI_TEXT, offsetof(struct code_args, language) },
    { 'c', "context", "CONTEXT", "in this context (default: a new one, which ends with berm)", CLI_TEXT, offsetof(struct code_args, context) },
    { 0, "timeout", "TIME", "interrupt the code after TIME", CLI_DURATION, offsetof(struct code_args, timeout_ms) },
    { 0, "json", NULL, "print all results as JSON, one a line", CLI_FLAG, offsetof(struct code_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option create_options[] = {
    { 'l', "language", "NAME", "python (the default), javascript or typescript", CLI_TEXT, offsetof(struct code_args, language) },
    { 'e', "env", "NAME=VALUE", "set a variable; a bare NAME is taken from the environment", CLI_ENV, offsetof(struct code_args, env) },
    { 'w', "workdir", "DIR", "directory to run in (default: /workspace)", CLI_TEXT, offsetof(struct code_args, cwd) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct code_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option json_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct code_args, json) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* --- results --- */

static int print_bytes(struct cli *cli, int fd, struct str text)
{
    const struct cli_output out = { fd, cli->signal_fd };

    if (cli_output_write(&out, text.p, text.n) < 0 || cli_output_write(&out, "\n", 1) < 0)
        return -1;
    return 0;
}

/* The text of a result; of what has none, its kind. */
static int print_result(struct cli *cli, const struct json *result)
{
    static const char *const kinds[] = { "markdown", "html", "latex", "svg", "png", "jpeg", "pdf", "javascript" };
    const struct json *text = json_get(result, "text"), *json = json_get(result, "json");
    _cleanup_(buf_free) struct buf out;
    struct json_writer w;

    buf_init(&out, (size_t)32 << 20);
    if (text && text->type == JSON_STRING)
        return print_bytes(cli, STDOUT_FILENO, text->string);
    if (json) {
        json_writer_init(&w, &out);
        json_value(&w, json);
        return json_writer_finish(&w) == 0 ? print_bytes(cli, STDOUT_FILENO, buf_str(&out)) : 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!json_get(result, kinds[i]))
            continue;
        buf_printf(&out, "[%s; --json has it]", kinds[i]);
        return print_bytes(cli, STDOUT_FILENO, buf_str(&out));
    }
    return 0;
}

static int print_exception(struct cli *cli, const struct json *event)
{
    struct str name = STR("error"), value = STR("");
    _cleanup_(buf_free) struct buf out;

    buf_init(&out, (size_t)4 << 20);
    json_field_string(event, "ename", &name, NULL);
    json_field_string(event, "evalue", &value, NULL);
    buf_printf(&out, "%.*s: %.*s", (int)name.n, name.p, (int)value.n, value.p);
    return print_bytes(cli, STDERR_FILENO, buf_str(&out));
}

struct outcome {
    bool json, failed;
};

static int on_event(struct cli *cli, const struct berm_item *item, void *data)
{
    struct outcome *outcome = data;
    _cleanup_(arena_free) struct arena arena;
    const struct json *event;

    arena_init(&arena, (size_t)64 << 20);
    outcome->failed |= strcmp(item->name, "error") == 0;
    if (outcome->json)
        return cli_event_line(cli, item, NULL);
    if (json_parse(&arena, (struct str){ item->data, item->size }, JSON_MAX_DEPTH, &event, NULL) < 0)
        return 0;
    if (strcmp(item->name, "result") == 0)
        return print_result(cli, event);
    return strcmp(item->name, "error") == 0 ? print_exception(cli, event) : 0;
}

/* --- the verb --- */

/* "-" is standard input. NULL: told. */
static const char *read_code(struct cli *cli, const char *operand)
{
    _cleanup_(buf_free) struct buf text;
    ssize_t n = 1;

    buf_init(&text, (size_t)8 << 20);
    if (strcmp(operand, "-") != 0)
        return operand;
    while (n > 0) {
        char *room = buf_reserve(&text, 65536);

        n = room ? RETRY_EINTR(read(STDIN_FILENO, room, 65536)) : -1;
        if (n > 0)
            buf_commit(&text, (size_t)n);
    }
    if (n < 0 || memchr(buf_str(&text).p, '\0', text.len)) {
        cli_fail(cli, "the code cannot be read, is too long, or holds a NUL");
        return NULL;
    }
    return arena_strdup(&cli->arena, buf_str(&text));
}

static int run_code(struct cli *cli, int argc, char **argv)
{
    struct code_args args = { 0 };
    _cleanup_free_ char *made = NULL;
    struct berm_code code = { 0 };
    struct outcome outcome = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_stream *stream;
    const char *id;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    id = operands.items[0];
    outcome.json = args.json;
    code.timeout_ms = args.timeout_ms;
    code.context = args.context;
    code.code = read_code(cli, operands.items[1]);
    if (!code.code)
        return STATUS_FAILED;
    if (!code.context && berm_context_create(cli->client, id, args.language, NULL, NULL, &made, &problem) < 0)
        return cli_problem(cli, &problem);
    if (made)
        code.context = made;
    if (berm_code_run(cli->client, id, &code, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    status = cli_stream(cli, stream, on_event, &outcome, NULL);
    if (made && berm_context_delete(cli->client, id, made, &problem) < 0)
        return cli_problem(cli, &problem);
    return status == STATUS_OK && outcome.failed ? STATUS_FAILED : status;
}

const struct verb verb_code_run = {
    .name = "code run",
    .operands = "ID CODE",
    .summary = "run code in a sandbox's interpreter and print its output and results",
    .details = "CODE \"-\" is read from standard input. The status is 1 if the code raised an exception.",
    .options = run_options,
    .run = run_code,
};

/* --- contexts --- */

static int run_create(struct cli *cli, int argc, char **argv)
{
    struct code_args args = { 0 };
    _cleanup_free_ char *context = NULL;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (berm_context_create(cli->client, operands.items[0], args.language, args.cwd, args.env.items, &context,
                            &problem) < 0)
        return cli_problem(cli, &problem);
    if (args.json)
        return print_json_pair(cli, "id", context);
    return print_line(cli, context);
}

const struct verb verb_context_create = {
    .name = "context create",
    .operands = "ID",
    .summary = "start an interpreter in a sandbox and print its id",
    .options = create_options,
    .run = run_create,
};

static int run_context_ls(struct cli *cli, int argc, char **argv)
{
    static const char *const header[] = { "ID", "LANGUAGE", "DIRECTORY" };
    struct code_args args = { 0 };
    struct berm_context_list *list;
    struct cli_operands operands;
    struct berm_problem problem;
    struct table table;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (berm_context_list(cli->client, operands.items[0], &list, &problem) < 0)
        return cli_problem(cli, &problem);
    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++)
        table_row(&table, (const char *const[]){ list->items[i].id, list->items[i].language, list->items[i].cwd });
    status = args.json                         ? print_json(cli, list->json)
             : table_print(&table, stdout) < 0 ? cli_fail(cli, "writing the output: %s", strerror(errno))
                                               : STATUS_OK;
    berm_context_list_free(list);
    return status;
}

const struct verb verb_context_ls = {
    .name = "context ls",
    .operands = "ID",
    .summary = "list a sandbox's interpreters",
    .options = json_options,
    .run = run_context_ls,
};

static int on_context(struct cli *cli, int argc, char **argv, const char *done,
                      int (*call)(struct berm_client *, const char *, const char *, struct berm_problem *))
{
    struct code_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (call(cli->client, operands.items[0], operands.items[1], &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, done, operands.items[1]) : STATUS_OK;
}

static int run_context_rm(struct cli *cli, int argc, char **argv)
{
    return on_context(cli, argc, argv, "removed", berm_context_delete);
}

const struct verb verb_context_rm = {
    .name = "context rm",
    .operands = "ID CONTEXT",
    .summary = "end an interpreter",
    .options = json_options,
    .run = run_context_rm,
};

static int run_context_interrupt(struct cli *cli, int argc, char **argv)
{
    return on_context(cli, argc, argv, "interrupted", berm_context_interrupt);
}

const struct verb verb_context_interrupt = {
    .name = "context interrupt",
    .operands = "ID CONTEXT",
    .summary = "stop what runs in an interpreter, and keep it",
    .options = json_options,
    .run = run_context_interrupt,
};
