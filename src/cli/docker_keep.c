/* docker_keep.c - a container's files become an image of the local store: for builds, and for `commit`. */
#include "base/sys.h"
#include "cli/docker.h"
#include "image/image.h"

#include <fcntl.h>

static int write_piece(void *data, struct str piece)
{
    return write_all(*(int *)data, piece.p, piece.n);
}

static int export_files(struct docker_cli *docker, const char *container, const char *path, struct berm_error *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("GET", docker_path(docker, "/containers/%s/export", docker_encode(docker, container)));

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", path);
    call.sink = write_piece;
    call.sink_data = &fd;
    return docker_do(docker, &call);
}

static const char *images_directory(struct docker_cli *docker)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", "/info");
    const struct json *info;
    const char *directory = NULL;

    if (docker_do(docker, &call) == 0 && (info = docker_json(docker, &call)))
        json_field_cstring(info, "DockerRootDir", &directory, NULL);
    return directory;
}

int docker_keep_files(struct docker_cli *docker, const char *container, const char *name, bool quiet,
                      struct berm_error *err)
{
    const char *images = images_directory(docker);
    struct image_import_report report;
    struct image image;
    char path[] = "/var/tmp/berm-build-XXXXXX";
    int fd, rc;

    if (!images)
        return -1;
    if (geteuid() != 0)
        return berm_fail(err, BERM_E_FORBIDDEN, 0,
                         "RUN, COPY, ADD and commit make files of the image store %.100s, which needs root",
                         images);
    fd = mkstemp(path);
    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "a temporary file");
    close(fd);
    if (!quiet)
        fprintf(stderr, "[image] writing %s\n", name);
    rc = export_files(docker, container, path, err);
    if (rc == 0)
        rc = image_import(images, name, path, NULL, &image, &report, err);
    unlink(path);
    return rc;
}

/* --- commit CONTAINER [REFERENCE] --- */

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

static int post_commit(struct docker_cli *docker, const char *id, const char *reference, const char *image)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("POST", docker_path(docker, "/commit?container=%s&repo=%s&berm-image=%s", id,
                                        docker_encode(docker, reference), image));
    const struct json *answer;
    const char *made = NULL;

    call.content_type = "application/json";
    call.body = STR("{}");
    if (docker_do(docker, &call) < 0 || !(answer = docker_json(docker, &call)) ||
        json_field_cstring(answer, "Id", &made, NULL) < 0 || !made)
        return STATUS_FAILED;
    puts(made);
    return STATUS_OK;
}

int docker_cmd_commit(struct docker_cli *docker, int argc, char **argv)
{
    static const struct docker_flag flags[] = { DOCKER_FLAGS_END };
    struct berm_error err = { .code = BERM_OK };
    struct cli_operands operands;
    const char *id, *image;
    uint8_t random[6];
    char hex[2 * sizeof(random) + 1];

    if (docker_flags(docker, flags, NULL, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count < 1 || operands.count > 2)
        return docker_fail(docker, "commit needs CONTAINER, and may have a REFERENCE");
    id = container_id(docker, operands.items[0]);
    if (!id)
        return STATUS_FAILED;
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), hex);
    image = arena_printf(&docker->cli->arena, "commit-%s", hex);
    if (docker_keep_files(docker, id, image, true, &err) < 0)
        return err.code == BERM_OK ? STATUS_FAILED : docker_fail(docker, "%s", err.message);
    return post_commit(docker, id, operands.count == 2 ? operands.items[1] : image, image);
}
