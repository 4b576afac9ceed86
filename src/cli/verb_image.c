/* image build, import, ls and rm: the image store of this machine, without the daemon. */
#include "base/json.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/units.h"
#include "image/image.h"

struct image_args {
    const char *images;
    const char *recipe;
    bool json, quiet;
};

/* clang-format off */
#define IMAGES_OPTION \
    { 0, "images", "DIR", "the image store (default: $BERM_IMAGES, or " IMAGES_DIR_DEFAULT ")", CLI_TEXT, offsetof(struct image_args, images) }

static const struct cli_option build_options[] = {
    { 'f', "recipe", "DIR", "directory of the recipe (default: Berm's own of that name)", CLI_TEXT, offsetof(struct image_args, recipe) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct image_args, json) },
    { 'q', "quiet", NULL, "print the digest only", CLI_FLAG, offsetof(struct image_args, quiet) },
    IMAGES_OPTION,
    CLI_OPTIONS_END
};

static const struct cli_option import_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct image_args, json) },
    { 'q', "quiet", NULL, "print the digest only", CLI_FLAG, offsetof(struct image_args, quiet) },
    IMAGES_OPTION,
    CLI_OPTIONS_END
};

static const struct cli_option ls_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct image_args, json) },
    { 'q', "quiet", NULL, "print digests only", CLI_FLAG, offsetof(struct image_args, quiet) },
    IMAGES_OPTION,
    CLI_OPTIONS_END
};

static const struct cli_option rm_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct image_args, json) },
    IMAGES_OPTION,
    CLI_OPTIONS_END
};
/* clang-format on */

static const char *images_dir(const struct image_args *args)
{
    const char *env = getenv("BERM_IMAGES");

    if (args->images)
        return args->images;
    return env && env[0] ? env : IMAGES_DIR_DEFAULT;
}

/* ---- progress ---- */

struct progress {
    const struct cli *cli;
    bool quiet, line_open;
    char stage[64];
};

__attribute__((format(printf, 1, 2))) static void print_detail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_clean(stderr, format, args);
    va_end(args);
}

/* On a terminal one line that is rewritten; elsewhere a line per stage. Details only matter when something fails.
 */
static void report(void *arg, const char *stage, int percent, const char *detail)
{
    struct progress *p = arg;
    bool same = strcmp(stage, p->stage) == 0;

    if (p->quiet)
        return;
    if (!p->cli->terminal) {
        if (!same)
            fprintf(stderr, "%s\n", stage);
    } else if (percent >= 0) {
        fprintf(stderr, "\r\033[K%s: %d %%", stage, percent);
    } else {
        fprintf(stderr, "\r\033[K%s%s", stage, detail ? ": " : "");
        if (detail) /* a name out of somebody's archive, or a line of a package's installation */
            print_detail("%.60s", detail);
    }
    p->line_open = p->cli->terminal;
    snprintf(p->stage, sizeof(p->stage), "%s", stage);
    fflush(stderr);
}

static void end_progress(struct progress *p)
{
    if (p->line_open)
        fputs("\r\033[K", stderr);
    p->line_open = false;
}

static int failed(struct cli *cli, const struct berm_error *err)
{
    int status = cli_fail(cli, "%s", err->message);

    if (err->errnum == EACCES || err->errnum == EPERM)
        fprintf(stderr, "the image store belongs to root: try with sudo\n");
    return status;
}

static void write_image(struct json_writer *w, const struct image *image)
{
    char created[25];

    format_timestamp(image->created_ms, created);
    json_object_begin(w);
    json_pair_cstring(w, "name", image->name[0] ? image->name : NULL);
    json_pair_cstring(w, "digest", image->digest);
    json_pair_int(w, "sizeBytes", (int64_t)image->size_bytes);
    json_pair_cstring(w, "createdAt", created);
    json_object_end(w);
}

static int print_made(struct cli *cli, const struct image *image, const struct image_args *args)
{
    char size[SIZE_TEXT_MAX];
    struct json_writer w;
    struct buf out;

    if (!args->quiet && cli->terminal)
        fprintf(stderr, "berm: image %s, %s\n", image->name, format_size(image->size_bytes, size));
    if (args->json) {
        buf_init(&out, 64 * 1024);
        json_writer_init(&w, &out);
        write_image(&w, image);
        return print_json_written(cli, &w);
    }
    printf("%s\n", image->digest);
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the output: %s", strerror(errno));
}

/* ---- the verbs ---- */

static int run_build(struct cli *cli, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct cli_operands operands;
    struct berm_error err;
    struct image image;
    char found[4096];
    const char *name, *recipe;
    int rc;

    if (cli_parse(cli, argc, argv, &args, 0, 1, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    name = operands.items[0] ? operands.items[0] : IMAGE_NAME_DEFAULT;
    recipe = args.recipe;
    if (!recipe) {
        if (image_recipe_find(name, found, sizeof(found), &err) < 0)
            return failed(cli, &err);
        recipe = found;
    }
    struct progress progress = { .cli = cli, .quiet = args.quiet };
    rc = image_build(images_dir(&args), name, recipe, &(struct image_progress){ report, &progress }, &image, &err);
    end_progress(&progress);
    return rc < 0 ? failed(cli, &err) : print_made(cli, &image, &args);
}

const struct verb verb_image_build = {
    .name = "image build",
    .operands = "[NAME]",
    .summary = "make an image from a recipe (default: " IMAGE_NAME_DEFAULT ")",
    .details = "Prints the image's digest. Building again under a name moves the name. Needs root.",
    .options = build_options,
    .run = run_build,
};

static void tell_skipped(const struct cli *cli, const struct image_import_report *report)
{
    if (report->devices_skipped + report->sockets_skipped > 0)
        cli_warn(cli, "left out: %llu device files, %llu sockets", (unsigned long long)report->devices_skipped,
                 (unsigned long long)report->sockets_skipped);
    if (report->xattrs_dropped > 0)
        cli_warn(cli, "left out: %llu extended attributes", (unsigned long long)report->xattrs_dropped);
}

static int run_import(struct cli *cli, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct image_import_report skipped = { 0 };
    struct cli_operands operands;
    struct berm_error err;
    struct image image;
    int rc;

    if (cli_parse(cli, argc, argv, &args, 2, 2, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    struct progress progress = { .cli = cli, .quiet = args.quiet };
    rc = image_import(images_dir(&args), operands.items[0], operands.items[1],
                      &(struct image_progress){ report, &progress }, &image, &skipped, &err);
    end_progress(&progress);
    if (rc < 0)
        return failed(cli, &err);
    if (!args.quiet)
        tell_skipped(cli, &skipped);
    return print_made(cli, &image, &args);
}

const struct verb verb_image_import = {
    .name = "image import",
    .operands = "NAME FILE.tar[.gz|.zst|.xz] | NAME OCI-LAYOUT-DIR",
    .summary = "make an image from a root file system or an OCI image layout",
    .details = "Prints the image's digest. Needs root.",
    .options = import_options,
    .run = run_import,
};

static int print_images_json(struct cli *cli, const struct image *images, size_t count)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, (size_t)16 << 20);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "images");
    json_array_begin(&w);
    for (size_t i = 0; i < count; i++)
        write_image(&w, &images[i]);
    json_array_end(&w);
    json_object_end(&w);
    return print_json_written(cli, &w);
}

static int print_images(struct cli *cli, const struct image *images, size_t count)
{
    static const char *const header[] = { "NAME", "DIGEST", "SIZE", "CREATED" };
    struct table table;

    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < count; i++) {
        char size[SIZE_TEXT_MAX], created[25];
        const char *name = images[i].name[0] ? images[i].name : NULL;

        format_timestamp(images[i].created_ms, created);
        table_row(&table, (const char *const[]){ name, images[i].digest, format_size(images[i].size_bytes, size),
                                                 created });
    }
    return table_print(&table, stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the list: %s", strerror(errno));
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct cli_operands operands;
    struct image *images = NULL;
    struct berm_error err;
    size_t count = 0;
    int status = STATUS_OK;

    if (cli_parse(cli, argc, argv, &args, 0, 0, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (image_list(images_dir(&args), &images, &count, &err) < 0)
        return failed(cli, &err);
    if (args.json)
        status = print_images_json(cli, images, count);
    else if (!args.quiet)
        status = print_images(cli, images, count);
    else
        for (size_t i = 0; i < count; i++)
            printf("%s\n", images[i].digest);
    free(images);
    return status;
}

const struct verb verb_image_ls = {
    .name = "image ls",
    .operands = "",
    .summary = "list the images of this machine",
    .options = ls_options,
    .run = run_ls,
};

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct cli_operands operands;
    struct berm_error err;

    if (cli_parse(cli, argc, argv, &args, 1, 1, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (image_remove(images_dir(&args), operands.items[0], &err) < 0)
        return failed(cli, &err);
    return args.json ? print_json_pair(cli, "removed", operands.items[0]) : STATUS_OK;
}

const struct verb verb_image_rm = {
    .name = "image rm",
    .operands = "NAME | DIGEST",
    .summary = "remove an image that no sandbox uses",
    .options = rm_options,
    .run = run_rm,
};
