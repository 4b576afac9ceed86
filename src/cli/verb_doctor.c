/* verb_doctor.c - the report on what this host offers and lacks. */
#include <stdarg.h>

#include "base/json.h"
#include "cli/doctor.h"

struct doctor_args {
    const char *data;
    bool json;
};

/* clang-format off */
static const struct cli_option doctor_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct doctor_args, json) },
    { 0, "data", "DIR", "the daemon's data directory (default: /var/lib/berm)", CLI_TEXT, offsetof(struct doctor_args, data) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* ---- the report ---- */

void finding_set(struct finding *f, enum health health, const char *format, ...)
{
    va_list args;

    f->health = health;
    va_start(args, format);
    vsnprintf(f->detail, sizeof(f->detail), format, args);
    va_end(args);
}

/* A report that is full overwrites its last row, which no list of checks comes near. */
struct doctor_row *doctor_add(struct doctor_report *report, struct str name, const char *why, bool required)
{
    struct doctor_row *row = &report->rows[MIN(report->count, (size_t)DOCTOR_ROWS_MAX - 1)];

    *row = (struct doctor_row){ .why = why, .required = required };
    snprintf(row->name, sizeof(row->name), "%.*s", (int)MIN(name.n, sizeof(row->name) - 1), name.p);
    report->count = MIN(report->count + 1, (size_t)DOCTOR_ROWS_MAX);
    return row;
}

static void examine(struct cli *cli, const char *data_dir, struct doctor_report *report)
{
    bool tried = doctor_ask_spawner(report);

    for (const struct check *c = doctor_checks; c->name; c++) {
        if (!tried || !c->spawner_tries)
            c->run(cli, data_dir, &doctor_add(report, str_from(c->name), c->why, c->required)->finding);
    }
}

static bool all_required(const struct doctor_report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->rows[i].required && r->rows[i].finding.health == HEALTH_MISSING)
            return false;
    }
    return true;
}

static int print_report_json(struct cli *cli, const struct doctor_report *r)
{
    static const char *const words[] = { "ok", "note", "missing" };
    struct json_writer w;
    struct buf out;
    char *text;
    int status;

    buf_init(&out, 256 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_bool(&w, "ok", all_required(r));
    json_key(&w, "checks");
    json_array_begin(&w);
    for (size_t i = 0; i < r->count; i++) {
        json_object_begin(&w);
        json_pair_cstring(&w, "name", r->rows[i].name);
        json_pair_bool(&w, "required", r->rows[i].required);
        json_pair_cstring(&w, "result", words[r->rows[i].finding.health]);
        json_pair_cstring(&w, "detail", r->rows[i].finding.detail);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    text = json_writer_finish(&w) == 0 ? buf_steal(&out, NULL) : NULL;
    status = text ? print_json(cli, text) : cli_fail(cli, "out of memory");
    free(text);
    buf_free(&out);
    return status;
}

static int print_report(struct cli *cli, const struct doctor_report *r)
{
    bool colour = isatty(STDOUT_FILENO) && cli->colour;

    for (size_t i = 0; i < r->count; i++) {
        const struct doctor_row *row = &r->rows[i];
        bool missing = row->finding.health == HEALTH_MISSING;
        const char *word = missing ? (row->required ? "MISSING" : "missing")
                                   : (row->finding.health == HEALTH_NOTE ? "note" : "ok");
        const char *paint = missing && row->required  ? "\033[31m"
                            : strcmp(word, "ok") == 0 ? "\033[32m"
                                                      : "\033[33m";

        printf("%s%-8s%s %-17s %s\n", colour ? paint : "", word, colour ? "\033[0m" : "", row->name,
               row->finding.detail);
        if (row->finding.health != HEALTH_OK && row->why)
            printf("%-8s %-17s without it: %s\n", "", "", row->why);
    }
    printf("\n%s\n", all_required(r) ? "This host can run sandboxes." : "This host cannot run sandboxes.");
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the report: %s", strerror(errno));
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct doctor_args args = { .data = "/var/lib/berm" };
    struct doctor_report report = { .count = 0 };
    struct cli_operands operands;
    int status;

    if (cli_parse(cli, argc, argv, &args, 0, 0, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    examine(cli, args.data, &report);
    status = args.json ? print_report_json(cli, &report) : print_report(cli, &report);
    return status == STATUS_OK && !all_required(&report) ? STATUS_FAILED : status;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "tell what this host offers for sandboxes and what it lacks",
    .details = "Run it as root for a complete answer. Status 1: something is missing that Berm cannot do without.",
    .options = doctor_options,
    .run = run,
};
