/* docker_images.c - image inspect, ls, rm, tag, pull. */
#include "cli/docker.h"

struct image_args {
    const char *format;
    struct cli_list filters;
    bool quiet, force, all;
};

/* clang-format off */
static const struct docker_flag inspect_flags[] = {
    { 'f', "format", FLAG_TEXT, offsetof(struct image_args, format) },
    DOCKER_FLAGS_END
};
static const struct docker_flag list_flags[] = {
    { 0, "format", FLAG_TEXT, offsetof(struct image_args, format) },
    { 'f', "filter", FLAG_LIST, offsetof(struct image_args, filters) },
    { 'q', "quiet", FLAG_ON, offsetof(struct image_args, quiet) },
    { 'a', "all", FLAG_ON, offsetof(struct image_args, all) },
    { 0, "no-trunc", FLAG_IGNORED, 0 },
    DOCKER_FLAGS_END
};
static const struct docker_flag remove_flags[] = {
    { 'f', "force", FLAG_ON, offsetof(struct image_args, force) },
    { 0, "no-prune", FLAG_IGNORED, 0 },
    DOCKER_FLAGS_END
};
static const struct docker_flag pull_flags[] = {
    { 'q', "quiet", FLAG_ON, offsetof(struct image_args, quiet) },
    { 0, "platform", FLAG_IGNORED_TEXT, 0 },
    DOCKER_FLAGS_END
};
/* clang-format on */

int docker_cmd_image_inspect(struct docker_cli *docker, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct cli_operands operands;
    int status = STATUS_OK;

    if (docker_flags(docker, inspect_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count == 0)
        return docker_fail(docker, "image inspect needs an image");
    for (int i = 0; i < operands.count; i++) {
        _cleanup_docker_call_ struct docker_call call =
            DOCKER_CALL("GET", docker_path(docker, "/images/%s/json", docker_encode(docker, operands.items[i])));
        const struct json *image;

        if (docker_do(docker, &call) < 0 || !(image = docker_json(docker, &call)) ||
            docker_print_formatted(docker, args.format ? args.format : "[{{json .}}]", image) != STATUS_OK)
            status = STATUS_FAILED;
    }
    return status;
}

/* The fields that Docker's templates have for an image, from those of its API. */
static const struct json *image_row(struct docker_cli *docker, const struct json *image, struct str tag)
{
    const struct json *id = json_get(image, "Id"), *row = NULL;
    const char *colon = memrchr(tag.p, ':', tag.n);
    struct str repository = { tag.p, colon ? (size_t)(colon - tag.p) : tag.n };
    struct json_writer w;
    struct buf text;

    buf_init(&text, 64 * 1024);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_string(&w, "ID",
                     id && id->type == JSON_STRING && id->string.n >= 19 ? (struct str){ id->string.p + 7, 12 }
                                                                         : STR(""));
    json_pair_string(&w, "Repository", repository);
    json_pair_string(&w, "Tag", colon ? (struct str){ colon + 1, tag.n - repository.n - 1 } : STR("latest"));
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        json_parse(&docker->cli->arena, buf_str(&text), 4, &row, NULL);
    buf_free(&text);
    return row;
}

int docker_cmd_image_ls(struct docker_cli *docker, int argc, char **argv)
{
    static const char *const header[] = { "REPOSITORY", "TAG", "IMAGE ID" };
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", "/images/json");
    struct image_args args = { 0 };
    struct cli_operands operands;
    const struct json *images;
    struct table table;

    if (docker_flags(docker, list_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (args.all)
        call.path = "/images/json?all=1";
    if (operands.count > 0) /* a repository or reference */
        call.path = docker_path(docker, "/images/json?filters=%%7B%%22reference%%22:%%5B%%22%s%%22%%5D%%7D",
                                docker_encode(docker, operands.items[0]));
    if (docker_do(docker, &call) < 0 || !(images = docker_json(docker, &call)) || images->type != JSON_ARRAY)
        return STATUS_FAILED;
    table_init(&table, &docker->cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < images->array.count; i++) {
        const struct json *tags = json_get(&images->array.items[i], "RepoTags"), *row;

        if (!tags || tags->type != JSON_ARRAY || tags->array.count == 0)
            continue;
        row = image_row(docker, &images->array.items[i], tags->array.items[0].string);
        if (!row)
            return docker_fail(docker, "out of memory");
        if (args.format || args.quiet) {
            if (docker_print_formatted(docker, args.format ? args.format : "{{.ID}}", row) != STATUS_OK)
                return STATUS_FAILED;
            continue;
        }
        table_row(&table, (const char *const[]){ json_get(row, "Repository")->string.p,
                                                 json_get(row, "Tag")->string.p, json_get(row, "ID")->string.p });
    }
    if (!args.format && !args.quiet && table_print(&table, stdout) < 0)
        return docker_fail(docker, "cannot write: %s", strerror(errno));
    return STATUS_OK;
}

int docker_cmd_image_rm(struct docker_cli *docker, int argc, char **argv)
{
    struct image_args args = { 0 };
    struct cli_operands operands;
    int status = STATUS_OK;

    if (docker_flags(docker, remove_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count == 0)
        return docker_fail(docker, "rmi needs an image");
    for (int i = 0; i < operands.count; i++) {
        _cleanup_docker_call_ struct docker_call call =
            DOCKER_CALL("DELETE", docker_path(docker, "/images/%s?force=%d",
                                              docker_encode(docker, operands.items[i]), args.force));

        if (docker_do(docker, &call) < 0)
            status = STATUS_FAILED;
        else
            printf("Untagged: %s\n", operands.items[i]);
    }
    return status;
}

/* "name:tag" -> repo=name&tag=tag, where the colon is behind the last slash. */
static const char *target_query(struct docker_cli *docker, const char *ref)
{
    const char *slash = strrchr(ref, '/'), *colon = strrchr(ref, ':');
    char *repo;

    if (!colon || (slash && colon < slash))
        return docker_path(docker, "repo=%s", docker_encode(docker, ref));
    repo = arena_strdup(&docker->cli->arena, (struct str){ ref, (size_t)(colon - ref) });
    return docker_path(docker, "repo=%s&tag=%s", docker_encode(docker, repo ? repo : ""),
                       docker_encode(docker, colon + 1));
}

int docker_cmd_tag(struct docker_cli *docker, int argc, char **argv)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("POST", NULL);

    if (argc != 2)
        return docker_fail(docker, "tag needs SOURCE_IMAGE TARGET_IMAGE");
    call.path =
        docker_path(docker, "/images/%s/tag?%s", docker_encode(docker, argv[0]), target_query(docker, argv[1]));
    return docker_do(docker, &call) < 0 ? STATUS_FAILED : STATUS_OK;
}

int docker_cmd_pull(struct docker_cli *docker, int argc, char **argv)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("POST", NULL);
    struct image_args args = { 0 };
    struct cli_operands operands;

    if (docker_flags(docker, pull_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count != 1)
        return docker_fail(docker, "pull needs one image");
    call.path = docker_path(docker, "/images/create?fromImage=%s", docker_encode(docker, operands.items[0]));
    if (docker_do(docker, &call) < 0)
        return STATUS_FAILED;
    printf("%s%s\n", args.quiet ? "" : "Status: Image is up to date for ", operands.items[0]);
    return STATUS_OK;
}

int docker_cmd_push(struct docker_cli *docker, int argc, char **argv)
{
    (void)argc, (void)argv;
    return docker_fail(docker, "berm pushes to no registry");
}
