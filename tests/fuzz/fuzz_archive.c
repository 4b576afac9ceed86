/*
 * fuzz_archive.c - what src/image reads from strangers: tar archives as a whole and as layers, walked into a sink
 * that only checks what it is promised, and the JSON documents of an OCI layout. The first byte says which.
 */
#include "image/oci.h"
#include "image/recipe.h"
#include "image/unpack.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct checking_sink {
    struct unpack_sink sink;
    bool in_file;
    uint64_t next_offset;
    uint64_t size;
};

/* Every path that reaches a sink is plain: relative, within the limits, without "." and "..". */
static void check_path(const char *path, bool may_be_root)
{
    char again[UNPACK_PATH_MAX];
    assert(strlen(path) < UNPACK_PATH_MAX);
    assert(may_be_root || path[0]);
    assert(path[0] != '/');
    assert(unpack_path(path, again, NULL) == 0);
    assert(strcmp(path, again) == 0);
}

static int begin(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct checking_sink *s = container_of(sink, struct checking_sink, sink);
    (void)err;
    assert(!s->in_file);
    check_path(entry->path, entry->kind == UNPACK_DIRECTORY);
    if (entry->kind == UNPACK_HARDLINK)
        check_path(entry->target, false);
    if (entry->kind == UNPACK_SYMLINK)
        assert(entry->target[0] && strlen(entry->target) < UNPACK_PATH_MAX);
    assert(entry->uid <= 65535 && entry->gid <= 65535 && entry->mode <= 07777);
    assert(entry->mtime.tv_sec >= 0 && entry->mtime.tv_nsec >= 0 && entry->mtime.tv_nsec < 1000000000);
    for (size_t i = 0; i < entry->xattr_count; i++)
        assert(strncmp(entry->xattrs[i].name, "user.", 5) == 0 ||
               strcmp(entry->xattrs[i].name, "security.capability") == 0);
    s->in_file = entry->kind == UNPACK_FILE;
    s->next_offset = 0;
    s->size = entry->size;
    return 0;
}

static int write_data(struct unpack_sink *sink, uint64_t offset, const void *bytes, size_t n,
                      struct berm_error *err)
{
    struct checking_sink *s = container_of(sink, struct checking_sink, sink);
    volatile uint8_t last = ((const uint8_t *)bytes)[n - 1];
    (void)last;
    (void)err;
    assert(s->in_file && offset >= s->next_offset && offset + n <= s->size);
    s->next_offset = offset + n;
    return 0;
}

static int end(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct checking_sink *s = container_of(sink, struct checking_sink, sink);
    (void)entry;
    (void)err;
    s->in_file = false;
    return 0;
}

static int remove_lower(struct unpack_sink *sink, const char *path, struct berm_error *err)
{
    (void)sink;
    (void)err;
    check_path(path, false);
    return 0;
}

static int clear_lower(struct unpack_sink *sink, const char *path, struct berm_error *err)
{
    (void)sink;
    (void)err;
    check_path(path, true);
    return 0;
}

static void read_archive(const uint8_t *data, size_t size, bool layer)
{
    struct checking_sink sink = { .sink = { begin, write_data, end, remove_lower, clear_lower } };
    struct image_import_report report = { 0 };
    struct berm_error err = { 0 };
    struct archive *reader = unpack_reader_new();
    assert(reader);
    if (archive_read_open_memory(reader, data, size) == ARCHIVE_OK &&
        unpack_archive(reader, layer, &sink.sink, &report, &err) < 0)
        assert(err.code == BERM_E_IMAGE_INVALID && err.message[0]);
    assert(report.bytes <= UNPACK_BYTES_MAX && report.entries <= UNPACK_ENTRIES_MAX + 1);
    archive_read_free(reader);
}

static void read_documents(struct arena *arena, struct str text)
{
    struct oci_descriptor found;
    struct oci_manifest manifest;
    struct image_config config;
    struct recipe recipe;
    oci_check_layout(arena, text, NULL);
    if (oci_parse_index(arena, text, "amd64", NULL, false, &found, NULL) == 0)
        assert(image_digest_valid(str_from(found.hex)));
    oci_parse_index(arena, text, "amd64", "latest", true, &found, NULL);
    if (oci_parse_manifest(arena, text, &manifest, NULL) == 0)
        assert(manifest.layer_count > 0 && manifest.layer_count <= OCI_LAYERS_MAX);
    if (oci_parse_config(arena, text, "amd64", &config, NULL) == 0)
        assert(config.workdir[0] == '/');
    recipe_parse(arena, text, &recipe, NULL);
}

/* What is read as a configuration is written and read again as the same. */
static void read_config(struct arena *arena, struct str text)
{
    struct image_config config;
    struct buf once, twice;
    buf_init(&once, 2 * IMAGE_CONFIG_MAX_BYTES);
    buf_init(&twice, 2 * IMAGE_CONFIG_MAX_BYTES);
    if (image_config_parse(arena, text, &config, NULL) == 0 && image_config_write(&config, &once, NULL) == 0) {
        assert(image_config_parse(arena, buf_str(&once), &config, NULL) == 0);
        assert(image_config_write(&config, &twice, NULL) == 0);
        assert(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    if (size == 0)
        return 0;
    struct str text = { (const char *)data + 1, size - 1 };
    arena_init(&arena, OCI_ARENA_MAX);
    switch (data[0] & 3) {
    case 0:
    case 1:
        read_archive(data + 1, size - 1, data[0] & 1);
        break;
    case 2:
        read_documents(&arena, text);
        break;
    default:
        read_config(&arena, text);
        break;
    }
    arena_free(&arena);
    return 0;
}
