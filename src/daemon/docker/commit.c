/*
 * commit.c - POST /commit: an image made of a container.
 *
 * Of a container that was never started it is its image with other settings. Else berm-spawn makes an image of its
 * files, as they are at one moment; the container runs on, so there is no pause to ask for or to do without. That
 * takes seconds, and its end comes as an event. What berm-spawn has made is known by a number of ours while it is
 * made, and by its digest once a reference leads to it: an image that no reference, no container and no commit
 * knows is removed when it is found (docker_sweep_images), which is also what becomes of it if we die in between.
 */
#include "daemon/docker/image_config.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"

#define COMMITS_MAX    16
#define SWEEP_AGAIN_MS 2000 /* an ended sandbox holds its image for a moment more */

struct commit {
    struct list node;
    struct docker *docker;
    struct request *request; /* NULL: the client is gone; the image is made all the same */
    uint64_t number;
    struct docker_image image; /* `config` is owned */
};

/* --- what it is to be --- */

/* The image's Config, changed by what the container was made with and by what the commit says. */
static char *config_of(struct request *request, const struct container *container, const struct docker_image *image,
                       const struct json *changes)
{
    const struct json *base = NULL, *own = NULL;
    _cleanup_free_ char *with_own = NULL;
    const char *description;

    description = arena_printf(&request->arena, "{\"Labels\":%s}", container->labels);
    if (!description || json_parse(&request->arena, str_from(image->config), 32, &base, NULL) < 0 ||
        json_parse(&request->arena, str_from(description), 32, &own, NULL) < 0)
        return NULL;
    with_own = image_config_merge(base, own);
    if (!with_own || json_parse(&request->arena, str_from(with_own), 32, &base, NULL) < 0)
        return NULL;
    return image_config_merge(base, changes);
}

/* Without `repo` it is known by its id only. -1: answered. */
static int take_reference(struct request *request, uint64_t number, struct docker_image *image)
{
    const char *repo = NULL;

    if (request_query(request, "repo", &repo) < 0)
        return -1;
    if (repo && repo[0])
        return docker_target_ref(request, image->ref);
    snprintf(image->ref, sizeof(image->ref), DOCKER_REF_NONE "%016llx", (unsigned long long)number);
    return 0;
}

/* `changes` are a Dockerfile's instructions, which no client of ours sends. -1: answered. */
static int refuse_changes(struct request *request)
{
    struct str changes;

    if (!query_get(request->head->query, "changes", &changes) || changes.n == 0)
        return 0;
    docker_fail(request, 501, "berm takes what a commit changes as JSON in the body, not as `changes`");
    return -1;
}

/* *image, whose config is then the caller's. -1: answered. */
static int describe(struct request *request, const struct container *container, const struct json *changes,
                    uint64_t number, struct docker_image *image)
{
    struct berm_error err;

    if (docker_image_resolve(docker_of(request), &request->arena, container->image, image, &err) < 0 &&
        docker_image_resolve(docker_of(request), &request->arena, container->image_id, image, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    image->created_ms = 0;
    if (take_reference(request, number, image) < 0 || refuse_changes(request) < 0)
        return -1;
    image->config = config_of(request, container, image, changes);
    if (image->config)
        return 0;
    docker_fail(request, 413, "the image's configuration is too large");
    return -1;
}

/* --- its end --- */

static void respond(struct request *request, const struct docker_image *image)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "Id", arena_printf(&request->arena, "sha256:%s", image->id));
    json_object_end(w);
    request_respond_json(request, 201, w);
}

static void free_commit(struct commit *commit)
{
    if (commit->request)
        commit->request->cleanup = NULL;
    list_remove(&commit->node);
    commit->docker->commit_count--;
    free(commit->image.config);
    free(commit);
}

static void fail(struct commit *commit, const struct berm_error *err)
{
    struct request *request = commit->request;

    log_warn("docker.commit_failed", "error", err->message);
    free_commit(commit);
    if (request)
        docker_fail_error(request, err);
}

static void finish(struct commit *commit, const uint8_t digest[32])
{
    struct docker *docker = commit->docker;
    struct request *request = commit->request;
    struct docker_image image = commit->image;
    char hex[2 * 32 + 1];
    struct berm_error err;

    hex_encode(digest, 32, hex);
    snprintf(image.berm_image, sizeof(image.berm_image), "sha256:%s", hex);
    FAULT_POINT("docker.commit.made");
    if (docker_image_put(docker, &image, &err) < 0) {
        fail(commit, &err);
        docker_sweep_images(docker);
        return;
    }
    FAULT_POINT("docker.commit.stored");
    docker_event(docker, "image", "commit", image.id, image.ref, image.ref);
    free_commit(commit); /* `image.config` with it */
    if (request)
        respond(request, &image);
}

/* Each of these is the fault of what is in the container, or of how much is asked for at once. */
static enum berm_err code_of(int error)
{
    switch (error) {
    case EINVAL:
        return BERM_E_IMAGE_INVALID;
    case EAGAIN:
        return BERM_E_CAPACITY_EXCEEDED;
    case ENOENT:
        return BERM_E_CONFLICT;
    default:
        return BERM_E_SYSTEM;
    }
}

static struct commit *find(const struct docker *docker, uint64_t number)
{
    for (const struct list *node = docker->commits.next; node != &docker->commits; node = node->next) {
        struct commit *commit = container_of(node, struct commit, node);

        if (commit->number == number)
            return commit;
    }
    return NULL;
}

static void send_delete(struct docker *docker, uint64_t number)
{
    struct spawn_request request = { .op = SPAWN_OP_IMAGE_DELETE, .key = number };
    struct berm_error err;

    if (spawn_link_send(docker->daemon->spawn, &request, NULL, NULL, &err) < 0)
        log_warn("docker.image_remains", "error", err.message);
}

void docker_committed(struct docker *docker, uint64_t number, const struct spawn_reply *event)
{
    struct commit *commit = docker ? find(docker, number) : NULL;
    struct berm_error err;

    if (!commit) { /* of a daemon before us */
        if (docker && !event->error)
            send_delete(docker, number);
        return;
    }
    if (!event->error) {
        finish(commit, event->image.digest);
        return;
    }
    berm_fail(&err, code_of(event->error), 0, "commit: %s", event->message);
    err.errnum = event->error;
    fail(commit, &err);
}

void docker_commits_lost(struct docker *docker)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_SPAWNER_UNAVAILABLE, 0, "commit: berm-spawn restarted");
    while (docker && !list_empty(&docker->commits))
        fail(container_of(docker->commits.next, struct commit, node), &err);
}

static void on_sweep(struct loop_timer *timer)
{
    docker_sweep_images(container_of(timer, struct docker, sweep_images));
}

void docker_commits_init(struct docker *docker)
{
    list_init(&docker->commits);
    loop_timer_init(&docker->sweep_images, on_sweep);
}

void docker_commits_free(struct docker *docker)
{
    loop_timer_stop(docker->daemon->loop, &docker->sweep_images);
    while (!list_empty(&docker->commits)) {
        struct commit *commit = container_of(docker->commits.next, struct commit, node);

        spawn_link_forget(docker->daemon->spawn, commit);
        free_commit(commit);
    }
}

/* --- its beginning --- */

static void on_begun(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct berm_error failure = *err;

    if (err->code == BERM_OK || err->code == BERM_E_SPAWNER_UNAVAILABLE) /* then docker_commits_lost() comes */
        return;
    if (reply)
        failure.code = code_of(reply->error);
    fail(data, &failure);
}

static void client_gone(struct request *request)
{
    ((struct commit *)request->state)->request = NULL;
}

/* `config` of *image goes over. */
static void begin(struct request *request, const struct container *container, uint64_t number,
                  struct docker_image *image)
{
    struct docker *docker = docker_of(request);
    struct commit *commit = calloc(1, sizeof(*commit));
    struct spawn_request ask = { .op = SPAWN_OP_COMMIT, .key = container->sandbox->row.key };
    struct berm_error err;

    if (!commit) {
        free(image->config);
        docker_fail(request, 500, "out of memory");
        return;
    }
    *commit = (struct commit){ .docker = docker, .number = number, .image = *image };
    list_append(&docker->commits, &commit->node);
    docker->commit_count++;
    ask.commit.number = number;
    if (spawn_link_send(docker->daemon->spawn, &ask, on_begun, commit, &err) < 0) {
        free_commit(commit);
        docker_fail_error(request, &err);
        return;
    }
    commit->request = request;
    request->state = commit;
    request->cleanup = client_gone;
    http_watch_disconnect(request->exchange);
}

/* The settings alone. */
static void commit_settings(struct request *request, struct docker_image *image)
{
    struct berm_error err;

    if (docker_image_put(docker_of(request), image, &err) == 0)
        respond(request, image);
    else
        docker_fail_error(request, &err);
    free(image->config);
}

static void commit(struct request *request, const struct container *container, const struct json *changes)
{
    bool runs = container->sandbox && container->sandbox->row.state == SANDBOX_RUNNING;
    struct docker_image image;
    uint64_t number = 0;

    if (!runs && container->phase == CONTAINER_EXITED) {
        docker_fail(request, 409, "container %s has ended, and its files with it: commit it while it runs",
                    container->name);
        return;
    }
    if (docker_of(request)->commit_count >= COMMITS_MAX) {
        docker_fail(request, 503, "%d commits are under way, and no more are begun", COMMITS_MAX);
        return;
    }
    while (number == 0)
        random_bytes(&number, sizeof(number));
    if (describe(request, container, changes, number, &image) < 0)
        return;
    if (runs)
        begin(request, container, number, &image);
    else
        commit_settings(request, &image);
}

static void on_body(struct request *request)
{
    const struct json *changes = docker_body(request);
    struct container *container = NULL;
    const char *name = NULL;
    struct berm_error err;

    if (!changes || request_query(request, "container", &name) < 0)
        return;
    if (image_config_check(changes, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    if (name)
        container = container_find(docker_of(request), str_from(name));
    if (!container)
        docker_fail(request, 404, "No such container: %s", name ? name : "");
    else if (container->side)
        docker_fail(request, 409, "an interceptor has no file system");
    else
        commit(request, container, changes);
}

void docker_commit(struct request *request)
{
    docker_read_json(request, on_body);
}

/* --- what nothing knows any more --- */

static bool referenced(const struct docker *docker, const char *berm_image)
{
    for (const struct list *node = docker->images.next; node != &docker->images; node = node->next)
        if (!strcmp(container_of(node, struct docker_image, node)->berm_image, berm_image))
            return true;
    return false;
}

static bool in_container(const struct docker *docker, const char *berm_image)
{
    for (const struct list *node = docker->containers.next; node != &docker->containers; node = node->next)
        if (!strcmp(container_of(node, struct container, node)->berm_image, berm_image))
            return true;
    return false;
}

void docker_image_found(struct docker *docker, uint64_t number, const uint8_t digest[32])
{
    char name[7 + 2 * 32 + 1] = "sha256:";

    if (!docker || find(docker, number))
        return;
    hex_encode(digest, 32, name + 7);
    if (referenced(docker, name))
        return;
    if (in_container(docker, name)) {
        docker->images_wait = true;
        return;
    }
    log_debug("docker.image_unclaimed", "image", name);
    send_delete(docker, number);
    loop_timer_start(docker->daemon->loop, &docker->sweep_images, SWEEP_AGAIN_MS); /* until it is gone */
}

void docker_sweep_images(struct docker *docker)
{
    struct spawn_request request = { .op = SPAWN_OP_IMAGE_LIST };
    struct berm_error err;

    if (!docker)
        return;
    docker->images_wait = false;
    if (spawn_link_send(docker->daemon->spawn, &request, NULL, NULL, &err) < 0)
        log_warn("docker.images_not_swept", "error", err.message);
}

void docker_image_released(struct docker *docker)
{
    if (docker->images_wait)
        loop_timer_start(docker->daemon->loop, &docker->sweep_images, 0);
}
