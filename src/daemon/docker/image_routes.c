/* image_routes.c - /images/... An image's name may hold slashes, so what is asked stands at the end.
 */
#include "base/sys.h"
#include "daemon/docker/image_config.h"

#define CACHE_PREFIX "berm.build:" /* of `berm docker build` */

/* --- names in paths --- */

/* "a/b:c/json" with `suffix` "/json" -> "a/b:c", decoded. NULL: the path ends otherwise, or was refused. */
static const char *name_before(struct request *request, const char *suffix)
{
    struct str rest = request->rest;
    size_t n = strlen(suffix);
    char *name;

    if (rest.n <= n || memcmp(rest.p + rest.n - n, suffix, n))
        return NULL;
    name = arena_alloc(&request->arena, rest.n - n + 1);
    if (!name || percent_decode((struct str){ rest.p, rest.n - n }, name, rest.n - n + 1) < 0)
        return NULL;
    return name;
}

static void no_such_call(struct request *request)
{
    docker_fail(request, 501, "berm does not implement %.*s %.*s", (int)MIN(request->head->method.n, (size_t)16),
                request->head->method.p, (int)MIN(request->head->path.n, (size_t)160), request->head->path.p);
}

/* --- reading --- */

static void write_tags(struct json_writer *w, struct docker *docker, const struct docker_image *image)
{
    bool any = docker_ref_is_none(image->ref);

    json_key(w, "RepoTags");
    json_array_begin(w);
    for (struct list *node = docker->images.next; node != &docker->images; node = node->next) {
        struct docker_image *other = container_of(node, struct docker_image, node);

        if (strcmp(other->id, image->id) || docker_ref_is_none(other->ref))
            continue;
        json_cstring(w, other->ref);
        any = true;
    }
    if (!any)
        json_cstring(w, image->ref);
    json_array_end(w);
}

static void write_config(struct json_writer *w, struct arena *arena, const struct docker_image *image)
{
    const struct json *config = NULL;

    json_key(w, "Config");
    if (json_parse(arena, str_from(image->config), 32, &config, NULL) == 0)
        json_value(w, config);
    else
        json_null(w);
}

static void write_labels(struct json_writer *w, struct arena *arena, const struct docker_image *image)
{
    const struct json *config = container_text(arena, image->config), *labels = json_get(config, "Labels");

    container_write_labels(w, labels && labels->type == JSON_OBJECT ? labels : NULL);
}

static void inspect(struct request *request, const char *name)
{
    struct docker *docker = docker_of(request);
    struct docker_image image;
    struct json_writer *w;
    struct berm_error err;
    char created[25];

    if (docker_image_resolve(docker, &request->arena, name, &image, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    format_timestamp(image.created_ms, created);
    json_object_begin(w);
    json_pair_cstring(w, "Id", arena_printf(&request->arena, "sha256:%s", image.id));
    write_tags(w, docker, &image);
    json_pair_empty_array(w, "RepoDigests");
    json_pair_cstring(w, "Created", created);
    json_pair_cstring(w, "Architecture", "amd64");
    json_pair_cstring(w, "Os", "linux");
    json_pair_int(w, "Size", 0);
    write_config(w, &request->arena, &image);
    json_pair_cstring(w, "Parent", "");
    json_key(w, "RootFS");
    json_object_begin(w);
    json_pair_cstring(w, "Type", "layers");
    json_key(w, "Layers");
    json_array_begin(w);
    json_cstring(w, image.berm_image);
    json_array_end(w);
    json_object_end(w);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

void docker_image_get(struct request *request)
{
    const char *name = name_before(request, "/json");

    if (name)
        inspect(request, name);
    else
        no_such_call(request);
}

static bool reference_matches(const void *subject, struct str value)
{
    const struct docker_image *image = subject;
    char wanted[DOCKER_REF_MAX + 1];

    if (docker_ref_normalise(value, wanted) < 0)
        return false;
    if (memchr(value.p, ':', value.n))
        return !strcmp(wanted, image->ref);
    return str_has_prefix(str_from(image->ref), value) && image->ref[value.n] == ':';
}

static bool dangling_matches(const void *subject, struct str value)
{
    bool wanted = str_is(value, "true") || str_is(value, "1") || str_is(value, "True");

    return wanted == docker_ref_is_none(((const struct docker_image *)subject)->ref);
}

static bool label_matches(const void *subject, struct str value)
{
    const struct docker_image *image = subject;
    const struct json *config = NULL, *labels;
    struct arena arena;
    struct json_writer w;
    struct buf text;
    bool found = false;

    arena_init(&arena, 64 * DOCKER_BODY_MAX);
    buf_init(&text, 2 * DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    if (json_parse(&arena, str_from(image->config), 32, &config, NULL) == 0 &&
        (labels = json_get(config, "Labels"))) {
        json_value(&w, labels);
        if (json_writer_finish(&w) == 0 && buf_append(&text, "", 1) == 0)
            found = docker_label_matches(buf_head(&text), value);
    }
    buf_free(&text);
    arena_free(&arena);
    return found;
}

void docker_image_list(struct request *request)
{
    struct docker *docker = docker_of(request);
    static const char *const names[] = { "reference", "label", "dangling", NULL };
    bool all = docker_query_flag(request, "all");
    struct docker_filters filters;
    struct json_writer *w;

    if (docker_filters(request, names, &filters) < 0 || !(w = request_json(request)))
        return;
    json_array_begin(w);
    for (struct list *node = docker->images.prev; node != &docker->images; node = node->prev) {
        struct docker_image *image = container_of(node, struct docker_image, node);

        /* The build's cache is of no interest to people. */
        if (!all && !strncmp(image->ref, CACHE_PREFIX, strlen(CACHE_PREFIX)))
            continue;
        if (!docker_filter_any(&filters, "reference", reference_matches, image) ||
            !docker_filter_any(&filters, "dangling", dangling_matches, image) ||
            !docker_filter_all(&filters, "label", label_matches, image))
            continue;
        json_object_begin(w);
        json_pair_cstring(w, "Id", arena_printf(&request->arena, "sha256:%s", image->id));
        json_pair_cstring(w, "ParentId", "");
        json_key(w, "RepoTags");
        json_array_begin(w);
        if (!docker_ref_is_none(image->ref))
            json_cstring(w, image->ref);
        json_array_end(w);
        json_pair_int(w, "Created", image->created_ms / 1000);
        json_pair_empty_array(w, "RepoDigests");
        json_pair_int(w, "Size", 0);
        json_pair_int(w, "SharedSize", -1);
        json_pair_int(w, "Containers", -1);
        write_labels(w, &request->arena, image);
        json_object_end(w);
    }
    json_array_end(w);
    request_respond_json(request, 200, w);
}

/* --- tags --- */

int docker_target_ref(struct request *request, char out[DOCKER_REF_MAX + 1])
{
    const char *repo = NULL, *tag = NULL, *text;

    if (request_query(request, "repo", &repo) < 0 || request_query(request, "tag", &tag) < 0)
        return -1;
    text = tag && tag[0] ? arena_printf(&request->arena, "%s:%s", repo ? repo : "", tag) : repo;
    if (text && text[0] && text[0] != ':' && docker_ref_normalise(str_from(text), out) == 0)
        return 0;
    docker_fail(request, 400, "invalid reference format");
    return -1;
}

static void tag(struct request *request, const char *name)
{
    struct docker *docker = docker_of(request);
    char ref[DOCKER_REF_MAX + 1];
    struct docker_image image;
    struct berm_error err;

    if (docker_target_ref(request, ref) < 0)
        return;
    if (docker_image_resolve(docker, &request->arena, name, &image, &err) == 0) {
        memcpy(image.ref, ref, sizeof(image.ref));
        if (docker_image_put(docker, &image, &err) == 0) {
            request_respond_empty(request, 201);
            return;
        }
    }
    docker_fail_error(request, &err);
}

void docker_image_post(struct request *request)
{
    const char *name = name_before(request, "/tag");

    if (name)
        tag(request, name);
    else
        no_such_call(request);
}

void docker_image_delete(struct request *request)
{
    struct docker *docker = docker_of(request);
    const char *name = name_before(request, "");
    struct docker_image image;
    struct json_writer *w;
    struct berm_error err;

    if (!name) {
        docker_fail(request, 400, "invalid reference format");
        return;
    }
    if (docker_image_resolve(docker, &request->arena, name, &image, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    if (docker_image_untag(docker, name, &err) < 0) {
        docker_fail(request, 409, "%s belongs to the image store: see `berm image rm`", image.ref);
        return;
    }
    docker_sweep_images(docker); /* its files may have been a container's */
    w = request_json(request);
    if (!w)
        return;
    json_array_begin(w);
    json_object_begin(w);
    json_pair_cstring(w, docker_ref_is_none(image.ref) ? "Deleted" : "Untagged",
                      docker_ref_is_none(image.ref) ? arena_printf(&request->arena, "sha256:%s", image.id)
                                                    : image.ref);
    json_object_end(w);
    json_array_end(w);
    request_respond_json(request, 200, w);
}

/* --- pull: what is here is here --- */

void docker_image_create(struct request *request)
{
    const char *from = NULL, *wanted_tag = NULL, *ref;
    struct docker_image image;
    struct json_writer *w;
    struct berm_error err;
    struct buf text;

    if (request_query(request, "fromImage", &from) < 0 || request_query(request, "tag", &wanted_tag) < 0)
        return;
    if (!from || !from[0]) {
        docker_fail(request, 501, "berm imports images with `berm image import`, not through this call");
        return;
    }
    ref = wanted_tag && wanted_tag[0] && strncmp(wanted_tag, "sha256:", 7) != 0
              ? arena_printf(&request->arena, "%s:%s", from, wanted_tag)
              : from;
    if (!ref || docker_image_resolve(docker_of(request), &request->arena, ref, &image, &err) < 0) {
        docker_fail(request, 404,
                    "%s is not a local image, and berm pulls from no registry: import it with `berm image import`",
                    from);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "status", arena_printf(&request->arena, "Status: Image is up to date for %s", image.ref));
    json_object_end(w);
    buf_init(&text, DOCKER_BODY_MAX);
    if (json_writer_finish(w) == 0 && buf_append_str(&text, buf_str(w->out)) == 0 &&
        buf_append(&text, "\r\n", 2) == 0)
        request_respond(request, 200, "application/json", buf_str(&text));
    else
        docker_fail(request, 500, "out of memory");
    buf_free(w->out);
    buf_free(&text);
}
