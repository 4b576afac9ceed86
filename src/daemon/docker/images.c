/*
 * images.c - what Docker's image references mean here.
 *
 * A tag leads to a root file system of the image store and to a Config of its own (environment, command, ports), so
 * a Dockerfile that only says such things makes an image without a byte of data. Tags are documents of the store.
 * Without a tag, `cloudflare/sandbox:<any>` is the daemon's default image, whose agent is ours, and the name of a
 * local image is that image.
 */
#include "daemon/docker/image_config.h"

#include "base/log.h"

#include <openssl/evp.h>

#define KIND           "docker.image"
#define DOCUMENT_MAX   (2 * DOCKER_BODY_MAX)
#define DOCUMENT_ARENA (64 * DOCKER_BODY_MAX)

/* --- references --- */

static void drop_prefix(struct str *ref, const char *prefix)
{
    size_t n = strlen(prefix);

    if (str_has_prefix(*ref, str_from(prefix)))
        *ref = (struct str){ ref->p + n, ref->n - n };
}

static bool ref_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-/:@", c);
}

/* Where the tag's colon is, or s.n. */
static size_t tag_at(struct str s)
{
    for (size_t i = s.n; i > 0 && s.p[i - 1] != '/'; i--)
        if (s.p[i - 1] == ':')
            return i - 1;
    return s.n;
}

int docker_ref_normalise(struct str ref, char out[DOCKER_REF_MAX + 1])
{
    const char *at;
    bool tagged;

    for (size_t i = 0; i < ref.n; i++)
        if (!ref.p[i] || !ref_char(ref.p[i]))
            return -1;
    at = ref.n ? memchr(ref.p, '@', ref.n) : NULL;
    if (at)
        ref.n = (size_t)(at - ref.p);
    drop_prefix(&ref, "docker.io/");
    drop_prefix(&ref, "index.docker.io/");
    drop_prefix(&ref, "library/");
    tagged = tag_at(ref) < ref.n;
    if (ref.n == 0 || ref.n + (tagged ? 0 : 7) > DOCKER_REF_MAX)
        return -1;
    snprintf(out, DOCKER_REF_MAX + 1, "%.*s%s", (int)ref.n, ref.p, tagged ? "" : ":latest");
    return 0;
}

bool docker_ref_is_interceptor(struct str ref)
{
    char text[DOCKER_REF_MAX + 1];
    const char *name;

    if (docker_ref_normalise(ref, text) < 0)
        return false;
    name = strrchr(text, '/');
    name = name ? name + 1 : text;
    return !strncmp(name, "proxy-everything:", 17);
}

bool docker_ref_is_none(const char *ref)
{
    return str_has_prefix(str_from(ref), STR(DOCKER_REF_NONE));
}

/* image->id by its contents. */
static int identify(struct docker_image *image, struct berm_error *err)
{
    _cleanup_free_ char *text = NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    int n = asprintf(&text, "%s\n%s", image->berm_image, image->config);

    if (n < 0) {
        text = NULL;
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
    }
    if (EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha256(), NULL) != 1)
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    hex_encode(digest, DOCKER_ID_HEX / 2, image->id);
    return 0;
}

/* --- what needs no tag --- */

static int builtin(struct docker *docker, struct arena *arena, const char *name, bool plain, const char *ref,
                   struct docker_image *ret, struct berm_error *err)
{
    const struct image_entry *entry = image_cache_resolve(docker->daemon->images, name, err);

    if (!entry)
        return -1;
    *ret = (struct docker_image){ .plain = plain };
    snprintf(ret->ref, sizeof(ret->ref), "%s", ref);
    snprintf(ret->berm_image, sizeof(ret->berm_image), "sha256:%s", entry->digest_hex);
    ret->config = image_config_of_entry(arena, entry, plain);
    if (!ret->config)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
    return identify(ret, err);
}

/* It has no file system: see side.h. */
static int interceptor(struct arena *arena, const char *ref, struct docker_image *ret, struct berm_error *err)
{
    *ret = (struct docker_image){ .config = arena_strdup(arena, STR("{}")), .berm_image = "interceptor" };
    snprintf(ret->ref, sizeof(ret->ref), "%s", ref);
    return ret->config ? identify(ret, err) : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
}

/* "0.12.10-python": the variant after the version; the image of that name, but for what the default one has anyhow.
 */
static const char *sandbox_variant(struct docker *docker, const char *tag)
{
    const char *dash = strchr(tag, '-');
    const char *fallback = docker->daemon->config.image;

    if (!dash || !strcmp(dash, "-python"))
        return fallback;
    return dash + 1;
}

static int resolve_builtin(struct docker *docker, struct arena *arena, const char *ref, struct docker_image *ret,
                           struct berm_error *err)
{
    static const char sandbox[] = "cloudflare/sandbox:";
    static const char *const ours[] = { "base", "minimal" };
    char name[DOCKER_REF_MAX + 1];
    bool plain;

    if (docker_ref_is_interceptor(str_from(ref)))
        return interceptor(arena, ref, ret, err);
    if (!strncmp(ref, sandbox, strlen(sandbox)))
        return builtin(docker, arena, sandbox_variant(docker, ref + strlen(sandbox)), false, ref, ret, err);
    if (str_copy((struct str){ ref, tag_at(str_from(ref)) }, name, sizeof(name)) < 0 ||
        !image_name_valid(str_from(name)) || strcmp(ref + strlen(name), ":latest"))
        return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, 0, "No such image: %s", ref);
    plain = strcmp(name, docker->daemon->config.image) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        plain &= strcmp(name, ours[i]) != 0;
    if (builtin(docker, arena, name, plain, ref, ret, err) == 0)
        return 0;
    return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, 0, "No such image: %s", ref);
}

/* --- tags --- */

static struct docker_image *find_tag(struct docker *docker, const char *ref)
{
    for (struct list *node = docker->images.next; node != &docker->images; node = node->next) {
        struct docker_image *image = container_of(node, struct docker_image, node);

        if (!strcmp(image->ref, ref))
            return image;
    }
    return NULL;
}

/* "sha256:..." or at least 12 digits of it. */
static struct docker_image *find_id(struct docker *docker, struct str id)
{
    drop_prefix(&id, "sha256:");
    if (id.n < 12 || id.n > DOCKER_ID_HEX)
        return NULL;
    for (struct list *node = docker->images.next; node != &docker->images; node = node->next) {
        struct docker_image *image = container_of(node, struct docker_image, node);

        if (!memcmp(image->id, id.p, id.n))
            return image;
    }
    return NULL;
}

/* The id of an image that has no tag of ours is known from the containers made of it: what they called it. */
static const char *ref_of_id(struct docker *docker, struct str id)
{
    drop_prefix(&id, "sha256:");
    if (id.n < 12 || id.n > DOCKER_ID_HEX)
        return NULL;
    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (!memcmp(container->image_id, id.p, id.n))
            return container->image;
    }
    return NULL;
}

int docker_image_resolve(struct docker *docker, struct arena *arena, const char *ref, struct docker_image *ret,
                         struct berm_error *err)
{
    struct docker_image *found = find_id(docker, str_from(ref));
    const char *name = found ? NULL : ref_of_id(docker, str_from(ref));
    char text[DOCKER_REF_MAX + 1];

    if (name)
        ref = name;
    if (!found && docker_ref_normalise(str_from(ref), text) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "invalid reference format");
    if (!found)
        found = find_tag(docker, text);
    if (!found)
        return resolve_builtin(docker, arena, text, ret, err);
    *ret = *found;
    ret->node = (struct list){ 0 };
    ret->config = arena_strdup(arena, str_from(found->config));
    return ret->config ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
}

static int store(struct docker *docker, const struct docker_image *image, struct berm_error *err)
{
    const struct json *config = NULL;
    struct json_writer w;
    struct arena arena;
    struct buf text;
    int rc;

    arena_init(&arena, DOCUMENT_ARENA);
    buf_init(&text, DOCUMENT_MAX);
    rc = json_parse(&arena, str_from(image->config), 32, &config, err);
    if (rc == 0) {
        json_writer_init(&w, &text);
        json_object_begin(&w);
        json_pair_cstring(&w, "id", image->id);
        json_pair_cstring(&w, "image", image->berm_image);
        json_pair_int(&w, "created", image->created_ms);
        json_pair_bool(&w, "plain", image->plain);
        json_key(&w, "config");
        json_value(&w, config);
        json_object_end(&w);
        rc = json_writer_finish(&w);
        if (rc < 0 || buf_append(&text, "", 1) < 0)
            rc = berm_fail(err, BERM_E_PAYLOAD_TOO_LARGE, 0, "the image's configuration is too large");
    }
    if (rc == 0)
        rc = store_put_document(docker->daemon->store, KIND, image->ref, buf_head(&text), err);
    buf_free(&text);
    arena_free(&arena);
    return rc;
}

static void forget(struct docker *docker, struct docker_image *image)
{
    list_remove(&image->node);
    docker->image_count--;
    free(image->config);
    free(image);
}

static int keep(struct docker *docker, const struct docker_image *image)
{
    struct docker_image *copy = malloc(sizeof(*copy));

    if (!copy)
        return -1;
    *copy = *image;
    copy->config = strdup(image->config);
    if (!copy->config) {
        free(copy);
        return -1;
    }
    list_append(&docker->images, &copy->node);
    docker->image_count++;
    return 0;
}

int docker_image_put(struct docker *docker, struct docker_image *image, struct berm_error *err)
{
    struct docker_image *before = find_tag(docker, image->ref);

    if (!before && docker->image_count >= IMAGES_MAX)
        return berm_fail(err, BERM_E_CAPACITY_EXCEEDED, 0, "there are %d image tags, and no more are kept",
                         IMAGES_MAX);
    if (!image->created_ms)
        image->created_ms = clock_realtime_ms();
    if (identify(image, err) < 0 || store(docker, image, err) < 0)
        return -1;
    if (before)
        forget(docker, before);
    if (keep(docker, image) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
    docker_event(docker, "image", "tag", image->id, image->ref, image->ref);
    return 0;
}

int docker_image_untag(struct docker *docker, const char *ref, struct berm_error *err)
{
    char text[DOCKER_REF_MAX + 1];
    struct docker_image *image = find_id(docker, str_from(ref));

    if (!image && docker_ref_normalise(str_from(ref), text) == 0)
        image = find_tag(docker, text);
    if (!image)
        return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, 0, "No such image: %.200s", ref);
    if (store_delete_document(docker->daemon->store, KIND, image->ref, err) < 0)
        return -1;
    docker_event(docker, "image", "untag", image->id, image->ref, image->ref);
    forget(docker, image);
    return 0;
}

/* --- at start-up --- */

static int load(const struct store_document *document, void *data)
{
    struct docker *docker = data;
    struct docker_image image = { 0 };
    const struct json *json = NULL, *config = NULL;
    const char *id = NULL, *berm_image = NULL;
    struct arena arena;
    struct buf text;
    int rc = 0;

    if (strcmp(document->kind, KIND))
        return 0;
    arena_init(&arena, DOCUMENT_ARENA);
    if (json_parse(&arena, str_from(document->json), 32, &json, NULL) == 0 &&
        json_field_cstring(json, "id", &id, NULL) == 0 &&
        json_field_cstring(json, "image", &berm_image, NULL) == 0 &&
        json_field_object(json, "config", &config, NULL) == 0 && id && strlen(id) == DOCKER_ID_HEX && berm_image &&
        config) {
        struct json_writer w;

        snprintf(image.ref, sizeof(image.ref), "%s", document->name);
        snprintf(image.id, sizeof(image.id), "%s", id);
        snprintf(image.berm_image, sizeof(image.berm_image), "%s", berm_image);
        json_field_int(json, "created", 0, INT64_MAX, &image.created_ms, NULL);
        json_field_bool(json, "plain", &image.plain, NULL);
        buf_init(&text, DOCUMENT_MAX);
        json_writer_init(&w, &text);
        json_value(&w, config);
        image.config = json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
        rc = image.config ? keep(docker, &image) : -1;
        free(image.config);
    } else {
        log_warn("docker.image_unreadable", "name", document->name);
    }
    arena_free(&arena);
    return rc;
}

int docker_images_load(struct docker *docker, struct berm_error *err)
{
    return store_each_document(docker->daemon->store, load, docker, err);
}

void docker_images_free(struct docker *docker)
{
    while (!list_empty(&docker->images))
        forget(docker, container_of(docker->images.next, struct docker_image, node));
}
