#include "daemon/image_cache.h"

#include "base/hash.h"

#include <limits.h>
#include <sys/inotify.h>

#define CONFIG_MAX_BYTES (256 * 1024)
#define NAMES_MAX        1024

struct cached_name {
    struct hash_node node;
    char name[IMAGE_NAME_MAX + 1];
    const struct image_entry *entry;
};

struct cached_digest {
    struct hash_node node;
    struct image_entry entry;
};

struct image_cache {
    struct loop *loop;
    char *dir;
    struct loop_io io; /* inotify */
    int watch;         /* -1: the names are not watched */
    struct hash_table names, digests;
};

/* --- names --- */

static void forget_names(struct image_cache *cache)
{
    for (size_t i = 0; i < cache->names.bucket_count; i++) {
        struct hash_node *node = cache->names.buckets[i], *next;

        for (; node; node = next) {
            next = node->next;
            free(container_of(node, struct cached_name, node));
        }
    }
    hash_free(&cache->names);
}

/* Any event, also one about a lost watch or a full queue, means that names may be stale. */
static void on_inotify(struct loop_io *io, uint32_t events)
{
    struct image_cache *cache = container_of(io, struct image_cache, io);
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t n;

    (void)events;
    while ((n = read(io->fd, buffer, sizeof(buffer))) > 0) {
        for (char *p = buffer; p < buffer + n;) {
            const struct inotify_event *event = (const void *)p;

            if (event->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF))
                cache->watch = -1;
            p += sizeof(*event) + event->len;
        }
    }
    forget_names(cache);
}

static void watch_names(struct image_cache *cache)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/names", cache->dir) >= (int)sizeof(path))
        return;
    cache->watch = inotify_add_watch(cache->io.fd, path,
                                     IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                                         IN_MOVE_SELF | IN_ONLYDIR);
}

static struct cached_name *find_name(struct image_cache *cache, const char *name)
{
    uint64_t hash = hash_text(str_from(name));

    for (struct hash_node *node = hash_chain(&cache->names, hash); node; node = node->next) {
        struct cached_name *cached = container_of(node, struct cached_name, node);

        if (node->hash == hash && !strcmp(cached->name, name))
            return cached;
    }
    return NULL;
}

static void remember_name(struct image_cache *cache, const char *name, const struct image_entry *entry)
{
    struct cached_name *cached;

    if (cache->names.count >= NAMES_MAX || strlen(name) > IMAGE_NAME_MAX)
        return;
    cached = calloc(1, sizeof(*cached));
    if (!cached)
        return;
    snprintf(cached->name, sizeof(cached->name), "%s", name);
    cached->entry = entry;
    if (hash_insert(&cache->names, &cached->node, hash_text(str_from(cached->name))) < 0)
        free(cached);
}

/* --- digests --- */

static uint64_t hash_digest(const uint8_t digest[IMAGE_DIGEST_BYTES])
{
    return hash_text((struct str){ (const char *)digest, IMAGE_DIGEST_BYTES });
}

static const struct image_entry *load_digest(struct image_cache *cache, const uint8_t digest[IMAGE_DIGEST_BYTES],
                                             struct berm_error *err)
{
    struct cached_digest *cached = calloc(1, sizeof(*cached));

    if (!cached) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
        return NULL;
    }
    memcpy(cached->entry.digest, digest, IMAGE_DIGEST_BYTES);
    hex_encode(digest, IMAGE_DIGEST_BYTES, cached->entry.digest_hex);
    arena_init(&cached->entry.arena, CONFIG_MAX_BYTES);
    if (image_config_load(cache->dir, cached->entry.digest_hex, &cached->entry.arena, &cached->entry.config, err) <
        0)
        goto fail;
    if (hash_insert(&cache->digests, &cached->node, hash_digest(digest)) < 0) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image");
        goto fail;
    }
    return &cached->entry;
fail:
    arena_free(&cached->entry.arena);
    free(cached);
    return NULL;
}

const struct image_entry *image_cache_by_digest(struct image_cache *cache, const uint8_t digest[IMAGE_DIGEST_BYTES],
                                                struct berm_error *err)
{
    uint64_t hash = hash_digest(digest);

    for (struct hash_node *node = hash_chain(&cache->digests, hash); node; node = node->next) {
        struct cached_digest *cached = container_of(node, struct cached_digest, node);

        if (node->hash == hash && !memcmp(cached->entry.digest, digest, IMAGE_DIGEST_BYTES))
            return &cached->entry;
    }
    return load_digest(cache, digest, err);
}

const struct image_entry *image_cache_resolve(struct image_cache *cache, const char *name_or_digest,
                                              struct berm_error *err)
{
    struct cached_name *cached = cache->watch >= 0 ? find_name(cache, name_or_digest) : NULL;
    const struct image_entry *entry;
    struct image image;

    if (cached)
        return cached->entry;
    if (cache->watch < 0) { /* before reading: a change after this point is seen */
        forget_names(cache);
        watch_names(cache);
    }
    if (image_resolve(cache->dir, name_or_digest, &image, err) < 0)
        return NULL;
    entry = image_cache_by_digest(cache, image.digest_bytes, err);
    if (entry && cache->watch >= 0 && image.name[0])
        remember_name(cache, name_or_digest, entry);
    return entry;
}

const char *image_cache_dir(const struct image_cache *cache)
{
    return cache->dir;
}

struct image_cache *image_cache_new(struct loop *loop, int images_dirfd, struct berm_error *err)
{
    struct image_cache *cache = calloc(1, sizeof(*cache));
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    if (cache && asprintf(&cache->dir, "/proc/self/fd/%d", images_dirfd) < 0)
        cache->dir = NULL;
    if (!cache || !cache->dir || fd < 0 || loop_io_add(loop, &cache->io, fd, EPOLLIN, on_inotify) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "watch the images");
        if (fd >= 0)
            close(fd);
        if (cache)
            free(cache->dir);
        free(cache);
        return NULL;
    }
    cache->loop = loop;
    cache->watch = -1;
    return cache;
}

void image_cache_free(struct image_cache *cache)
{
    if (!cache)
        return;
    loop_io_remove(cache->loop, &cache->io);
    close(cache->io.fd);
    forget_names(cache);
    for (size_t i = 0; i < cache->digests.bucket_count; i++) {
        struct hash_node *node = cache->digests.buckets[i], *next;

        for (; node; node = next) {
            struct cached_digest *cached = container_of(node, struct cached_digest, node);

            next = node->next;
            arena_free(&cached->entry.arena);
            free(cached);
        }
    }
    hash_free(&cache->digests);
    free(cache->dir);
    free(cache);
}
