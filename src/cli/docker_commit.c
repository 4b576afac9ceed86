/* docker_commit.c - commit CONTAINER [REFERENCE]: a container's files become an image. */
#include "cli/docker.h"

static const char *container_id(struct docker_cli *docker, const char *name)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("GET", docker_path(docker, "/containers/%s/json", docker_encode(docker, name)));
    const struct json *answer;
    const char *id = NULL;

    if (docker_do(docker, &call) == 0 && (answer = docker_json(docker, &call)))
        json_field_cstring(answer, "Id", &id, NULL);
    return id;
}

static int post_commit(struct docker_cli *docker, const char *id, const char *reference)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL(
        "POST", docker_path(docker, "/commit?container=%s&repo=%s", id, docker_encode(docker, reference)));
    const struct json *answer;
    const char *made = NULL;

    call.content_type = "application/json";
    call.body = STR("{}");
    if (docker_do(docker, &call) < 0 || !(answer = docker_json(docker, &call)) ||
        json_field_cstring(answer, "Id", &made, NULL) < 0 || !made)
        return STATUS_FAILED;
    return print_line(docker->cli, made);
}

int docker_cmd_commit(struct docker_cli *docker, int argc, char **argv)
{
    static const struct docker_flag flags[] = { { 'p', "pause", FLAG_IGNORED, 0 }, DOCKER_FLAGS_END };
    struct cli_operands operands;
    const char *id;

    if (docker_flags(docker, flags, NULL, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count < 1 || operands.count > 2)
        return docker_fail(docker, "commit needs CONTAINER, and may have a REFERENCE");
    id = container_id(docker, operands.items[0]);
    return id ? post_commit(docker, id, operands.count == 2 ? operands.items[1] : "") : STATUS_FAILED;
}
