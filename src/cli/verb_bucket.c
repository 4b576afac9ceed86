/* verb_bucket.c - buckets of S3 servers as directories of a sandbox. */
#include "cli/cli.h"

struct bucket_args {
    const char *bucket, *endpoint, *prefix;
    struct cli_list options;
    bool read_only, inside;
};

/* clang-format off */
static const struct cli_option mount_options[] = {
    { 'b', "bucket", "NAME", "the bucket, or without --endpoint a name of sandbox.bindings_file", CLI_TEXT, offsetof(struct bucket_args, bucket) },
    { 0, "endpoint", "URL", "the server, as the sandbox reaches it", CLI_TEXT, offsetof(struct bucket_args, endpoint) },
    { 0, "prefix", "/PATH", "only what is below it in the bucket", CLI_TEXT, offsetof(struct bucket_args, prefix) },
    { 0, "read-only", NULL, "nothing can be written", CLI_FLAG, offsetof(struct bucket_args, read_only) },
    { 'o', "option", "OPTION", "one more for s3fs; may be given more than once", CLI_LIST, offsetof(struct bucket_args, options) },
    { 0, "keys-inside", NULL, "with the keys that are in the environment of the sandbox", CLI_FLAG, offsetof(struct bucket_args, inside) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int run_mount(struct cli *cli, int argc, char **argv)
{
    struct bucket_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_bucket bucket;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (!args.bucket)
        return cli_usage(cli, "--bucket is needed");
    bucket = (struct berm_bucket){ .bucket = args.bucket,
                                   .path = operands.items[1],
                                   .endpoint = args.endpoint,
                                   .prefix = args.prefix,
                                   .s3fs_options = args.options.items,
                                   .read_only = args.read_only };
    if (args.endpoint && !args.inside) { /* a binding has its own */
        bucket.access_key_id = getenv("AWS_ACCESS_KEY_ID");
        bucket.secret_access_key = getenv("AWS_SECRET_ACCESS_KEY");
    }
    if (berm_bucket_mount(cli->client, operands.items[0], &bucket, &problem) < 0)
        return cli_problem(cli, &problem);
    return STATUS_OK;
}

const struct verb verb_bucket_mount = {
    .name = "bucket mount",
    .operands = "ID DIRECTORY",
    .summary = "make a bucket of an S3 server a directory of a sandbox",
    .details = "The keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment, here or in the "
               "sandbox.\n"
               "A binding has its own, or takes those in the sandbox.",
    .options = mount_options,
    .run = run_mount,
};

static int run_unmount(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, NULL, 2, 2, &operands, &status))
        return status;
    if (berm_bucket_unmount(cli->client, operands.items[0], operands.items[1], &problem) < 0)
        return cli_problem(cli, &problem);
    return STATUS_OK;
}

const struct verb verb_bucket_unmount = {
    .name = "bucket unmount",
    .operands = "ID DIRECTORY",
    .summary = "take a bucket away, and its directory if that is empty",
    .options = no_options,
    .run = run_unmount,
};
